"""Whether a connection of the pool still lives, asked without a round trip where that tells enough."""

import time
from typing import Any

from psycopg import Connection, Error
from sqlalchemy import Engine, event
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry


def watch_connections(engine: Engine, ping_after: float) -> None:
    """Replaces connections that were closed when they are taken from the pool, with all others of their age.

    A server that ends a connection (a restart, an administrator) says so on its socket: reading what came is enough.
    A network that lost it says nothing, so one that lay idle for `ping_after` seconds is also asked.
    """

    def put_back(connection: Connection[Any] | None, entry: ConnectionPoolEntry) -> None:
        entry.info["idle_since"] = time.monotonic()
        if connection is not None and not connection.closed:
            # SQLAlchemy leaves "may write" behind a read-only transaction, where the database's own default stood.
            connection.read_only = None

    def taken(connection: Connection[Any], entry: ConnectionPoolEntry, _: object) -> None:
        idle_since: float | None = entry.info.get("idle_since")
        if idle_since is None:  # it was opened just now
            return
        try:
            # Twice, since the first reads the server's last words, and the next the end after them.
            connection.pgconn.consume_input()
            connection.pgconn.consume_input()
            if time.monotonic() - idle_since >= ping_after:
                engine.dialect.do_ping(connection)  # type: ignore[arg-type]
        except Error as error:
            raise InvalidatePoolError from error

    event.listen(engine.pool, "checkin", put_back)
    event.listen(engine.pool, "checkout", taken)
