"""JSON for jsonb columns and parameters, by orjson, since a batch of thousands of rows is one parameter."""

import json
from collections.abc import Sequence
from typing import Any, Self, cast

import orjson


class Rows(str):
    """The JSON text of a list, with the number of its rows for db.postgres.planning."""

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
    except TypeError:  # orjson refuses numbers of more than 64 bits, and halves of surrogate pairs
        return json.dumps(value, sort_keys=True, default=str).encode()


loads = orjson.loads
"""jsonb text -> value."""


def rows_parameter(rows: Sequence[Any]) -> dict[str, str]:
    """Returns the parameter of a statement that reads its rows with `jsonb_to_recordset(CAST(:rows AS jsonb))`.

    One JSON text takes a tenth of the client's time that arrays of values take, and one statement serves any number of
    rows.
    """
    return {"rows": to_text(rows)}
