"""Decodes the text of a file in an unknown encoding.

The marks at its start tell UTF-8, UTF-16 and UTF-32. What is valid UTF-8 is UTF-8. Anything else is in a code page,
which the file does not name. charset-normalizer proposes code pages with plausible letters; Windows-1252, which most
programs write, is preferred. If several alphabets fit equally well, the file is refused, since a garbled name is worse
than a question.
"""

import codecs
import re
import unicodedata
from collections.abc import Iterator
from typing import Final, NamedTuple

from db.domain.errors import InvalidInput

# UTF-32 first, since its mark begins with that of UTF-16.
_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_FORMATS: Final = (
    (b"PK\x03\x04", "a workbook of Excel or another program"),
    (b"\xd0\xcf\x11\xe0", "a workbook of Excel"),
    (b"%PDF", "a PDF"),
    (b"\x1f\x8b", "compressed"),
)
_LATIN: Final = ("cp1252", "cp1250", "cp1254", "mac_roman", "cp850")
_OTHER: Final = ("cp1251", "cp1253", "cp1255", "cp932", "gb18030", "big5", "cp949")
ENCODINGS: Final = ("utf-8", "utf-16", *_LATIN, *_OTHER)
"""Those that a caller may name."""
_SAMPLE_BYTES: Final = 65_536
# Characters that occur in texts and are not letters. All others suggest that this is the wrong code page.
_MARKS_OF_TEXT: Final = frozenset(
    "\u00a0\u2013\u2014\u2018\u2019\u201a\u201c\u201d\u201e\u2026\u2022\u00b7\u00ab\u00bb\u20ac\u00b0\u00ae\u2122\u00a9\u00bf\u00a1\u00b4\u00a7\u00aa\u00ba\u00df"
)
_WORD: Final = re.compile(rb"[A-Za-z\x80-\xff]+")
_CAPITALS: Final = "\u00c0-\u00d6\u00d8-\u00de\u0152\u0160\u0178\u017d"
# Capitals within words, a final sigma before a letter, and letters with which no Greek or Russian word begins.
_MISPLACED: Final = re.compile(
    rf"(?<=[a-z])[{_CAPITALS}]|(?<=[A-Z])[{_CAPITALS}](?=[a-z])|\u03c2(?=\w)|"
    r"\b[\u0390\u03b0\u03ca\u03cb\u044a\u044b\u044c]"
)
_ODD_MOST: Final = 0.1
# How much better than the next one a code page must fit a language. Names alone fit many languages.
_SURELY: Final = 0.3
_LINE: Final = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n)?")
_ADVICE: Final = "Save it as CSV UTF-8"


class Text(NamedTuple):
    """A text, its encoding, and a note about the encoding."""

    text: str
    encoding: str
    note: str | None = None


def decoded(content: bytes, encoding: str | None = None) -> Text:
    """Returns the text of a file, read in `encoding` (one of ENCODINGS) if that is given. InvalidInput says why it
    can't be read."""
    for mark, of_what in _FORMATS:
        if content.startswith(mark):
            raise InvalidInput(f"the file is {of_what}, not CSV. {_ADVICE}.")
    if encoding is not None:
        return _as_told(content, encoding)
    for mark, name in _MARKS:
        if content.startswith(mark):
            return _strictly(content, name)
    if _is_utf_16(content):
        return _strictly(content, "utf-16-be" if content[:1] == b"\0" else "utf-16-le")
    try:
        return Text(content.decode("utf-8"), "utf-8")
    except UnicodeDecodeError:
        return _mostly_utf_8(content) or _of_a_code_page(content)


def _as_told(content: bytes, encoding: str) -> Text:
    name = encoding.strip().lower()
    try:
        name = codecs.lookup(name).name
    except LookupError:
        name = ""
    if name not in {codecs.lookup(known).name for known in ENCODINGS}:
        raise InvalidInput(f"encoding: not known here. Give one of {', '.join(ENCODINGS)}.")
    return _strictly(content, "utf-8-sig" if name == "utf-8" else name)


def _strictly(content: bytes, encoding: str) -> Text:
    try:
        return Text(content.decode(encoding), encoding.removesuffix("-sig"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InvalidInput(f"the file can't be read as {encoding}, from line {line} on. {_ADVICE}.") from None


def _is_utf_16(content: bytes) -> bool:
    """Returns whether every other byte at the start is NUL, as in Latin text in UTF-16 without a mark."""
    start = content[:512]
    return len(start) >= 8 and min(start[0::2].count(0), start[1::2].count(0)) == 0 and start.count(0) * 3 > len(start)


def _lines(content: bytes) -> Iterator[bytes]:
    return (found[0] for found in _LINE.finditer(content))


def _mostly_utf_8(content: bytes) -> Text | None:
    """Returns the text if most lines with letters beyond ASCII are UTF-8, as in a file that was joined from several;
    else None."""
    texts: list[str] = []
    wrong: list[int] = []
    right = 0
    for number, line in enumerate(_lines(content), 1):
        try:
            texts.append(line.decode("utf-8"))
            right += not line.isascii()
        except UnicodeDecodeError:
            texts.append(line.decode("cp1252", "replace"))
            wrong.append(number)
    if right <= len(wrong):
        return None
    lines = f"line {wrong[0]} is" if len(wrong) == 1 else f"{len(wrong):,} lines from line {wrong[0]} on are"
    return Text("".join(texts), "utf-8", f"{lines} no UTF-8, and read as Windows-1252.")


def _of_a_code_page(content: bytes) -> Text:
    page = _page(_sample(content))
    if page is None:
        raise InvalidInput(
            f"the file is not UTF-8, and what it is can't be told. {_ADVICE}, or name its encoding, such as cp1252."
        )
    text = content.decode(page, "replace")
    name = "Windows-1252" if page == "cp1252" else page
    return Text(text, page, f"The file is not UTF-8, and was read as {name}. If names look wrong, name its encoding.")


def _sample(content: bytes) -> bytes:
    """Returns the first lines with a byte beyond ASCII. Only these distinguish code pages."""
    lines: list[bytes] = []
    room = _SAMPLE_BYTES
    for line in _lines(content):
        if line and not line.isascii():
            lines.append(line[:room].rstrip(b"\r\n"))
            room -= len(lines[-1]) + 1
            if room <= 0:
                break
    return b"\n".join(lines)


def _page(sample: bytes) -> str | None:
    """Returns the code page of a sample, or None if several fit equally well."""
    from charset_normalizer import from_bytes  # noqa: PLC0415  needed for such files alone

    if all(character in _MARKS_OF_TEXT for character in sample.decode("cp1252", "replace") if character > "\x7f"):
        return "cp1252"
    pages = _LATIN if _is_latin(sample) else _OTHER
    texts: dict[str, str] = {}
    fits: dict[str, tuple[float, float]] = {}
    for match in from_bytes(sample, cp_isolation=[*pages]):
        for name in match.could_be_from_charset:
            text = sample.decode(name, "replace")
            odd = _odd(text)
            if odd <= _ODD_MOST and name not in fits:
                texts[name], fits[name] = text, (match.chaos + odd, -match.coherence)
    if "cp1252" in fits:
        return "cp1252"
    best = min(fits, key=lambda name: fits[name], default=None)
    if best is None:
        return None
    rivals = [name for name in fits if texts[name] != texts[best] and fits[name][0] == fits[best][0]]
    return None if any(fits[name][1] - fits[best][1] < _SURELY for name in rivals) else best


def _is_latin(sample: bytes) -> bool:
    """Returns whether letters beyond ASCII are mixed with ASCII letters, as in names of the Latin alphabet. Words of
    other scripts have few ASCII letters or none. One or two letters are not enough to decide."""
    words = [word for word in _WORD.findall(sample) if not word.isascii()]
    beyond = [sum(letter > 0x7F for letter in word) for word in words]
    return sum(count for count in beyond if count > 2) * 10 <= 6 * sum(map(len, words))


def _odd(text: str) -> float:
    """Returns the share of characters beyond ASCII that are implausible: signs in place of letters, capitals within
    words, letters at a start or end of a word where they do not occur."""
    beyond = sum(character > "\x7f" for character in text)
    signs = sum(
        character > "\x7f" and unicodedata.category(character)[0] != "L" and character not in _MARKS_OF_TEXT
        for character in text
    )
    return (signs + len(_MISPLACED.findall(text))) / max(beyond, 1)
