"""The first connection: a bounded number of tries, then one clear reason."""

import logging
import time
from typing import Any, cast

from psycopg import Connection, OperationalError
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from db.domain.errors import StoreUnavailable

logger = logging.getLogger("db.postgres")

MINIMUM_VERSION = 15
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 3.0

# A wrong name or password does not become right by waiting.
_FINAL = {
    "28P01": "the password is wrong",
    "28000": "this user may not connect",
    "3D000": "the database or the user does not exist",
}


def wait_until_ready(engine: Engine, *, attempts: int) -> None:
    """Return when the server answers, is PostgreSQL 15 or later, and its database can hold every text;
    StoreUnavailable with the reason otherwise."""
    for attempt in range(1, attempts + 1):
        try:
            version, encoding = _server_version(engine)
            break
        except DBAPIError as error:
            reason = _reason(error)
            logger.info("database does not answer", extra={"attempt": attempt, "of": attempts, "reason": reason})
            if reason in _FINAL.values():
                raise StoreUnavailable(
                    f"PostgreSQL at {_address(engine)} refuses: {reason}. Correct DATABASE_URL."
                ) from None
            if attempt == attempts:
                raise StoreUnavailable(
                    f"PostgreSQL at {_address(engine)} does not answer after {attempts} tries. "
                    "Start it, or correct DATABASE_URL."
                ) from None
            time.sleep(min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (attempt - 1)))
    else:
        raise AssertionError("unreachable: the last attempt returns or raises")
    if version < MINIMUM_VERSION:
        raise StoreUnavailable(
            f"PostgreSQL at {_address(engine)} is version {version}; this server needs {MINIMUM_VERSION} or later."
        )
    if encoding != "UTF8":
        raise StoreUnavailable(
            f"The database at {_address(engine)} is encoded as {encoding}, which can't hold every name; this server "
            "needs UTF8. Make one with `createdb --template=template0 --encoding=UTF8`, and correct DATABASE_URL."
        )


def _server_version(engine: Engine) -> tuple[int, str | None]:
    """The major version, and the encoding of the database."""
    with engine.connect() as connection:
        driver = cast("Connection[Any]", connection.connection.driver_connection)
        return driver.info.server_version // 10_000, driver.info.parameter_status("server_encoding")


def _address(engine: Engine) -> str:
    """Where the server should be, without user and password."""
    return f"{engine.url.host or engine.url.query.get('host', 'localhost')}:{engine.url.port or 5432}"


def _reason(error: DBAPIError) -> str:
    cause = error.orig
    text = str(cause)
    state = cause.sqlstate if isinstance(cause, OperationalError) else None
    for code, reason in _FINAL.items():
        # libpq gives the connection's failure as text alone
        if state == code or _LIBPQ_TEXT[code] in text:
            return reason
    return "no answer"


_LIBPQ_TEXT = {
    "28P01": "password authentication failed",
    "28000": "no pg_hba.conf entry",
    "3D000": "does not exist",
}
