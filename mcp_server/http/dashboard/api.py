"""/dashboard/api/: what the pages show, and what a person decides there. Most of it is the answer of a tool, called as
an agent would call it."""

import json
import logging
from collections.abc import Callable, Mapping
from secrets import token_hex
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple, cast
from uuid import UUID

from anyio.to_thread import run_sync
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp.server.mcpserver.tools import Tool as OfferedTool
from mcp_types import CallToolResult
from pydantic import Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from db.domain.access import Scope
from db.domain.errors import NotFound, SalesAutomationError, StoreUnavailable
from db.domain.field_limits import NAME_MAX, PAGE_DEFAULT
from db.services.campaigns import campaigns
from db.services.consent import drafts
from db.services.mail import stopping
from db.services.reports import overview, typeahead
from mcp_server import __version__
from mcp_server.calls import caller
from mcp_server.calls.caller import Invocation
from mcp_server.calls.toolsets import TOOLSETS
from mcp_server.http.dashboard.headers import answer
from mcp_server.http.refusals import NO_STORE, insufficient_scope, refused, unavailable
from mcp_server.http.sessions import SESSION_PREFIX
from mcp_server.process import unexpected
from mcp_server.process.app import App
from mcp_server.schemas.base import Answer, Cursor, Given, Limit, Line
from mcp_server.schemas.campaigns import CampaignLine
from mcp_server.schemas.drafts import DraftOut
from mcp_server.schemas.faults import explain
from mcp_server.schemas.watching import (
    DraftQueue,
    FoundCampaigns,
    HappenedList,
    HappenedOut,
    SendingOut,
    Viewer,
    WaitingList,
    WaitingOut,
)

if TYPE_CHECKING:
    from db.services import Session

TOOLS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "campaigns": "list_campaigns",
        "campaign": "get_campaign",
        "template": "get_template",
        "metrics": "get_metrics",
        "explain": "explain_due",
        "enrollment": "get_enrollment",
        "threads": "list_threads",
        "thread": "get_thread",
        "orphans": "list_orphaned_events",
        "jobs": "list_jobs",
        "suppressions": "list_suppressions",
        "health": "get_health",
    }
)
"""Endpoint -> the tool that answers it. Each changes nothing. Its arguments are those of the query."""

DECISIONS: Final[Mapping[str, str]] = MappingProxyType(
    {"approve": "approve_drafts", "reject": "reject_draft", "settle": "settle_message"}
)
"""Endpoint -> the tool that it calls. These change something, as SWITCHES do; their arguments are a JSON object in the
body."""

SWITCHES: Final = frozenset({"stop", "start"})
"""Endpoints that do what `mail stop` and `mail start` do."""

logger = logging.getLogger(__name__)

_MOST_BYTES: Final = 64 * 1024
_MOST_FOUND: Final = 20
_MOST_EVENTS: Final = 200


class DueQueue(Given):
    """Arguments of `waiting`."""

    campaign_id: UUID | None = None
    limit: Limit = PAGE_DEFAULT
    cursor: Cursor = None


class Oldest(Given):
    """Arguments of `drafts`."""

    limit: Limit = PAGE_DEFAULT


class Latest(Given):
    """Arguments of `latest`."""

    campaign_id: UUID | None = None
    before: UUID | None = None
    limit: Annotated[int, Field(ge=1, le=_MOST_EVENTS)] = PAGE_DEFAULT


class Find(Given):
    """Arguments of `find`: the start of a campaign's name or id."""

    typed: Annotated[Line, Field(min_length=1, max_length=NAME_MAX)]


class ToolCall(NamedTuple):
    """A tool as an agent would call it, and what its caller must have."""

    tool: OfferedTool
    scope: Scope


class Api:
    """Answers the requests. Independent of the toolsets that agents are offered."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._offered: Mapping[str, ToolCall] | None = None
        self._own: Mapping[str, Callable[[Mapping[str, str]], Answer]] = {
            "waiting": self._waiting,
            "drafts": self._drafts,
            "latest": self._latest,
            "find": self._find,
        }

    async def respond(self, request: Request) -> Response:
        """Answers GET /dashboard/api/{name}."""
        name, who = request.path_params["name"], request.scope[caller.SCOPE_KEY]
        if name == "viewer":
            return answer(Viewer.of(who, __version__, is_session=who.id.startswith(SESSION_PREFIX)))
        if name not in (TOOLS.keys() | self._own.keys()):
            return refused(404, "not_found", "There is no such endpoint.")
        return await self._respond(name, Invocation(who, dict(request.query_params), ""))

    async def decide(self, request: Request) -> Response:
        """Answers POST /dashboard/api/{name}: a person decides on drafts, says whether a mail went out, or holds all
        sending. A form of another page can't send JSON."""
        name, who = request.path_params["name"], request.scope[caller.SCOPE_KEY]
        if name not in DECISIONS.keys() | SWITCHES:
            return refused(404, "not_found", "There is no such endpoint.")
        if self._app.settings.read_only:
            return refused(403, "read_only", "This server is read-only: decide at another one, or at the command line.")
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return refused(415, "unsupported", "Send the arguments as application/json.")
        arguments = await _json_object(request)
        if arguments is None:
            return refused(400, "invalid", f"Send a JSON object of at most {_MOST_BYTES:,} bytes.")
        return await self._respond(name, Invocation(who, arguments, token_hex(8)))

    async def _respond(self, name: str, invocation: Invocation) -> Response:
        try:
            if name in TOOLS or name in DECISIONS:
                return await self._tool(TOOLS.get(name) or DECISIONS[name], invocation)
            if name in SWITCHES:
                return await self._switch(name, invocation)
            return answer(await run_sync(self._own[name], invocation.arguments))
        except SalesAutomationError as error:
            return _refusal(error, error.for_clients)
        except ValidationError as error:
            return refused(400, "invalid", "; ".join(explain(error)))
        except Exception as error:  # noqa: BLE001  the page says what to do
            return refused(500, "failed", unexpected.told(logger, f"the dashboard's {name}", error))

    async def _tool(self, name: str, invocation: Invocation) -> Response:
        if self._offered is None:
            self._offered = await run_sync(_offer, self._app)
        tool, scope = self._offered[name]
        missing = caller.missing_scope(invocation.caller, scope, name)
        if missing is not None:
            return insufficient_scope(missing)
        try:
            with caller.invoked(invocation):
                result: CallToolResult = await tool.run(dict(invocation.arguments), Context())
        except ToolError as error:
            return _tool_refusal(name, error)
        return JSONResponse(result.structured_content, headers=NO_STORE)

    async def _switch(self, name: str, invocation: Invocation) -> Response:
        missing = caller.missing_scope(invocation.caller, Scope.APPROVE, f"To {name} all sending")
        if missing is not None:
            return insufficient_scope(missing)
        return answer(await run_sync(self._stop if name == "stop" else self._start, invocation))

    def _stop(self, invocation: Invocation) -> Answer:
        from mcp_server.mail import switch  # noqa: PLC0415  a server that stops nothing starts without it

        left = switch.stop(self._app, actor=invocation.caller.name, request_id=invocation.request_id)
        stopped_at = self._app.run("look since when", stopping.stopped_at, read_only=True)
        return SendingOut(sending_stopped_at=stopped_at, under_way=left)

    def _start(self, invocation: Invocation) -> Answer:
        from mcp_server.mail import switch  # noqa: PLC0415  as above

        switch.start(self._app, actor=invocation.caller.name, request_id=invocation.request_id)
        return SendingOut()

    def _waiting(self, query: Mapping[str, str]) -> Answer:
        given = DueQueue.model_validate(query)
        watching = overview

        def work(session: "Session") -> WaitingList:
            page = watching.waiting(session, campaign_id=given.campaign_id, limit=given.limit, cursor=given.cursor)
            return WaitingList(
                waiting=[WaitingOut.model_validate(row) for row in page.rows],
                due=watching.count_due(session, campaign_id=given.campaign_id, now=self._app.clock()),
                due_most=watching.MOST_COUNTED,
                next_cursor=page.next_cursor,
            )

        return self._app.run("waiting", work, read_only=True)

    def _drafts(self, query: Mapping[str, str]) -> Answer:
        limit = Oldest.model_validate(query).limit

        def work(session: "Session") -> DraftQueue:
            found, has_more = drafts.oldest(session, limit=limit)
            shown = drafts.show(session, drafts=found)
            return DraftQueue(drafts=[DraftOut.of(draft) for draft in shown], has_more=has_more)

        return self._app.run("drafts", work, read_only=True)

    def _latest(self, query: Mapping[str, str]) -> Answer:
        given = Latest.model_validate(query)

        def work(session: "Session") -> HappenedList:
            rows = overview.latest(session, campaign_id=given.campaign_id, before=given.before, limit=given.limit)
            return HappenedList(events=[HappenedOut.model_validate(row) for row in rows])

        return self._app.run("latest events", work, read_only=True)

    def _find(self, query: Mapping[str, str]) -> Answer:
        typed = Find.model_validate(query).typed

        def work(session: "Session") -> FoundCampaigns:
            found = typeahead.campaigns(session, typed=typed, limit=_MOST_FOUND)
            rows = [campaigns.get(session, campaign_id=id_) for id_ in found]
            return FoundCampaigns(campaigns=[CampaignLine.of(row, "concise") for row in rows])

        return self._app.run("find campaigns", work, read_only=True)


async def _json_object(request: Request) -> dict[str, Any] | None:
    """Returns the body, if it is a JSON object that is not too large."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_BYTES:
            return None
    try:
        found: object = json.loads(body)
    except ValueError:  # also of bytes that are no text
        return None
    return cast("dict[str, Any]", found) if isinstance(found, dict) else None


def _offer(app: App) -> Mapping[str, ToolCall]:
    wanted = {*TOOLS.values(), *DECISIONS.values()}
    scopes = {tool.name: tool.scope for toolset in TOOLSETS for tool in toolset.tools}
    offered = [tool for toolset in TOOLSETS for tool in toolset.offer(app, read_only=False)]
    return {tool.name: ToolCall(tool, scopes[tool.name]) for tool in offered if tool.name in wanted}


def _tool_refusal(name: str, error: ToolError) -> Response:
    text = str(error).removeprefix(f"Error executing tool {name}: ")
    if isinstance(error, UnexpectedToolError):
        return refused(500, "failed", text)
    # The SDK wraps the refusal of the tool's handler, which wraps that of the service.
    cause = error.__cause__.__cause__ if error.__cause__ else None
    if isinstance(error.__cause__, ValidationError):
        return refused(400, "invalid", "; ".join(explain(error.__cause__)))
    return _refusal(cause, text)


def _refusal(error: BaseException | None, text: str) -> Response:
    if isinstance(error, StoreUnavailable):
        return unavailable(error)
    if isinstance(error, NotFound):
        return refused(404, "not_found", text)
    return refused(400, "refused", text)
