"""What is tried again, by whom, and after how long."""

import logging
from collections.abc import Callable

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from db.domain.errors import Busy
from db.postgres.context import transaction_id
from db.postgres.database import Database
from tests.support.meeting import meet

Pauses = Callable[[], list[float]]
SECRET = "INSERT INTO secrets (name, value) VALUES ('race', decode(repeat('00', 32), 'hex'))"


@pytest.fixture
def pauses(caplog: pytest.LogCaptureFixture) -> Pauses:
    """How long it was waited before each further try."""
    caplog.set_level(logging.WARNING, "db.postgres")
    return lambda: [vars(line)["seconds"] for line in caplog.records if line.getMessage() == "retrying"]


def fail(session: Session) -> None:
    session.execute(text("DO $$ BEGIN RAISE EXCEPTION 'provoked' USING ERRCODE = '40001'; END $$"))


def test_whoever_loses_a_race_for_a_key_does_its_work_again_and_finds_the_row(
    database: Database, pauses: Pauses
) -> None:
    def obtain(session: Session) -> str:
        if session.scalar(text("SELECT 1 FROM secrets WHERE name = 'race'")):
            return "found"
        session.execute(text(SECRET))
        return "made"

    answers: list[str] = []
    met = meet(database, lambda session: answers.append(obtain(session)), obtain, attempts=2)
    assert met.waited
    assert [*answers, met.second.result()] == ["made", "found"]
    assert len(pauses()) == 1


def test_a_key_that_is_taken_is_told_as_it_is_after_the_last_try(database: Database, pauses: Pauses) -> None:
    database.run("take", lambda session: session.execute(text(SECRET)))
    with pytest.raises(IntegrityError):
        database.run("take", lambda session: session.execute(text(SECRET)), attempts=2)
    assert len(pauses()) == 1


def test_a_nested_run_leaves_the_repetition_to_the_one_around_it(database: Database) -> None:
    outer: list[str | None] = []
    inner: list[str | None] = []

    def nested(session: Session) -> None:
        inner.append(transaction_id())
        fail(session)

    def work(_: Session) -> None:
        outer.append(transaction_id())
        database.run("inner", nested)

    with pytest.raises(Busy):
        database.run("outer", work, attempts=3)
    assert len(set(outer)) == 3
    assert inner == outer


def test_no_two_that_failed_together_come_back_together(database: Database, pauses: Pauses) -> None:
    for _ in range(12):
        with pytest.raises(Busy):
            database.run("fail", fail, attempts=2)
    waited = pauses()
    assert len(waited) == 12
    assert len(set(waited)) > 1
    assert all(0.02 <= seconds <= 0.06 for seconds in waited)


def test_each_pause_is_twice_as_long_as_the_one_before_it_up_to_a_jitter(database: Database, pauses: Pauses) -> None:
    with pytest.raises(Busy):
        database.run("fail", fail, attempts=5)
    assert [0.02 <= seconds / 2**number <= 0.06 for number, seconds in enumerate(pauses())] == [True] * 4
