"""A tool, and one call of it."""

import inspect
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from db.domain.access import Scope
from db.domain.events import EventVerdict
from mcp_server.calls.audit import entry_of, write_apart
from mcp_server.calls.caller import Invocation
from mcp_server.process.app import App, Recording
from mcp_server.process.telemetry import NO_PROVIDER
from mcp_server.schemas.base import Answer

if TYPE_CHECKING:
    from db.domain.access import AuditEntry
    from db.domain.events import NewEvent
    from db.local.contract import CacheStore, JobStore
    from db.services import Session
    from db.services.events.record import Outcome


class Mode(StrEnum):
    """Where a tool works. mcp_server.calls.run has a runner for each."""

    TRANSACTION = "transaction"
    GROUPED = "grouped"
    LOCAL = "local"
    APART = "apart"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A function with what clients are told about it. `function` takes a Call and the tool's own arguments."""

    function: Callable[..., Answer]
    title: str
    scope: Scope
    mode: Mode = Mode.TRANSACTION
    read_only: bool = False
    destructive: bool = False
    idempotent: bool = False
    open_world: bool = False
    """It asks servers of others."""
    is_audited: bool = True
    """Its writes leave a row in the audit log."""
    again: "Callable[[Call, dict[str, Any]], dict[str, Any]] | None" = None
    """What is said of a kept answer when the call is repeated under its key; the answer itself, if left out."""
    looks_up: "Callable[[App, Mapping[str, Any]], Any] | None" = None
    """Asks servers of others and reads files, before the transaction begins; the answer is `looked_up` of the call."""

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def answer(self) -> type[Answer]:
        """The shape of its answers in full, of which clients are told the outline."""
        return inspect.signature(self.function).return_annotation


@dataclass(slots=True)
class Call:
    """What a tool works with besides its arguments: the open transaction or the local store, and the moment. Each
    attempt begins it again."""

    app: App
    tool: Tool
    invocation: Invocation
    looked_up: Any = None
    """What Tool.looks_up returned."""
    now: datetime = field(init=False)
    is_done: bool = field(init=False, default=False)
    """The tool has answered; its transaction may still be open."""
    counted: Counter[tuple[str, str]] = field(init=False)
    """(provider, verdict) -> events of this attempt, which count once it is committed, or refused"""
    _transaction: "Session | None" = field(init=False)

    def __post_init__(self) -> None:
        self.begin(None)

    def begin(self, session: "Session | None") -> None:
        """Begins an attempt now, in this transaction if the tool works in one."""
        self.now, self.counted, self._transaction = self.app.clock(), Counter(), session

    def perform(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Returns what the tool answers, as JSON."""
        answer = self.tool.function(self, **arguments).model_dump(mode="json")
        self.is_done = True
        return answer

    @property
    def session(self) -> "Session":
        """The transaction of this call, which those of Mode.TRANSACTION have."""
        assert self._transaction is not None, f"a call of mode {self.tool.mode} has no transaction"
        return self._transaction

    @property
    def jobs(self) -> "JobStore":
        """The job queue of the local store."""
        return self.app.local().jobs

    @property
    def cache(self) -> "CacheStore":
        """The cache of the local store."""
        return self.app.local().cache

    def record(self, *events: "NewEvent") -> "Sequence[Outcome]":
        """Records events: in the transaction of this call, or else in those that calls at the same time share."""
        from db.services.events.events import record_events  # noqa: PLC0415  a client is answered without it

        if self._transaction is None:
            outcomes = [self.app.events.submit(Recording(event, self._entry_of_event)) for event in events]
        else:
            outcomes = record_events(self._transaction, events=events)
        for event, outcome in zip(events, outcomes, strict=True):
            self.counted[event.provider or NO_PROVIDER, outcome.verdict] += 1
        return outcomes

    def _entry_of_event(self, outcome: "Outcome") -> "AuditEntry | None":
        """Returns None for a refused call, which is noted as such once the caller is told."""
        return None if outcome.verdict is EventVerdict.INVALID else self.entry({"event_id": outcome.event_id})

    def note(self, session: "Session", answer: Mapping[str, Any]) -> None:
        """Writes this call into the audit log, in the transaction that does its work."""
        from db.services.ops import audit  # noqa: PLC0415  a client is answered without it

        audit.write(session, entries=[self.entry(answer)])

    def note_apart(self, answer: Mapping[str, Any], error: str | None = None) -> None:
        """Writes into the audit log what was done without a transaction, or why nothing was, if the tool is audited."""
        if self.tool.is_audited:
            write_apart(self.app, self.entry(answer, error))

    def entry(self, answer: Mapping[str, Any], error: str | None = None) -> "AuditEntry":
        """Returns what the audit log says of this call."""
        hashed = self.tool.mode is not Mode.APART
        return entry_of(self.invocation, self.tool.name, answer, hashed=hashed, now=self.now, error=error)
