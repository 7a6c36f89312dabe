"""Checks whether a pooled connection is still open, without a round trip where that is enough."""

import time
from typing import Any

from psycopg import Connection, Error
from sqlalchemy import Engine, event
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry


def watch_connections(engine: Engine, ping_after: float) -> None:
    """Checks each connection that is taken from the pool. If it was closed, it is replaced, with all others of its age.

    A server that ends a connection (a restart, an administrator) closes its socket, which a read shows. A network
    failure shows nothing, so a connection that was idle for `ping_after` seconds is also pinged.
    """

    def put_back(connection: Connection[Any] | None, entry: ConnectionPoolEntry) -> None:
        entry.info["idle_since"] = time.monotonic()
        if connection is not None and not connection.closed:
            # After a read-only transaction SQLAlchemy sets "may write", and not the database's default.
            connection.read_only = None

    def taken(connection: Connection[Any], entry: ConnectionPoolEntry, _: object) -> None:
        idle_since: float | None = entry.info.get("idle_since")
        if idle_since is None:  # it was just opened
            return
        try:
            # Two reads: the first gets the server's last message, and the second the end of the stream.
            connection.pgconn.consume_input()
            connection.pgconn.consume_input()
            if time.monotonic() - idle_since >= ping_after:
                engine.dialect.do_ping(connection)  # type: ignore[arg-type]
        except Error as error:
            raise InvalidatePoolError from error

    event.listen(engine.pool, "checkin", put_back)
    event.listen(engine.pool, "checkout", taken)
