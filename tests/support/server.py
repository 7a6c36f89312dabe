"""A server in the process of the tests: calls of its tools, and campaigns made by them."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeAlias

from mcp.client import Client
from mcp.server import MCPServer
from mcp_types import CallToolResult, TextContent

from db.domain.access import ACTOR_STDIO, PROGRAM_SCOPES, Caller, Scope
from mcp_server.calls.server import SalesServer
from mcp_server.process.app import App

MakeApp: TypeAlias = Callable[..., App]
NOW = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)


def approving_server(app: App) -> MCPServer[App]:
    """A server whose clients may also approve, as a person may."""
    server = SalesServer(app)
    server._without_http = Caller("ada", frozenset(Scope))  # pyright: ignore[reportPrivateUsage]
    return server


def stdio_server(app: App) -> MCPServer[App]:
    """A server that takes its client for the one at its pipes."""
    server = SalesServer(app)
    server._without_http = Caller(ACTOR_STDIO, PROGRAM_SCOPES)  # pyright: ignore[reportPrivateUsage]
    return server


def text_of(result: CallToolResult) -> str:
    assert isinstance(result.content[0], TextContent)
    return result.content[0].text


async def call(client: Client, tool: str, /, **arguments: Any) -> dict[str, Any]:
    """The structured answer of a call that must succeed."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, text_of(result)
    assert result.structured_content is not None
    return result.structured_content


async def refusal(client: Client, tool: str, /, **arguments: Any) -> str:
    """The text of a call that must be refused."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    return text_of(result)


async def new_campaign(client: Client, *, people: int = 0, start: bool = False) -> dict[str, Any]:
    """{campaign_id, enrollment_ids} of a campaign with one email, `people` in it."""
    step = {"step_number": 1, "subject": "Hello", "body": "Good morning, all"}
    template = await call(client, "create_template", name="T", type="email", email_steps=[step])
    campaign = await call(client, "create_campaign", name="C", template_id=template["template"]["id"])
    campaign_id = campaign["campaign"]["id"]
    if start:
        await call(client, "start_campaign", campaign_id=campaign_id)
    ids: list[str] = []
    if people:
        contacts = [{"email": f"person{index}@example.com"} for index in range(people)]
        enrolled = await call(client, "enroll_contacts", campaign_id=campaign_id, contacts=contacts, detail="full")
        ids = [row["enrollment_id"] for row in enrolled["results"]]
    return {"campaign_id": campaign_id, "template_id": template["template"]["id"], "enrollment_ids": ids}


async def running(client: Client, *steps: dict[str, Any], people: int = 1) -> dict[str, Any]:
    """{template_id, campaign_id} of an active campaign, people enrolled and nothing sent."""
    made = await call(client, "create_template", name="T", type="multi_channel", email_steps=list(steps))
    template_id = made["template"]["id"]
    campaign = await call(client, "create_campaign", name="C", template_id=template_id)
    campaign_id = campaign["campaign"]["id"]
    await call(client, "start_campaign", campaign_id=campaign_id)
    contacts = [{"email": f"p{n}@example.com"} for n in range(people)]
    await call(client, "enroll_contacts", campaign_id=campaign_id, contacts=contacts)
    return {"template_id": template_id, "campaign_id": campaign_id}
