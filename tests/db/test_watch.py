"""What the log says of slow statements and full pools, and what no log and no error ever says."""

import dataclasses
import logging
import os
import socket
import traceback
from collections.abc import Callable, Generator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.pool import QueuePool

from db.domain.errors import Busy, Refused, StoreUnavailable
from db.postgres import monitor, start
from db.postgres.config import DatabaseConfig
from db.postgres.context import transaction_id
from db.postgres.database import Database
from mcp_server.process.settings import Settings
from tests.support.patience import PATIENCE

Open = Callable[..., Database]
Records = Callable[[str], list[dict[str, Any]]]
PASSWORD = "hunter2-secret"


@pytest.fixture
def opened(postgres: str) -> Generator[Open]:
    """Opens pools on the server, with settings of their own."""
    databases: list[Database] = []

    def open_(**options: Any) -> Database:
        databases.append(Database(replace(DatabaseConfig(url=postgres), **options)))
        return databases[-1]

    yield open_
    for database in databases:
        database.close()


@pytest.fixture
def records(caplog: pytest.LogCaptureFixture) -> Records:
    caplog.set_level(logging.DEBUG)
    return lambda message: [vars(record) for record in caplog.records if record.getMessage() == message]


def everything(caplog: pytest.LogCaptureFixture) -> str:
    return caplog.text + "".join(str(vars(record)) for record in caplog.records)


def test_a_slow_statement_is_logged_without_its_parameters(
    opened: Open, records: Records, caplog: pytest.LogCaptureFixture
) -> None:
    database = opened(slow_query=0.05)
    statement = text("SELECT pg_sleep(0.06), CAST(:email AS text)")
    ids: list[str | None] = []
    with database.transaction("slow") as session:
        ids.append(transaction_id())
        session.execute(text("SELECT 1"))
        session.execute(statement, {"email": "ada@example.com"})
    # Where the machine is slow, others are slow as well.
    (line,) = [record for record in records("slow query") if "pg_sleep(0.06)" in record["statement"]]
    assert line["seconds"] >= 0.06
    assert (line["rows"], line["threshold"]) == (1, 0.05)
    assert line["transaction"] == ids[0]
    assert line["levelno"] == logging.WARNING
    assert "ada@example.com" not in everything(caplog)


def test_a_slow_statement_that_is_stopped_is_logged_too(opened: Open, records: Records) -> None:
    database = opened(slow_query=0.05, statement_timeout=0.1)
    with pytest.raises(Busy):
        database.run("slow", lambda session: session.execute(text("SELECT pg_sleep(20)")))
    (line,) = [record for record in records("slow query") if "pg_sleep(20)" in record["statement"]]
    assert line["transaction"]


def test_a_statement_for_many_rows_is_watched_as_one(opened: Open, records: Records) -> None:
    database = opened(slow_query=0.05)
    many = text("SELECT pg_sleep(0.06), CAST(:number AS int)")
    database.run("many", lambda session: session.execute(many, [{"number": 1}, {"number": 2}]))
    (line,) = [record for record in records("slow query") if "pg_sleep(0.06)" in record["statement"]]
    assert line["seconds"] >= 0.12


def test_a_statement_that_is_not_slow_is_not_logged(opened: Open, records: Records) -> None:
    database = opened(slow_query=PATIENCE)
    database.run("quick", lambda session: session.execute(text("SELECT pg_sleep(0.01)")))
    assert records("slow query") == []


def test_a_failing_statement_says_nothing_of_its_parameters(opened: Open, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(Exception, match="hidden due to hide_parameters") as caught:
        opened().run(
            "fail", lambda session: session.execute(text("SELECT CAST(:email AS no_such_type)"), {"email": PASSWORD})
        )
    assert PASSWORD not in str(caught.value) + everything(caplog)


def test_every_statement_is_logged_at_debug_without_its_values(
    opened: Open, records: Records, caplog: pytest.LogCaptureFixture
) -> None:
    database = opened()
    statement = text("SELECT n, CAST(:email AS text) FROM generate_series(1, 3) n")
    database.run("look", lambda session: session.execute(statement, {"email": "ada@example.com"}).all())
    (line,) = [record for record in records("statement") if "generate_series" in record["statement"]]
    assert (line["rows"], line["levelno"]) == (3, logging.DEBUG)
    assert line["transaction"]
    assert "ada@example.com" not in everything(caplog)
    caplog.clear()
    caplog.set_level(logging.INFO)
    database.run("look", lambda session: session.execute(statement, {"email": "ada@example.com"}).all())
    assert records("statement") == []


def test_a_statement_that_fails_is_logged_with_its_text(opened: Open, records: Records) -> None:
    with pytest.raises(DBAPIError) as caught:
        opened().run("fail", lambda session: session.execute(text("SELECT 1 / 0")))
    (line,) = records("statement failed")
    assert line["statement"] == "SELECT 1 / 0"
    assert (line["sqlstate"], line["error"]) == ("22012", "DivisionByZero")
    assert caught.value.__notes__ == [f"In transaction {line['transaction']}: fail."]


def test_an_error_of_the_database_names_its_transaction_and_a_fault_that_the_log_holds(
    opened: Open, records: Records
) -> None:
    database = opened(statement_timeout=0.05)
    with pytest.raises(Busy) as caught:
        database.run("slow", lambda session: session.execute(text("SELECT pg_sleep(20)")))
    (line,) = records("gave up")
    assert f"(fault {line['fault']}, transaction {line['transaction']})" in str(caught.value)


def test_a_rollback_that_fails_does_not_hide_what_led_to_it(
    opened: Open, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = opened()

    def cut(session: Session) -> None:
        """The connection is gone when the work fails by itself: the roll-back finds nobody."""
        session.execute(text("SELECT 1"))
        driver: Any = session.connection().connection.driver_connection
        with socket.socket(fileno=os.dup(driver.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)
        raise Refused("the reason")

    with pytest.raises(Refused, match="the reason"):
        database.run("cut", cut)
    (line,) = records("rollback failed")
    assert (line["error"], line["description"]) == ("Refused", "cut")
    assert database.run("again", lambda session: session.scalar(text("SELECT 1"))) == 1


def test_a_pool_that_is_nearly_full_is_told_before_it_is_full(opened: Open, records: Records) -> None:
    database = opened(pool_size=5, max_overflow=0)
    with ExitStack() as held:
        for _ in range(3):
            held.enter_context(database.engine.connect())
        assert records("connection pool is nearly full") == []
        held.enter_context(database.engine.connect())
        (line,) = records("connection pool is nearly full")
        assert (line["in_use"], line["idle"], line["connections"]) == (4, 0, 5)
        assert line["waiting"] in (0, 1)  # this very caller may still count as one who waits
        assert records("connection pool is full") == []
        held.enter_context(database.engine.connect())
        (line,) = records("connection pool is full")
        assert line["in_use"] == 5


def test_a_second_is_slow_where_nothing_is_set() -> None:
    assert DatabaseConfig(url="postgresql://db.example.com/sales").slow_query == 1.0


def test_a_full_pool_is_told_once_a_minute(opened: Open, records: Records) -> None:
    database = opened(pool_size=2, max_overflow=0)
    for _ in range(3):
        with database.engine.connect():
            assert database.engine.pool.status()
    assert records("connection pool is full") == []
    for _ in range(3):
        with database.engine.connect(), database.engine.connect():
            pass
    (line,) = records("connection pool is full")
    assert line["connections"] == 2
    assert monitor.POOL_WARNING_INTERVAL == 60


def test_a_pool_that_is_full_again_after_the_interval_is_told_again(opened: Open, records: Records) -> None:
    database = opened(pool_size=1, max_overflow=0)
    assert isinstance(database.engine.pool, QueuePool)
    watch = monitor.PoolWatch(database.engine.pool, 1, interval=0)
    with database.engine.connect():
        before = len(records("connection pool is full"))
        watch.checked_out()
        watch.checked_out()
    assert len(records("connection pool is full")) - before == 2


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://sales:{PASSWORD}@127.0.0.1:1/sales",
        f"postgresql://sales:{PASSWORD}@no-such-host.invalid/sales",
        f"postgresql://sales:{PASSWORD}@127.0.0.1:port/sales",
        f"postgresql://sales:{PASSWORD}/sales",
        f"mysql://sales:{PASSWORD}@127.0.0.1/sales",
        f"sales {PASSWORD}",
        f"postgresql://127.0.0.1:1/sales?user=sales&password={PASSWORD}",
        f"postgresql://127.0.0.1/sales?no_such_option={PASSWORD}",
    ],
)
def test_a_wrong_url_is_refused_without_its_password(url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(StoreUnavailable) as caught:
        Database.open(DatabaseConfig(url=url, start_attempts=1, connect_timeout=2))
    assert PASSWORD not in str(caught.value)
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))
    assert PASSWORD not in everything(caplog)


def test_an_unreachable_server_is_tried_a_bounded_number_of_times(records: Records) -> None:
    config = DatabaseConfig(url="postgresql://sales@127.0.0.1:1/sales", start_attempts=3)
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:1 does not answer after 3 tries\. Start it"):
        Database.open(config)
    assert [(line["attempt"], line["of"]) for line in records("database does not answer")] == [(1, 3), (2, 3), (3, 3)]


def test_a_database_that_does_not_exist_is_not_waited_for(postgres: str, records: Records) -> None:
    config = DatabaseConfig(url=postgres.replace("/sales?", "/no_such_database?"))
    with pytest.raises(StoreUnavailable, match=r"does not exist\. Correct DATABASE_URL"):
        Database.open(config)
    assert len(records("database does not answer")) == 1


@pytest.mark.parametrize(
    ("parameter", "more"),
    [("no_such_option=1", {}), ("connect_timeout=soon", {}), ("options=-c%20no_such=1", {}), ("", {"sslmode": "on"})],
)
def test_a_parameter_that_is_wrong_is_not_waited_for(
    postgres: str, records: Records, parameter: str, more: dict[str, Any]
) -> None:
    config = DatabaseConfig(url=f"{postgres}&{parameter}" if parameter else postgres, **more)
    with pytest.raises(StoreUnavailable, match=r"can't be used: a parameter .* is wrong\. Correct DATABASE_URL"):
        Database.open(config)
    assert len(records("database does not answer")) == 1


def test_a_host_that_nobody_knows_is_named() -> None:
    config = DatabaseConfig(url="postgresql://sales@db.invalid/sales", start_attempts=1)
    with pytest.raises(StoreUnavailable, match=r"db\.invalid:5432 does not answer .*, for no such host is known\."):
        Database.open(config)


def test_a_server_that_goes_away_later_is_given_up_after_the_attempts(records: Records) -> None:
    database = Database(DatabaseConfig(url="postgresql://sales@127.0.0.1:1/sales", max_attempts=2))
    with pytest.raises(StoreUnavailable, match="can't be reached now"):
        database.run("read", lambda session: session.execute(text("SELECT 1")))
    assert len(records("retrying")) == 1
    database.close()


def test_a_server_that_is_too_old_is_named(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "MINIMUM_VERSION", 99)
    with pytest.raises(StoreUnavailable, match=r"is version \d\d; this server needs 99 or later"):
        start.wait_until_ready(opened().engine, attempts=1)


def test_postgresql_15_is_the_oldest_that_will_do() -> None:
    assert start.MINIMUM_VERSION == 15


def test_no_address_and_no_password_has_a_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "SALES_AUTOMATION_DATABASE_URL", "SALES_AUTOMATION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    settings = Settings()
    assert (settings.database_url, settings.token, settings.bearer_token()) == (None, None, None)
    (url,) = (field for field in dataclasses.fields(DatabaseConfig) if field.name == "url")
    assert url.default is dataclasses.MISSING
    assert not [field.name for field in dataclasses.fields(DatabaseConfig) if "password" in field.name]
