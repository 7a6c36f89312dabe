"""How a call of a tool runs: it comes in by `run`, and its answer, or one error, is all that goes out.

Each mode has one runner.
transaction: in one transaction of the database, which keeps its row of the audit log and the answer under its key.
grouped: without a key in a transaction that calls at the same time share (see Call.record); with one as above.
local: in the local store, which needs no database. Under a key, a transaction of the database is around it to keep the
answer; it can't undo the work, so that is attempted once.
apart: in transactions that the tool opens by itself, with the audit log, or in none. The answer is kept once all is
done, so it must be safe to repeat the tool.
"""

from functools import partial
from typing import TYPE_CHECKING, Any

from db.domain.errors import InvalidInput, Refused, SalesAutomationError, StoreUnavailable
from db.domain.events import EventVerdict
from mcp_server.calls import caller
from mcp_server.calls.call import Call, Mode, Tool
from mcp_server.calls.caller import Invocation
from mcp_server.calls.keyed import Key
from mcp_server.process.app import App

if TYPE_CHECKING:
    from db.services import Session


class MissingScope(Refused):
    """The caller's token may not use the tool. Use one that may."""


def run(tool: Tool, app: App, invocation: Invocation, arguments: dict[str, Any], key: str | None) -> dict[str, Any]:
    """Returns the answer of one call, or why there is none. What it has counted and who made it is noted either way."""
    call = Call(app, tool, invocation)
    try:
        missing = caller.missing_scope(invocation.caller, tool.scope, tool.name)
        if missing is not None:
            raise MissingScope(missing)
        if tool.looks_up is not None:
            call.looked_up = tool.looks_up(app, arguments)
        answer = _RUNNERS[tool.mode](call, arguments, None if key is None else Key(key, tool, arguments))
    except SalesAutomationError as refusal:
        if call.is_done and tool.mode in _NEXT_STEPS:
            raise StoreUnavailable(
                f"{tool.name} was done, but the database could not keep its answer under the idempotency_key. "
                f"{_AGAIN if tool.open_world else _NEXT_STEPS[tool.mode]}"
            ) from refusal
        if isinstance(refusal, InvalidInput):
            _count_events(call, refused=True)
        # The store could not write the entry now either, and the caller tries again.
        if not isinstance(refusal, StoreUnavailable):
            call.note_apart({}, type(refusal).__name__)
        raise
    _count_events(call, refused=False)
    return answer


def _count_events(call: Call, *, refused: bool) -> None:
    """Audits a `refused` call if it was invalid; no other refusal is stored."""
    for (provider, verdict), count in call.counted.items():
        if count and (not refused or verdict == EventVerdict.INVALID):
            call.app.telemetry.events.add(provider, verdict, count)


def _in_transaction(call: Call, arguments: dict[str, Any], key: Key | None) -> dict[str, Any]:
    work = partial(_work, call, arguments, key)
    return call.app.run(call.tool.name, work, read_only=call.tool.read_only)


def _work(call: Call, arguments: dict[str, Any], key: Key | None, session: "Session") -> dict[str, Any]:
    call.begin(session)
    if key is not None and (earlier := key.earlier(session)) is not None:
        return earlier if call.tool.again is None else call.tool.again(call, earlier)
    answer = call.perform(arguments)
    if key is not None:
        key.keep(session, answer)
    if call.tool.is_audited:
        call.note(session, answer)
    return answer


def _grouped(call: Call, arguments: dict[str, Any], key: Key | None) -> dict[str, Any]:
    return call.perform(arguments) if key is None else _in_transaction(call, arguments, key)


def _local(call: Call, arguments: dict[str, Any], key: Key | None) -> dict[str, Any]:
    def once(session: "Session") -> dict[str, Any]:
        if call.is_done:
            raise StoreUnavailable("The database went away when the work was done, and is back.")
        return _work(call, arguments, key, session)

    if key is not None:
        return call.app.run(call.tool.name, once, attempts=1)
    answer = call.perform(arguments)
    call.note_apart(answer)
    return answer


def _apart(call: Call, arguments: dict[str, Any], key: Key | None) -> dict[str, Any]:
    earlier = None if key is None else call.app.run(call.tool.name, key.earlier)
    if earlier is not None:
        return earlier
    call.begin(None)
    answer = call.perform(arguments)
    if key is not None:
        call.app.run(call.tool.name, lambda session: key.keep(session, answer))
    return answer


_RUNNERS = {Mode.TRANSACTION: _in_transaction, Mode.GROUPED: _grouped, Mode.LOCAL: _local, Mode.APART: _apart}
# The advice if the work is done although its answer could not be stored.
_AGAIN = "Look before you repeat it: it would be done again."
_NEXT_STEPS = {
    Mode.LOCAL: _AGAIN,
    Mode.APART: "To repeat it changes nothing.",
}
