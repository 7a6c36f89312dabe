"""Clients that stop half-way: they are given up, and hold up nobody, nor the end of the server."""

import inspect
import re
import socket
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import anyio
import pytest
import uvicorn
from mcp.client import Client
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Message
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mcp_server.http.body_timeout import BodyTimeout
from mcp_server.http.bounded_http import BoundedProtocol
from mcp_server.http.serve import listen
from tests.support.patience import PATIENCE
from tests.support.processes import server_process
from tests.support.server import call, new_campaign
from tests.support.wire import received

HEAD = (
    "Host: {host}\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
    "Content-Length: 999\r\n\r\n"
)
HALVES = {
    "call": "POST /mcp HTTP/1.1\r\n" + HEAD + "{{",
    "message": "POST {messages} HTTP/1.1\r\n" + HEAD + "{{",
    "webhook": "POST /webhooks/standard HTTP/1.1\r\n" + HEAD,
    "sign-out": "POST /dashboard/sign-out HTTP/1.1\r\n" + HEAD,
    "head": "POST /mcp HTTP/1.1\r\nHost: {host}\r\n",
    "stream": "GET /sse HTTP/1.1\r\nHost: {host}\r\n\r\n",
}
EACH = 40
SECRET = {"SALES_AUTOMATION_WEBHOOK_STANDARD": "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQ="}


OWN = {"_is_in_head", "_besides_body", "_received", "_wait_for_a_head"}


def test_uvicorn_still_has_all_that_the_bounded_protocol_replaces_and_uses() -> None:
    theirs = inspect.getsource(HttpToolsProtocol)
    functions = {name for name, member in vars(BoundedProtocol).items() if inspect.isfunction(member)}
    for name in functions - OWN:
        known = inspect.signature(vars(HttpToolsProtocol)[name])
        assert [*inspect.signature(vars(BoundedProtocol)[name]).parameters] == [*known.parameters], name
    used = set(re.findall(r"self\.(\w+)", inspect.getsource(BoundedProtocol))) - OWN
    assert {name for name in used if not re.search(rf"self\.{name}\b|def {name}\b", theirs)} == set()
    assert "self._should_upgrade()" in theirs


@pytest.mark.anyio
async def test_those_who_stop_half_way_hold_up_nobody_and_not_the_end(database_url: str) -> None:
    with (
        server_process(database_url, "--no-worker", is_read=False, **SECRET) as (base, process),
        ExitStack() as stalled,
    ):
        where = urlsplit(base)

        def stop_half_way(half: str, messages: str = "") -> socket.socket:
            connection = stalled.enter_context(socket.create_connection((where.hostname, where.port), PATIENCE))
            connection.sendall(half.format(host=where.netloc, messages=messages).encode())
            return connection

        opened = received(stop_half_way(HALVES["stream"]), b"\r\n\r\n\r\n").decode()
        messages = opened.split("data: ")[1].split("\r\n")[0]
        for _ in range(EACH):
            for half in HALVES.values():
                stop_half_way(half, messages)
        async with Client(f"{base}/mcp") as client:
            scene = await new_campaign(client, people=1, start=True)
            event = {"event_type": "opened", "channel": "email", "enrollment_id": scene["enrollment_ids"][0]}
            assert (await call(client, "record_event", event=event))["recorded"] == 1
        process.terminate()
        _, said = await anyio.to_thread.run_sync(process.communicate)
    assert process.returncode == 0
    assert said == ""


async def read_it(request: Request) -> Response:
    return PlainTextResponse(await request.body())


@pytest.mark.anyio
@pytest.mark.parametrize("parts", [0, 1, 2])
async def test_a_body_that_stops_on_its_way_is_answered_408(parts: int) -> None:
    left, told = parts, list[Message]()

    async def receive() -> Message:
        nonlocal left
        if not left:
            await anyio.sleep_forever()
        left -= 1
        return {"type": "http.request", "body": b"{", "more_body": True}

    async def send(message: Message) -> None:
        told.append(message)

    app = BodyTimeout(Starlette(routes=[Route("/", read_it, methods=["POST"])]), seconds=0.01)
    scope: dict[str, Any] = {"type": "http", "method": "POST", "path": "/", "headers": [], "query_string": b""}
    with anyio.fail_after(PATIENCE):
        await app(scope, receive, send)
    assert [message.get("status") for message in told] == [408, None]
    assert (b"connection", b"close") in told[0]["headers"]


@contextmanager
def listening(app: Starlette, *, idle_seconds: int) -> Generator[tuple[str, int]]:
    """Where a server with our bounds on HTTP listens."""
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, http=BoundedProtocol, timeout_keep_alive=idle_seconds, log_config=None
    )
    server = uvicorn.Server(config)
    with listen(config) as listener:
        thread = Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield listener.getsockname()
        finally:
            server.should_exit = True
            thread.join(PATIENCE)


async def greet(_: Request) -> Response:
    return PlainTextResponse("here")


GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: a\r\n", GET + b"GET /"])
def test_a_head_that_does_not_come_is_waited_for_no_longer_than_between_two(sent: bytes) -> None:
    with (
        listening(Starlette(routes=[Route("/", greet)]), idle_seconds=1) as address,
        socket.create_connection(address, PATIENCE) as stranger,
    ):
        stranger.sendall(sent)
        if sent.startswith(GET):
            received(stranger, b"here")
        assert stranger.recv(1) == b""
