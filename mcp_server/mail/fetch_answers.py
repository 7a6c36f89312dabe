"""Reads answers to FETCH of the usual shape by one pattern each, which imapclient reads byte by byte."""

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, cast

_ITEM: Final = (
    rb"UID [1-9]\d{0,9}|RFC822\.SIZE [1-9]\d{0,17}"
    rb'|INTERNALDATE "[ \d]\d-[A-Z][a-z]{2}-[12]\d{3} \d\d:\d\d:\d\d [-+]\d{4}"'
)
_ANSWER: Final = re.compile(
    rb'([1-9]\d{0,9}) \(((?:(?:%s) ){1,6})(BODY\[[^]{}"\\]{0,1000}\](?:<\d{1,10}>)?) \{(\d{1,18})\}' % _ITEM
)
_VALUE: Final = re.compile(rb'(UID|RFC822\.SIZE|INTERNALDATE) (?:(\d+)|"([^"]+)")')
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_NUMBERS: Final = {name: f"{number:02}" for number, name in enumerate(_MONTHS, 1)}

Items = dict[bytes, Any]


def usual(parts: Iterable[Any]) -> dict[int, Items] | None:
    """Returns the items of mails by their UIDs, as imapclient does. None if an answer is not of the usual shape: a UID
    and other plain items, then one part of the mail.

    parts: what imaplib has read: the beginning of an answer with the bytes that it announces, then its end.
    """
    found: dict[int, Items] = {}
    begun: Items | None = None
    for part in parts:
        if begun is None:
            if not isinstance(part, tuple) or (begun := _items(cast("tuple[bytes, bytes]", part))) is None:
                return None
        elif part == b")":
            found.setdefault(begun.pop(b"UID"), {}).update(begun)
            begun = None
        else:
            return None
    return found


def _items(part: tuple[bytes, bytes]) -> Items | None:
    beginning, content = part
    answer = _ANSWER.fullmatch(beginning)
    if answer is None or len(content) != int(answer[4]):
        return None
    items: Items = {b"SEQ": int(answer[1])}
    for name, number, date in _VALUE.findall(answer[2]):
        items[name] = int(number) if number else _moment(date)
    items[answer[3].upper()] = content
    return items if b"UID" in items else None


def _moment(date: bytes) -> datetime | None:
    """Returns the moment of a date such as ` 4-May-2026 09:15:00 +0200`."""
    text = date.decode("ascii")
    day, month, year = text[:2].replace(" ", "0"), _NUMBERS.get(text[3:6]), text[7:11]
    try:
        return datetime.fromisoformat(f"{year}-{month}-{day}T{text[12:20]}{text[21:]}")
    except ValueError:
        return None
