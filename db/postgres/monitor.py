"""The watch on slow statements and on the pool. Statements are logged, their parameters never."""

import logging
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from threading import Lock
from typing import Any, Self

from psycopg import Cursor
from psycopg.abc import Params, Query
from sqlalchemy import Engine, event
from sqlalchemy.pool import QueuePool

from db.postgres.context import transaction_id

logger = logging.getLogger("db.postgres")

POOL_WARNING_INTERVAL = 60.0


def watched_cursor(threshold: float) -> type[Cursor[Any]]:
    """A class of cursors that log what takes `threshold` seconds or longer, whether it ends well or is stopped.

    The driver's cursor and not SQLAlchemy's events, which cost every statement a tenth of its time.
    """

    class WatchedCursor(Cursor[Any]):
        def execute(
            self, query: Query, params: Params | None = None, *, prepare: bool | None = None, binary: bool | None = None
        ) -> Self:
            with _watched(query, threshold):
                # The driver declares one overload for templates and one for all else; this is both.
                return super().execute(query, params, prepare=prepare, binary=binary)  # pyright: ignore[reportArgumentType]

        def executemany(self, query: Query, params_seq: Iterable[Params], *, returning: bool = False) -> None:
            with _watched(query, threshold):
                super().executemany(query, params_seq, returning=returning)

    return WatchedCursor


@contextmanager
def _watched(statement: Query, threshold: float) -> Generator[None]:
    started = time.perf_counter()
    try:
        yield
    finally:
        seconds = time.perf_counter() - started
        if seconds >= threshold:
            facts = {"seconds": round(seconds, 3), "transaction": transaction_id(), "statement": statement}
            logger.warning("slow query", extra=facts)


class PoolWatch:
    """Warns when the last connection of the pool is taken. At most once a minute, since many callers find it so."""

    def __init__(self, pool: QueuePool, limit: int, interval: float = POOL_WARNING_INTERVAL) -> None:
        self._pool = pool
        self._limit = limit
        self._interval = interval
        self._lock = Lock()
        self._warned_at = float("-inf")

    def checked_out(self, *_: object) -> None:
        if self._pool.checkedout() < self._limit:
            return
        with self._lock:
            now = time.monotonic()
            if now - self._warned_at < self._interval:
                return
            self._warned_at = now
        logger.warning("connection pool is full", extra={"connections": self._limit, "transaction": transaction_id()})


def watch_pool(engine: Engine, limit: int, interval: float = POOL_WARNING_INTERVAL) -> None:
    """Log a warning when all `limit` connections of the engine's pool are in use."""
    pool = engine.pool
    assert isinstance(pool, QueuePool)
    event.listen(pool, "checkout", PoolWatch(pool, limit, interval).checked_out)
