"""Calls of tools on a server whose embedded PostgreSQL dies between them."""

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client

from mcp_server.calls.server import build_server
from mcp_server.process.app import App
from mcp_server.process.settings import Settings
from tests.support.embedded import keepers_of, killed, postmaster_of
from tests.support.server import call

pytestmark = pytest.mark.anyio

CALLS: list[tuple[str, dict[str, Any]]] = [
    ("list_campaigns", {}),
    ("create_job", {"type": "import", "parameters": {}, "idempotency_key": "once"}),
]


@pytest.mark.parametrize(("tool", "arguments"), CALLS)
async def test_a_database_that_was_killed_is_brought_back_by_the_next_call(
    home: Path, monkeypatch: pytest.MonkeyPatch, tool: str, arguments: dict[str, Any]
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with closing(App(Settings(home=home))) as app:
        async with Client(build_server(app)) as client:
            await call(client, "list_campaigns")
            killed(keepers_of(home)[0])
            killed(postmaster_of(home))
            first = await call(client, tool, **arguments)
            assert await call(client, tool, **arguments) == first
