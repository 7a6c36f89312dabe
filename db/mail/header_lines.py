"""Writes header fields as lines that end in CRLF: folded, of at most 998 bytes each, in ASCII but for what SMTPUTF8
carries. Line breaks and other control characters of a value become spaces, so that no value begins another field."""

import re
from collections.abc import Iterable, Sequence
from email.header import Header
from typing import Final

from db.domain.addresses import domain_in_ascii, domain_in_unicode
from db.domain.errors import InvalidInput
from db.domain.field_limits import HOST_MAX
from db.domain.texts import is_storable, one_line, storable_part

LINE_BYTES: Final = 998
"""Bytes of a line without its end (RFC 5322, 2.1.1)."""
_LINE_GOAL: Final = 76
_WORD_MAX: Final = 900
_ID: Final = re.compile(r"[!-;=?-~]+")
_NAME: Final = re.compile(r"[!-9;-~]{1,70}")
_ATOMS: Final = re.compile(r"[\w!#$%&'*+/=?^`{|}~-]+(?: [\w!#$%&'*+/=?^`{|}~-]+)*", re.ASCII)
_LOCAL_PART: Final = re.compile(r"[^\s\x00-\x20\x7f-\x9f\ud800-\udfff<>()\[\]\\,;:@\"]+")
_HOST: Final = re.compile(r"(?!.*[^.]{64})[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")
_LONG_NAME: Final = 200


def text_field(name: str, value: str) -> str:
    """Returns a field of free text, such as Subject. What ASCII can't carry as it is becomes encoded words."""
    text = storable_part(one_line(value)).strip()
    words = text.split(" ")
    is_plain = text.isascii() and "=?" not in text and all(0 < len(word) < _LINE_GOAL for word in words)
    return _folded(name, words) if is_plain else f"{name}: {_encoded(text, len(name) + 2)}\r\n"


def plain_field(name: str, value: str) -> str:
    """Returns a field that programs read, such as List-Unsubscribe, folded at its spaces. InvalidInput if it is not in
    ASCII or can't be folded, or if the name is none."""
    text = one_line(value).strip()
    words = text.split()
    if not _NAME.fullmatch(name):
        raise InvalidInput("A header name holds letters, digits and hyphens, and no colon or space.")
    if not text or not text.isascii() or any(len(word) > _WORD_MAX for word in words):
        raise InvalidInput(f"The header {name} must be in ASCII, in words of at most {_WORD_MAX} characters.")
    return _folded(name, words)


def ids_field(name: str, ids: Iterable[str]) -> str:
    """Returns a field of message ids, given without their brackets, one a line. Those that no line can hold are left
    out; with none left, there is no field."""
    words = [f"<{id_}>" for id_ in ids if is_message_id(id_)]
    return _folded(name, words) if words else ""


def is_message_id(text: str) -> bool:
    """Returns whether a field can name a mail by this id."""
    return len(text) <= _WORD_MAX and _ID.fullmatch(text) is not None


def address_field(name: str, display_name: str, address: str) -> str:
    """Returns a field with one mailbox. `address`: as `address_to_send` returns it; in UTF-8 where it is not in
    ASCII."""
    shown = " ".join(storable_part(one_line(display_name)).split())
    if not shown:
        return f"{name}: {address}\r\n"
    phrase = _phrase(shown, len(name) + 2)
    last = phrase.rpartition("\r\n")[2]
    indent = 0 if "\r\n" in phrase else len(name) + 2
    gap = " " if indent + len(last) + len(address) + 3 <= _LINE_GOAL else "\r\n "
    return f"{name}: {phrase}{gap}<{address}>\r\n"


def addresses_field(name: str, addresses: Sequence[str]) -> str:
    """Returns a field with several addresses, each as `address_to_send` returns it; none without addresses."""
    *others, last = addresses or ("",)
    return _folded(name, [*(f"{address}," for address in others), last]) if last else ""


def address_to_send(address: str) -> str:
    """Returns an address as SMTP and header fields write it: its domain in punycode. InvalidInput if it needs quotes,
    or its domain is none."""
    local, _, domain = address.rpartition("@")
    host = domain_in_ascii(domain_in_unicode(domain.lower())) if is_storable(domain) else ""
    if not _LOCAL_PART.fullmatch(local) or len(host) > HOST_MAX or not _HOST.fullmatch(host):
        raise InvalidInput("An address to send to or from is written name@example.com. Correct it.")
    return f"{local}@{host}"


def can_be_sent_to(address: str) -> bool:
    """Returns whether `address_to_send` takes an address."""
    try:
        return bool(address_to_send(address))
    except InvalidInput:
        return False


def _phrase(shown: str, indent: int) -> str:
    if not shown.isascii() or "=?" in shown or len(shown) > _LONG_NAME:
        return _encoded(shown, indent)
    if _ATOMS.fullmatch(shown):
        return shown
    escaped = re.sub(r'(["\\])', r"\\\1", shown)
    return f'"{escaped}"'


def _encoded(text: str, indent: int) -> str:
    """Returns encoded words in UTF-8 (RFC 2047), a line each; the first comes after `indent` characters."""
    return Header(text, "utf-8", maxlinelen=_LINE_GOAL, header_name="x" * (indent - 2)).encode(linesep="\r\n")


def _folded(name: str, words: Iterable[str]) -> str:
    lines = [f"{name}:"]
    for word in words:
        # A line of spaces alone is none, so the first word stands beside the name unless it fills a line.
        fits = len(lines[-1]) + 1 + len(word) <= _LINE_GOAL
        if fits or (lines[-1] == f"{name}:" and len(word) < LINE_BYTES - 100):
            lines[-1] += f" {word}"
        else:
            lines.append(f" {word}")
    return "\r\n".join(lines) + "\r\n"
