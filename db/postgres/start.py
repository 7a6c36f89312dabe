"""The first connection: a bounded number of tries, then one clear reason."""

import logging
import time
from typing import Any, NamedTuple, cast

from psycopg import Connection
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from db.domain.errors import StoreUnavailable

logger = logging.getLogger("db.postgres")

MINIMUM_VERSION = 15
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 3.0

_URL = "Correct DATABASE_URL."
_TLS = "Correct SALES_AUTOMATION_DATABASE_SSLMODE or SALES_AUTOMATION_DATABASE_SSLROOTCERT."


class Final(NamedTuple):
    """What does not become right by waiting: words of libpq, which gives no code, what they mean, and what to do."""

    words: tuple[str, ...]
    reason: str
    advice: str


# The first that fits: a certificate may "not exist", and so may a database.
_FINAL = (
    Final(("password authentication failed",), "the password is wrong", _URL),
    Final(("no password supplied",), "it asks for a password", _URL),
    Final(
        (
            "no pg_hba.conf entry",
            "Peer authentication failed",
            "Ident authentication failed",
            "not permitted to log in",
        ),
        "this user may not connect",
        _URL,
    ),
    Final(("does not support SSL",), "it does not offer TLS", _TLS),
    Final(("certificate",), "its certificate can't be verified", _TLS),
    Final(
        (
            *(
                "invalid URI query",
                "invalid connection option",
                "bad value for",
                "invalid sslmode",
                "invalid integer",
                "definition of service",
            ),
            *("unrecognized configuration parameter", "requires a value"),
        ),
        "a parameter after the ? of its address is wrong",
        _URL,
    ),
    Final(("does not exist",), "the database or the user does not exist", _URL),
)


def wait_until_ready(engine: Engine, *, attempts: int) -> None:
    """Return when the server answers, is PostgreSQL 15 or later, and its database can hold every text;
    StoreUnavailable with the reason otherwise."""
    for attempt in range(1, attempts + 1):
        try:
            version, encoding = _server_version(engine)
            break
        except DBAPIError as error:
            final = _final(error)
            reason = final.reason if final else "no answer"
            logger.info("database does not answer", extra={"attempt": attempt, "of": attempts, "reason": reason})
            if final:
                raise StoreUnavailable(
                    f"PostgreSQL at {_address(engine)} can't be used: {final.reason}. {final.advice}"
                ) from None
            if attempt == attempts:
                unknown = ", for no such host is known" if "failed to resolve host" in str(error.orig) else ""
                raise StoreUnavailable(
                    f"PostgreSQL at {_address(engine)} does not answer after {attempts} tries{unknown}. "
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


def _final(error: DBAPIError) -> Final | None:
    text = str(error.orig)
    return next((each for each in _FINAL if any(words in text for words in each.words)), None)
