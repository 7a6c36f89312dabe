"""Sessions that meet at a moment of the test's choice: one has done its work and has not committed yet, the other
begins. What the other one waits for, and what it has locked until then, is asked of PostgreSQL."""

from collections.abc import Callable, Collection, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import event as sqlalchemy_event, text
from sqlalchemy.orm import Session

from db.domain.errors import Busy
from db.embedded.locks import wait_until
from db.postgres.database import Database
from tests.support.patience import PATIENCE

Answer = TypeVar("Answer")
Work = Callable[[Session], Answer]

_WAITS = text("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE :holder = ANY (pg_blocking_pids(pid)))")


class Met(NamedTuple):
    """Whether the second waited for the first, and what became of it."""

    waited: bool
    second: Future[Any]


@contextmanager
def patient(database: Database) -> Generator[Database]:
    """The same database for somebody who waits for locks as long as it takes, and tries once."""
    other = Database(replace(database.config, lock_timeout=PATIENCE, statement_timeout=PATIENCE, max_attempts=1))
    yield other
    other.close()


def meet(database: Database, first: Work[Any], second: Work[Any], *, attempts: int = 1) -> Met:
    """Do `first`; begin `second`; and commit the first once the second waits for it, or has ended without. `attempts`:
    how often the second is tried."""
    with patient(database) as other, ThreadPoolExecutor(1) as threads:
        with database.transaction("first") as session:
            first(session)
            later = threads.submit(other.run, "second", second, attempts=attempts)
            waited = _waits(database, session, later)
        later.exception(PATIENCE)
        return Met(waited, later)


def _waits(database: Database, holder: Session, later: "Future[Any]") -> bool:
    """Whether it waits for the holder, as soon as that is sure."""
    pid = holder.scalar(text("SELECT pg_backend_pid()"))
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as watch:
        waits = [False]

        def is_sure() -> bool:
            waits[0] = bool(watch.scalar(_WAITS, {"holder": pid}))
            return waits[0] or later.done()

        assert wait_until(is_sure, PATIENCE)
        return waits[0]


@contextmanager
def just_before(database: Database, statement: str, intrude: Callable[[], Any]) -> Generator[None]:
    """Somebody else does and commits `intrude` just before the first statement that contains this text."""
    left = [intrude]

    def look(*arguments: Any) -> None:
        if left and statement in arguments[2]:
            with ThreadPoolExecutor(1) as threads:
                threads.submit(left.pop()).result(PATIENCE)

    sqlalchemy_event.listen(database.engine, "before_cursor_execute", look)
    try:
        yield
    finally:
        sqlalchemy_event.remove(database.engine, "before_cursor_execute", look)
    assert not left, "the statement was never sent"


def locked_first(database: Database, table: str, key: str, held: Any, among: Collection[Any], work: Work[Any]) -> Any:
    """Which rows `work` locks before it comes to the one that somebody holds."""
    hold = text(f"SELECT 1 FROM {table} WHERE {key} = :held FOR UPDATE")
    probe = text(f"SELECT {key} FROM {table} WHERE {key} = ANY (:among) FOR UPDATE SKIP LOCKED")
    with patient(database) as other, ThreadPoolExecutor(1) as threads:
        with database.transaction("hold") as session:
            assert session.execute(hold, {"held": held}).all()
            later = threads.submit(other.run, "work", work)
            assert _waits(database, session, later)
            with database.engine.connect() as connection:
                free = set(connection.scalars(probe, {"among": list(among)}))
        later.result(PATIENCE)
    return set(among) - free - {held}


def done_first(
    database: Database, first: Work[Any], work: Work[Any], probes: dict[Any, Work[Any]], waits_for: Any
) -> set[Any]:
    """Which of the rows that `probes` would make `work` has made before it comes to the one that `first` has made."""
    hasty = Database(replace(database.config, lock_timeout=0.1, max_attempts=1))
    made: set[Any] = set()
    with patient(database) as other, ThreadPoolExecutor(2) as threads:
        with database.transaction("hold") as session:
            first(session)
            later = threads.submit(other.run, "work", work)
            assert _waits(database, session, later)
            for name, probe in probes.items():
                if isinstance(threads.submit(_refused, hasty, probe).result(PATIENCE), Busy):
                    made.add(name)
        later.result(PATIENCE)
    hasty.close()
    return made - {waits_for}


class _Undo(Exception):
    """Ends a transaction that must leave nothing."""


def _refused(database: Database, probe: Work[Any]) -> BaseException:
    def work(session: Session) -> None:
        probe(session)
        raise _Undo

    try:
        database.run("probe", work)
    except (Busy, _Undo) as error:
        return error
    raise AssertionError("unreachable: a probe is undone")
