"""Which scope each request of the protocol asks for: one gate, before all of them."""

from collections.abc import Callable
from typing import Any, Final

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR

from db.domain.access import Caller, Scope
from mcp_server.calls.caller import missing_scope

# These say what the server offers, and nothing that it stores.
_OPEN: Final = frozenset(
    {
        "initialize",
        "server/discover",
        "ping",
        "logging/setLevel",
        "tools/list",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
    }
)
# Each tool has a scope of its own, which its handler checks, so that a refusal is noted in the audit log.
_BY_TOOL: Final = "tools/call"


class ScopeGate:
    """Middleware of the SDK that refuses a request whose caller lacks the scope for it.

    What is not known here asks for `read`, so that a request of a later protocol is not open by being new. `caller_of`
    says who calls, by the HTTP request or by None where there is none.
    """

    def __init__(self, caller_of: Callable[[Any], Caller]) -> None:
        self._caller_of = caller_of

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        is_request = ctx.request_id is not None
        if is_request and ctx.method not in _OPEN and ctx.method != _BY_TOOL:
            missing = missing_scope(self._caller_of(ctx.request), Scope.READ, ctx.method)
            if missing is not None:
                raise MCPError(code=INTERNAL_ERROR, message=missing)
        return await call_next(ctx)
