"""Transactions. `Database.transaction` is the only place that commits."""

import logging
import random
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from secrets import token_hex
from typing import Self, TypeVar

from psycopg import Error
from sqlalchemy import Engine, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError, TimeoutError as PoolTimeout
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from db.domain.errors import OutcomeUnknown, Outdated, StoreUnavailable
from db.postgres import failures, monitor
from db.postgres.config import DatabaseConfig
from db.postgres.context import Transaction, current, transaction_id
from db.postgres.engine import open_engine
from db.postgres.monitor import PoolState, Watch, pool_state
from db.postgres.start import wait_until_ready

logger = logging.getLogger("db.postgres")

Answer = TypeVar("Answer")

_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 1.0


def _close(_: object, entry: ConnectionPoolEntry) -> None:
    entry.close()


class Database:
    """The pool and its transactions. A process has one; many threads can use it."""

    def __init__(self, config: DatabaseConfig) -> None:
        self.config = config
        self.watch = Watch()
        self.engine: Engine = open_engine(config, self.watch)
        # What it reads by several statements is of one moment, as somebody else's commit may fall between two of them.
        self._read_only = self.engine.execution_options(postgresql_readonly=True, isolation_level="REPEATABLE READ")
        self._connections = monitor.Connections(self.engine)
        self._stopped: str | None = None

    @classmethod
    def open(cls, config: DatabaseConfig) -> Self:
        """Returns a database that answers and is new enough. StoreUnavailable after `config.start_attempts` tries."""
        database = cls(config)
        try:
            wait_until_ready(database.engine, attempts=config.start_attempts)
        except StoreUnavailable:
            database.close()
            raise
        return database

    def close(self) -> None:
        """Closes every connection; one that is in use, as soon as it is given back. A later call would open one for
        itself alone."""
        event.listen(self.engine, "checkin", _close)
        self.engine.dispose()

    def stop(self, reason: str) -> None:
        """Allows no more commits. Running transactions are cancelled; they and all later ones raise StoreUnavailable
        with this `reason`. A commit that has begun is finished."""
        self._stopped = reason
        self._connections.cancel()

    def _refuse_when_stopped(self) -> None:
        if self._stopped is not None:
            raise StoreUnavailable(self._stopped)

    def pool_state(self) -> PoolState:
        """Returns how many connections there are and may be, and how many callers wait for one."""
        return pool_state(self.engine, self.config.pool_size + self.config.max_overflow, self.watch)

    @contextmanager
    def transaction(
        self, description: str, *, read_only: bool = False, is_careful: bool = False, is_security: bool = False
    ) -> Generator[Session]:
        """Returns a session that commits at the end of the block, and rolls back on any error.

        Inside another transaction of the same thread it is a savepoint of that one. `is_careful`: see Transaction.
        `is_security`: it writes what keeps the server safe, such as tickets, and not its data, so a read-only server
        allows it.
        """
        outer = current.get()
        if outer is not None:
            with outer.session.begin_nested():
                yield outer.session
            return
        self._refuse_when_stopped()
        engine = self._read_only if read_only or (self.config.read_only and not is_security) else self.engine
        with Session(engine, expire_on_commit=False) as session:
            transaction = Transaction(token_hex(6), description, session, is_careful)
            token = current.set(transaction)
            try:
                yield session
                session.flush()  # so that after this line only the commit itself can fail
                self._refuse_when_stopped()
                _commit(transaction)
            except BaseException as error:
                facts = {"transaction": transaction.id, "description": description, "error": type(error).__name__}
                error.add_note(f"In transaction {transaction.id}: {description}.")
                _roll_back(session, facts)
                raise
            finally:
                current.reset(token)

    def run(
        self,
        description: str,
        work: Callable[[Session], Answer],
        *,
        read_only: bool = False,
        attempts: int | None = None,
        is_security: bool = False,
    ) -> Answer:
        """Runs `work` in a transaction. Repeats it with jitter after a deadlock, a serialisation failure, a change of
        the campaign by others, or a connection lost before the commit; and with `is_careful` if counters did not match
        their rows. Raises Busy or StoreUnavailable after the last try, OutcomeUnknown if the connection was lost in the
        commit. A nested run raises the database's error, and is repeated with the outer one.

        attempts: how often it is tried; by default as the configuration says. is_security: see transaction.
        """
        most = attempts or self.config.max_attempts
        is_careful = False
        for attempt in range(1, most + 1):
            facts: dict[str, object] = {"description": description, "attempt": attempt}
            try:
                with self.transaction(
                    description, read_only=read_only, is_careful=is_careful, is_security=is_security
                ) as session:
                    facts["transaction"] = transaction_id()
                    return work(session)
            except (DBAPIError, PoolTimeout, Outdated) as error:
                if current.get() is not None:
                    raise  # the outer run repeats all of its work
                self._refuse_when_stopped()
                if _is_to_be_careful(error) and not is_careful and attempt < most:
                    is_careful = True
                    continue
                if not isinstance(error, PoolTimeout) and failures.is_retryable(error) and attempt < most:
                    self.watch.retries.add()
                    _pause(attempt, {**facts, "error": _kind(error)})
                    continue
                fault = token_hex(4)
                shown = failures.meaning(error, f"(fault {fault}, transaction {facts.get('transaction', 'none')})")
                if shown is None:
                    raise
                logger.warning("gave up", extra={**facts, "error": _kind(error), "fault": fault})
                raise shown from error
        raise AssertionError("unreachable: the last attempt returns or raises")


def _roll_back(session: Session, facts: Mapping[str, str]) -> None:
    """Rolls back after an error. A failed rollback is only logged, since a lost connection can't roll back; the caller
    raises the first error."""
    try:
        session.rollback()
    except (SQLAlchemyError, Error) as failure:
        logger.warning("rollback failed", extra={**facts, "rollback": type(failure).__name__})
        session.invalidate()
    else:
        logger.info("rolled back", extra=facts)


def _commit(transaction: Transaction) -> None:
    try:
        transaction.session.commit()
    except DBAPIError as error:
        if failures.is_lost_connection(error):
            fault = token_hex(4)
            logger.exception("commit lost", extra={"transaction": transaction.id, "fault": fault})
            raise OutcomeUnknown(f"(fault {fault}, transaction {transaction.id})") from error
        raise


def _pause(attempt: int, facts: dict[str, object]) -> None:
    seconds = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**attempt) * random.uniform(0.5, 1.5)  # noqa: S311  jitter, not a secret
    logger.warning("retrying", extra={**facts, "seconds": round(seconds, 3)})
    time.sleep(seconds)


def _is_to_be_careful(error: DBAPIError | PoolTimeout | Outdated) -> bool:
    return isinstance(error, DBAPIError) and failures.is_of_counters(error)


def _kind(error: DBAPIError | PoolTimeout | Outdated) -> str:
    return type(error.orig).__name__ if isinstance(error, DBAPIError) else type(error).__name__
