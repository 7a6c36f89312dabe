"""Bring a database to the schema that this program needs, once, however many servers start at the same instant."""

from importlib import resources

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import ProgrammingError

from db.domain.errors import StoreUnavailable
from migrations import HEAD

# Any fixed number will do; it must be the same in every version of the program.
_LOCK = 7_202_611_240_001
_LOCK_TIMEOUT = "30s"


def ensure_current(engine: Engine, *, upgrade: bool) -> None:
    """Return when the schema is at HEAD; upgrade it first if told to, otherwise StoreUnavailable says what to run."""
    with engine.connect() as connection:
        revision = current_revision(connection)
    if revision == HEAD:
        return
    if not upgrade:
        found = f"at revision {revision}" if revision else "empty"
        raise StoreUnavailable(
            f"The database's schema is {found}, and this version needs {HEAD}. Run `sales-automation-mcp migrate`."
        )
    migrate(engine)


def current_revision(connection: Connection) -> str | None:
    """The revision that the database stands at; None when it has never been migrated."""
    try:
        with connection.begin_nested() if connection.in_transaction() else connection.begin():
            return connection.scalar(text("SELECT version_num FROM alembic_version"))
    except ProgrammingError:
        return None


def migrate(engine: Engine, revision: str = "head") -> None:
    """Upgrade or downgrade to `revision` ("head", "base" or an id). Concurrent callers wait for one another."""
    # Imported here: a server whose schema is current never pays for Alembic.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": _LOCK})
        connection.execute(text(f"SET lock_timeout = '{_LOCK_TIMEOUT}'"))
        connection.execute(text("SET statement_timeout = 0"))
        connection.commit()
        try:
            config = Config()
            config.set_main_option("script_location", str(resources.files("migrations")))
            config.attributes["connection"] = connection
            if revision == "base":
                command.downgrade(config, revision)
            else:
                command.upgrade(config, revision)
        finally:
            connection.rollback()
            # The connection carries session settings that its next user must not inherit.
            connection.invalidate()
