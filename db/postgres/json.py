"""JSON as it goes into and comes out of jsonb: orjson, since a batch of thousands of rows travels as one parameter."""

import json
from collections.abc import Sequence
from typing import Any, Self, cast

import orjson


class Rows(str):
    """The JSON text of a list, which knows how many it holds: db.postgres.planning asks for it."""

    __slots__ = ("rows",)
    rows: int

    def __new__(cls, text: str, rows: int) -> Self:
        made = super().__new__(cls, text)
        made.rows = rows
        return made


def to_text(value: object) -> str:
    """Returns a value as JSON text, a list as Rows. UUIDs become strings, aware datetimes RFC 3339."""
    text = orjson.dumps(value).decode()
    return Rows(text, len(cast("Sequence[object]", value))) if isinstance(value, list | tuple) else text


def canonical(value: object) -> bytes:
    """Returns a value as JSON bytes, the same for equal values in any order of their keys."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # a number of more than 64 bits, or half of a surrogate pair
        return json.dumps(value, sort_keys=True, default=str).encode()


loads = orjson.loads
"""jsonb text -> value."""


def rows_parameter(rows: Sequence[Any]) -> dict[str, str]:
    """Returns the parameter of a statement that reads its rows with `jsonb_to_recordset(CAST(:rows AS jsonb))`.

    A list of rows as one JSON text costs a tenth of the client's time that arrays of values cost, and one statement
    serves any number of rows.
    """
    return {"rows": to_text(rows)}
