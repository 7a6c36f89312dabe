"""The server as clients start it: real processes on stdio, SSE and Streamable HTTP, in both protocol eras."""

import socket
import subprocess
from collections.abc import Callable, Generator, Iterator
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx2 as httpx
import pytest
import uvicorn
from mcp.client import Client
from mcp.client.sse import sse_client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from pydantic_core import to_json
from starlette.applications import Starlette

from mcp_server.http.serve import listen, run as run_app
from tests.support.patience import PATIENCE
from tests.support.processes import COMMAND, ERAS, TOKEN, environment, held_port, http_server, run
from tests.support.server import call, new_campaign, refusal
from tests.support.tokens import bearer
from tests.support.wire import ACCEPT, HELLO, INITIALIZE, received

pytestmark = pytest.mark.anyio


async def flow(client: Client) -> None:
    scene = await new_campaign(client, people=1, start=True)
    event = {"event_type": "opened", "channel": "email", "enrollment_id": scene["enrollment_ids"][0]}
    assert (await call(client, "record_event", event=event))["recorded"] == 1
    assert (await call(client, "get_metrics", campaign_id=scene["campaign_id"]))["totals"]["opened"] == 1


@pytest.mark.parametrize("era", ERAS)
async def test_stdio_serves(database_url: str, era: str) -> None:
    parameters = StdioServerParameters(command=COMMAND[0], args=COMMAND[1:], env=environment(database_url))
    async with Client(stdio_client(parameters), mode=era) as client:
        await flow(client)


@pytest.mark.parametrize("era", ERAS)
async def test_streamable_http_and_sse_serve_from_one_app(database_url: str, era: str) -> None:
    with http_server(database_url) as base:
        async with Client(f"{base}/mcp", mode=era) as client:
            await flow(client)
        async with Client(sse_client(f"{base}/sse", timeout=PATIENCE), mode=era) as client:
            await flow_again(client)


def test_health_and_readiness_answer_without_a_token(database_url: str) -> None:
    with http_server(database_url, SALES_AUTOMATION_TOKEN=TOKEN) as base:
        assert httpx.get(f"{base}/healthz", timeout=PATIENCE).json() == {"status": "ok"}
        assert httpx.get(f"{base}/readyz", timeout=PATIENCE).json() == {"status": "ready"}


async def flow_again(client: Client) -> None:
    campaigns = await call(client, "list_campaigns")
    metrics = await call(client, "get_metrics", campaign_id=campaigns["campaigns"][0]["id"])
    assert metrics["totals"]["opened"] == 1


def test_a_token_is_asked_for_on_every_transport(database_url: str) -> None:
    with http_server(database_url, SALES_AUTOMATION_TOKEN=TOKEN) as base:
        for path in ("/mcp", "/sse", "/messages/"):
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}):
                answer = httpx.post(f"{base}{path}", headers=headers, json={}, timeout=PATIENCE)
                assert answer.status_code == 401, path
                assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_the_holder_of_the_token_is_served(database_url: str) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with http_server(database_url, SALES_AUTOMATION_TOKEN=TOKEN) as base:
        async with (
            httpx.AsyncClient(headers=headers, timeout=PATIENCE) as http,
            Client(streamable_http_client(f"{base}/mcp", http_client=http)) as client,
        ):
            await call(client, "list_campaigns")
        async with Client(sse_client(f"{base}/sse", headers=headers, timeout=PATIENCE)) as client:
            await call(client, "list_campaigns")


def test_a_foreign_host_or_origin_is_refused(database_url: str) -> None:
    with http_server(database_url) as base:
        accept = {"Accept": "application/json, text/event-stream"}
        ping: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        for headers in ({"Host": "evil.example.com"}, {"Origin": "http://evil.example.com"}):
            answer = httpx.post(f"{base}/mcp", headers={**accept, **headers}, json=ping, timeout=PATIENCE)
            assert answer.status_code in (403, 421)


def test_another_address_needs_a_token(database_url: str) -> None:
    result = run("serve", "--transport", "sse", "--host", "0.0.0.0", env=environment(database_url))
    assert result.returncode == 2
    assert "SALES_AUTOMATION_TOKEN" in result.stderr
    assert result.stdout == ""


def test_another_address_needs_a_token_that_nobody_guesses(database_url: str) -> None:
    weak = environment(database_url, SALES_AUTOMATION_TOKEN="x" * 15)
    result = run("serve", "--transport", "sse", "--host", "0.0.0.0", "--port", "0", env=weak)
    assert (result.returncode, result.stdout) == (2, "")
    assert "Listening on 0.0.0.0 needs a token of 16 characters or more" in result.stderr
    with http_server(database_url, SALES_AUTOMATION_TOKEN="x") as base:
        assert httpx.get(f"{base}/sse", timeout=PATIENCE).status_code == 401


def test_a_token_file_serves_as_well_and_a_missing_one_is_named(database_url: str, tmp_path: Any) -> None:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n", "utf-8-sig")  # with the mark that some editors put in front
    with http_server(database_url, SALES_AUTOMATION_TOKEN_FILE=str(path)) as base:
        assert httpx.get(f"{base}/sse", timeout=PATIENCE).status_code == 401
        hello = httpx.post(f"{base}/mcp", headers={**ACCEPT, **bearer(TOKEN)}, json=INITIALIZE, timeout=PATIENCE)
        assert hello.status_code == 200
    missing = environment(database_url, SALES_AUTOMATION_TOKEN_FILE=str(tmp_path / "none"))
    result = run("serve", "--transport", "sse", "--port", "0", env=missing)
    assert result.returncode == 2
    assert result.stderr.startswith("sales-automation-mcp: SALES_AUTOMATION_TOKEN_FILE can't be read: ")


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe\n"], ids=["empty", "blank", "not UTF-8"])
def test_a_token_file_without_a_token_opens_the_server_to_nobody(
    database_url: str, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    hollow = environment(database_url, SALES_AUTOMATION_TOKEN_FILE=str(path))
    result = run("serve", "--transport", "sse", "--port", "0", env=hollow)
    assert result.returncode == 2
    assert "holds no token" in result.stderr


@pytest.fixture
def unreachable() -> Generator[dict[str, str]]:
    """The environment of a server whose database is not there."""
    with held_port() as port:
        url = f"postgresql://somebody:a-secret-password@127.0.0.1:{port}/nothing"
        yield environment(url, SALES_AUTOMATION_START_ATTEMPTS="2")


async def test_over_stdio_an_unreachable_database_is_a_tool_error_and_then_a_failure(
    unreachable: dict[str, str],
) -> None:
    process = await anyio.open_process(COMMAND, env=unreachable, stderr=subprocess.PIPE)
    try:
        parameters = StdioServerParameters(command=COMMAND[0], args=COMMAND[1:], env=unreachable)
        async with Client(stdio_client(parameters)) as client:
            text = await refusal(client, "list_campaigns")
            assert "does not answer after 2 tries" in text
            assert "DATABASE_URL" in text
            assert "a-secret-password" not in text
        assert process.stdin is not None
        assert process.stderr is not None
        first = await process.stderr.receive()  # else it might end before its tries do
        await process.stdin.aclose()
        said = (first + b"".join([chunk async for chunk in process.stderr])).decode()
        assert await process.wait() == 1
        assert said.count("\n") == 1
        assert "does not answer" in said
        assert "a-secret-password" not in said
    finally:
        if process.returncode is None:
            process.kill()
        await process.aclose()


def test_over_http_an_unreachable_database_ends_the_start_with_one_line(unreachable: dict[str, str]) -> None:
    result = run("serve", "--transport", "streamable-http", "--port", "0", env=unreachable)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "does not answer after 2 tries" in result.stderr
    assert result.stdout == ""


def test_an_external_database_is_migrated_only_when_told(fresh_database: str) -> None:
    refused = run("serve", "--transport", "sse", "--port", "0", env=environment(fresh_database))
    assert refused.returncode == 1
    assert "sales-automation-mcp migrate" in refused.stderr
    migrated = run("migrate", env=environment(fresh_database))
    assert migrated.returncode == 0, migrated.stderr
    with http_server(fresh_database) as base:
        assert httpx.get(f"{base}/readyz", timeout=PATIENCE).status_code == 200


def test_wrong_settings_are_named_without_their_value() -> None:
    env = environment("postgresql://somebody:a-secret-password@127.0.0.1/x", SALES_AUTOMATION_POOL_SIZE="many")
    result = run("serve", "--transport", "sse", env=env)
    assert result.returncode == 2
    assert result.stderr.startswith("sales-automation-mcp: SALES_AUTOMATION_POOL_SIZE: ")
    assert "a-secret-password" not in result.stderr


def test_a_port_that_is_taken_ends_the_start_with_one_line(database_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for command in (["serve", "--transport", "streamable-http"], ["dashboard", "--no-open"]):
            result = run(*command, "--port", port, env=environment(database_url))
            assert (result.returncode, result.stdout) == (2, "")
            assert result.stderr.startswith(f"sales-automation-mcp: --port {port}: another program listens there. Stop")
            assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("nobody.invalid", "no such host is known"),
        ("[::1]", "take the brackets off"),
        ("a" * 70 + ".example.com", "no such host is known"),
        ("203.0.113.5", "no address of this machine"),  # reserved for documentation
        ("2001:db8::5", "no address of this machine"),
    ],
)
def test_a_host_that_is_not_here_ends_the_start_with_one_line(database_url: str, host: str, reason: str) -> None:
    env = environment(database_url, SALES_AUTOMATION_TOKEN=TOKEN)
    result = run("serve", "--transport", "sse", "--host", host, "--port", "0", env=env)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"sales-automation-mcp: --host {host}: {reason}")
    assert result.stderr.count("\n") == 1


def test_an_answer_does_not_wait_for_the_client_to_acknowledge_a_part_of_it() -> None:
    with (
        listen(uvicorn.Config("nothing", host="127.0.0.1", port=0, log_config=None)) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_an_idle_connection_is_kept_for_longer_than_clients_keep_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []

    def serve(server: uvicorn.Server, sockets: list[socket.socket]) -> None:
        kept.append(server.config.timeout_keep_alive)
        for listener in sockets:
            listener.close()

    monkeypatch.setattr(uvicorn.Server, "run", serve)
    run_app(Starlette(), host="127.0.0.1", port=0, when_listening=lambda _: None)
    assert min(kept) > 60


HEADS: dict[str, Callable[[], Iterator[bytes]]] = {
    "many headers": lambda: (b"X-%d: x\r\n" % number for number in range(2_000_000)),
    "a long header": lambda: iter([b"X: ", *[b"x" * 65_536] * 500]),
    "a long address": lambda: iter([b"x" * 65_536] * 500),
    "a long trailer": lambda: iter([b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: ", *[b"x" * 65_536] * 500]),
}


def send_all(stranger: socket.socket, start: bytes, rest: Iterator[bytes]) -> None:
    for part in chain([start], rest):
        stranger.sendall(part)


@pytest.mark.parametrize("name", HEADS)
def test_a_head_without_an_end_is_cut_off(database_url: str, name: str) -> None:
    with http_server(database_url) as base:
        address = urlsplit(base)
        with socket.create_connection((address.hostname, address.port), timeout=PATIENCE) as stranger:
            start = b"POST /healthz" if "address" in name else b"POST /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            with pytest.raises((ConnectionResetError, BrokenPipeError)):
                send_all(stranger, start, HEADS[name]())
        assert httpx.get(f"{base}/healthz", timeout=PATIENCE).json() == {"status": "ok"}


OFFERS_HTTP2 = (
    b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json, text/event-stream\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\nExpect: 100-continue\r\n"
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
)


OFFERS_WEBSOCKET = (
    b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def test_a_client_that_offers_websocket_is_answered_in_http_whatever_is_installed(database_url: str) -> None:
    assert find_spec("websockets") is not None, "uvicorn would speak it then"
    with http_server(database_url) as base:
        address = urlsplit(base)
        with socket.create_connection((address.hostname, address.port), timeout=PATIENCE) as stranger:
            stranger.sendall(OFFERS_WEBSOCKET)
            assert b"200 OK" in received(stranger, b'{"status":"ok"}')


@pytest.mark.parametrize("is_in_one_piece", [True, False])
def test_a_client_that_offers_http2_is_answered_in_http1(database_url: str, *, is_in_one_piece: bool) -> None:
    body = to_json(HELLO)
    head = OFFERS_HTTP2 % len(body)
    with http_server(database_url) as base:
        address = urlsplit(base)
        with socket.create_connection((address.hostname, address.port), timeout=PATIENCE) as stranger:
            if is_in_one_piece:
                stranger.sendall(head + body)
            else:
                stranger.sendall(head)
                assert b"100 Continue" in received(stranger, b"\r\n\r\n")
                stranger.sendall(body)
            assert b"200 OK" in received(stranger, b"serverInfo")
            stranger.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert b"200 OK" in received(stranger, b'{"status":"ok"}')
