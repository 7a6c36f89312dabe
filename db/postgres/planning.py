"""Decides when a connection makes new plans for its statements.

The driver prepares statements that run often, and PostgreSQL then keeps one plan for each, also for the look-ups of
foreign keys. A plan for a table of one page scans the whole table; when the table has ten thousand rows, the same plan
scans them for each row of a batch. PostgreSQL replaces such plans only after it has analyzed the tables, which takes
minutes.
"""

from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any, Final, cast
from weakref import WeakKeyDictionary

from psycopg import Connection
from psycopg.pq import TransactionStatus

from db.postgres.json import Rows

MANY: Final = 50
"""From this many rows on, planning costs less than a plan that does not suit."""
_MANY_FOR_OTHERS: Final = 1_000
_COUNTS: Final = ("limit", "chunk")


class Planning:
    """A batch gets new plans for the present size of its tables, and after it every connection of the process gets new
    plans. Statements with few rows keep their plans."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._version = 0
        self._rows = 0
        self._planned: WeakKeyDictionary[Connection[Any], int] = WeakKeyDictionary()
        """connection -> the version that its plans are not older than"""

    def prepare(self, connection: Connection[Any], parameters: object) -> None:
        """Makes the connection forget its plans, if they may be wrong for the next statement. Not after a failure: then
        PostgreSQL takes nothing but the rollback, which is to be done in any case."""
        if connection.info.transaction_status is TransactionStatus.INERROR:
            return
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
    """Returns how many rows a statement handles, as far as its parameters tell: the length of a list, one for each
    parameter set, or the limit."""
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
