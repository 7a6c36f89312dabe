"""What a text stands for where it is encoded: by percent signs, escapes of JSON and HTML, quoted-printable or base64.

All of it takes a time that grows with the length of the text.
"""

import re
from binascii import a2b_base64, a2b_qp
from collections.abc import Iterator
from html import unescape
from typing import Final
from urllib.parse import unquote

# JSON in JSON in a query has three; each costs a reading.
_LAYERS: Final = 4
_ESCAPE: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_UNESCAPED: Final = {"n": "\n", "r": "\r", "t": "\t", "b": " ", "f": " "}
# An @, a letter with an accent, or a line that goes on.
_QUOTED: Final = re.compile(r"=(?:40|[c-f][0-9a-f]=|[ \t]*\r?\n)", re.IGNORECASE)


def readings(text: str) -> Iterator[str]:
    """Yields the text as it stands, and all that it and the base64 in it stand for."""
    last = text
    for last in _layers(text):
        yield last
    yield from _quoted(last)
    for raw in _tokens(last):
        yield from _read(raw)


def _read(raw: bytes) -> Iterator[str]:
    try:
        text = raw.decode()
    except UnicodeDecodeError:  # a picture, say, which is encoded no further
        yield raw.decode(errors="replace")
        return
    last = text
    for last in _layers(text):
        yield last
    yield from _quoted(last)


def resolved(text: str) -> str:
    """Returns the text without percent signs and escapes of JSON and HTML."""
    *_, last = _layers(text)
    return last


def _layers(text: str) -> Iterator[str]:
    yield text
    for _ in range(_LAYERS):
        plain = _unescaped(unquote(unescape(text)))
        if plain == text:
            break
        yield plain
        text = plain


def is_quoted(text: str) -> bool:
    """Returns whether quoted-printable may be in it."""
    return _QUOTED.search(text) is not None


def _quoted(text: str) -> Iterator[str]:
    """Yields the text with quoted-printable resolved, where there is any. Base64 is not looked for in it: the = at the
    end of a line is of one of the two."""
    if is_quoted(text):
        yield a2b_qp(text.encode(errors="replace")).decode(errors="replace")


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text
    plain = _ESCAPE.sub(lambda match: chr(int(match[1], 16)) if match[1] else _UNESCAPED.get(match[2], match[2]), text)
    return plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


# What an address takes at least; or lines of one length, as mail has them, and the last.
_BASE64: Final = re.compile(r"(?:(?:[\w+/-]{4}){15,19}\s{1,2})+[\w+/-]*|[\w+/-]{11,}", re.ASCII)
_LEAST: Final = 11
_PATH_MAX: Final = 2_048


def _tokens(text: str) -> Iterator[bytes]:
    """Yields what each word of base64 stands for, or each part of a path, where it may hold an address."""
    for token in _BASE64.findall(text):
        packed = "".join(token.split())
        parts = packed.split("/") if "/" in packed and len(packed) <= _PATH_MAX else ()
        for part in (packed, *(part for part in parts if len(part) >= _LEAST)):
            raw = _from_base64(part.encode())
            if _may_hold_address(raw):
                yield raw


def _may_hold_address(raw: bytes) -> bool:
    # An @, in other encodings 40 or &#64; or a profile; or a line that goes on.
    return any(mark in raw for mark in (b"@", b"40", b"&#", b"=\r", b"=\n")) or b"inkedin" in raw.lower()


_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_AS_ALPHABET: Final = bytes(byte if byte in _ALPHABET else ord("A") for byte in range(256))
_FOR_URLS: Final = bytes.maketrans(b"-_", b"+/")
_BLANKS: Final = b" \t\r\n"


def runs(text: str) -> Iterator[bytes]:
    """Yields the whole text read as base64, from each of four places: it finds also what is joined to other text."""
    packed = text.encode("ascii", "replace").translate(_FOR_URLS, _BLANKS).translate(_AS_ALPHABET)
    for start in range(4):
        yield _from_base64(packed[start:])


def _from_base64(token: bytes) -> bytes:
    plain = token.translate(_FOR_URLS)
    return a2b_base64(plain[: len(plain) - (len(plain) % 4 == 1)] + b"==")
