"""A server on the test database, and clients of both protocol eras."""

from collections.abc import AsyncGenerator, Callable, Generator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client
from mcp_types import CallToolResult, TextContent
from pydantic import SecretStr

from mcp_server.calls.server import build_server
from mcp_server.process.app import App
from mcp_server.process.settings import Settings

NOW = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)


@pytest.fixture
def make_app(database_url: str, tmp_path: Path) -> Generator[Callable[..., App]]:
    apps: list[App] = []

    def make(**settings: Any) -> App:
        given: dict[str, Any] = {"database_url": SecretStr(database_url), "home": tmp_path, **settings}
        apps.append(App(Settings(**given), clock=lambda: NOW))
        return apps[-1]

    yield make
    for app in apps:
        app.close()


@pytest.fixture(params=["auto", "legacy"])
async def client(make_app: Callable[..., App], request: pytest.FixtureRequest) -> AsyncGenerator[Client]:
    async with Client(build_server(make_app()), mode=request.param) as connected:
        yield connected


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
        enrolled = await call(client, "enroll_contacts", campaign_id=campaign_id, contacts=contacts)
        ids = [row["enrollment_id"] for row in enrolled["results"]]
    return {"campaign_id": campaign_id, "template_id": template["template"]["id"], "enrollment_ids": ids}
