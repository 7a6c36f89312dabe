"""Decodes transfer encodings as leniently as mail programs: broken content loses at most its last letters."""

import binascii
from typing import Final

_BASE64: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_OTHERS: Final = bytes(set(range(256)) - set(_BASE64))


def from_base64(data: bytes) -> bytes:
    """Decodes base64. Skips all other characters; an incomplete group at the end is left out."""
    letters = data.translate(None, _OTHERS)
    whole = len(letters) & ~3
    rest = letters[whole:]
    if len(rest) == 1:
        rest = b""
    return binascii.a2b_base64(letters[:whole] + (rest + b"==" if len(rest) == 2 else rest + b"=" if rest else b""))


def from_quoted_printable(data: bytes) -> bytes:
    """Decodes quoted-printable. An equals sign that begins no code stays as it is."""
    return binascii.a2b_qp(data)


def content_of(body: bytes, encoding: str) -> bytes:
    """Returns the decoded content of a part."""
    encoding = encoding.strip().lower()
    if encoding == "base64":
        return from_base64(body)
    if encoding == "quoted-printable":
        return from_quoted_printable(body)
    return body


def size_of(raw: bytes, start: int, end: int, encoding: str) -> int:
    """Returns the size of a part's decoded content in bytes, without decoding it."""
    length = end - start
    if encoding.strip().lower() != "base64":
        return length
    breaks = raw.count(b"\n", start, end) + raw.count(b"\r", start, end)
    padding = raw.count(b"=", max(start, end - 8), end)
    return max(0, (length - breaks) * 3 // 4 - padding)
