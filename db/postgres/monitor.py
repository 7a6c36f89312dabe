"""The watch on slow statements and on the pool. Statements are logged, their parameters never."""

import logging
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from threading import Lock
from typing import Any, NamedTuple, Self

from psycopg import Cursor, Error, OperationalError
from psycopg.abc import Params, Query
from psycopg.errors import UniqueViolation
from sqlalchemy import Engine, event
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from db.postgres.context import transaction_id
from db.postgres.discretion import hide_contents
from db.postgres.planning import Planning

logger = logging.getLogger("db.postgres")

POOL_WARNING_INTERVAL = 60.0
_NEARLY_FULL = 0.8


class Count:
    """A number that many threads change."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.value = 0

    def add(self, amount: int = 1) -> None:
        with self._lock:
            self.value += amount


class Watch:
    """What has been counted since the database was opened, and who waits for a connection now."""

    def __init__(self) -> None:
        self.slow_queries = Count()
        self.retries = Count()
        self.waiting = Count()
        self.planning = Planning()


class PoolState(NamedTuple):
    """Connections: in use, open and idle, at most; and callers who wait for one or for its opening."""

    in_use: int
    idle: int
    limit: int
    waiting: int


def pool_state(engine: Engine, limit: int, watch: Watch) -> PoolState:
    pool = engine.pool
    assert isinstance(pool, QueuePool)
    return PoolState(pool.checkedout(), pool.checkedin(), limit, watch.waiting.value)


def watched_pool(watch: Watch) -> type[QueuePool]:
    """Returns a class of pools that count who waits. The pool has no event for it: its first one comes after the
    wait."""

    class WatchedPool(QueuePool):
        def _do_get(self) -> ConnectionPoolEntry:
            watch.waiting.add()
            try:
                return super()._do_get()
            finally:
                watch.waiting.add(-1)

    return WatchedPool


def watched_cursor(threshold: float, watch: Watch | None = None) -> type[Cursor[Any]]:
    """Returns a class of cursors that log and count what takes `threshold` seconds or longer, however it ends; and log
    what fails, and at DEBUG every statement.

    The driver's cursor and not SQLAlchemy's events, which cost every statement a tenth of its time.
    """

    class WatchedCursor(Cursor[Any]):
        def execute(
            self, query: Query, params: Params | None = None, *, prepare: bool | None = None, binary: bool | None = None
        ) -> Self:
            with _watched(self, query, threshold, watch):
                if watch is not None:
                    watch.planning.prepare(self.connection, params)
                # The driver declares one overload for templates and one for all else; this is both.
                return super().execute(query, params, prepare=prepare, binary=binary)  # pyright: ignore[reportArgumentType]

        def executemany(self, query: Query, params_seq: Iterable[Params], *, returning: bool = False) -> None:
            with _watched(self, query, threshold, watch):
                if watch is not None:
                    watch.planning.prepare(self.connection, [params_seq])
                super().executemany(query, params_seq, returning=returning)

    return WatchedCursor


@contextmanager
def _watched(cursor: Cursor[Any], statement: Query, threshold: float, watch: Watch | None) -> Generator[None]:
    started = time.perf_counter()
    try:
        yield
    except Error as error:
        hide_contents(error)
        facts = {"transaction": transaction_id(), "statement": statement, "error": type(error).__name__}
        # What is tried again, or told as a busy database, has a line of its own where it is given up.
        level = logging.INFO if isinstance(error, OperationalError | UniqueViolation) else logging.WARNING
        logger.log(level, "statement failed", extra={**facts, "sqlstate": error.sqlstate})
        raise
    finally:
        seconds = time.perf_counter() - started
        is_slow = seconds >= threshold
        if is_slow and watch is not None:
            watch.slow_queries.add()
        if is_slow or logger.isEnabledFor(logging.DEBUG):
            facts: dict[str, object] = {"seconds": round(seconds, 3), "rows": cursor.rowcount, "threshold": threshold}
            level, name = (logging.WARNING, "slow query") if is_slow else (logging.DEBUG, "statement")
            logger.log(level, name, extra={**facts, "transaction": transaction_id(), "statement": statement})


class PoolWatch:
    """Warns when four fifths of the pool's connections are taken, and when the last is. Each at most once a minute,
    since many callers find it so."""

    def __init__(
        self, pool: QueuePool, limit: int, watch: Watch | None = None, interval: float = POOL_WARNING_INTERVAL
    ) -> None:
        self._pool = pool
        self._limit = limit
        self._watch = watch
        self._interval = interval
        self._lock = Lock()
        self._warned_at: dict[str, float] = {}

    def checked_out(self, *_: object) -> None:
        in_use = self._pool.checkedout()
        if in_use < _NEARLY_FULL * self._limit:
            return
        told = "connection pool is full" if in_use >= self._limit else "connection pool is nearly full"
        with self._lock:
            now = time.monotonic()
            if now - self._warned_at.get(told, float("-inf")) < self._interval:
                return
            self._warned_at[told] = now
        facts = {"connections": self._limit, "in_use": in_use, "idle": self._pool.checkedin()}
        waiting = self._watch.waiting.value if self._watch else 0
        logger.warning(told, extra={**facts, "waiting": waiting, "transaction": transaction_id()})


def watch_pool(engine: Engine, limit: int, watch: Watch, interval: float = POOL_WARNING_INTERVAL) -> None:
    """Logs a warning when most, and when all, of the `limit` connections of the engine's pool are in use."""
    pool = engine.pool
    assert isinstance(pool, QueuePool)
    event.listen(pool, "checkout", PoolWatch(pool, limit, watch, interval).checked_out)
