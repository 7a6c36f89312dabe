"""SIGTERM under load: what is in flight is finished, what is new is refused, and nothing acknowledged is lost. Streams,
which would never be finished, end as they should."""

import os
import signal
import socket
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx2 as httpx
import pytest
from anyio import to_thread
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from pydantic_core import to_json
from sqlalchemy import text

from db.postgres.database import Database
from tests.support.campaigns import assert_counters_are_exact
from tests.support.patience import PATIENCE
from tests.support.processes import server_process
from tests.support.server import new_campaign
from tests.support.wire import HELLO, received

pytestmark = pytest.mark.anyio

CLIENTS = 8
BEFORE_THE_END = 60


@pytest.mark.parametrize("era", ["auto", "legacy"])
async def test_every_acknowledged_event_outlives_sigterm(database: Database, database_url: str, era: str) -> None:
    acknowledged: list[str] = []
    enough = anyio.Event()

    async def send(base: str, enrollment_id: str, name: int) -> None:
        async with (
            httpx.AsyncClient(timeout=PATIENCE) as http,
            Client(streamable_http_client(f"{base}/mcp", http_client=http), mode=era) as client,
        ):
            for number in range(100_000):
                id_ = f"{name}-{number}"
                event = {
                    "event_type": "opened",
                    "channel": "email",
                    "enrollment_id": enrollment_id,
                    "provider_event_id": id_,
                }
                answer = await client.call_tool("record_event", {"event": event})
                if answer.is_error:
                    return
                acknowledged.append(id_)
                if len(acknowledged) >= BEFORE_THE_END:
                    enough.set()

    async def send_until_the_end(base: str, enrollment_id: str, name: int) -> None:
        with suppress(httpx.HTTPError, MCPError, anyio.ClosedResourceError, anyio.BrokenResourceError, ExceptionGroup):
            await send(base, enrollment_id, name)

    code: int | None = None
    with server_process(database_url) as (base, process):
        async with Client(f"{base}/mcp") as client:
            scene = await new_campaign(client, people=CLIENTS, start=True)
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as senders:
                for name, enrollment_id in enumerate(scene["enrollment_ids"]):
                    senders.start_soon(send_until_the_end, base, enrollment_id, name)
                await enough.wait()
                os.kill(process.pid, signal.SIGTERM)
                code = await to_thread.run_sync(process.wait)
                senders.cancel_scope.cancel()
    assert code == 0
    with database.transaction("look") as session:
        kept = session.scalars(text("SELECT provider_event_id FROM campaign_events")).all()
    assert len(acknowledged) >= BEFORE_THE_END
    assert set(acknowledged) <= set(kept)
    assert len(kept) == len(set(kept)) <= len(acknowledged) + CLIENTS
    assert_counters_are_exact(database)


STREAMS = ["sse", "session", "listen", "dashboard"]
LISTEN: dict[str, Any] = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "subscriptions/listen",
    "params": {
        "notifications": {"toolsListChanged": True},
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        },
    },
}


def request(base: str, stream: str) -> bytes:
    """What opens a stream of that kind, and is answered by a first event or comment at once."""
    accept = "application/json, text/event-stream"
    method, path, headers, body = "GET", "/mcp", {"Accept": accept}, b""
    if stream == "session":
        hello = httpx.post(f"{base}/mcp", json=HELLO, headers={"Accept": accept}, timeout=PATIENCE)
        headers = {"Accept": "text/event-stream", "mcp-session-id": hello.headers["mcp-session-id"]}
    elif stream == "listen":
        method, body = "POST", to_json(LISTEN)
        headers |= {
            "Content-Type": "application/json",
            "MCP-Protocol-Version": "2026-07-28",
            "Mcp-Method": LISTEN["method"],
        }
    else:
        path = "/sse" if stream == "sse" else "/dashboard/events"
    headers |= {"Host": urlsplit(base).netloc, "Content-Length": str(len(body))}
    head = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(head).encode() + body


@pytest.mark.parametrize("stream", STREAMS)
def test_a_stream_ends_whole_when_the_server_stops(database_url: str, stream: str) -> None:
    with server_process(database_url, "--no-worker", is_read=True) as (base, process):
        where = urlsplit(base)
        with socket.create_connection((where.hostname, where.port), timeout=PATIENCE) as client:
            client.sendall(request(base, stream))
            answer = received(client, b"\r\n\r\n")
            assert b"200 OK" in answer
            process.terminate()
            answer += b"".join(iter(lambda: client.recv(65_536), b""))
        assert answer.endswith(b"\r\n0\r\n\r\n")  # the last chunk, which says that there is no more
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert said == ""
