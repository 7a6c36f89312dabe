"""Makes the first connection, in a bounded number of tries. If all fail, the error gives one reason."""

import logging
import time
from pathlib import PurePath
from typing import Any, NamedTuple, cast

from psycopg import Connection
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from db.domain.errors import StoreUnavailable

logger = logging.getLogger("db.postgres")

MINIMUM_VERSION = 15
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 3.0

_CORRECT_URL = "Correct DATABASE_URL."


class _Refusal(NamedTuple):
    """A refusal that waiting does not cure. It is recognised by the driver's words, since a failed connection has no
    code."""

    words: tuple[str, ...]
    reason: str
    advice: str = _CORRECT_URL

    def is_said(self, text: str) -> bool:
        return any(words in text for words in self.words)


# The order matters: the words of the last one also occur in errors about files.
_FINAL = (
    _Refusal(("password authentication failed",), "the password is wrong"),
    _Refusal(("no password supplied",), "it asks for a password"),
    _Refusal(
        (
            "no pg_hba.conf entry",
            "Peer authentication failed",
            "Ident authentication failed",
            "not permitted to log in",
            "permission denied for database",
            "authentication failed for user",
        ),
        "this user may not connect",
    ),
    _Refusal(
        ("server does not support SSL",),
        "it offers no TLS, which is demanded",
        "Turn TLS on there, or set SALES_AUTOMATION_DATABASE_SSLMODE (or sslmode in DATABASE_URL) to prefer.",
    ),
    _Refusal(
        ("certificate verify failed",),
        "its certificate is not one that is trusted",
        "Set SALES_AUTOMATION_DATABASE_SSLROOTCERT to the file with the certificate of its authority, or have one that "
        "has run out renewed.",
    ),
    _Refusal(
        ("does not match host name",),
        "its certificate is for another host name",
        "Write that name in DATABASE_URL, or set SALES_AUTOMATION_DATABASE_SSLMODE=verify-ca.",
    ),
    _Refusal(
        ("root certificate file",),
        "the file of certificates to trust can't be read",
        "Set SALES_AUTOMATION_DATABASE_SSLROOTCERT to a file of PEM certificates, or to system.",
    ),
    _Refusal(
        ("weak sslmode",),
        "the certificates of the system are trusted for verify-full alone",
        "Set SALES_AUTOMATION_DATABASE_SSLMODE=verify-full.",
    ),
    _Refusal(
        (
            "invalid URI query",
            "invalid connection option",
            "bad value for",
            "invalid sslmode",
            "invalid integer",
            "definition of service",
            "unrecognized configuration parameter",
            "requires a value",
        ),
        "a parameter after the ? of its address is wrong",
    ),
    _Refusal(("does not exist",), "the database or the user does not exist"),
)


def wait_until_ready(engine: Engine, *, attempts: int) -> None:
    """Waits until the server answers. Raises StoreUnavailable with the reason if it does not, is older than PostgreSQL
    15, or its database can't hold every text."""
    for attempt in range(1, attempts + 1):
        try:
            version, encoding = _server_version(engine)
            break
        except DBAPIError as error:
            refusal = next((failure for failure in _FINAL if failure.is_said(str(error.orig))), None)
            reason = refusal.reason if refusal else "no answer"
            logger.info("database does not answer", extra={"attempt": attempt, "of": attempts, "reason": reason})
            if refusal is not None:
                raise StoreUnavailable(
                    f"PostgreSQL at {_address(engine)} can't be used: {reason}. {refusal.advice}",
                    places=_places(engine),
                ) from None
            if attempt == attempts:
                unknown = ", for no such host is known" if "failed to resolve host" in str(error.orig) else ""
                raise StoreUnavailable(
                    f"PostgreSQL at {_address(engine)} does not answer after {attempts} tries{unknown}. "
                    "Start it, or correct DATABASE_URL.",
                    places=_places(engine),
                ) from None
            time.sleep(min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (attempt - 1)))
    else:
        raise AssertionError("unreachable: the last attempt returns or raises")
    if version < MINIMUM_VERSION:
        raise StoreUnavailable(
            f"PostgreSQL at {_address(engine)} is version {version}; this server needs {MINIMUM_VERSION} or later.",
            places=_places(engine),
        )
    if encoding != "UTF8":
        raise StoreUnavailable(
            f"The database at {_address(engine)} is encoded as {encoding}, which can't hold every name; this server "
            "needs UTF8. Make one with `createdb --template=template0 --encoding=UTF8`, and correct DATABASE_URL.",
            places=_places(engine),
        )


def _server_version(engine: Engine) -> tuple[int, str | None]:
    """Returns the major version, and the encoding of the database."""
    with engine.connect() as connection:
        driver = cast("Connection[Any]", connection.connection.driver_connection)
        return driver.info.server_version // 10_000, driver.info.parameter_status("server_encoding")


def _address(engine: Engine) -> str:
    """Returns the address of the server, without user and password."""
    return f"{engine.url.host or engine.url.query.get('host', 'localhost')}:{engine.url.port or 5432}"


def _places(engine: Engine) -> list[PurePath]:
    """Returns the directory of the server's socket, if the URL has no host."""
    host = str(engine.url.host or engine.url.query.get("host", ""))
    return [PurePath(host)] if host.startswith("/") else []
