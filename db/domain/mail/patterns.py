"""Turns tables of words into patterns, and texts into the form that the tables expect."""

import re
from typing import Final

_FLAGS: Final = re.IGNORECASE
_GAP: Final = r"(?:[^ ]{1,40} ){0,4}"
_WORD: Final = r"(?:[^ ]{1,40} )?"
_LETTERS: Final = "a-z0-9_\u00df-\u04ff"
WORD_BEGINS: Final = f"(?<![{_LETTERS}])"
"""Nothing but the beginning of a word follows. Chinese and Japanese put no space between words."""

_CONTINUED: Final = re.compile(r"\\\n\s*")
_MARKS: Final = re.compile(r"[^\w'@.+/&%$€£°?-]+|(?<![\w])['.+/-]+|['./-]+(?![\w])")


def any_of(table: str, *, before: str = "", after: str = "", flags: re.RegexFlag = _FLAGS) -> re.Pattern[str]:
    """Returns a pattern that matches if one of the table's lines does. A line that begins with `#` names a language;
    one that ends with a backslash goes on in the next.

    before, after: what stands around each line; WORD_BEGINS saves most of the time where each line begins a word.
    """
    return re.compile(f"{before}(?:{_joined(table)}){after}", flags)


def words_of(table: str) -> re.Pattern[str]:
    """As `any_of`, for whole words of a text that `plain` returned. `~` stands for up to four words between two others,
    `=` for one or none."""
    ways = _joined(table).replace(" ~ ", f" {_GAP}").replace(" ~) ", f" {_GAP})").replace(" = ", f" {_WORD}")
    # Chinese and Japanese have no spaces between words, so only alphabetic letters mark the end of a word.
    return re.compile(f"(?<![{_LETTERS}])(?:{ways})(?![{_LETTERS}])")


def straight(text: str) -> str:
    """Returns the text with apostrophes as in the tables of words."""
    return text.replace("\u2019", "'")


def plain(text: str) -> str:
    """Returns the text in lower case, without punctuation, with one space between words."""
    lowered = text.lower().replace("\u2019", "'").replace("`", "'")
    return " ".join(_MARKS.sub(" ", lowered).split())


def _joined(table: str) -> str:
    lines = (line.strip() for line in _CONTINUED.sub("", table).splitlines())
    return "|".join(line for line in lines if line and not line.startswith("# "))
