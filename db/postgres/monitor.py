"""The watch on slow statements and on the pool. Statements are logged, their parameters never."""

import logging
import time
from threading import Lock

from sqlalchemy import Engine, event
from sqlalchemy.engine import Connection, ExceptionContext
from sqlalchemy.pool import QueuePool

from db.postgres.context import transaction_id

logger = logging.getLogger("db.postgres")

POOL_WARNING_INTERVAL = 60.0


def watch_slow_queries(engine: Engine, threshold: float) -> None:
    """Log every statement that takes `threshold` seconds or longer, whether it ends well or is stopped."""

    def started(conn: Connection, *_: object) -> None:
        conn.info["started"] = time.perf_counter()

    def failed(context: ExceptionContext) -> None:
        if context.connection is not None and context.statement is not None and "started" in context.connection.info:
            finished(context.connection, None, context.statement)

    def finished(conn: Connection, _cursor: object, statement: str, *_: object) -> None:
        seconds = time.perf_counter() - conn.info["started"]
        if seconds >= threshold:
            facts = {"seconds": round(seconds, 3), "transaction": transaction_id(), "statement": statement}
            logger.warning("slow query", extra=facts)

    event.listen(engine, "before_cursor_execute", started)
    event.listen(engine, "after_cursor_execute", finished)
    event.listen(engine, "handle_error", failed)


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
