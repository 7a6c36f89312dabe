"""A world that a random walk moves through: two campaigns of one template, their people, and clients with claims.

A command is work for one transaction. It is run alone, or crossed with another: the first stands still before one of
its statements, the second runs until it ends or waits for a lock, and then both go on. What the world knows by itself
(what was really sent, who holds what) is kept beside the database, and each look at the rows is compared with the one
before it.
"""

import logging
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from random import Random
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import event as sqlalchemy_event, text
from sqlalchemy.orm import Session

from db.domain.errors import InvalidInput, InvalidTransition, LeaseLost, NotFound, Refused, SalesAutomationError
from db.domain.states import LinkedInStepType
from db.domain.templates import EmailStep, LinkedInStep
from db.embedded.locks import wait_until
from db.models import Base
from db.postgres.database import Database
from db.services.campaigns import campaigns
from tests.support.campaigns import NOW, enroll, make_campaign
from tests.support.patience import PATIENCE
from tests.support.walk.checks import Look, check, look

REOPENING = ("resume", "enroll", "move person")
"""The names of commands by which a person opens what has ended."""
DELIBERATE = (Refused, InvalidInput, NotFound, LeaseLost, InvalidTransition)
"""What a client may be told. Any other error is a fault."""

STEPS: dict[int, EmailStep | LinkedInStep] = {
    1: EmailStep(1, "One", "The first of all"),
    3: LinkedInStep(3, LinkedInStepType.CONNECTION_REQUEST, "Hello", delay_hours=24),
    4: EmailStep(4, "Four", "The last of all", delay_hours=48),
}
"""The template as it is made: there is room for a step before the second, and after the last."""


@dataclass(slots=True)
class Held:
    """A step that a client was handed, as it was handed out."""

    enrollment_id: UUID
    step_number: int
    step_type: str
    action_id: UUID
    token: UUID
    lease_until: datetime
    is_reported: bool = False


@dataclass(slots=True)
class Command:
    """Work for one transaction, and what the world learns of its answer or of the refusal it gets."""

    name: str
    work: Callable[[Session], Any]
    learn: Callable[[Any], None] = lambda _: None
    refused: Callable[[SalesAutomationError], None] = lambda _: None
    prepare: Callable[[], None] = lambda: None
    """Is called before, where the command is run alone."""


@dataclass(slots=True)
class Walk:
    """The world. `before` is what it looked like before the command that runs, `sent` what was sent in truth."""

    database: Database
    now: datetime = NOW
    template_id: UUID = field(default_factory=lambda: UUID(int=0))
    campaigns: list[UUID] = field(default_factory=list[UUID])
    steps: dict[tuple[int, str | None], EmailStep | LinkedInStep] = field(
        default_factory=dict[tuple[int, str | None], EmailStep | LinkedInStep]
    )
    held: list[Held] = field(default_factory=list[Held])
    sent: set[tuple[UUID, int]] = field(default_factory=set[tuple[UUID, int]])
    sent_before: frozenset[tuple[UUID, int]] = frozenset()
    before: Look = field(default_factory=Look)
    is_crossed: bool = False
    reopens: bool = False

    def begin(self, settings: dict[str, Any]) -> None:
        """Two people in an active campaign, and two in a draft with `settings`, one of them the same."""
        with self.database.transaction("empty") as session:
            for table in reversed(Base.metadata.sorted_tables):
                session.execute(table.delete())
        self.steps = {(number, None): step for number, step in STEPS.items()}
        emails = [step for step in STEPS.values() if isinstance(step, EmailStep)]
        messages = [step for step in STEPS.values() if isinstance(step, LinkedInStep)]
        with self.database.transaction("begin") as session:
            first = make_campaign(session, email_steps=emails, linkedin_steps=messages, start_at=NOW)
            self.template_id = session.scalar(
                text("SELECT template_id FROM campaign_instances WHERE id = :id"), {"id": first}
            ) or UUID(int=0)
            second = campaigns.create(
                session, name="D", template_id=self.template_id, settings=settings, provider_config={}
            )
        self.campaigns = [first, second.id]
        enroll(self.database, first, [address(n) for n in range(2)])
        enroll(self.database, second.id, [address(n) for n in range(1, 3)])
        self._look()

    def enrollment(self, n: int) -> UUID:
        """One of those there are."""
        ids = list(self.before.enrollments)
        return ids[n % len(ids)]

    def do(self, command: Command) -> None:
        """Run one command alone."""
        self.is_crossed = False
        self._start(command)
        command.prepare()
        with _watched() as deadlocks:
            self._learn(command, _outcome(self.database, command))
        assert not deadlocks, f"{command.name} met a deadlock"
        self._look()

    def cross(self, first: Command, second: Command, at: int) -> None:
        """Run `second` while `first` stands before its statement number `at`."""
        self.is_crossed = True
        self._start(first, second)
        with _watched() as deadlocks, _stopped_at(self.database, at) as gate, ThreadPoolExecutor(2) as pool:
            one = pool.submit(gate.run, lambda: _outcome(self.database, first))
            gate.wait_for(one)
            two = pool.submit(_outcome, self.database, second)
            _wait_until_done_or_blocked(self.database, two)
            gate.open()
            outcomes = one.result(PATIENCE), two.result(PATIENCE)
        assert not deadlocks, f"{first.name} and {second.name} met in a deadlock"
        for command, outcome in zip((first, second), outcomes, strict=True):
            self._learn(command, outcome)
        self._look()

    def _start(self, *commands: Command) -> None:
        self.sent_before = frozenset(self.sent)
        self.reopens = any(command.name in REOPENING for command in commands)

    def _learn(self, command: Command, outcome: Any) -> None:
        if isinstance(outcome, SalesAutomationError):
            command.refused(outcome)
        else:
            command.learn(outcome)

    def _look(self) -> None:
        after = look(self.database, self.now)
        check(self.before, after, reopens=self.reopens)
        self.before = after


def address(n: int) -> str:
    """The email of person number n."""
    return f"p{n}@{'one' if n % 2 else 'two'}.example.com"


def _outcome(database: Database, command: Command) -> Any:
    """The answer, or the deliberate refusal; any other error goes on."""
    try:
        return database.run(command.name, command.work)
    except DELIBERATE as refusal:
        return refusal


class _Gate:
    """Holds one thread back before its statement number `at`."""

    def __init__(self, at: int) -> None:
        self._left = at
        self._thread: int | None = None
        self._arrived, self._opened = threading.Event(), threading.Event()

    def run(self, work: Callable[[], Any]) -> Any:
        """`work` in the thread that is held back."""
        self._thread = threading.get_ident()
        try:
            return work()
        finally:
            self._thread = None  # another's work may come into this thread
            self._arrived.set()

    def wait_for(self, future: Future[Any]) -> None:
        """Until the thread stands, or is done without having come so far."""
        assert self._arrived.wait(PATIENCE), f"{future} did not get to the gate"

    def open(self) -> None:
        self._opened.set()

    def statement(self, *_: object) -> None:
        if threading.get_ident() == self._thread:
            self._left -= 1
            if self._left == 0:
                self._arrived.set()
                assert self._opened.wait(PATIENCE), "the gate was not opened"


@contextmanager
def _stopped_at(database: Database, at: int) -> Generator[_Gate]:
    gate = _Gate(at)
    sqlalchemy_event.listen(database.engine, "before_cursor_execute", gate.statement)
    try:
        yield gate
    finally:
        gate.open()
        sqlalchemy_event.remove(database.engine, "before_cursor_execute", gate.statement)


_BLOCKED = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()")


def _wait_until_done_or_blocked(database: Database, future: Future[Any]) -> None:
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        assert wait_until(lambda: future.done() or bool(connection.scalar(_BLOCKED)), PATIENCE)


@contextmanager
def counted_ids() -> Generator[None]:
    """Ids that are the same in each walk: they decide who gets which variant, and who stands first in the queue."""
    numbers, moments = Random(1), count(1_000_000_000)

    def random_bytes(length: int) -> bytes:
        return numbers.randbytes(length)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("db.domain.ids.os", SimpleNamespace(urandom=random_bytes))
        patch.setattr("db.domain.ids.time", SimpleNamespace(time_ns=lambda: next(moments) * 1_000_000))
        yield


class _Deadlocks(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "error", None) == "DeadlockDetected":
            self.found.append(record.getMessage())


@contextmanager
def _watched() -> Generator[list[str]]:
    """The deadlocks that are met meanwhile, also those after which the work was done again."""
    handler = _Deadlocks()
    logger = logging.getLogger("db.postgres")
    logger.addHandler(handler)
    try:
        yield handler.found
    finally:
        logger.removeHandler(handler)
