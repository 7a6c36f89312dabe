"""Bring a database to the schema that this program needs, once, however many servers start at the same instant."""

import logging
import time
from collections.abc import Generator
from contextlib import contextmanager
from importlib import resources
from typing import Final

from psycopg import errors as pg
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, ProgrammingError

from db.domain.errors import Busy, StoreUnavailable
from migrations import HEAD

logger = logging.getLogger(__name__)

# Any fixed number will do; it must be the same in every version of the program.
LOCK: Final = 7_202_611_240_001
PATIENCE: Final = 60.0
_BETWEEN_LOOKS: Final = 0.1
BASE: Final = "base"
"""The revision of an empty database."""

_HOLDER = text("""
    SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND classid::bigint << 32 | objid::bigint = :lock
""")


def ensure_current(engine: Engine, *, upgrade: bool) -> None:
    """Return when the schema is at HEAD; upgrade it first if told to, otherwise StoreUnavailable says what to run."""
    revision = revision_of(engine)
    if revision == HEAD:
        return
    _refuse_newer(revision)
    if not upgrade:
        found = f"at revision {revision}" if revision else "empty"
        raise StoreUnavailable(
            f"The database's schema is {found}, and this version needs {HEAD}. Run `sales-automation-mcp migrate`."
        )
    migrate(engine)


def revision_of(engine: Engine) -> str | None:
    """Returns the revision that a database stands at; None when it has never been migrated."""
    with engine.connect() as connection:
        return current_revision(connection)


def _refuse_newer(revision: str | None) -> None:
    """StoreUnavailable where a newer version of the program has migrated the database: revisions count up."""
    if revision is not None and revision.isdecimal() and int(revision) > int(HEAD):
        raise StoreUnavailable(
            f"The database's schema is newer than this program: it stands at revision {revision}, and this version "
            f"knows those up to {HEAD}. Run a version of sales-automation-mcp that works with {revision}: "
            "`pip install --upgrade sales-automation-mcp`."
        )


def current_revision(connection: Connection) -> str | None:
    """The revision that the database stands at; None when it has never been migrated."""
    try:
        with connection.begin_nested() if connection.in_transaction() else connection.begin():
            if connection.scalar(text("SELECT to_regclass('alembic_version') IS NULL")):
                return None
            return connection.scalar(text("SELECT version_num FROM alembic_version"))
    except ProgrammingError as error:
        if isinstance(error.orig, pg.InsufficientPrivilege):
            raise StoreUnavailable(
                "The user of DATABASE_URL may not read the version of the schema. Name the owner of the tables, or "
                "let the owner grant what this user lacks."
            ) from None
        raise


def migrate(engine: Engine, revision: str = "head", *, patience: float = PATIENCE) -> None:
    """Upgrade or downgrade to `revision` ("head", "base" or an id). Concurrent callers wait for one another, for
    `patience` seconds. Busy where the others, or users of the tables, take longer; then the step that waited has
    changed nothing. StoreUnavailable with the reason where a step fails.
    """
    with taking_turn(engine, patience) as connection:
        run_steps(connection, revision)


@contextmanager
def taking_turn(engine: Engine, patience: float) -> Generator[Connection]:
    """Gives a connection that alone migrates this database while the block runs. What fails in it is told as `migrate`
    says."""
    with engine.connect() as connection:
        try:
            _take_turn(connection, patience)
            _refuse_newer(current_revision(connection))
            yield connection
        except (DBAPIError, RuntimeError) as error:
            connection.rollback()
            told = _told(error, connection)
            logger.info("a migration failed", exc_info=True)
            raise told from error
        finally:
            connection.rollback()
            # The connection carries session settings that its next user must not inherit.
            connection.invalidate()


def run_steps(connection: Connection, revision: str) -> None:
    """Runs the migrations up to `revision`, or back to it where the database stands beyond it. Each is committed by
    itself, unless the connection is in a transaction."""
    # Imported here: a server whose schema is current never pays for Alembic.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(resources.files("migrations")))
    config.attributes["connection"] = connection
    is_back = revision == BASE or (revision.isdecimal() and revision < (current_revision(connection) or ""))
    if is_back:
        command.downgrade(config, revision)
    else:
        command.upgrade(config, revision)


def _told(error: DBAPIError | RuntimeError, connection: Connection) -> StoreUnavailable:
    """Returns what the operator is told of a failed step."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, pg.LockNotAvailable | pg.DeadlockDetected):
        return Busy(
            "The migration waited too long for tables that others use. Nothing was changed by the step that "
            "waited: try again, or stop the other servers first."
        )
    if isinstance(cause, pg.InvalidSchemaName):
        return StoreUnavailable(
            "There is no schema for the tables: the search_path of DATABASE_URL, or of its user, names none "
            "that exists and that this user may use. Make it with CREATE SCHEMA, or name another."
        )
    if isinstance(cause, pg.InsufficientPrivilege):
        return StoreUnavailable(
            "The user of DATABASE_URL may not change the schema. Migrate as the owner of the database."
        )
    reason = str(cause).strip().partition("\n")[0].rstrip(".")
    return StoreUnavailable(
        f"The migration failed. Nothing is left of the step that failed, and {_stands(connection)}.",
        log=f" The reason: {reason}. Put that right, and run `sales-automation-mcp migrate` again.",
    )


def _stands(connection: Connection) -> str:
    try:
        revision = current_revision(connection)
    except DBAPIError:  # it went away
        return "the schema stands where it did before that step"
    return f"the schema stands at revision {revision}" if revision else "the database stays empty"


def _take_turn(connection: Connection, patience: float) -> None:
    """Take the lock of migrations, for as long as the connection lasts."""
    # The limits of ordinary transactions are for clients that wait; a migration takes as long as the tables are large.
    connection.execute(text("SELECT set_config('statement_timeout', '0', false)"))
    connection.execute(text("SELECT set_config('lock_timeout', :limit, false)"), {"limit": f"{patience * 1000:.0f}ms"})
    connection.commit()
    if not _try(connection):
        logger.warning("waiting for another process, which migrates this database")
        deadline = time.monotonic() + patience
        while not _try(connection):
            if time.monotonic() > deadline:
                pids = ", ".join(map(str, connection.scalars(_HOLDER, {"lock": LOCK})))
                raise Busy(
                    f"Another process has been migrating this database for more than {patience:g} seconds (its backend "
                    f"has the pid {pids}). Try again when it is done, or end it if it hangs."
                )
            time.sleep(_BETWEEN_LOOKS)
    connection.execute(text("SET lock_timeout = '30s'"))
    connection.commit()


def _try(connection: Connection) -> bool:
    """Takes the lock if it is free. No transaction stays open: whoever builds an index concurrently waits for all that
    are, and would wait for who waits for it."""
    taken = connection.scalar(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": LOCK})
    connection.commit()
    return bool(taken)
