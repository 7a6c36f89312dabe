"""Statements that a distributed PostgreSQL takes. What the suites execute besides is checked after each test."""

from collections.abc import Callable, Generator

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from db.postgres.database import Database
from tests.support.statement_rules import ROOT, Executed, Rules, constants

STATEMENTS = constants()


@pytest.fixture(scope="module")
def rules(migrated: Database, postgres: str) -> Generator[Rules]:
    assert migrated
    with Rules(postgres) as rules:
        yield rules


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_statement_of_the_services_keeps_the_rules(rules: Rules, name: str) -> None:
    assert rules.offences(STATEMENTS[name]) == []


def test_the_statements_are_found_wherever_they_are_held() -> None:
    names = set(STATEMENTS)
    assert {
        "db.services.dispatch.claim_rows._WRITE",
        "db.services.events.record._WRITE",
        "db.services.ops.audit._INSERT",
    } <= names
    assert {"db.services.state.counters.METRICS._add", "db.services.state.counters.METRICS._recounted.1"} <= names
    assert len(names) > 130


ROWS = "jsonb_to_recordset(CAST(%(rows)s AS jsonb)) AS n(id uuid, name text)"
INTO = "INSERT INTO contacts (id, email)"
BAD = [
    (f"{INTO} SELECT id, name FROM {ROWS} ON CONFLICT (id) DO UPDATE SET updated_at = now()", "now() in ON CONFLICT"),
    (f"{INTO} SELECT id, name FROM {ROWS} ON CONFLICT (id) DO UPDATE SET updated_at = CURRENT_TIMESTAMP", "CONFLICT"),
    (
        f"{INTO} SELECT id, name FROM {ROWS} ON CONFLICT (id) DO UPDATE SET title = '' WHERE now() IS NULL",
        "now() in ON CONFLICT",
    ),
    ("UPDATE contacts SET email = NULL RETURNING jsonb_build_array(id)", "jsonb_build_array() in RETURNING"),
    ("DELETE FROM contacts RETURNING created_at::text", "timestamptz_out() in RETURNING"),
    ("DELETE FROM contacts RETURNING created_at || 'Z'", "in RETURNING"),
    (
        "WITH gone AS (DELETE FROM contacts RETURNING created_at + interval '1 day') SELECT 1 FROM gone",
        "timestamptz_pl_interval() in RETURNING",
    ),
    ("UPDATE contacts SET updated_at = CASE WHEN email = 'a' THEN now() END", "now() in CASE"),
    ("UPDATE contacts SET updated_at = coalesce(erased_at, CURRENT_TIMESTAMP)", "in CASE"),
    (
        "UPDATE contacts SET email = NULL WHERE created_at < '2026-01-01 00:00'::timestamp",
        "of a column",
    ),
    ("UPDATE contacts SET updated_at = created_at + interval '1 day'", "timestamptz_pl_interval() of a column"),
    ("DELETE FROM contacts WHERE convert_to(email, 'UTF8') = ''", "convert_to() of a column"),
    (f"{INTO} SELECT n.id, n.name FROM {ROWS} CROSS JOIN secrets k", "a function joined"),
    (f"{INTO} SELECT n.id, name FROM {ROWS} WHERE EXISTS (SELECT FROM secrets WHERE secrets.name = n.name)", "joined"),
    (f"WITH g AS (SELECT * FROM {ROWS}) {INTO} SELECT g.id, g.name FROM g CROSS JOIN secrets k", "a function joined"),
]
GOOD = [
    f"{INTO} SELECT id, name FROM {ROWS} ON CONFLICT (id) DO UPDATE SET updated_at = excluded.updated_at RETURNING id",
    f"WITH g AS MATERIALIZED (SELECT * FROM {ROWS}) {INTO} SELECT g.id, g.name FROM g CROSS JOIN secrets k",
    "UPDATE contacts SET updated_at = now(), email = CASE WHEN email = '100%%' THEN 'a' ELSE lower(email) END",
    "UPDATE contacts SET updated_at = (created_at AT TIME ZONE 'UTC' + interval '1 day') AT TIME ZONE 'UTC'",
    "SELECT coalesce(erased_at, now()), jsonb_build_array(id) FROM contacts FOR UPDATE",
    "DELETE FROM contacts WHERE id = %(id)s RETURNING id, lower(email) || '{a (b) :c \\}'",
    # More than a function may have arguments.
    f"DELETE FROM contacts WHERE id IN ({', '.join(f'%(id_1_{number})s::UUID' for number in range(1, 150))})",
]


@pytest.mark.parametrize(("statement", "offence"), BAD)
def test_the_rules_find_what_breaks_them(rules: Rules, statement: str, offence: str) -> None:
    assert any(offence in told for told in rules.offences(statement))


@pytest.mark.parametrize("statement", GOOD)
def test_the_rules_let_pass_what_keeps_them(rules: Rules, statement: str) -> None:
    assert rules.offences(statement) == []


@pytest.fixture
def execute_in_product() -> Callable[[Session, str], object]:
    """Executes a statement as a module of the product does."""
    scope: dict[str, Callable[[Session, str], object]] = {}
    source = "from sqlalchemy import text\n\ndef run(session, sql): return session.execute(text(sql))"
    exec(compile(source, str(ROOT / "db" / "services" / "invented.py"), "exec"), scope)
    return scope["run"]


def test_what_the_product_executes_is_checked(
    database: Database, postgres: str, executed: Executed, execute_in_product: Callable[[Session, str], object]
) -> None:
    with database.transaction("bad") as session:
        execute_in_product(session, "DELETE FROM contacts WHERE 1 = 2 RETURNING now()")
    with pytest.raises(AssertionError, match=r"invented.py:3, in .*_is_checked.*now\(\) in RETURNING"):
        executed.check(postgres)


def test_what_a_test_executes_is_its_own_affair(database: Database, postgres: str, executed: Executed) -> None:
    with database.transaction("bad") as session:
        session.execute(text("DELETE FROM contacts WHERE 2 = 3 RETURNING now()"))
    executed.check(postgres)


def test_every_table_lies_in_a_schema_of_another_name_than_public(database: Database) -> None:
    schemas = text("SELECT DISTINCT relnamespace::regnamespace::text FROM pg_class WHERE relname LIKE 'campaign_%'")
    with database.transaction("look") as session:
        assert list(session.scalars(schemas)) == ["elsewhere"]
        assert session.scalar(text("SELECT to_regnamespace('public') IS NULL"))
