"""Decodes bytes to text, whatever charset they claim."""

import codecs
import re
from typing import Final

_LOOK_BYTES: Final = 4_096

# Only text codecs that take linear time: `punycode` is slower, and `base64` is not a text codec.
_KNOWN: Final = re.compile(
    r"utf-?(?:7|8|16|32)(?:-?[bl]e)?|(?:us-)?ascii|latin-?\d|iso-?8859-\d{1,2}|(?:cp|windows-|ibm)\d{3,4}|koi8-[rut]"
    r"|iso-?2022-(?:jp(?:-\w{1,4})?|kr)|shift[_-]?jis|euc[_-](?:jp|kr)|big5(?:-?hkscs)?|gb(?:2312|k|18030)|hz|johab"
    r"|mac-?(?:roman|cyrillic|greek|latin2|turkish)|tis-620"
)
_NAMES: Final = {
    "us-ascii": "utf-8", "ascii": "utf-8", "utf8": "utf-8", "unicode-1-1-utf-8": "utf-8", "unicode-1-1-utf-7": "utf-7",
    "iso-8859-1": "cp1252", "iso8859-1": "cp1252", "latin1": "cp1252", "latin-1": "cp1252", "gb2312": "gb18030",
    "gbk": "gb18030", "iso-8859-8-i": "iso-8859-8", "iso-8859-8-e": "iso-8859-8", "iso-8859-6-i": "iso-8859-6",
    "ks_c_5601-1987": "cp949", "euc-kr": "cp949", "x-sjis": "cp932", "shift_jis": "cp932", "shift-jis": "cp932",
    "windows-31j": "cp932", "iso-2022-jp": "iso2022_jp_2", "cp-850": "cp850", "macintosh": "mac-roman",
    "windows-874": "cp874", "x-gbk": "gb18030", "x-euc-jp": "euc_jp", "ansi_x3.4-1968": "utf-8",
}  # fmt: skip
_SURROGATES: Final = re.compile("[\ud800-\udfff]")


def decoded(data: bytes, charset: str) -> str:
    """Returns the text of the bytes: by the claimed charset if they fit it, else by UTF-8, else by the most probable
    one. Never fails; an unreadable letter becomes U+FFFD."""
    name = _codec(charset)
    for candidate in (name, "utf-8"):
        text = _strictly(data, candidate)
        if text is not None:
            return text
    if name not in ("", "utf-8"):
        return _SURROGATES.sub("\ufffd", data.decode(name, "replace"))
    if b"\x1b$" in data:
        return data.decode("iso2022_jp_2", "replace")
    return data.decode(_guess(data), "replace")


def _codec(charset: str) -> str:
    charset = charset.strip(" \"'\t").lower().partition("*")[0]
    charset = _NAMES.get(charset, charset)
    if not _KNOWN.fullmatch(charset) and charset not in _NAMES.values():
        return ""
    try:
        return codecs.lookup(charset).name
    except LookupError:
        return ""


def _strictly(data: bytes, name: str) -> str | None:
    # For its codec, ISO-2022-JP without a shift is plain ASCII, so 8-bit letters under that name are refused here.
    if not name or (name == "utf-8" and b"\x1b$" in data):
        return None
    try:
        return _SURROGATES.sub("\ufffd", data.decode(name))
    except (UnicodeDecodeError, UnicodeError):
        return None


def _guess(data: bytes) -> str:
    if len(data) < 12:
        return "cp1252"
    # Imported here: most mails name their charset, and most commands read no mail.
    from charset_normalizer import from_bytes  # noqa: PLC0415

    best = from_bytes(data[:_LOOK_BYTES], steps=3, chunk_size=512).best()
    return best.encoding if best is not None else "cp1252"
