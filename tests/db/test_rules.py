"""Raw SQL that breaks a rule of a model is refused by the database, by the constraint that is named for the rule."""

import json
from collections.abc import Generator, Mapping
from typing import Any

import psycopg
import pytest
from sqlalchemy import (
    CheckConstraint,
    Column,
    Connection,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Table,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError

from db.models import Base
from db.postgres.database import Database
from tests.support.rule_cases import CASES, FORMS, IMPLIED, REQUIRED, TABLES, Case
from tests.support.rule_rows import ADA, ANOTHER, CAMPAIGN, NOWHERE, ONE_ROW, SCENE, TEMPLATE


@pytest.fixture(scope="module")
def scene(migrated: Database) -> Generator[Connection]:
    """A connection in whose transaction the scene stands; it is rolled back when the last case has run."""
    with migrated.engine.connect() as connection, connection.begin() as transaction:
        for table in reversed(Base.metadata.sorted_tables):
            connection.execute(table.delete())
        for table, row in SCENE:
            insert(connection, table, row)
        yield connection
        transaction.rollback()


def insert(connection: Connection, table: str, row: Mapping[str, Any]) -> None:
    names = ", ".join(row)
    values = ", ".join(f"CAST(:{name} AS {TABLES[table].c[name].type.compile(connection.dialect)})" for name in row)
    connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({values})"), dict(row))


def refusal(connection: Connection, table: str, row: Mapping[str, Any]) -> psycopg.Error:
    """What the database says to the row; nothing of it stays."""
    savepoint = connection.begin_nested()
    try:
        with pytest.raises(DBAPIError) as caught:
            insert(connection, table, row)
    finally:
        savepoint.rollback()
    assert isinstance(caught.value.orig, psycopg.Error)
    return caught.value.orig


@pytest.mark.parametrize("table", TABLES)
def test_the_row_that_the_cases_change_is_taken(scene: Connection, table: str) -> None:
    savepoint = scene.begin_nested()
    if table == ONE_ROW:
        scene.execute(TABLES[table].delete())
    insert(scene, table, ANOTHER[table])
    savepoint.rollback()


@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"{case.constraint}-{json.dumps(case.changes, default=repr)[:60]}"
)
def test_a_row_that_breaks_the_rule_is_refused(scene: Connection, case: Case) -> None:
    error = refusal(scene, case.table, {**ANOTHER[case.table], **case.changes})
    assert error.diag.constraint_name == case.constraint


@pytest.mark.parametrize(("table", "column"), REQUIRED)
def test_a_row_without_a_required_value_is_refused(scene: Connection, table: str, column: str) -> None:
    error = refusal(scene, table, {**ANOTHER[table], column: None})
    assert isinstance(error, psycopg.errors.NotNullViolation)
    assert (error.diag.table_name, error.diag.column_name) == (table, column)


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        (f"DELETE FROM campaign_templates WHERE id = '{TEMPLATE}'", "fk_campaign_instances_campaign_templates"),
        (f"DELETE FROM contacts WHERE id = '{ADA}'", "fk_campaign_enrollments_contacts"),
        ("UPDATE campaign_templates SET type = 'email'", "ck_template_steps_channel_of_type"),
        (f"UPDATE campaign_enrollments SET contact_id = '{NOWHERE}'", "fk_campaign_enrollments_contacts"),
        ("UPDATE campaign_metrics SET delivered = sent + 1", "ck_campaign_metrics_delivered_sent"),
    ],
)
def test_a_change_that_breaks_a_rule_is_refused(scene: Connection, statement: str, constraint: str) -> None:
    savepoint = scene.begin_nested()
    with pytest.raises(DBAPIError) as caught:
        scene.execute(text(statement))
    savepoint.rollback()
    assert isinstance(caught.value.orig, psycopg.Error)
    assert caught.value.orig.diag.constraint_name == constraint


def test_a_campaign_takes_all_that_is_its_own_along(scene: Connection) -> None:
    own = ("campaign_enrollments", "campaign_actions", "campaign_events", "campaign_metrics")
    savepoint = scene.begin_nested()
    scene.execute(text(f"DELETE FROM campaign_instances WHERE id = '{CAMPAIGN}'"))
    left = [scene.scalar(text(f"SELECT count(*) FROM {table}")) for table in (*own, "contacts", "campaign_templates")]
    savepoint.rollback()
    assert left == [0, 0, 0, 0, 2, 2]


def rules_of(table: Table) -> set[str]:
    """Every named rule of a table. A unique key that contains the primary key says nothing of its own: it is there to
    be referred to, and no row can break it alone."""
    key = {column.name for column in table.primary_key}
    named: list[object] = [table.primary_key.name]
    for constraint in table.constraints:
        implied = isinstance(constraint, UniqueConstraint) and key <= {column.name for column in constraint.columns}
        if isinstance(constraint, CheckConstraint | UniqueConstraint | ForeignKeyConstraint) and not implied:
            named.append(constraint.name)
    named += [index.name for index in table.indexes if index.unique]
    return {str(name) for name in named}


def test_every_constraint_has_a_case() -> None:
    known = {name for table in TABLES.values() for name in rules_of(table)}
    assert len(known) > 100
    assert {case.constraint for case in CASES} == known - IMPLIED
    assert known >= IMPLIED


def test_a_constraint_without_a_case_is_noticed() -> None:
    table = Table("extra", MetaData(), Column("a", Integer), CheckConstraint("a", name="new"))
    Index("uq_extra", table.c.a, unique=True)
    assert {"new", "uq_extra"} <= rules_of(table)


def test_every_json_column_is_held_to_an_object() -> None:
    columns = [column for table in TABLES.values() for column in table.columns if isinstance(column.type, JSONB)]
    assert {f"ck_{column.table.name}_{column.name}_object" for column in columns} <= {case.constraint for case in FORMS}
    assert len(columns) == 12
