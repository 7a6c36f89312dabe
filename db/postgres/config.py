"""How to reach the database, as plain data. Whoever reads the environment makes one of these."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DatabaseConfig:
    """Times are in seconds. `url` is a libpq URL (postgresql://...); nothing of it has a default.
    `read_only`: the database itself refuses what a transaction would write, whoever asks for it."""

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
