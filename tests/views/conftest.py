"""A server with data, and a small host page in Chromium that shows its views as hosts of MCP Apps must."""

from collections.abc import Generator, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from mcp_types import TextResourceContents
from playwright.sync_api import Browser
from pydantic import SecretStr

from db.postgres.database import Database
from mcp_server.calls.server import build_server
from mcp_server.offers import views
from mcp_server.process.app import App
from mcp_server.process.settings import Settings
from tests.support.browser import launched, new_page
from tests.support.dashboard import fill
from tests.support.databases import empty
from tests.support.views import Answer, Backend, Show, Shown

# What a host must apply to a view that names no domain.
_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "media-src 'self' data:; connect-src 'none'; frame-src 'none'; object-src 'none'; base-uri 'self'"
)


@pytest.fixture(scope="module")
def browser() -> Generator[Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def backend(migrated: Database, postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Generator[Backend]:
    empty(migrated)
    scene = fill(migrated, people=90, now=datetime.now(UTC))
    app = App(Settings(database_url=SecretStr(postgres), home=tmp_path_factory.mktemp("home")))
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(Client(build_server(app))) as client:

        def call(tool: str, arguments: Mapping[str, Any]) -> Answer:
            result = portal.call(client.call_tool, tool, dict(arguments))
            return result.model_dump(mode="json", by_alias=True, exclude_none=True)

        def document(tool: str) -> str:
            (content,) = portal.call(client.read_resource, views.address(tool)).contents
            assert isinstance(content, TextResourceContents)
            return content.text

        yield Backend(scene, call, document)
    app.close()
    empty(migrated)


@pytest.fixture
def show(browser: Browser, backend: Backend) -> Generator[Show]:
    """Shows the view of a tool, and in the end holds that it said nothing on the console and asked the network for
    nothing."""
    opened: list[Shown] = []

    def start(tool: str, *, width: int = 720, **host: Any) -> Shown:
        at = Shown(new_page(browser, viewport={"width": width, "height": 800}), backend, tool)
        opened.append(at)
        _listen(at)
        at.page.set_content("<!doctype html><html lang=en><title>Host</title><body></body></html>")
        at.page.expose_function("callTool", partial(_call, at))  # pyright: ignore[reportUnknownMemberType]  as it is
        at.page.evaluate(Path(__file__).with_name("host.js").read_text("utf-8"))
        at.page.evaluate("given => Object.assign(host, given)", host)
        policy = f'<head><meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        at.page.evaluate("html => host.embed(html)", backend.document(tool).replace("<head>", policy, 1))
        at.page.wait_for_function("host.received.some(one => one.method === 'ui/notifications/initialized')")
        return at

    yield start
    for view in opened:
        view.page.context.close()
    assert [line for view in opened for line in (*view.said, *view.requests)] == []


def _listen(at: Shown) -> None:
    at.page.on("console", lambda message: at.said.append(f"{message.type}: {message.text}"))
    at.page.on("pageerror", lambda error: at.said.append(str(error)))
    at.page.on("request", lambda request: at.requests.append(request.url))


def _call(at: Shown, name: str, arguments: Answer) -> Answer:
    at.calls.append({"name": name, "arguments": arguments})
    try:
        return {"result": at.backend.call(name, arguments)}
    except MCPError as error:
        return {"error": {"code": error.error.code, "message": error.error.message}}
