"""When a connection plans its statements anew.

The driver prepares what is run often, and PostgreSQL then keeps one plan for it, also for the look-ups of foreign keys.
A plan made for a table of one page reads it from end to end; once the table has ten thousand rows, it does so for each
row of a batch. Until the tables are analyzed, within minutes, nobody tells a connection that its plans are out of date.
"""

from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any, Final, cast
from weakref import WeakKeyDictionary

from psycopg import Connection

from db.postgres.json import Rows

MANY: Final = 50
"""From this many rows on, planning costs less than a plan that does not suit."""
_MANY_FOR_OTHERS: Final = 1_000
_COUNTS: Final = ("limit", "chunk")


class Planning:
    """A batch is planned for the tables that it meets, and what it did to them is told to every connection of the
    process. What takes few rows keeps its plans."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._version = 0
        self._rows = 0
        self._planned: WeakKeyDictionary[Connection[Any], int] = WeakKeyDictionary()
        """connection -> the version that its plans are not older than"""

    def prepare(self, connection: Connection[Any], parameters: object) -> None:
        """Has the connection forget its plans, if they may be wrong for the statement that comes next."""
        count = row_count(parameters)
        version = self._version
        known = self._planned.setdefault(connection, version)
        if count < MANY and known == version:
            return
        self._planned[connection] = version
        connection.execute("DISCARD PLANS", prepare=False)
        if count >= MANY:
            self._add(count)

    def _add(self, count: int) -> None:
        with self._lock:
            self._rows += count
            if self._rows >= _MANY_FOR_OTHERS:
                self._rows = 0
                self._version += 1


def row_count(parameters: object) -> int:
    """Returns how many rows a statement deals with, as far as its parameters tell: those of a list, one for each
    parameter, or the number that it asks for."""
    if isinstance(parameters, Mapping):
        given = cast("Mapping[str, object]", parameters)
        asked = (value for name in _COUNTS if isinstance(value := given.get(name), int))
        return max(len(given), *map(_length, given.values()), *asked, 0)
    if isinstance(parameters, list | tuple):
        values = cast("Sequence[object]", parameters)
        return max(len(values), *map(_length, values), 0)
    return 0


def _length(value: object) -> int:
    if isinstance(value, Rows):
        return value.rows
    return len(cast("Sequence[object]", value)) if isinstance(value, list | tuple) else 0
