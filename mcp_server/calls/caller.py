"""The caller of the present call. The HTTP edge sets it for every request; whoever has the pipes of stdio may do
everything but approve."""

import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Final

from db.domain.access import ACTOR_LOCAL, PROGRAM_SCOPES, Caller, Scope

if TYPE_CHECKING:
    from mcp.server.mcpserver import Context  # takes a second to import, and `import` needs none of it

LOCAL: Final = Caller(ACTOR_LOCAL, PROGRAM_SCOPES)
# A request that bypassed the gate. None should exist; if one did, it could do nothing.
_NOBODY: Final = Caller("nobody", frozenset())

SCOPE_KEY: Final = "sales_automation.caller"
"""Where the gate leaves the caller in an ASGI scope."""

# Never text that could be an address: it is kept in the audit log.
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,100}")


@dataclass(frozen=True, slots=True)
class Invocation:
    """One call: of whom, with which arguments as they came, and the id under which logs and audit know it."""

    caller: Caller
    arguments: Mapping[str, Any]
    request_id: str


_current: ContextVar[Invocation | None] = ContextVar("invocation", default=None)


def current() -> Invocation:
    """Returns the call that the running code belongs to."""
    return _current.get() or Invocation(LOCAL, {}, token_hex(8))


@contextmanager
def invoked(invocation: Invocation) -> Generator[None]:
    """Makes it the current one, for what runs inside and on the threads that are started there."""
    token = _current.set(invocation)
    try:
        yield
    finally:
        _current.reset(token)


def of_context(context: "Context[Any, Any] | None", arguments: Mapping[str, Any], without_http: Caller) -> Invocation:
    """Returns the call of an MCP request. `without_http`: who calls where the request came by no HTTP."""
    try:
        request: Any = context.request_context.request if context is not None else None
    except ValueError:  # outside of a request
        request = None
    who = of_request(request, without_http)
    given = "" if request is None else str(request.headers.get("x-request-id", ""))
    request_id = given if _REQUEST_ID.fullmatch(given) else token_hex(8)
    return Invocation(who, arguments, request_id)


def of_request(request: Any, without_http: Caller) -> Caller:  # noqa: ANN401  the SDK hands on what the transport has
    """Returns who makes an HTTP request. `without_http`: who calls where there is none."""
    return without_http if request is None else request.scope.get(SCOPE_KEY, _NOBODY)


def missing_scope(caller: Caller, scope: Scope, what: str) -> str | None:
    """Returns why `caller` may not use `what`; None if it may."""
    if scope in caller.scopes:
        return None
    held = ", ".join(sorted(caller.scopes)) or "none"
    if scope is Scope.APPROVE:
        return (
            f"{what} needs the scope approve, which a person holds: {held} do not include it. Nothing was done. A "
            "person decides at the machine, with `sales-automation-mcp drafts list`, `drafts approve`, `drafts reject` "
            "or `mail settle`, or in the dashboard, which `sales-automation-mcp dashboard` opens."
        )
    return (
        f"{what} needs the scope {scope}, and this token has {held}. Nothing was done: use a token that was made "
        f"with --scope {scope}."
    )
