"""The engine: one pool for a process, and the limits that every session sets in the database."""

from typing import Any

from sqlalchemy import URL, Engine, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from db.domain.errors import StoreUnavailable
from db.postgres import discretion, liveness, monitor
from db.postgres.config import DatabaseConfig
from db.postgres.json import loads, to_text


def open_engine(config: DatabaseConfig, watch: monitor.Watch) -> Engine:
    """Returns an engine for `config`. It connects at the first use, not here; StoreUnavailable when the URL can't be
    read."""
    try:
        url = make_url(config.url)
    except (ArgumentError, ValueError):
        # The cause repeats the URL, or what it has for a port; either may contain a password.
        raise StoreUnavailable("DATABASE_URL is not a URL. Write postgresql://USER@HOST:5432/NAME.") from None
    if url.get_backend_name() not in ("postgresql", "postgres"):
        raise StoreUnavailable("DATABASE_URL must start with postgresql://.")
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        poolclass=monitor.watched_pool(watch),
        pool_size=config.pool_size,
        max_overflow=config.max_overflow,
        pool_timeout=config.pool_timeout,
        # The most recently used connection is warm; the others may reach their idle timeout and close.
        pool_use_lifo=True,
        json_serializer=to_text,
        json_deserializer=loads,
        hide_parameters=True,
        connect_args=_connect_args(config, url, watch),
    )
    liveness.watch_connections(engine, config.ping_after)
    discretion.watch_errors(engine)
    monitor.watch_pool(engine, config.pool_size + config.max_overflow, watch)
    return engine


def _connect_args(config: DatabaseConfig, url: URL, watch: monitor.Watch) -> dict[str, Any]:
    limits = {
        "statement_timeout": config.statement_timeout,
        "idle_in_transaction_session_timeout": config.idle_in_transaction_timeout,
        "lock_timeout": config.lock_timeout,
    }
    options = [f"-c {name}={round(seconds * 1000)}" for name, seconds in limits.items()]
    ssl = {"sslmode": config.sslmode, "sslrootcert": config.sslrootcert}
    return {
        "connect_timeout": config.connect_timeout,
        "application_name": "sales-automation-mcp",
        # From a database without an encoding the driver would get bytes, which it does not expect.
        "client_encoding": "utf8",
        "cursor_factory": monitor.watched_cursor(config.slow_query, watch),
        **{name: value for name, value in ssl.items() if value},
        # The URL's own options come after ours, so that they win.
        **{name: value for name, value in url.query.items() if name in ("connect_timeout", "application_name")},
        "options": " ".join([*options, "-c timezone=UTC", *_texts(url.query.get("options"))]),
    }


def _texts(value: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value or ()
