"""The MCP server: toolsets, and the instructions composed of those that are on."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from mcp.server import MCPServer

from mcp_server import __version__
from mcp_server.app import App
from mcp_server.tools import TOOLSETS
from mcp_server.toolset import Toolset, select

_INSTRUCTIONS = """\
System of record for sales outreach: a campaign is made of a template of email and LinkedIn steps, people are enrolled \
in it, and what happens to each step is recorded as events and counted.
Usual order: create_template, create_campaign, enroll_contacts, start_campaign; then claim_due_actions and \
complete_action in a loop, record_event(s) for what providers report, and get_metrics.
An error says what was wrong and what to call next. Writes take an idempotency_key, so that they can be repeated safely.
Toolsets that are on: {toolsets}."""


def build_server(app: App) -> MCPServer[App]:
    """A server with the toolsets that `app.settings` chooses. ValueError for a toolset that does not exist.

    The lifespan starts the app and does not close it, since SSE runs it once a connection: the process owns the app.
    """
    chosen = select(TOOLSETS, app.settings.toolsets)

    @asynccontextmanager
    async def lifespan(_: MCPServer[App]) -> AsyncGenerator[App]:
        if any(not toolset.is_local for toolset in chosen):
            app.start()
        yield app

    return MCPServer(
        name="sales-automation-mcp",
        title="Sales Automation",
        version=__version__,
        instructions=_instructions(chosen, read_only=app.settings.read_only),
        lifespan=lifespan,
        tools=[tool for toolset in chosen for tool in toolset.offer(app, read_only=app.settings.read_only)],
        log_level=app.settings.log_level,
    )


def _instructions(toolsets: Sequence[Toolset], *, read_only: bool) -> str:
    listed = "; ".join(f"{toolset.name} ({toolset.summary})" for toolset in toolsets)
    text = _INSTRUCTIONS.format(toolsets=listed)
    return f"{text}\nThis server is read-only: tools that write are not offered." if read_only else text
