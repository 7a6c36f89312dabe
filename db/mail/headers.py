"""Reads header fields: unfolds and decodes them, and reads parameters, addresses and ids."""

import re
from collections.abc import Iterator
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import unquote_to_bytes

from db.domain.mail.message import Address
from db.mail.charsets import decoded
from db.mail.transfer import from_base64, from_quoted_printable

FIELDS_MAX: Final = 1_000
VALUE_BYTES: Final = 65_536
_PARAMETER_CHARACTERS: Final = 4_000
_ADDRESSES_MAX: Final = 200
_IDS_MAX: Final = 200

_FIELD: Final = re.compile(rb"([!-9;-~]{1,200})[ \t]*:[ \t]*(.*)", re.DOTALL)
_NEW_LINE: Final = re.compile(rb"\r\n?|\n")
_ENCODED_WORD: Final = re.compile(r"=\?([^?\s]{1,64})\?([bBqQ])\?([^?\r\n]*)\?=")
_PARAMETER: Final = re.compile(r';\s*+([^\s=;"]{1,100})\s*+=\s*+(?:"((?:[^"\\]|\\.)*+)"?|([^;\s]*+))')
_CONTINUED: Final = re.compile(r"(.+?)(?:\*(\d{1,2}))?(\*)?")
_ID: Final = re.compile(r"<([^<>\s]{1,998})>")
_ADDRESS_TOKEN: Final = re.compile(
    r'"((?:[^"\\]|\\.)*+)"?|\(([^()]*+)\)?|<([^<>]*+)>?|([,;])|([^"(<,;]++)|.', re.DOTALL
)
_BARE: Final = re.compile(r"[^\s<>@,;:\"()]{1,250}@[^\s<>@,;:\"()]{1,250}")


def raw_fields(block: bytes) -> list[tuple[str, bytes]]:
    """Returns the fields of a header block: name in lower case, value unfolded. Lines that are not fields are
    skipped."""
    fields: list[tuple[str, bytes]] = []
    name, lines = "", list[bytes]()
    for line in _NEW_LINE.split(block):
        if line[:1] in (b" ", b"\t"):
            lines.append(line.strip())
            continue
        if name:
            fields.append((name, b" ".join(lines)[:VALUE_BYTES]))
        found = _FIELD.match(line)
        name, lines = (found[1].decode("ascii").lower(), [found[2].strip()]) if found else ("", [])
        if len(fields) >= FIELDS_MAX:
            return fields
    if name:
        fields.append((name, b" ".join(lines)[:VALUE_BYTES]))
    return fields


def first_fields(block: bytes) -> dict[str, bytes]:
    """Returns the fields of a header block, as `raw_fields` does: of each name, the first."""
    return dict(reversed(raw_fields(block)))


def text_of(value: bytes) -> str:
    """Returns a value as text: decodes encoded words (RFC 2047), and reads raw bytes as UTF-8 or the most probable
    charset."""
    text = value.decode("ascii") if value.isascii() and b"\x1b" not in value else decoded(value, "")
    if "=?" not in text:
        return text.replace("\0", "")
    return "".join(_words(text)).replace("\0", "")


def _words(text: str) -> Iterator[str]:
    # Adjacent encoded words in one charset are joined before decoding, since some programs split a letter between two.
    end, charset, held = 0, "", b""
    for word in _ENCODED_WORD.finditer(text):
        between = text[end : word.start()]
        content = from_base64(word[3].encode()) if word[2] in "bB" else from_quoted_printable(_unspaced(word[3]))
        end = word.end()
        if held and not between.strip() and word[1].lower() == charset:
            held += content
            continue
        if held:
            yield decoded(held, charset)
        if between.strip() or not charset:
            yield between
        charset, held = word[1].lower(), content
    if held:
        yield decoded(held, charset)
    yield text[end:]


def _unspaced(word: str) -> bytes:
    return word.replace("_", " ").encode("utf-8", "replace")


def with_parameters(value: str) -> tuple[str, dict[str, str]]:
    """A value such as `text/plain; charset=utf-8`: its first word in lower case, and its parameters, those of
    RFC 2231 too."""
    value = value[:_PARAMETER_CHARACTERS]
    parts: dict[str, list[tuple[int, bool, str]]] = {}
    for found in _PARAMETER.finditer(value):
        name = _CONTINUED.fullmatch(found[1].lower())
        if name is None:
            continue
        content = re.sub(r"\\(.)", r"\1", found[2]) if found[2] is not None else found[3]
        parts.setdefault(name[1], []).append((int(name[2] or 0), name[3] is not None, content))
    return value.split(";", 1)[0].strip().lower(), {name: _joined(pieces) for name, pieces in parts.items()}


def _joined(pieces: list[tuple[int, bool, str]]) -> str:
    ordered = sorted(pieces, key=lambda piece: piece[0])
    if not any(is_encoded for _, is_encoded, _ in ordered):
        return text_of("".join(text for _, _, text in ordered).encode("utf-8", "replace"))
    charset, _, rest = ordered[0][2].partition("'")
    first = rest.partition("'")[2] if "'" in rest else ordered[0][2]
    texts = [first, *(text for _, _, text in ordered[1:])]
    return decoded(b"".join(unquote_to_bytes(text) for text in texts), charset)


def ids(value: str) -> tuple[str, ...]:
    """Returns the message ids of a field, without their brackets."""
    if not value:
        return ()
    found = tuple(found[1] for found in _ID.finditer(value))
    if not found and "@" in value and " " not in value.strip():
        found = (value.strip(" <>\t"),)
    return found[-_IDS_MAX:]


def addresses(raw: bytes) -> tuple[Address, ...]:
    """Returns the mailboxes of a field. Names are decoded after the field was split, since an encoded name may contain
    a comma."""
    if not raw:
        return ()
    value = raw.decode("ascii") if raw.isascii() and b"\x1b" not in raw else decoded(raw, "")
    found: list[Address] = []
    name, address = list[str](), ""
    for token in _ADDRESS_TOKEN.finditer(value):
        quoted, _, bracketed, separator, bare = token.groups()
        if separator:
            _add(found, name, address)
            name, address = [], ""
        elif bracketed is not None:
            address = bracketed
        elif quoted is not None and value.startswith("@", token.end()):
            address = token[0]  # a part before the @ in quotes: not a name, with an address of another at its end
        elif bare is not None and bare.startswith("@") and address.endswith('"'):
            address += bare
        elif quoted is not None:
            name.append(re.sub(r"\\(.)", r"\1", quoted))
        elif bare is not None:
            name.append(bare)
        if len(found) >= _ADDRESSES_MAX:
            return tuple(found)
    _add(found, name, address)
    return tuple(found)


def _add(found: list[Address], words: list[str], bracketed: str) -> None:
    name = " ".join(text_of("".join(words).encode("utf-8", "replace")).split())
    address = bracketed.strip()
    if not address:
        bare = _BARE.search(name)
        address, name = (bare[0], "") if bare else ("", name)
    if address or name:
        found.append(Address(name, address.lower().replace("\0", "")))


def moment(value: str) -> datetime | None:
    """Returns the time of a Date field, or None if it is not a date."""
    try:
        return parsedate_to_datetime(value[:200])
    except (ValueError, TypeError, IndexError, OverflowError, AttributeError):
        return None
