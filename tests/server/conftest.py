"""A server on the test database, and clients of both protocol eras."""

from collections.abc import AsyncGenerator, Callable

import pytest
from mcp.client import Client

from mcp_server.calls.server import build_server
from mcp_server.process.app import App


@pytest.fixture(params=["auto", "legacy"])
async def client(make_app: Callable[..., App], request: pytest.FixtureRequest) -> AsyncGenerator[Client]:
    async with Client(build_server(make_app()), mode=request.param) as connected:
        yield connected
