"""What is logged of an error of the database never holds what a row or a parameter held."""

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from db.embedded import EmbeddedPostgres
from db.postgres.config import DatabaseConfig
from db.postgres.database import Database
from mcp_server.process.logs import JsonLines

SECRET = "5e2c0b1a-plover"


def _refused_row(session: Session) -> None:
    session.execute(
        text("INSERT INTO campaign_templates (id, name, type, path_type) VALUES (:id, :name, 'letter', 'structured')"),
        {"id": uuid4(), "name": SECRET},
    )


def _duplicate(session: Session) -> None:
    values = {"id": uuid4(), "email": f"{SECRET}@example.com"}
    insert = text("INSERT INTO contacts (id, email) VALUES (:id, :email)")
    session.execute(insert, values)
    session.execute(insert, {**values, "id": uuid4()})


def _unreadable_value(session: Session) -> None:
    session.execute(text("SELECT CAST(CAST(:value AS text) AS uuid)"), {"value": SECRET})


def _unreadable_rows(session: Session) -> None:
    rows = json.dumps([{"id": SECRET}])
    session.execute(text("SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(id uuid)"), {"rows": rows})


def _many(session: Session) -> None:
    insert = text("INSERT INTO contacts (id, email) VALUES (:id, :email)")
    session.execute(insert, [{"id": uuid4(), "email": f"{SECRET}@example.com"} for _ in range(2)])


def _refused_commit(session: Session) -> None:
    session.execute(text("CREATE TEMP TABLE once (token text UNIQUE DEFERRABLE INITIALLY DEFERRED) ON COMMIT DROP"))
    session.execute(text("INSERT INTO once VALUES (:token), (:token)"), {"token": SECRET})


WORKS: list[Callable[[Session], None]] = [
    _refused_row, _duplicate, _unreadable_value, _unreadable_rows, _many, _refused_commit,
]  # fmt: skip


def _line() -> str:
    """The error that is being handled, as the server logs it."""
    return JsonLines().format(logging.LogRecord("here", logging.ERROR, __file__, 1, "failed", (), sys.exc_info()))


@pytest.mark.parametrize("work", WORKS)
def test_a_log_line_of_an_error_holds_nothing_of_the_row(database: Database, work: Callable[[Session], None]) -> None:
    try:
        with database.transaction("work") as session:
            work(session)
    except DBAPIError as error:
        written, kind = json.loads(_line())["exception"], type(error.orig).__name__
        told = f"{error} {error!r} {error.orig} {error.orig!r} {error.args}"
    else:
        pytest.fail("the database took it")
    assert SECRET not in written + told
    assert kind in written


def test_a_log_line_still_names_the_constraint(database: Database) -> None:
    try:
        with database.transaction("work") as session:
            _refused_row(session)
    except DBAPIError:
        assert "ck_campaign_templates_type" in _line()


def test_the_log_of_the_embedded_database_holds_nothing_of_the_row(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path)
    database = Database.open(DatabaseConfig(url=server.start()))

    def refuse(connection: Connection, values: dict[str, Any]) -> None:
        connection.execute(text("CREATE TEMP TABLE odd (n int CONSTRAINT small CHECK (n < 2), token text)"))
        connection.execute(text("INSERT INTO odd VALUES (:n, :token)"), values)

    try:
        with pytest.raises(DBAPIError), database.engine.begin() as connection:
            refuse(connection, {"n": 3, "token": SECRET})
    finally:
        database.close()
        server.stop()
    log = "".join(path.read_text(encoding="utf-8", errors="replace") for path in tmp_path.rglob("*.log"))
    assert "small" in log
    assert SECRET not in log
