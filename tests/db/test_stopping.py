"""A database that is told to stop: what is done is done, what is not is undone and refused, and nobody waits."""

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

from db.domain.errors import StoreUnavailable
from db.postgres.config import DatabaseConfig
from db.postgres.database import Database
from db.postgres.monitor import Connections
from tests.support.patience import PATIENCE

REASON = "This server is stopping."


@pytest.fixture
def database_of_items(fresh_database: str) -> Generator[Database]:
    database = Database(DatabaseConfig(url=fresh_database))
    with database.engine.begin() as connection:
        connection.execute(text("CREATE TABLE item (id int PRIMARY KEY)"))
    yield database
    database.close()


def add(number: int, then: Callable[[Session], object]) -> Callable[[Session], None]:
    def work(session: Session) -> None:
        session.execute(text("INSERT INTO item VALUES (:number)"), {"number": number})
        then(session)

    return work


def test_what_is_under_way_is_cut_off_undone_and_refused(database_of_items: Database) -> None:
    began, stopped = [Event(), Event()], Event()

    def sleep(session: Session) -> None:
        began[0].set()
        session.execute(text("SELECT pg_sleep(600)"))

    def think(_: Session) -> None:
        began[1].set()
        stopped.wait(PATIENCE)

    database = database_of_items
    database.run("done", add(1, lambda _: None))
    with ThreadPoolExecutor(2) as threads:
        calls = [threads.submit(database.run, "work", add(number, then)) for number, then in ((2, sleep), (3, think))]
        assert all(event.wait(PATIENCE) for event in began)
        wait_for_sleep(database)
        database.stop(REASON)
        stopped.set()
        for call in calls:
            with pytest.raises(StoreUnavailable, match=REASON):
                call.result(PATIENCE)
    with pytest.raises(StoreUnavailable, match=REASON):
        database.run("late", add(4, lambda _: None))
    with database.engine.connect() as connection:
        assert connection.scalars(text("SELECT id FROM item")).all() == [1]


def wait_for_sleep(database: Database) -> None:
    """Returns once the statement is with the server, where it can be cut off."""
    is_asleep = text("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'")
    with database.engine.connect() as connection:
        while not connection.scalar(is_asleep):
            connection.rollback()


def test_no_connection_is_held_that_was_given_back_or_lost(fresh_database: str) -> None:
    engine = create_engine(fresh_database.replace("postgresql://", "postgresql+psycopg://"))
    connections = Connections(engine)
    with engine.connect() as connection:
        assert len(connections.in_use) == 1
        connection.invalidate()
        assert not connections.in_use
    with engine.connect():
        assert len(connections.in_use) == 1
    assert not connections.in_use
    engine.dispose()


def test_a_connection_that_is_given_back_to_a_closed_database_is_closed(database_of_items: Database) -> None:
    used: list[Any] = []

    def work(session: Session) -> None:
        used.append(session.connection().connection.driver_connection)

    def close_meanwhile(session: Session) -> None:
        work(session)
        database_of_items.close()

    database_of_items.run("close meanwhile", close_meanwhile)
    database_of_items.run("after it", work)
    database_of_items.run("and read", work, read_only=True)
    assert [connection.closed for connection in used] == [True, True, True]
