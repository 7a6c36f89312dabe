"""Each revision by itself: it can be taken back, stands though a later one fails, and waits for nobody for ever."""

from collections.abc import Generator
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import event, text

import migrations
from db.domain.errors import StoreUnavailable
from db.postgres.config import DatabaseConfig
from db.postgres.database import Database
from migrations.runner import current_revision, migrate
from tests.support.catalog import Catalog, catalog_of, differences


@pytest.fixture
def fresh(fresh_database: str) -> Generator[Database]:
    database = Database.open(DatabaseConfig(url=fresh_database))
    yield database
    database.close()


def config() -> Config:
    made = Config()
    made.set_main_option("script_location", next(iter(migrations.__path__)))
    return made


def revisions() -> list[str]:
    """The oldest first."""
    return [script.revision for script in ScriptDirectory.from_config(config()).walk_revisions()][::-1]


def schema(database: Database) -> Catalog:
    """What is there; that standing rows were checked against a rule is not taken back with the check."""
    found = catalog_of(database)
    found["constraints"] = {
        (table, name, str(rule).removesuffix(" NOT VALID")) for table, name, rule, *_ in found["constraints"]
    }
    return found


def downgrade(database: Database, revision: str) -> None:
    with database.engine.connect() as connection:
        prepared = config()
        prepared.attributes["connection"] = connection
        command.downgrade(prepared, revision)
        connection.rollback()


def test_each_revision_takes_back_what_it_has_made(fresh: Database) -> None:
    made: list[tuple[str, Catalog]] = [("base", schema(fresh))]
    for revision in revisions():
        migrate(fresh.engine, revision)
        made.append((revision, schema(fresh)))
    assert made[-1][0] == migrations.HEAD
    for revision, then in reversed(made[:-1]):
        downgrade(fresh, revision)
        assert differences(schema(fresh), then) == [], f"back to {revision}"


def test_revisions_stand_though_a_later_one_fails(fresh: Database) -> None:
    migrate(fresh.engine, "0006")
    with fresh.engine.begin() as connection:
        connection.execute(text("CREATE TABLE ix_campaign_actions_places (taken_name int)"))
    with pytest.raises(StoreUnavailable, match="already exists"):
        migrate(fresh.engine)
    with fresh.engine.begin() as connection:
        assert current_revision(connection) == "0008"
        connection.execute(text("DROP TABLE ix_campaign_actions_places"))
    migrate(fresh.engine)


def test_no_statement_of_a_migration_waits_for_a_lock_for_ever(fresh: Database) -> None:
    """Whoever comes after it waits as well, so it waits for half a minute at most."""
    limits: dict[str, Any] = {}

    def look(connection: Any, _cursor: object, statement: str, *_: object) -> None:
        if statement.lstrip().startswith(("CREATE", "ALTER", "DROP", "LOCK")):
            shown = connection.connection.driver_connection.execute(
                "SELECT setting::int FROM pg_settings WHERE name = 'lock_timeout'"
            )
            limits[statement] = shown.fetchone()[0]

    event.listen(fresh.engine, "before_cursor_execute", look)
    migrate(fresh.engine)
    assert len(limits) > 50
    assert {statement: limit for statement, limit in limits.items() if not 0 < limit <= 30_000} == {}
