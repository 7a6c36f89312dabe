"""How to reach the database, as plain data. This package does not read the environment; its callers do."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DatabaseConfig:
    """Times are in seconds. `url` is a libpq URL (postgresql://...) without defaults.
    `read_only`: the database itself refuses all writes."""

    url: str
    pool_size: int = 5
    max_overflow: int = 10
    pool_timeout: float = 10.0
    connect_timeout: int = 5
    statement_timeout: float = 10.0
    idle_in_transaction_timeout: float = 30.0
    lock_timeout: float = 5.0
    slow_query: float = 1.0
    ping_after: float = 30.0
    max_attempts: int = 5
    start_attempts: int = 5
    sslmode: str | None = None
    sslrootcert: str | None = None
    read_only: bool = False
