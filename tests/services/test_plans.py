"""PostgreSQL keeps plans for tables as they were: what is done with many rows is planned for what they are."""

import re
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from psycopg import Connection as PsycopgConnection
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import DataError
from sqlalchemy.orm import Session

from db.models import Base
from db.postgres.config import DatabaseConfig
from db.postgres.database import Database
from db.postgres.json import rows_parameter, to_text
from db.postgres.planning import Planning, row_count
from db.services.enrollments import enrolled
from migrations.runner import migrate
from tests.support.campaigns import new_scene, statements_of
from tests.support.service_batches import everything
from tests.support.statement_rules import constants
from tests.support.steps import claim

FEW, MANY = 3, 500
# psycopg prepares a statement at its sixth run, and PostgreSQL plans it for good at the sixth of those.
RUNS = 12
# A table of so few rows may be read from end to end for each row of a batch: a plan by its index is hardly cheaper.
SMALL = 100

# Each run leaves some campaigns, which are few in life: a foreign key may look through them all.
_READ = """
    SELECT coalesce(sum(seq_tup_read), 0) + coalesce(sum(idx_tup_fetch), 0) FROM pg_stat_xact_user_tables
    WHERE relname <> 'campaign_instances'
"""


@pytest.fixture
def alone(fresh_database: str) -> Generator[Database]:
    """A database with one connection, in which nothing is vacuumed or analyzed but by the test."""
    database = Database(DatabaseConfig(url=fresh_database, pool_size=1, max_overflow=0, statement_timeout=0))
    migrate(database.engine)
    with database.transaction("quiet") as session:
        for table in Base.metadata.sorted_tables:
            session.execute(text(f"ALTER TABLE {table.name} SET (autovacuum_enabled = false)"))
    yield database
    database.close()


def vacuum(database: Database) -> None:
    """Dead rows go, and the planner knows the tables as they are. On a connection of its own."""
    other = Database(database.config)
    with other.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
    other.close()


@contextmanager
def rows_read(connection: Connection) -> Generator[Counter[str]]:
    """How many rows of tables each statement reads meanwhile, with those that foreign keys look at."""
    read: Counter[str] = Counter()

    driver: PsycopgConnection[Any] | None = connection.connection.driver_connection  # not seen by the listener
    assert driver is not None

    def so_far() -> int:
        row = driver.execute(_READ).fetchone()
        assert row
        return int(row[0])

    before = so_far()

    def note(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        nonlocal before
        now = so_far()
        read[statement] += now - before
        before = now

    event.listen(connection, "after_cursor_execute", note)
    yield read
    event.remove(connection, "after_cursor_execute", note)


def one_run(database: Database, tag: str) -> Counter[str]:
    """What is read for MANY people; nothing of it stays."""
    with database.transaction("many") as session:
        with rows_read(session.connection()) as read:
            everything(session, people=MANY, tag=tag)
        session.rollback()
    return read


def set_based() -> set[str]:
    """Every statement of the services that takes its rows as one parameter."""
    return {constant for constant in constants().values() if re.search(r"CAST\(%\(\w+\)s AS jsonb\)", constant)}


def prepare_for_few(database: Database) -> Counter[str]:
    """The state of a young server: its only connection keeps plans that it made for small tables. How often each
    statement was run."""
    new_scene(database, 60)
    database.run("first", partial(everything, people=FEW, tag="first"))
    vacuum(database)
    runs: Counter[str] = Counter()
    for number in range(RUNS):
        seen = statements_of(
            database, lambda number=number: database.run("few", partial(everything, people=FEW, tag=f"few{number}"))
        )
        runs.update(set(seen))
    return runs


def test_what_is_done_with_many_rows_is_planned_for_the_tables_as_they_are(alone: Database) -> None:
    runs = prepare_for_few(alone)
    kept = one_run(alone, "kept")
    # As it was, with a connection that keeps no plan.
    alone.close()
    vacuum(alone)
    fresh = one_run(alone, "fresh")
    slow = {
        statement: f"{kept[statement]} rows are read, and {reads} by a fresh plan"
        for statement, reads in fresh.items()
        if kept[statement] > 4 * reads + SMALL * MANY
    }
    assert not slow, slow
    assert len(set_based()) > 50
    missing = [name for name in set_based() if runs[name] < RUNS or name not in kept]
    assert not missing, ["let tests/support/service_batches.py do this with many rows:", *missing]


def test_no_statement_reads_its_list_anew_for_each_row_of_a_table() -> None:
    # PostgreSQL would, where it takes the table for all but empty. It never does for ANY (ARRAY(SELECT ...)).
    again = re.compile(r"(?<!NOT )IN\s*\(\s*SELECT\s[^()]*(\w+\()*jsonb_array_elements", re.IGNORECASE)
    assert [name for name, statement in constants().items() if again.search(statement)] == []


def test_a_list_is_read_once_also_where_a_table_had_many_rows_and_few_were_left(alone: Database) -> None:
    add = text("""
        INSERT INTO contacts (id, email)
        SELECT gen_random_uuid(), n || '@example.com' FROM generate_series(1, :people) n RETURNING id
    """)
    with alone.transaction("shrunk") as session:
        ids = list(session.scalars(add, {"people": MANY}))
        # PostgreSQL takes a nested loop then, or not, by a hundredth of its cost.
        for setting in ("hashjoin", "mergejoin", "hashagg"):
            session.execute(text(f"SET LOCAL enable_{setting} = off"))
        session.execute(text("UPDATE pg_class SET relpages = 10000, reltuples = 1 WHERE relname = 'contacts'"))
        (row,) = session.execute(
            text(f"EXPLAIN (ANALYZE, FORMAT JSON) {enrolled.LOCK_CONTACTS.text}"), rows_parameter(ids)
        )
        loops = re.findall(r"'Node Type': 'ProjectSet'.*?'Actual Loops': (\d+)", str(row[0]))
        assert loops == ["1"]
        session.rollback()


def test_every_connection_hears_of_what_a_batch_did_to_the_tables(fresh_database: str) -> None:
    database = Database(DatabaseConfig(url=fresh_database))
    look = text("SELECT value FROM item WHERE id = :id")
    add = text("INSERT INTO item SELECT n, 0 FROM jsonb_array_elements_text(CAST(:rows AS jsonb)) AS r(n)")

    def read(session: Session) -> int:
        with rows_read(session.connection()) as read:
            session.execute(look, {"id": "1"})
        return read.total()

    with database.transaction("make") as session:
        session.execute(text("CREATE TABLE item (id text PRIMARY KEY, value int) WITH (autovacuum_enabled = false)"))
        session.execute(add, rows_parameter(["1", "2"]))
        session.execute(text("ANALYZE item"))
    with database.engine.connect() as held, Session(held) as other:
        for _ in range(RUNS):
            other.execute(look, {"id": "1"})
        assert read(other) == 2, "it reads the table, and not its index"
        other.commit()
        database.run("batch", lambda session: session.execute(add, rows_parameter([str(n) for n in range(3, 2_000)])))
        assert read(other) == 1
        other.rollback()
    database.close()


def test_a_claim_of_few_steps_leaves_the_plans_of_all_connections(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = list[int]()
    scene = new_scene(database, FEW)

    def note(_: Planning, count: int) -> None:
        batches.append(count)

    monkeypatch.setattr(Planning, "_add", note)
    assert len(claim(database, scene.campaign_id)) == FEW
    assert batches == []


def test_a_batch_that_fails_is_rolled_back_and_its_transaction_goes_on(database: Database) -> None:
    wrong = text("SELECT 1 / (CAST(n AS int) - 1) FROM jsonb_array_elements_text(CAST(:rows AS jsonb)) AS r(n)")
    with database.transaction("batch") as session:
        with pytest.raises(DataError), session.begin_nested():
            session.execute(wrong, rows_parameter(list(range(2_000))))
        assert session.scalar(text("SELECT 1")) == 1


GIVEN: list[tuple[object, int]] = [
    (None, 0),
    ((), 0),
    ({"rows": to_text([]), "now": "x" * 10_000}, 2),
    ({"rows": to_text(list(range(70)))}, 70),
    ({"value": to_text({"a": 1})}, 1),
    ({"ids": list(range(60))}, 60),
    (dict.fromkeys(map(str, range(80))), 80),
    ({"limit": 500}, 500),
    ({"limit": None, "chunk": 20_000}, 20_000),
    ([list(range(90))], 90),
]


@pytest.mark.parametrize(("parameters", "count"), GIVEN)
def test_the_parameters_of_a_statement_tell_with_how_many_rows_it_deals(parameters: object, count: int) -> None:
    assert row_count(parameters) == count
