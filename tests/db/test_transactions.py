"""Transactions on a real server: what is kept, what is repeated, what is given up, and what is said about it."""

import logging
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier, Thread
from traceback import walk_tb
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from db.domain.errors import Busy, NotPermitted, OutcomeUnknown, Refused, StoreUnavailable
from db.postgres.config import DatabaseConfig
from db.postgres.context import transaction_id
from db.postgres.database import Database
from tests.support.patience import PATIENCE

Open = Callable[..., Database]
Records = Callable[[str], list[dict[str, Any]]]

DIE_AT_COMMIT = """
    CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_terminate_backend(pg_backend_pid());
        PERFORM pg_sleep(5);
        RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER die AFTER INSERT ON item DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION die()
"""


@pytest.fixture
def items(fresh_database: str) -> Generator[Open]:
    """Opens databases on one server with the table item(id, value), each with a pool and limits of its own."""
    opened: list[Database] = []

    def open_(**options: Any) -> Database:
        opened.append(Database(replace(DatabaseConfig(url=fresh_database), **options)))
        return opened[-1]

    with open_().engine.begin() as connection:
        connection.execute(text("CREATE TABLE item (id int PRIMARY KEY, value int NOT NULL DEFAULT 0)"))
        connection.execute(text("INSERT INTO item VALUES (1), (2)"))
    yield open_
    for database in opened:
        database.close()


@pytest.fixture
def records(caplog: pytest.LogCaptureFixture) -> Records:
    """The facts of every line logged under a message."""
    caplog.set_level(logging.DEBUG, "db.postgres")
    return lambda message: [vars(record) for record in caplog.records if record.getMessage() == message]


def add(session: Session, number: int) -> None:
    session.execute(text("INSERT INTO item VALUES (:number)"), {"number": number})


def bump(session: Session, number: int) -> None:
    session.execute(text("UPDATE item SET value = value + 1 WHERE id = :number"), {"number": number})


def values(database: Database) -> dict[int, int]:
    with database.engine.connect() as connection:
        return {row.id: row.value for row in connection.execute(text("SELECT id, value FROM item"))}


def terminate(database: Database, pid: int | None) -> None:
    with database.engine.connect() as connection:
        assert connection.scalar(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})


def fail_with(session: Session, state: str) -> None:
    session.execute(text(f"DO $$ BEGIN RAISE EXCEPTION 'provoked' USING ERRCODE = '{state}'; END $$"))


def test_a_transaction_is_kept_at_its_end(items: Open) -> None:
    database = items()
    with database.transaction("add") as session:
        add(session, 3)
        assert values(database) == {1: 0, 2: 0}
    assert values(database) == {1: 0, 2: 0, 3: 0}


def test_an_error_rolls_everything_back_and_is_logged_under_the_id(items: Open, records: Records) -> None:
    database = items()
    ids: list[str | None] = []

    def work() -> None:
        with database.transaction("add two") as session:
            add(session, 3)
            ids.append(transaction_id())
            raise LookupError

    with pytest.raises(LookupError):
        work()
    assert values(database) == {1: 0, 2: 0}
    (line,) = records("rolled back")
    assert (line["transaction"], line["description"], line["error"]) == (ids[0], "add two", "LookupError")
    assert transaction_id() is None


def test_every_transaction_has_an_id_of_its_own(items: Open) -> None:
    database = items()
    ids = {database.run("id", lambda _: transaction_id()) for _ in range(20)}
    assert len(ids) == 20
    assert None not in ids


def test_an_inner_failure_keeps_the_outer_work(items: Open) -> None:
    database = items()
    ids: list[str | None] = []

    def fail() -> None:
        with database.transaction("inner") as inner:
            ids.append(transaction_id())
            add(inner, 4)
            add(inner, 1)

    with database.transaction("outer") as session:
        add(session, 3)
        with pytest.raises(IntegrityError):
            fail()
        assert ids == [transaction_id()]
        with database.transaction("another") as inner:
            add(inner, 5)
    assert sorted(values(database)) == [1, 2, 3, 5]


def test_an_outer_failure_takes_the_inner_work_along(items: Open) -> None:
    database = items()

    def work() -> None:
        with database.transaction("outer"):
            with database.transaction("inner") as inner:
                add(inner, 3)
            raise LookupError

    with pytest.raises(LookupError):
        work()
    assert values(database) == {1: 0, 2: 0}


def test_a_deadlock_is_broken_and_both_do_their_work(items: Open, records: Records) -> None:
    database = items()
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        name = connection.scalar(text("SELECT current_database()"))
        connection.execute(text(f"ALTER DATABASE {name} SET deadlock_timeout = '100ms'"))
    first_tries = {(1, 2), (2, 1)}
    meeting = Barrier(2, timeout=PATIENCE)
    patient = items()

    def in_order(one: int, other: int) -> None:
        def work(session: Session) -> None:
            bump(session, one)
            if (one, other) in first_tries:
                first_tries.remove((one, other))
                meeting.wait()
            bump(session, other)

        patient.run(f"{one} then {other}", work)

    threads = [Thread(target=in_order, args=order) for order in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert values(database) == {1: 2, 2: 2}
    (line,) = records("retrying")
    assert line["error"] == "DeadlockDetected"
    (rolled_back,) = records("rolled back")
    assert line["transaction"] == rolled_back["transaction"]


def test_a_serialization_failure_is_repeated(items: Open, records: Records) -> None:
    database = items()
    seen: list[int | None] = []

    def work(session: Session) -> None:
        session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        seen.append(session.scalar(text("SELECT value FROM item WHERE id = 1")))
        if len(seen) == 1:
            with database.engine.begin() as other:
                other.execute(text("UPDATE item SET value = 10 WHERE id = 1"))
        bump(session, 1)

    database.run("count", work)
    assert seen == [0, 10]
    assert values(database)[1] == 11
    assert [line["error"] for line in records("retrying")] == ["SerializationFailure"]


def test_a_connection_lost_before_the_commit_is_repeated_on_another(items: Open, records: Records) -> None:
    database = items()
    pids: list[int | None] = []

    def work(session: Session) -> str:
        add(session, 3)
        pids.append(session.scalar(text("SELECT pg_backend_pid()")))
        if len(pids) == 1:
            terminate(database, pids[0])
        add(session, 4)
        return "done"

    assert database.run("add", work) == "done"
    assert len(set(pids)) == 2
    assert values(database) == {1: 0, 2: 0, 3: 0, 4: 0}
    assert len(records("retrying")) == 1


def test_a_pool_of_dead_connections_is_not_noticed_by_the_caller(items: Open, records: Records) -> None:
    database = items(pool_size=1)
    terminate(items(), database.run("pid", lambda session: session.scalar(text("SELECT pg_backend_pid()"))))
    assert database.run("again", lambda session: session.scalar(text("SELECT 1"))) == 1
    assert records("retrying") == []


@pytest.mark.parametrize(("ping_after", "asked"), [(30.0, "COMMIT"), (0.0, "ping")])
def test_a_connection_is_asked_whether_it_lives_only_after_lying_idle(
    items: Open, ping_after: float, asked: str
) -> None:
    database = items(pool_size=1, ping_after=ping_after)
    pid = database.run("pid", lambda session: session.scalar(text("SELECT pg_backend_pid()")))
    with database.engine.connect(), items().engine.connect() as other:
        last = other.scalar(text("SELECT query FROM pg_stat_activity WHERE pid = :pid"), {"pid": pid})
    assert (last if last == "COMMIT" else "ping") == asked


def test_a_commit_that_is_cut_off_is_told_and_never_repeated(items: Open, records: Records) -> None:
    database = items()
    with database.engine.begin() as connection:
        connection.execute(text(DIE_AT_COMMIT))
    calls: list[str | None] = []

    def work(session: Session) -> None:
        calls.append(transaction_id())
        add(session, 3)

    with pytest.raises(OutcomeUnknown, match="may or may not have been done"):
        database.run("add", work)
    assert len(calls) == 1
    (line,) = records("commit lost")
    assert line["transaction"] == calls[0]
    assert records("retrying") == []


@pytest.mark.parametrize("state", ["40001", "40P01"])
def test_the_attempts_are_bounded_and_end_in_busy(items: Open, records: Records, state: str) -> None:
    calls: list[str | None] = []

    def work(session: Session) -> None:
        calls.append(transaction_id())
        fail_with(session, state)

    with pytest.raises(Busy, match="Nothing was done: call again"):
        items(max_attempts=3).run("never", work)
    assert len(set(calls)) == 3
    assert [line["attempt"] for line in records("retrying")] == [1, 2]
    (line,) = records("gave up")
    assert line["attempt"] == 3
    assert line["transaction"] == calls[2]


def test_a_fault_of_ours_is_not_repeated(items: Open, records: Records) -> None:
    with pytest.raises(IntegrityError):
        items().run("break a rule", lambda session: session.execute(text("INSERT INTO item VALUES (3, NULL)")))
    assert records("retrying") == []


def test_the_limits_stand_in_every_session(items: Open) -> None:
    database = items(statement_timeout=7.5, lock_timeout=2.5, idle_in_transaction_timeout=20)
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "timezone")
    with database.engine.connect() as connection:
        shown = [connection.scalar(text(f"SHOW {name}")) for name in names]
    assert shown == ["7500ms", "2500ms", "20s", "UTC"]


def test_the_limits_without_a_setting_are_those_of_the_design(items: Open) -> None:
    with items().engine.connect() as connection:
        names = ("statement_timeout", "idle_in_transaction_session_timeout", "lock_timeout")
        assert [connection.scalar(text(f"SHOW {name}")) for name in names] == ["10s", "30s", "5s"]


def test_a_statement_that_takes_too_long_is_busy(items: Open, records: Records) -> None:
    database = items(statement_timeout=0.1)
    with pytest.raises(Busy, match="took too long"):
        database.run("sleep", lambda session: session.execute(text("SELECT pg_sleep(20)")))
    assert len(records("gave up")) == 1
    assert records("retrying") == []


def test_a_lock_that_does_not_come_free_is_busy(items: Open) -> None:
    holder, database = items(), items(lock_timeout=0.1)
    with holder.transaction("hold") as session:
        bump(session, 1)
        # In a context of its own, as another thread would be.
        failures: list[BaseException] = []
        thread = Thread(target=lambda: failures.append(caught(lambda: database.run("bump", lambda s: bump(s, 1)))))
        thread.start()
        thread.join(PATIENCE)
    (failure,) = failures
    assert isinstance(failure, Busy)
    assert "holds these rows" in str(failure)
    assert values(database)[1] == 1


def caught(call: Callable[[], object]) -> BaseException:
    with pytest.raises(StoreUnavailable) as info:
        call()
    return info.value


def test_each_failure_is_an_error_of_its_own(items: Open) -> None:
    database = items(statement_timeout=0.1)
    first, second = (
        caught(lambda: database.run("sleep", lambda session: session.execute(text("SELECT pg_sleep(20)"))))
        for _ in range(2)
    )
    assert str(first).partition(" (fault")[0] == str(second).partition(" (fault")[0]
    assert str(first) != str(second)
    assert first is not second
    assert depth(first) == depth(second)


def depth(error: BaseException) -> int:
    return len(list(walk_tb(error.__traceback__)))


def test_a_transaction_left_idle_is_ended_and_says_so(items: Open) -> None:
    database = items(idle_in_transaction_timeout=0.1, max_attempts=1)
    watch = items()

    def work(session: Session) -> None:
        add(session, 3)
        pid = session.scalar(text("SELECT pg_backend_pid()"))
        with watch.engine.connect() as connection:
            # Waits in the server until the other backend is gone.
            connection.execute(
                text(
                    """
                    DO $$ BEGIN
                        FOR i IN 1..500 LOOP
                            PERFORM pg_stat_clear_snapshot();
                            EXIT WHEN NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $PID);
                            PERFORM pg_sleep(0.01);
                        END LOOP;
                    END $$
                """.replace("$PID", str(pid))
                )
            )
        add(session, 4)

    with pytest.raises(Busy, match="Nothing was done"):
        database.run("dawdle", work)
    assert values(watch) == {1: 0, 2: 0}


def test_a_read_only_transaction_refuses_a_write_below_the_tools(items: Open) -> None:
    database = items()
    with pytest.raises(Refused, match="read-only"):
        database.run("write", lambda session: add(session, 3), read_only=True)
    assert database.run("read", lambda session: session.scalar(text("SELECT count(*) FROM item")), read_only=True) == 2
    database.run("write", lambda session: add(session, 3))
    assert sorted(values(database)) == [1, 2, 3]


def test_a_read_only_transaction_sees_one_moment_and_the_next_transaction_what_is_committed(items: Open) -> None:
    database = items(pool_size=2)
    count = text("SELECT count(*) FROM item")

    def read(session: Session) -> tuple[int | None, int | None]:
        before = session.scalar(count)
        with ThreadPoolExecutor(1) as other:
            other.submit(database.run, "write", lambda session: add(session, 3)).result()
        return before, session.scalar(count)

    assert database.run("read", read, read_only=True) == (2, 2)
    assert database.run("read", lambda session: session.scalar(count), read_only=True) == 3
    level = text("SHOW transaction_isolation")
    with ThreadPoolExecutor(2) as both:  # the connections of both, which are used again
        looks = [both.submit(database.run, "look", lambda session: session.scalar(level)) for _ in range(4)]
        assert {look.result() for look in looks} == {"read committed"}


def test_a_database_that_is_read_only_by_default_stays_so_after_a_read(items: Open) -> None:
    database = items()
    reader = items(url=f"{database.config.url}&options=-c%20default_transaction_read_only%3Don", pool_size=1)
    reader.run("read", lambda session: session.scalar(text("SELECT count(*) FROM item")), read_only=True)
    with pytest.raises(NotPermitted, match="read-only"):
        reader.run("write", lambda session: add(session, 3))
    assert sorted(values(database)) == [1, 2]


def test_what_keeps_a_read_only_server_safe_is_written(items: Open) -> None:
    database = items(read_only=True)
    with pytest.raises(NotPermitted, match="read-only"):
        database.run("write", lambda session: add(session, 3))
    database.run("write", lambda session: add(session, 3), is_security=True)
    assert sorted(values(database)) == [1, 2, 3]


def test_an_exhausted_pool_is_busy(items: Open) -> None:
    database = items(pool_size=1, max_overflow=0, pool_timeout=0.1)
    with database.engine.connect(), pytest.raises(Busy, match="All database connections are in use"):
        database.run("wait", lambda session: session.execute(text("SELECT 1")))
    assert database.run("go", lambda session: session.scalar(text("SELECT 1"))) == 1
