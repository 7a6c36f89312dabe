"""The MCP server: what the toolsets offer, and the instructions composed of those that are on."""

from collections.abc import AsyncGenerator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from threading import Lock
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

import anyio
import anyio.to_thread
import mcp_types
from mcp.server import MCPServer
from mcp.server.apps import Apps
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp.server.mcpserver.tools import ToolManager
from mcp.server.stdio import stdio_server
from mcp_types import CallToolResult, InputRequiredResult
from pydantic import AnyUrl, ValidationError

from db.domain.access import ACTOR_STDIO, PROGRAM_SCOPES, Caller
from db.domain.errors import SalesAutomationError, StoreUnavailable
from db.domain.events import EventVerdict
from mcp_server import __version__
from mcp_server.calls import caller
from mcp_server.calls.call import Mode
from mcp_server.calls.scope_gate import ScopeGate
from mcp_server.calls.toolset import Toolset
from mcp_server.calls.toolsets import select
from mcp_server.process import stdio
from mcp_server.process.app import App
from mcp_server.process.telemetry import NO_PROVIDER, CallOutcome
from mcp_server.process.unanswered import Answers, Unanswered
from mcp_server.schemas.faults import explain

if TYPE_CHECKING:
    from mcp_server.calls.questions import Questions
    from mcp_server.offers.registration import Offers

_INSTRUCTIONS = """\
System of record for sales outreach: a campaign is made of a template of email and LinkedIn steps, people are enrolled \
in it, and what happens to each step is recorded as events and counted.{order}
An error says what was wrong and what to call next. Writes take an idempotency_key, any text: a repeated call with the \
same key and arguments gets the first answer. Lists are paged: next_cursor of a page is the cursor of the next; \
detail=full adds the fields that a list leaves out. An empty text is as good as none; clear empties \
fields. Moments have a zone, such as 2026-11-02T09:00:00+01:00.
Toolsets that are on: {toolsets}."""
# The order of work, by the toolset that does each part.
_ORDER = (
    ("campaigns", "create_template, create_campaign"),
    ("contacts", "enroll_contacts"),
    ("campaigns", "start_campaign"),
    ("actions", "claim_due_actions and complete_action in a loop"),
    ("events", "record_event(s) for what providers report"),
    ("metrics", "get_metrics"),
)

_DECISIONS = frozenset({"approve_drafts", "reject_draft", "settle_message", "update_campaign"})
"""Tools that may take a person's decision, who can be asked."""

# A client's first message is in the pipe when the server comes up, and it waits for everything that is imported before
# the answer. A call that comes early needs no head start, because it loads what it needs by itself.
_HEAD_START = 0.1


class SalesServer(MCPServer[App]):
    """Answers the first message without its tools: to import and describe them takes as long as all of the rest.

    The lifespan starts the app and does not close it, since SSE runs it once a connection: the process owns the app.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._toolsets = select(app.settings.toolsets)
        self._has_tools = False
        self._offers: Offers | None = None
        self._without_http = caller.LOCAL
        self._questions: Questions | None = None
        self._loading = Lock()
        super().__init__(
            name="sales-automation-mcp",
            title="Sales Automation",
            version=__version__,
            instructions=_instructions(self._toolsets, read_only=app.settings.read_only),
            lifespan=self._live,
            log_level=app.settings.log_level,
            # Announces that there are views. They come with their tools.
            extensions=[Apps()] if any(toolset.views for toolset in self._toolsets) else None,
        )
        self.middleware.append(ScopeGate(lambda request: caller.of_request(request, self._without_http)))
        self.completion()(self._complete)

    async def list_tools(self) -> list[mcp_types.Tool]:
        await self._load()
        return await super().list_tools()

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[App, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        await self._load()
        started, outcome = perf_counter(), CallOutcome.FAILED
        try:
            invocation = caller.of_context(context, arguments, self._without_http)
            if name in _DECISIONS:
                who = await self._ask(name, arguments, context, invocation.caller)
                if isinstance(who, InputRequiredResult):
                    outcome = CallOutcome.OK
                    return who
                invocation = replace(invocation, caller=who)
            with caller.invoked(invocation):
                answer = await super().call_tool(name, arguments, context)
            outcome = CallOutcome.OK
        except ToolError as error:
            if not isinstance(error, UnexpectedToolError):
                outcome = CallOutcome.REFUSED
            if isinstance(error.__cause__, ValidationError):
                raise ToolError(self._wrong_arguments(name, error.__cause__)) from error
            raise
        finally:
            tool = name if self._tool_manager.get_tool(name) else "unknown"
            self._app.telemetry.add_call(tool, outcome, perf_counter() - started)
        return answer

    async def _ask(
        self, name: str, arguments: dict[str, Any], context: Context[App, Any] | None, who: Caller
    ) -> Caller | InputRequiredResult:
        if self._questions is None:
            from mcp_server.calls.questions import Questions  # noqa: PLC0415  a client is answered without it

            self._questions = Questions(self._app)
        try:
            return await self._questions.ask(name, arguments, context, who)
        except SalesAutomationError as refusal:
            raise ToolError(f"Error executing tool {name}: {refusal.for_clients}") from refusal

    def _wrong_arguments(self, name: str, error: ValidationError) -> str:
        if name == "record_event":  # its event is counted here, because it never reaches the tool
            self._app.telemetry.events.add(NO_PROVIDER, EventVerdict.INVALID)
        tool = self._tool_manager.get_tool(name)
        assert tool is not None, "its arguments were looked at"
        arguments = ", ".join(tool.parameters["properties"]) or "no arguments"
        return "\n".join([f"Error executing tool {name}:", *explain(error), f"It takes: {arguments}."])

    async def read_resource(
        self, uri: AnyUrl | str, context: Context[App, Any] | None = None
    ) -> Iterable[ReadResourceContents] | InputRequiredResult:
        (await self._loaded_offers()).check_address(str(uri))
        with caller.invoked(caller.of_context(context, {}, self._without_http)):
            return await super().read_resource(uri, context)

    async def list_prompts(self) -> list[mcp_types.Prompt]:
        return (await self._loaded_offers()).list_prompts()

    async def get_prompt(
        self,
        name: str,
        arguments: dict[str, Any] | None = None,
        context: Context[App, Any] | None = None,  # noqa: ARG002  the SDK's signature
    ) -> mcp_types.GetPromptResult:
        return (await self._loaded_offers()).get_prompt(name, arguments or {})

    async def list_resources(self) -> list[mcp_types.Resource]:
        await self._load()
        return await super().list_resources()

    async def list_resource_templates(self) -> list[mcp_types.ResourceTemplate]:
        await self._load()
        return await super().list_resource_templates()

    async def _complete(
        self,
        reference: mcp_types.PromptReference | mcp_types.ResourceTemplateReference,
        argument: mcp_types.CompletionArgument,
        _: mcp_types.CompletionContext | None,
    ) -> mcp_types.Completion:
        offers = await self._loaded_offers()
        return await anyio.to_thread.run_sync(offers.complete, reference, argument)

    async def run_stdio_async(self) -> None:
        self._without_http = Caller(ACTOR_STDIO, PROGRAM_SCOPES)
        if not stdio.are_pipes():
            await self._serve_lines()
            return
        with stdio.claimed() as (lines, sink):
            # The SDK iterates one of them and calls write and flush of the other.
            await self._serve_lines(cast("anyio.AsyncFile[str]", lines), cast("anyio.AsyncFile[str]", sink))

    async def _serve_lines(self, *files: anyio.AsyncFile[str]) -> None:
        """Serves stdio as the SDK's own method does, which takes no streams and does not answer invalid messages."""
        async with stdio_server(*files) as (incoming, outgoing):
            server = self._lowlevel_server
            options = server.create_initialization_options()
            unanswered = Unanswered(self._app.stop)
            answers = Answers(outgoing, unanswered)
            await server.run(stdio.Messages(incoming, answers, unanswered), answers, options)

    @asynccontextmanager
    async def _live(self, _: MCPServer[App]) -> AsyncGenerator[App]:
        async with anyio.create_task_group() as background:
            background.start_soon(self._warm_up)
            yield self._app
            background.cancel_scope.cancel()

    async def _warm_up(self) -> None:
        """Loads what the first calls need, in the order in which clients ask for it."""
        await anyio.sleep(_HEAD_START)
        await self._load()
        if any(toolset.mode is not Mode.LOCAL for toolset in self._toolsets):
            with suppress(StoreUnavailable):  # the process ends already
                self._app.start()

    async def _loaded_offers(self) -> "Offers":
        await self._load()
        assert self._offers is not None, "loaded with the tools"
        return self._offers

    async def _load(self) -> None:
        if not self._has_tools:
            await anyio.to_thread.run_sync(self._make)

    def _make(self) -> None:
        with self._loading:
            if self._has_tools:
                return
            read_only = self._app.settings.read_only
            tools = [tool for toolset in self._toolsets for tool in toolset.offer(self._app, read_only=read_only)]
            # The SDK takes finished tools in its constructor alone, and reads this attribute at every request.
            self._tool_manager = ToolManager(tools=tools)
            self._offers = self._make_offers({tool.name for tool in tools})
            _ = self._app.telemetry  # made here, since many threads are to count
            self._has_tools = True

    def _make_offers(self, tools: Collection[str]) -> "Offers":
        from mcp_server.offers.registration import Offers  # noqa: PLC0415  as long to import as the tools

        read_only = self._app.settings.read_only
        prompts = [name for toolset in self._toolsets for name in toolset.prompts(read_only=read_only)]
        resources = [noun for toolset in self._toolsets for noun in toolset.resources]
        offers = Offers(self._app, prompts, resources, tools)
        offers.add_resources(self)
        return offers


def build_server(app: App) -> MCPServer[App]:
    """Returns a server with the toolsets that `app.settings` chooses. ValueError for a toolset that does not exist."""
    return SalesServer(app)


def _instructions(toolsets: Sequence[Toolset], *, read_only: bool) -> str:
    listed = "; ".join(f"{toolset.name} ({toolset.summary})" for toolset in toolsets)
    names = {toolset.name for toolset in toolsets}
    writes = [] if read_only else [tools for name, tools in _ORDER if name in names]
    order = f"\nUsual order: {', then '.join(writes)}." if len(writes) > 1 else ""
    lines = [_INSTRUCTIONS.format(toolsets=listed, order=order)]
    prompts = [name for toolset in toolsets for name in toolset.prompts(read_only=read_only)]
    resources = [f"{noun}://ID" for toolset in toolsets for noun in toolset.resources]
    if prompts or resources:
        lines.append(f"Prompts and resources: {', '.join([*prompts, *resources])}.")
    if read_only:
        lines.append("This server is read-only: tools that write are not offered.")
    return "\n".join(lines)
