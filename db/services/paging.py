"""Keyset pages: a cursor names the last row seen, so a page costs the same at any depth and misses nothing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, Generic, TypeVar
from uuid import UUID

from sqlalchemy import Select, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session

from db.domain.errors import InvalidInput
from db.domain.signing import from_text, to_text

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """`next_cursor` is None on the last page."""

    rows: Sequence[Row]
    next_cursor: str | None


def page(
    session: Session,
    statement: Select[Row],
    *,
    by: Sequence[InstrumentedAttribute[Any]],
    limit: int,
    cursor: str | None,
    listing: str,
) -> Page[Row]:
    """Returns the next `limit` rows of `statement`, newest first by the columns `by` (UUIDs and moments).

    `listing` names the list, so that the cursor of one list is refused by another.
    """
    if cursor is not None:
        last_seen = decode_cursor(cursor, listing, [column.type.python_type for column in by])
        statement = statement.where(tuple_(*by) < tuple_(*last_seen))
    statement = statement.order_by(*(column.desc() for column in by)).limit(limit + 1)
    rows: Sequence[Row] = session.scalars(statement).all()
    return Page(rows, None) if len(rows) <= limit else cut(rows, limit, by=by, listing=listing)


def cut(rows: Sequence[Row], count: int, *, by: Sequence[InstrumentedAttribute[Any]], listing: str) -> Page[Row]:
    """Returns the first `count` rows, with the cursor of the next."""
    last = rows[count - 1]
    return Page(rows[:count], encode_cursor(listing, [getattr(last, column.key) for column in by]))


def encode_cursor(listing: str, values: Sequence[UUID | datetime]) -> str:
    """Returns the cursor that names a row of a list by `values`."""
    plain = b"".join(map(_packed, values))
    return to_text(seal(listing, plain) + plain)


def decode_cursor(cursor: str, listing: str, kinds: Sequence[type]) -> list[UUID | datetime]:
    """Returns the values of a cursor, which are of these `kinds`. InvalidInput where this list did not give it."""
    refusal = InvalidInput("cursor is not one that this list gave. Pass next_cursor unchanged, or leave cursor out.")
    raw = from_text(cursor)
    if raw[:4] != seal(listing, raw[4:]):
        raise refusal
    try:
        values = list(_unpacked(raw[4:]))
    except (ValueError, OverflowError):
        raise refusal from None
    if [type(value) for value in values] != list(kinds):
        raise InvalidInput(
            "cursor belongs to this list with other filters. Pass the same filters, or leave cursor out."
        )
    return values


# As bytes, and not as text: a model reads the cursor of every page, and passes it on.
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)


def _packed(value: UUID | datetime) -> bytes:
    if isinstance(value, UUID):
        return b"u" + value.bytes
    return b"t" + ((value - _EPOCH) // _TICK).to_bytes(8, signed=True)


def _unpacked(plain: bytes) -> Iterator[UUID | datetime]:
    """Yields the values. Raises ValueError or OverflowError if it was never packed: whoever knows the checksum can make
    it up."""
    while plain:
        kind, end = plain[:1], 17 if plain[:1] == b"u" else 9
        value, plain = plain[1:end], plain[end:]
        if kind not in (b"u", b"t") or len(value) != end - 1:
            raise ValueError(kind)
        yield UUID(bytes=value) if kind == b"u" else _EPOCH + int.from_bytes(value, signed=True) * _TICK


def seal(listing: str, plain: bytes) -> bytes:
    """Returns a checksum, not a secret: it finds cursors that were cut, mixed up or made up."""
    return blake2b(plain, digest_size=4, person=listing.encode()[:16]).digest()
