"""A server that may use mail servers on loopback, and a client of it."""

from collections.abc import AsyncGenerator, Callable, Generator
from pathlib import Path

import pytest
from mcp.client import Client

from mcp_server.calls.server import build_server
from mcp_server.process.app import App
from tests.support.dns import Resolver, dns_server


@pytest.fixture(scope="module")
def resolver() -> Generator[Resolver]:
    """A DNS server without a record, which no test needs to ask outside for."""
    with dns_server() as started:
        yield started


@pytest.fixture
def app(make_app: Callable[..., App], tmp_path: Path, resolver: Resolver) -> App:
    return make_app(
        allow_private_hosts=True, mailbox_key_file=tmp_path / "mailbox.key", dns_server=f"127.0.0.1:{resolver.port}"
    )


@pytest.fixture
async def client(app: App) -> AsyncGenerator[Client]:
    async with Client(build_server(app)) as connected:
        yield connected
