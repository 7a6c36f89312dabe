"""Removes people from a JSON value: the rows that are about them, and nothing that is about others."""

import csv
import io
from collections.abc import Collection, Iterator
from typing import Final, cast

from db.domain.addresses import addresses_in

ERASED: Final = "erased"
"""What stands where something was taken out whose place has to stay."""


class _PersonalValue:
    """A value that is about the person."""


_GONE: Final = _PersonalValue()


class Redactor:
    """`addresses` (canonical) and `ids` (contact ids as text) name the people to remove."""

    def __init__(self, addresses: Collection[str], ids: Collection[str] = ()) -> None:
        self._addresses = set(addresses)
        self._ids = {id_.lower() for id_ in ids}

    def mentions(self, text: str) -> bool:
        """Returns whether a text names one of these people."""
        lower = text.lower()
        return any(id_ in lower for id_ in self._ids) or not self._addresses.isdisjoint(addresses_in(text))

    def redact(self, value: object) -> tuple[object, bool]:
        """Returns the value without these people, and whether anything was removed.

        An object that names a person is about that person, and is removed from its list as a whole: the name goes with
        the address. An object that only holds a list of people stays. A value that is only about them becomes
        {"erased": true}. Their rows of a CSV are emptied, so that the other rows keep their numbers.
        """
        redacted = self._walk(value)
        if isinstance(redacted, _PersonalValue):
            return {ERASED: True}, True
        return redacted, redacted != value

    def _walk(self, value: object) -> object:
        if isinstance(value, str):
            return self._text(value) if self.mentions(value) else value
        if isinstance(value, list):
            walked = [self._walk(item) for item in cast("list[object]", value)]
            return [item for item in walked if not isinstance(item, _PersonalValue)]
        if isinstance(value, dict):
            return self._object(cast("dict[str, object]", value))
        return value

    def _object(self, value: dict[str, object]) -> object:
        kept = {key: item for key, item in value.items() if not self.mentions(key)}
        walked = {key: self._walk(item) for key, item in kept.items()}
        return _GONE if any(isinstance(item, _PersonalValue) for item in walked.values()) else walked

    def _text(self, text: str) -> object:
        table = _table(text)
        return _GONE if table is None else "".join(self._rows(*table))

    def _rows(self, delimiter: str, records: list[tuple[str, list[str]]]) -> Iterator[str]:
        for raw, cells in records:
            if self.mentions(raw):
                end = raw[len(raw.rstrip("\r\n")) :]
                yield f"{ERASED}{delimiter * (len(cells) - 1)}{end}"
            else:
                yield raw


def _table(text: str) -> tuple[str, list[tuple[str, list[str]]]] | None:
    """Returns (delimiter, records) if the text is a CSV with a header, else None. A record is its text as it stands,
    with its cells."""
    if "\n" not in text and "\r" not in text:
        return None
    try:
        delimiter = max(",;\t", key=lambda each: len(next(csv.reader(io.StringIO(text, newline=""), delimiter=each))))
        records = list(_records(text, delimiter))
    except (csv.Error, StopIteration):
        return None
    header = records[0][1]
    is_header = not any(":" in cell or "@" in cell for cell in header)
    return (delimiter, records) if is_header and all(len(cells) <= len(header) for _, cells in records) else None


def _records(text: str, delimiter: str) -> Iterator[tuple[str, list[str]]]:
    lines = list(io.StringIO(text, newline=""))
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    start = 0
    for cells in reader:
        yield "".join(lines[start : reader.line_num]), cells
        start = reader.line_num


def texts_in(value: object) -> Iterator[str]:
    """Yields every text in a JSON value, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in cast("list[object]", value):
            yield from texts_in(item)
    elif isinstance(value, dict):
        for key, item in cast("dict[str, object]", value).items():
            yield key
            yield from texts_in(item)
