"""Logs slow statements, and warns when the pool is nearly used up. Parameters of statements are never logged."""

import logging
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from threading import Lock, Thread
from typing import Any, NamedTuple, Self

from psycopg import Connection, Cursor, Error, OperationalError
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
    """A counter that many threads change."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.value = 0

    def add(self, amount: int = 1) -> None:
        with self._lock:
            self.value += amount


class Watch:
    """Counts since the database was opened, and how many callers wait for a connection now."""

    def __init__(self) -> None:
        self.slow_queries = Count()
        self.retries = Count()
        self.waiting = Count()
        self.planning = Planning()


class PoolState(NamedTuple):
    """How many connections are in use, open and allowed; and how many callers wait for one."""

    in_use: int
    idle: int
    limit: int
    waiting: int


def pool_state(engine: Engine, limit: int, watch: Watch) -> PoolState:
    pool = engine.pool
    assert isinstance(pool, QueuePool)
    return PoolState(pool.checkedout(), pool.checkedin(), limit, watch.waiting.value)


def watched_pool(watch: Watch) -> type[QueuePool]:
    """Returns a pool class that counts waiting callers. SQLAlchemy's pool has no event for that: its first event comes
    after the wait."""

    class WatchedPool(QueuePool):
        def _do_get(self) -> ConnectionPoolEntry:
            watch.waiting.add()
            try:
                return super()._do_get()
            finally:
                watch.waiting.add(-1)

    return WatchedPool


def watched_cursor(threshold: float, watch: Watch | None = None) -> type[Cursor[Any]]:
    """Returns a cursor class that logs and counts statements of `threshold` seconds or longer, however they end. It
    also logs failures, and at DEBUG every statement.

    It wraps the driver's cursor, since SQLAlchemy's events would cost every statement a tenth of its time.
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
        # These are retried or reported as a busy database; the call logs a warning of its own when it gives up.
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
    """Warns when four fifths of the pool's connections are taken, and when the last is. Warns at most once a minute of
    each, since many callers see the same pool."""

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
    """Logs a warning when most of the `limit` connections of the engine's pool are in use, and when all are."""
    pool = engine.pool
    assert isinstance(pool, QueuePool)
    event.listen(pool, "checkout", PoolWatch(pool, limit, watch, interval).checked_out)


_SECONDS_TO_CANCEL = 1.0


class Connections:
    """The connections of the engine's pool that are in use."""

    def __init__(self, engine: Engine) -> None:
        self.in_use: set[Connection[Any]] = set()
        event.listen(engine.pool, "checkout", self._taken)
        for end in ("checkin", "invalidate"):
            event.listen(engine.pool, end, self._given_back)

    def _taken(self, connection: Any, *_: object) -> None:  # noqa: ANN401  SQLAlchemy's is of any driver
        self.in_use.add(connection)

    def _given_back(self, connection: Any, *_: object) -> None:  # noqa: ANN401  as above
        self.in_use.discard(connection)

    def cancel(self) -> None:
        """Asks the server to cancel their statements, with a thread for each connection."""
        for connection in tuple(self.in_use):
            Thread(target=_cancel, args=(connection,), daemon=True).start()


def _cancel(connection: Connection[Any]) -> None:
    with suppress(Error):
        connection.cancel_safe(timeout=_SECONDS_TO_CANCEL)
