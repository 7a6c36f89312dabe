"""Which views a server offers, and how clients learn of them."""

from collections.abc import Callable

import pytest
from mcp.client import Client
from mcp.server.apps import APP_MIME_TYPE, EXTENSION_ID
from mcp.shared.exceptions import MCPError
from mcp_types import TextContent, TextResourceContents

from mcp_server.calls.server import build_server
from mcp_server.calls.toolsets import TOOLSETS
from mcp_server.offers import views
from mcp_server.process.app import App
from tests.support.server import new_campaign

pytestmark = pytest.mark.anyio

TOOLS = {view.tool for view in views.VIEWS}


async def shown_by_tools(client: Client) -> dict[str, str]:
    """Tool -> address of its view."""
    listed = (await client.list_tools()).tools
    return {tool.name: tool.meta["ui"]["resourceUri"] for tool in listed if tool.meta}


async def listed(client: Client) -> list[str]:
    return [resource.uri for resource in (await client.list_resources()).resources]


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("settings", [{}, {"read_only": True}], ids=["all", "read-only"])
async def test_each_view_is_told_listed_and_read(
    make_app: Callable[..., App], mode: str, settings: dict[str, bool]
) -> None:
    async with Client(build_server(make_app(**settings)), mode=mode) as client:
        # The older revisions have no place for it: there hosts go by the tools alone.
        assert client.server_capabilities.extensions == (None if mode == "legacy" else {EXTENSION_ID: {}})
        addresses = await shown_by_tools(client)
        assert set(addresses) == TOOLS
        resources = {resource.uri: resource for resource in (await client.list_resources()).resources}
        assert set(resources) == set(addresses.values())
        for tool, address in addresses.items():
            assert address.startswith("ui://")
            (content,) = (await client.read_resource(address)).contents
            assert isinstance(content, TextResourceContents)
            assert content.text.startswith("<!doctype html>")
            assert f'data-tool="{tool}"' in content.text
            for told in (resources[address], content):
                assert told.mime_type == APP_MIME_TYPE
                assert told.meta == {"ui": {"csp": {}, "prefersBorder": True}}


@pytest.mark.parametrize(
    ("toolsets", "tools"), [("metrics", {"get_metrics"}), ("actions,cache", {"explain_due"}), ("cache", set[str]())]
)
async def test_a_view_comes_with_its_tool_alone(make_app: Callable[..., App], toolsets: str, tools: set[str]) -> None:
    async with Client(build_server(make_app(toolsets=toolsets))) as client:
        assert set(await shown_by_tools(client)) == tools
        assert set(await listed(client)) == {views.address(tool) for tool in tools}
        assert (EXTENSION_ID in (client.server_capabilities.extensions or {})) is bool(tools)
        for tool in TOOLS - tools:
            with pytest.raises(MCPError, match="No resource has this address"):
                await client.read_resource(views.address(tool))


async def test_a_client_without_views_reads_the_answer_as_text(make_app: Callable[..., App]) -> None:
    async with Client(build_server(make_app())) as client:
        scene = await new_campaign(client, people=1)
        for tool, word in (("get_metrics", '"enrolled":1'), ("explain_due", "campaign_not_started")):
            (content,) = (await client.call_tool(tool, {"campaign_id": scene["campaign_id"]})).content
            assert isinstance(content, TextContent)
            assert word in content.text


def test_toolsets_name_the_views_there_are() -> None:
    assert {name for toolset in TOOLSETS for name in toolset.views} == TOOLS
    for toolset in TOOLSETS:
        assert set(toolset.views) <= {tool.name for tool in toolset.tools}
