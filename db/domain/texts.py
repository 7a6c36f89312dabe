"""What a text holds that it should not: line breaks where it becomes a header, characters that no database keeps."""

import re
import unicodedata
from typing import Final

# C0, DEL and C1, and the two line breaks of Unicode.
_CONTROLS: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
# PostgreSQL stores neither NUL nor half of a surrogate pair.
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")

# In JSON, left to right: a backslash, a whole pair, and what is left of pairs; and NUL.
_ESCAPES: Final = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u(?:[dD][89a-fA-F][0-9a-fA-F]{2}|0000)"
)
# Letters and symbols by their category, and nothing to the eye: fillers of Hangul, the joiner, the empty braille cell.
_UNSEEN: Final = frozenset("\u034f\u115f\u1160\u2800\u3164\uffa0")


def composed(text: str) -> str:
    """Returns the text in NFC: what looks the same is the same."""
    return unicodedata.normalize("NFC", text)


def one_line(text: str) -> str:
    """Returns the text with a space for each run of line breaks and other control characters."""
    return _CONTROLS.sub(" ", text)


def is_one_line(text: str) -> bool:
    return _CONTROLS.search(text) is None


def is_storable(text: str) -> bool:
    return _UNSTORABLE.search(text) is None


def storable_part(text: str) -> str:
    """Returns the text without what can't be stored."""
    return _UNSTORABLE.sub("", text)


def is_blank(text: str) -> bool:
    """Returns whether nothing of it can be seen."""
    return not any(map(_is_seen, text))


def _is_seen(character: str) -> bool:
    hidden = character.isspace() or character in _UNSEEN or unicodedata.category(character) in ("Cc", "Cf")
    return not hidden


def without_halves(json: bytes, instead: bytes) -> bytes:
    """Returns JSON with the escape `instead` for each half of a surrogate pair, which no parser takes, and for each
    NUL.

    JavaScript cuts characters in two, and writes what is left of them.
    """
    if b"\\ud" not in json and b"\\uD" not in json and b"\\u0000" not in json:
        return json
    return _ESCAPES.sub(lambda found: found[0] if len(found[0]) in (2, 12) else instead, json)
