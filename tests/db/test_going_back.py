"""A migration that fails says why, and an earlier schema is gone back to whole, with no loss that nobody agreed to."""

from collections.abc import Generator
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import text

import migrations
from db.domain.errors import Busy, InvalidInput, Refused, StoreUnavailable
from db.postgres.config import DatabaseConfig
from db.postgres.database import Database
from migrations import going_back
from migrations.runner import BASE, current_revision, migrate
from tests.support.catalog import catalog_of, differences
from tests.support.command_line import Cli


@pytest.fixture
def fresh(fresh_database: str) -> Generator[Database]:
    database = Database.open(DatabaseConfig(url=fresh_database))
    yield database
    database.close()


def stands(database: Database) -> str | None:
    with database.engine.connect() as connection:
        return current_revision(connection)


def write(database: Database, *statements: str) -> None:
    with database.engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


# 0014 makes the table contact_addresses, and 0018 the table consents and the column campaign_actions.sent_to.
IN_THE_WAY = "CREATE TABLE contact_addresses (x int)"
CONSENT = "INSERT INTO consents (address, given_at) VALUES ('ann@example.com', now())"
PERSON_ID = str(uuid4())
PERSON = f"INSERT INTO contacts (id, email, first_name) VALUES ('{PERSON_ID}', 'ann@example.com', 'Ann')"


def test_a_migration_that_fails_says_why_and_where_the_schema_stands(fresh: Database) -> None:
    migrate(fresh.engine, "0012")
    write(fresh, IN_THE_WAY)
    with pytest.raises(StoreUnavailable) as caught:
        migrate(fresh.engine)
    assert 'The reason: relation "contact_addresses" already exists. ' in str(caught.value)
    assert "the schema stands at revision 0013" in str(caught.value)
    assert "contact_addresses" not in caught.value.for_clients
    assert stands(fresh) == "0013"


WAITING = """
    INSERT INTO campaign_templates (id, name, type, path_type) VALUES (gen_random_uuid(), 'T', 'email', 'structured');
    INSERT INTO campaign_instances (id, template_id, name) SELECT gen_random_uuid(), id, 'C' FROM campaign_templates;
    INSERT INTO campaign_enrollments (instance_id, id, contact_id, status)
        SELECT i.id, gen_random_uuid(), c.id, 'active' FROM campaign_instances i, contacts c;
    ALTER TABLE campaign_enrollments ADD CONSTRAINT own_rule CHECK (next_action_at IS NULL)
"""


def test_what_a_row_held_is_no_part_of_the_reason(fresh: Database) -> None:
    migrate(fresh.engine, "0019")
    write(fresh, PERSON, WAITING)  # 0020 gives a moment to who has none
    with pytest.raises(StoreUnavailable) as caught:
        migrate(fresh.engine)
    assert 'violates check constraint "own_rule". ' in str(caught.value)
    assert PERSON_ID not in str(caught.value)


def test_the_command_tells_the_reason_and_fails(fresh: Database, fresh_database: str, tmp_path: Path) -> None:
    migrate(fresh.engine, "0012")
    write(fresh, IN_THE_WAY)
    done = Cli(fresh_database, tmp_path).run("migrate")
    assert (done.returncode, done.stdout) == (1, "")
    (told,) = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert 'relation "contact_addresses" already exists' in told


def test_going_back_says_what_would_be_lost_and_changes_nothing(fresh: Database) -> None:
    migrate(fresh.engine)
    write(fresh, CONSENT, PERSON)
    before = catalog_of(fresh)
    with pytest.raises(Refused, match=r"Going back to 0017 loses 1 row of consents\. Nothing was changed"):
        going_back.move(fresh.engine, "0017", accepts_loss=False)
    assert differences(catalog_of(fresh), before) == []
    assert stands(fresh) == migrations.HEAD
    with fresh.engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM consents")) == 1


def test_values_of_a_column_that_goes_are_counted(fresh: Database) -> None:
    migrate(fresh.engine)
    write(
        fresh,
        "INSERT INTO campaign_templates (id, name, type, path_type)"
        " VALUES ('00000000-0000-7000-8000-000000000001', 'T', 'email', 'structured')",
        "INSERT INTO campaign_instances (id, template_id, name, status, started_at, paused_at, pause_reason)"
        " VALUES (gen_random_uuid(), '00000000-0000-7000-8000-000000000001', 'C', 'paused', now(), now(), 'no')",
    )
    with pytest.raises(Refused, match=r"loses 1 value of campaign_instances\.pause_reason"):
        going_back.move(fresh.engine, "0014", accepts_loss=False)


def test_a_loss_that_is_accepted_is_told(fresh: Database) -> None:
    migrate(fresh.engine)
    write(fresh, CONSENT, PERSON)
    lost = going_back.move(fresh.engine, "0017", accepts_loss=True)
    assert list(map(str, lost)) == ["1 row of consents"]
    assert stands(fresh) == "0017"
    migrate(fresh.engine)
    with fresh.engine.connect() as connection:
        assert connection.scalar(text("SELECT first_name FROM contacts")) == "Ann"


@pytest.mark.parametrize("revision", ["0024", "0013", BASE])
def test_a_database_in_which_nothing_is_lost_goes_back_without_a_word(fresh: Database, revision: str) -> None:
    migrate(fresh.engine)
    with fresh.engine.begin() as connection:
        connection.execute(text("DELETE FROM secrets"))
    assert going_back.move(fresh.engine, revision, accepts_loss=False) == []
    assert stands(fresh) == (None if revision == BASE else revision)
    going_back.move(fresh.engine, migrations.HEAD, accepts_loss=False)
    assert stands(fresh) == migrations.HEAD


def test_it_goes_back_whole_or_not_at_all(fresh: Database) -> None:
    """The way to base is refused at 0002, after many steps that would have gone well."""
    migrate(fresh.engine)
    write(
        fresh,
        "INSERT INTO suppressions (id, address_hash, reason)"
        " VALUES (gen_random_uuid(), decode(repeat('00', 32), 'hex'), 'manual')",
    )
    before = catalog_of(fresh)
    with pytest.raises(StoreUnavailable, match="The reason: People were erased"):
        going_back.move(fresh.engine, BASE, accepts_loss=True)
    assert differences(catalog_of(fresh), before) == []
    assert stands(fresh) == migrations.HEAD


def test_a_server_that_uses_the_database_is_not_left_without_its_tables(fresh: Database, fresh_database: str) -> None:
    migrate(fresh.engine)
    server = Database.open(DatabaseConfig(url=fresh_database))
    with pytest.raises(Busy, match="Stop them"):
        going_back.move(fresh.engine, "0017", accepts_loss=True)
    server.close()
    assert stands(fresh) == migrations.HEAD


@pytest.mark.parametrize("revision", ["9999", "head", "x", "", "17"])
def test_a_revision_that_is_not_known_is_told_with_those_that_are(fresh: Database, revision: str) -> None:
    with pytest.raises(InvalidInput, match=rf"0001 to {migrations.HEAD}"):
        going_back.move(fresh.engine, revision, accepts_loss=True)


def test_the_command_goes_back_with_the_flag_alone(fresh_database: str, tmp_path: Path) -> None:
    with_rows = Database.open(DatabaseConfig(url=fresh_database))
    migrate(with_rows.engine)
    write(with_rows, CONSENT)
    with_rows.close()
    cli = Cli(fresh_database, tmp_path)
    refused = cli.run("migrate", "--to", "0017")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "1 row of consents" in refused.stderr
    assert "--accept-loss" in refused.stderr
    done = cli.run("migrate", "--to", "0017", "--accept-loss")
    assert (done.returncode, done.stdout) == (0, "The database stands at revision 0017.\n")
    assert "lost: 1 row of consents" in done.stderr
