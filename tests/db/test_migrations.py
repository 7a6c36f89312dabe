"""Models and migrations are one schema, and the way to it can be walked in both directions and by many at once."""

import subprocess
import sys
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

import migrations
from db.domain.errors import Busy, StoreUnavailable
from db.embedded.locks import wait_until
from db.models import Base
from db.postgres.config import DatabaseConfig
from db.postgres.database import Database
from migrations import runner
from migrations.runner import current_revision, ensure_current, migrate
from tests.support.catalog import CATALOG, catalog, catalog_of, differences
from tests.support.patience import PATIENCE

# One server that starts: it waits for the end of its input, so that all of them start at the same instant.
MIGRATE = """
import sys
import alembic.command
from db.postgres.config import DatabaseConfig
from db.postgres.database import Database
from migrations.runner import ensure_current
database = Database.open(DatabaseConfig(url=sys.argv[1], slow_query=60))
print("ready", flush=True)
sys.stdin.read()
ensure_current(database.engine, upgrade=True)
database.close()
"""


@pytest.fixture
def fresh(fresh_database: str) -> Generator[Database]:
    database = Database.open(DatabaseConfig(url=fresh_database))
    yield database
    database.close()


def test_the_models_make_the_schema_that_the_migrations_make(migrated: Database, fresh: Database) -> None:
    Base.metadata.create_all(fresh.engine)
    of_models = catalog_of(fresh)
    assert differences(of_models, catalog_of(migrated)) == []
    assert len(of_models["views"]) == 1
    assert {row[0] for row in of_models["columns"]} >= set(Base.metadata.tables)


@pytest.mark.parametrize(
    "drift",
    [
        "CREATE UNIQUE INDEX unknown_to_the_model ON campaign_instances (name)",
        "ALTER TABLE campaign_enrollments DROP CONSTRAINT uq_campaign_enrollments_contact_id_instance_id",
        "DROP INDEX ix_campaign_enrollments_due",
        "ALTER TABLE contacts DROP CONSTRAINT ck_contacts_email_lower",
        "ALTER TABLE email_sequences ALTER delay_hours SET DEFAULT 1",
        "ALTER TABLE email_sequences ALTER body DROP NOT NULL",
        "ALTER TABLE campaign_actions RESET (fillfactor)",
        "DROP VIEW campaign_totals",
        "CREATE STATISTICS unknown_to_the_model ON name, status FROM campaign_instances",
    ],
)
def test_a_schema_that_has_drifted_is_noticed(database: Database, drift: str) -> None:
    with database.engine.connect() as connection:
        before = catalog(connection)
        connection.execute(text(drift))
        after = catalog(connection)
        connection.rollback()
    assert differences(before, after)


def test_autogenerate_has_nothing_to_add(migrated: Database) -> None:
    with migrated.engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata) == []


def test_upgrade_downgrade_upgrade_is_clean_and_leaves_nothing_behind(fresh: Database) -> None:
    empty = catalog_of(fresh)
    migrate(fresh.engine)
    first = catalog_of(fresh)
    migrate(fresh.engine, "base")
    assert differences(catalog_of(fresh), empty) == []
    with fresh.engine.connect() as connection:
        assert current_revision(connection) is None
    migrate(fresh.engine)
    assert differences(catalog_of(fresh), first) == []
    assert len(first["relations"]) > 40


def test_migrating_again_changes_nothing(migrated: Database) -> None:
    before = catalog_of(migrated)
    migrate(migrated.engine)
    assert catalog_of(migrated) == before
    ensure_current(migrated.engine, upgrade=False)


def test_four_processes_migrate_at_once(fresh_database: str, fresh: Database) -> None:
    root = Path(migrations.__file__).parent.parent
    children = [
        subprocess.Popen(
            [sys.executable, "-c", MIGRATE, fresh_database],
            cwd=root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(4)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.close()
        child.stdin = None
    said = [child.communicate(timeout=PATIENCE)[0] for child in children]
    # Whoever waits for the one that migrates says so, and that it was long.
    waited = {"waiting for another process, which migrates this database", "slow query"}
    assert {line for message in said for line in message.splitlines()} <= waited
    assert [child.returncode for child in children] == [0] * 4
    ensure_current(fresh.engine, upgrade=False)


OPEN = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'
      AND backend_type = 'client backend'
"""
WAITS = "waiting for another process, which migrates this database"


@contextmanager
def another_migrates(fresh: Database) -> Generator[Connection]:
    """Another process has the lock of migrations, while the block runs."""
    with fresh.engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": runner.LOCK})
        connection.commit()
        yield connection
        connection.invalidate()


def test_who_waits_for_another_to_migrate_is_not_cut_off_by_the_limits_of_transactions(
    fresh_database: str, fresh: Database, caplog: pytest.LogCaptureFixture
) -> None:
    waiting = Database.open(DatabaseConfig(url=fresh_database, statement_timeout=0.1, lock_timeout=0.1))
    with ThreadPoolExecutor(1) as pool, another_migrates(fresh) as other:
        done = pool.submit(migrate, waiting.engine)
        assert wait_until(lambda: WAITS in caplog.text, PATIENCE)
        # Longer than a statement of theirs may take, and without a transaction that the build of an index waits for.
        other.execute(text("SELECT pg_sleep(0.3)"))
        assert wait_until(lambda: other.scalar(text(OPEN)) == 0, PATIENCE)
        assert not done.done()
    assert done.result(PATIENCE) is None
    ensure_current(waiting.engine, upgrade=False)
    waiting.close()


def test_the_wait_for_another_to_migrate_has_an_end_and_says_what_is_waited_for(fresh: Database) -> None:
    with another_migrates(fresh) as other:
        pid = other.scalar(text("SELECT pg_backend_pid()"))
        with pytest.raises(Busy, match=rf"migrating this database for more than 0\.1 seconds.*pid {pid}\b"):
            migrate(fresh.engine, patience=0.1)
    migrate(fresh.engine)


def test_only_a_database_without_a_version_counts_as_empty(fresh_database: str, fresh: Database) -> None:
    with fresh.engine.begin() as connection:
        connection.execute(text("CREATE ROLE stranger"))
        schema = connection.scalar(text("SELECT current_schema()"))
        connection.execute(text(f"GRANT USAGE ON SCHEMA {schema} TO stranger"))
    stranger = Database.open(DatabaseConfig(url=f"{fresh_database}&options=-c%20role%3Dstranger"))
    with pytest.raises(StoreUnavailable, match="may not change the schema"):
        ensure_current(stranger.engine, upgrade=True)
    migrate(fresh.engine)
    with pytest.raises(StoreUnavailable, match="may not read"):
        ensure_current(stranger.engine, upgrade=True)
    stranger.close()
    with fresh.engine.begin() as connection:
        connection.execute(text("DROP OWNED BY stranger"))
        connection.execute(text("DROP ROLE stranger"))


def test_a_schema_that_is_not_there_is_named_as_what_to_create(fresh_database: str) -> None:
    database = Database.open(DatabaseConfig(url=f"{fresh_database}&options=-csearch_path%3Dnowhere"))
    with pytest.raises(StoreUnavailable, match=r"search_path .* CREATE SCHEMA"):
        ensure_current(database.engine, upgrade=True)
    database.close()


def test_a_migrated_connection_is_not_handed_on_with_its_settings(migrated: Database) -> None:
    migrate(migrated.engine)
    with migrated.engine.connect() as connection:
        assert connection.scalar(text("SHOW statement_timeout")) == "10s"
        assert connection.scalar(text("SHOW lock_timeout")) == "5s"
        held = connection.scalar(text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"))
    assert held == 0


def test_the_program_and_the_history_agree_on_the_head() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    assert ScriptDirectory.from_config(config).get_heads() == [migrations.HEAD]


def test_an_empty_database_says_what_to_run(fresh: Database) -> None:
    with pytest.raises(StoreUnavailable, match=rf"empty.*{migrations.HEAD}.*Run `sales-automation-mcp migrate`"):
        ensure_current(fresh.engine, upgrade=False)
    assert differences(catalog_of(fresh), {part: set() for part in CATALOG}) == []


def test_a_database_of_another_version_says_what_to_run(fresh: Database) -> None:
    with fresh.engine.begin() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num text)"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('0000')"))
    with pytest.raises(StoreUnavailable, match=r"revision 0000.*Run `sales-automation-mcp migrate`"):
        ensure_current(fresh.engine, upgrade=False)


def start(engine: Engine) -> None:
    ensure_current(engine, upgrade=False)


@pytest.mark.parametrize("work", [start, migrate])
def test_a_schema_that_is_newer_says_so_and_which_version_it_needs(
    fresh: Database, work: Callable[[Engine], None]
) -> None:
    migrate(fresh.engine)
    newer = f"{int(migrations.HEAD) + 3:04}"
    with fresh.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :newer"), {"newer": newer})
    with pytest.raises(StoreUnavailable, match=rf"newer than this program.*revision {newer}.*up to {migrations.HEAD}"):
        work(fresh.engine)


OLD_ROWS = """
    INSERT INTO suppressions (id, email, domain, reason, expires_at) VALUES
        ('00000000-0000-7000-8000-000000000001', NULL, 'xn--bcher-kva.example', 'manual', NULL),
        ('00000000-0000-7000-8000-000000000002', NULL, 'stra\u00dfe.example', 'manual', NULL),
        ('00000000-0000-7000-8000-000000000003', NULL, 'xn--strae-oqa.example', 'manual', NULL),
        ('00000000-0000-7000-8000-000000000004', NULL, 'xn--not a domain', 'manual', NULL),
        ('00000000-0000-7000-8000-000000000005', 'a@example.com', NULL, 'unsubscribed', now()),
        ('00000000-0000-7000-8000-000000000006', 'b@example.com', NULL, 'manual', now())
"""


def test_standing_suppressions_get_one_spelling_and_lose_an_end_that_they_must_not_have(fresh: Database) -> None:
    migrate(fresh.engine, "0001")
    with fresh.engine.begin() as connection:
        connection.execute(text(OLD_ROWS))
    migrate(fresh.engine)
    with fresh.engine.connect() as connection:
        rows = connection.execute(text("SELECT coalesce(domain, email), expires_at IS NULL FROM suppressions")).all()
    assert {tuple(row) for row in rows} == {
        ("bücher.example", True),
        ("straße.example", True),
        ("xn--not a domain", True),
        ("a@example.com", True),
        ("b@example.com", False),
    }


ODD_PROFILES = {
    "suppressions": [
        ("in/jose\u0301", "unsubscribed"),
        ("in/jos\u00e9", "manual"),
        ("in/amy.", "bounced"),
        ("in/kim&trk=1", "manual"),
        ("in/twice,", "complained"),
    ],
    "contacts": [("in/jose\u0301", None), ("in/twice,", None), ("in/twice", None), ("in/plain", None)],
}


def test_standing_profiles_get_one_spelling_and_the_strongest_suppression_of_each_stays(fresh: Database) -> None:
    migrate(fresh.engine, "0009")
    with fresh.engine.begin() as connection:
        for table, rows in ODD_PROFILES.items():
            for place, reason in rows:
                column, value = ("reason", reason) if reason else ("first_name", "x")
                connection.execute(
                    text(f"INSERT INTO {table} (id, linkedin_url, {column}) VALUES (gen_random_uuid(), :url, :value)"),
                    {"url": f"https://www.linkedin.com/{place}", "value": value},
                )
    migrate(fresh.engine)
    with fresh.engine.connect() as connection:
        suppressed, contacts = (
            {tuple(row) for row in connection.execute(text(f"SELECT substr(linkedin_url, 26), {column} FROM {table}"))}
            for table, column in (("suppressions", "reason"), ("contacts", "'-'"))
        )
    # Of two contacts with one profile neither is touched, nor is what holds one of them.
    assert suppressed == {
        ("in/jos\u00e9", "unsubscribed"),
        ("in/amy", "bounced"),
        ("in/kim", "manual"),
        ("in/twice,", "complained"),
    }
    assert contacts == {("in/jos\u00e9", "-"), ("in/twice,", "-"), ("in/twice", "-"), ("in/plain", "-")}


_REPEATED_EVENTS = """
    INSERT INTO campaign_templates (id, name, type, path_type)
        VALUES (gen_random_uuid(), 'T', 'email', 'structured');
    INSERT INTO campaign_instances (id, template_id, name)
        SELECT gen_random_uuid(), id, n::text FROM campaign_templates, generate_series(1, 3) n;
    INSERT INTO contacts (id, email) VALUES (gen_random_uuid(), 'ada@example.com');
    INSERT INTO campaign_enrollments (instance_id, id, contact_id, status)
        SELECT i.id, gen_random_uuid(), c.id, 'enrolled' FROM campaign_instances i, contacts c;
    INSERT INTO campaign_events (instance_id, id, enrollment_id, event_type, channel, occurred_at, provider,
                                 provider_event_id, created_at)
        SELECT e.instance_id, gen_random_uuid(), e.id, 'opened', 'email', now(), provider, 'e-1',
               now() - CAST(i.name AS int) * interval '1 day'
        FROM campaign_enrollments e JOIN campaign_instances i ON i.id = e.instance_id,
             unnest(ARRAY['ses', NULL]) provider
"""
_IDENTITIES = """
    SELECT i.name, coalesce(v.provider, '-'), v.provider_event_id, v.metadata ->> 'repeated_provider_event_id'
    FROM campaign_events v JOIN campaign_instances i ON i.id = v.instance_id
"""


def test_events_that_repeat_over_campaigns_stay_and_the_first_keeps_the_identity(fresh: Database) -> None:
    migrate(fresh.engine, "0011")
    with fresh.engine.begin() as connection:
        connection.execute(text(_REPEATED_EVENTS))
    migrate(fresh.engine)
    with fresh.engine.connect() as connection:
        rows = {tuple(row) for row in connection.execute(text(_IDENTITIES))}
    assert rows == {
        (name, provider, *(("e-1", None) if name == "3" else (None, "e-1")))
        for name in ("1", "2", "3")
        for provider in ("ses", "-")
    }


def test_going_back_is_refused_while_it_would_forget_whom_not_to_write_to(fresh: Database) -> None:
    migrate(fresh.engine, "0003")
    with fresh.engine.begin() as connection:
        connection.execute(
            text("INSERT INTO suppressions (id, address_hash, reason) VALUES (gen_random_uuid(), :hash, 'manual')"),
            {"hash": b"h" * 32},
        )
    before = catalog_of(fresh)
    with pytest.raises(StoreUnavailable, match="DELETE FROM suppressions WHERE address_hash IS NOT NULL"):
        migrate(fresh.engine, "base")
    assert differences(catalog_of(fresh), before) == []
    with fresh.engine.begin() as connection:
        connection.execute(text("DELETE FROM suppressions WHERE address_hash IS NOT NULL"))
    migrate(fresh.engine, "base")


def test_a_migration_gives_up_rather_than_hold_up_everybody(fresh: Database) -> None:
    migrate(fresh.engine, "0001")
    with fresh.engine.connect() as reader:
        reader.execute(text("SELECT count(*) FROM suppressions"))
        with pytest.raises(Busy, match=r"tables that others use.*Nothing was changed"):
            migrate(fresh.engine)
    with fresh.engine.connect() as connection:
        assert current_revision(connection) == "0001"
    migrate(fresh.engine)


_DELIVERY = """
    INSERT INTO webhook_deliveries (id, provider, body, body_hash, received_at)
    VALUES (gen_random_uuid(), 'standard', '{}', decode(repeat('00', 32), 'hex'), now())
"""
_WAITS_FOR_TABLE = "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = CAST(:table AS regclass) AND NOT granted)"


def test_a_migration_waits_for_who_has_chosen_rows_and_writes_them_later(fresh: Database) -> None:
    migrate(fresh.engine, "0007")
    with fresh.engine.begin() as connection:
        connection.execute(text(_DELIVERY))
    with ThreadPoolExecutor(1) as pool, fresh.engine.connect() as recorder:
        recorder.execute(text("SELECT id FROM webhook_deliveries FOR UPDATE"))
        done = pool.submit(migrate, fresh.engine)
        with fresh.engine.connect() as watch:
            waits = text(_WAITS_FOR_TABLE)
            assert wait_until(lambda: bool(watch.scalar(waits, {"table": "webhook_deliveries"})), PATIENCE)
        recorder.execute(text("UPDATE webhook_deliveries SET updated_at = now()"))
        recorder.commit()
        done.result(PATIENCE)
    ensure_current(fresh.engine, upgrade=False)


def test_the_rules_for_standing_rows_are_checked_beside_readers_and_writers(fresh: Database) -> None:
    migrate(fresh.engine, "0002")
    with fresh.engine.begin() as other:
        other.execute(text("INSERT INTO contacts (id, email) VALUES (gen_random_uuid(), 'a@example.com')"))
        other.execute(text("SELECT count(*) FROM suppressions, orphaned_events"))
        migrate(fresh.engine, "0007")  # the next one indexes contacts, and waits for their writers


ADDED = text("INSERT INTO contacts (id, email) VALUES (gen_random_uuid(), :email)")
BUILDING = text("SELECT count(*) FROM pg_stat_progress_create_index WHERE datname = current_database()")


def test_indexes_are_built_while_others_write(fresh: Database) -> None:
    migrate(fresh.engine, "0055")
    with ThreadPoolExecutor(1) as pool:
        with fresh.engine.connect() as slow:
            slow.execute(ADDED, {"email": "ada@example.com"})  # and is not committed yet
            done = pool.submit(migrate, fresh.engine)
            with fresh.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as watch:
                assert wait_until(lambda: bool(watch.scalar(BUILDING)), PATIENCE)
            with fresh.engine.begin() as another:
                another.execute(text("SET LOCAL lock_timeout = '1s'"))
                another.execute(ADDED, {"email": "ben@example.com"})
            slow.commit()
        done.result(PATIENCE)
    ensure_current(fresh.engine, upgrade=False)


def test_what_is_left_of_a_build_that_failed_is_replaced(fresh: Database, migrated: Database) -> None:
    migrate(fresh.engine, "0055")
    with fresh.engine.begin() as connection:
        connection.execute(text("CREATE INDEX ix_contacts_company ON contacts (title)"))
    migrate(fresh.engine)
    assert differences(catalog_of(fresh), catalog_of(migrated)) == []
