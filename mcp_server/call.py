"""How a call of a tool runs: in one transaction, with one answer, which a repetition under the same key gets again."""

import inspect
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic_core import to_jsonable_python

from db import services
from db.domain.access import Scope
from db.domain.addresses import addresses_in
from db.domain.errors import InvalidInput, SalesAutomationError, StoreUnavailable
from db.domain.events import EventVerdict
from mcp_server import audit
from mcp_server.app import App
from mcp_server.caller import Invocation
from mcp_server.schemas.base import Answer, Rejected

if TYPE_CHECKING:
    from db.domain.access import AuditEntry
    from db.local.protocol import CacheStore, JobStore
    from db.services import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A function with what clients are told about it. `function` takes a Call and the tool's own arguments."""

    function: Callable[..., Answer]
    title: str
    scope: Scope
    is_local: bool
    read_only: bool = False
    destructive: bool = False
    idempotent: bool = False
    works_apart: bool = False
    is_shared: bool = False
    is_audited: bool = True
    """Its writes leave a row in the audit log."""
    again: "Callable[[Call, dict[str, Any]], dict[str, Any]] | None" = None
    """What is said of a kept answer when the call is repeated under its key; the answer itself, if left out."""

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def answer(self) -> type[Answer]:
        """The shape of its answers in full, of which clients are told the outline."""
        return inspect.signature(self.function).return_annotation


@dataclass(slots=True)
class Call:
    """What a tool works with besides its arguments: the open transaction or the local store, and the moment."""

    app: App
    now: datetime
    transaction: "Session | None"
    tool: Tool
    invocation: Invocation
    events: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    """(provider, verdict) -> events of this call, which count once it is committed, or refused"""
    is_done: bool = False
    """The tool has answered; its transaction is still open."""

    def note(self, session: "Session", answer: dict[str, Any]) -> None:
        """Write this call into the audit log, in the transaction that does its work. Only tools that open their
        transactions by themselves call it."""
        services.audit.write(session, entries=[self.entry(answer)])

    def entry(self, answer: dict[str, Any]) -> "AuditEntry":
        """What the audit log says of this call."""
        hashed = not self.tool.works_apart
        return audit.entry_of(self.invocation, self.tool.name, answer, hashed=hashed, now=self.now)

    @property
    def session(self) -> "Session":
        """The transaction of this call. Tools of a local toolset have none."""
        assert self.transaction is not None, "a local toolset has no transaction"
        return self.transaction

    @property
    def jobs(self) -> "JobStore":
        """The job queue of the local store."""
        return self.app.local().jobs

    @property
    def cache(self) -> "CacheStore":
        """The cache of the local store."""
        return self.app.local().cache


def run(tool: Tool, app: App, invocation: Invocation, arguments: dict[str, Any], key: str | None) -> dict[str, Any]:
    """The answer of one call, in a transaction if the tool works in one."""
    calls: list[Call] = []

    def begin(session: "Session | None") -> Call:
        calls.append(Call(app, app.clock(), session, tool, invocation))
        return calls[-1]

    def work(session: "Session") -> dict[str, Any]:
        return _perform(tool, begin(session), arguments, key)

    try:
        if tool.works_apart and key is not None:
            answer = _run_apart(tool, app, partial(begin, None), arguments, key)
        elif tool.works_apart or ((tool.is_local or tool.is_shared) and key is None):
            answer = tool.function(begin(None), **arguments).model_dump(mode="json")
            if tool.is_local and tool.is_audited:
                audit.done_apart(app, invocation=invocation, tool=tool.name, answer=answer)
        elif tool.is_local:
            answer = _run_once(tool, app, work, calls)
        else:
            answer = app.run(tool.name, work, read_only=tool.read_only)
    except InvalidInput:
        _count_events(app, calls, refused=True)
        raise
    _count_events(app, calls, refused=False)
    return answer


def _count_events(app: App, calls: Sequence[Call], *, refused: bool) -> None:
    """Count the events of the last attempt; of a call that was `refused` those that are invalid, since no other is
    kept."""
    for (provider, verdict), count in calls[-1].events.items() if calls else ():
        if not refused or verdict == EventVerdict.INVALID:
            app.telemetry.events.add(provider, verdict, count)


def _run_apart(tool: Tool, app: App, begin: Callable[[], Call], arguments: dict[str, Any], key: str) -> dict[str, Any]:
    """The answer of a tool that works in transactions of its own. Its key is taken once all is done: whoever repeats a
    call that was cut off does it again, which changes nothing."""
    # An erasure takes the person out of the keys that are there; its own comes after.
    if addresses_in(key):
        raise InvalidInput(
            f"idempotency_key of {tool.name} is kept, so it must not hold an email or a LinkedIn profile. "
            "Use another key."
        )

    def look(session: "Session") -> tuple[str, dict[str, Any] | None]:
        request = _fingerprint(session, arguments)
        return request, services.idempotency.find(session, key=key, tool=tool.name, request_hash=request)

    request, earlier = app.run(tool.name, look)
    if earlier is not None:
        return earlier
    answer = tool.function(begin(), **arguments).model_dump(mode="json")

    def keep(session: "Session") -> None:
        services.idempotency.keep_done(session, key=key, tool=tool.name, request_hash=request, response=answer)

    try:
        app.run(tool.name, keep)
    except SalesAutomationError as error:
        raise _not_kept(tool, "To repeat it changes nothing.") from error
    return answer


def _not_kept(tool: Tool, next_step: str) -> StoreUnavailable:
    return StoreUnavailable(
        f"{tool.name} was done, but the database could not keep its answer under the idempotency_key. {next_step}"
    )


def _run_once(
    tool: Tool, app: App, work: "Callable[[Session], dict[str, Any]]", calls: Sequence[Call]
) -> dict[str, Any]:
    """The answer of a call on the local store under a key. What that store did is not undone with the transaction."""

    def is_done() -> bool:
        return bool(calls) and calls[-1].is_done

    def once(session: "Session") -> dict[str, Any]:
        if is_done():
            raise StoreUnavailable("The database went away when the work was done, and is back.")
        return work(session)

    try:
        return app.run(tool.name, once, attempts=1)
    except SalesAutomationError as error:
        if not is_done():
            raise
        raise _not_kept(tool, "Look before you repeat it: it would be done again.") from error


def note_refusal(tool: Tool, app: App, invocation: Invocation, error: str) -> None:
    if tool.is_audited:
        audit.refused(app, invocation=invocation, tool=tool.name, hashed=not tool.works_apart, error=error)


def _perform(tool: Tool, call: Call, arguments: dict[str, Any], key: str | None) -> dict[str, Any]:
    """The answer as the client sees it: a new one, or the one that was given under `key` before."""
    if key is not None:
        request = _fingerprint(call.session, arguments)
        earlier = services.idempotency.replay(call.session, key=key, tool=tool.name, request_hash=request)
        if earlier is not None:
            return earlier if tool.again is None else tool.again(call, earlier)
    answer = tool.function(call, **arguments).model_dump(mode="json")
    call.is_done = True
    if key is not None:
        services.idempotency.keep(call.session, key=key, response=answer)
    if tool.is_audited:
        call.note(call.session, answer)
    return answer


def _fingerprint(session: "Session", arguments: dict[str, Any]) -> str:
    try:
        return services.idempotency.fingerprint(session, to_jsonable_python(arguments, fallback=_as_given))
    except ValueError as error:
        raise InvalidInput(
            "With an idempotency_key, no argument may hold text that is not Unicode or be nested too deep: a repeated "
            "call could not be told from another. Correct the arguments, or leave the key out."
        ) from error


def _as_given(value: object) -> object:
    """A row that was refused, as the client sent it."""
    return to_jsonable_python(value.given, fallback=str) if isinstance(value, Rejected) else str(value)
