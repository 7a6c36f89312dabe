"""Bearer tokens: made and ended on the command line, held to their scopes, their rate and their sessions over HTTP."""

import subprocess
import threading
from collections.abc import AsyncGenerator, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2 as httpx
import pytest
from anyio.to_thread import run_sync
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from pydantic import SecretStr
from sqlalchemy import text

from db.domain.access import Scope
from db.domain.errors import Conflict, InvalidInput, NotFound, StoreUnavailable
from db.embedded.locks import wait_until
from db.postgres.database import Database
from db.services.ops import tokens
from mcp_server.calls.toolsets import TOOLSETS
from mcp_server.http.token_cache import DEFAULT, KEPT_SECONDS, TokenCache
from mcp_server.process.app import App
from tests.support.http_app import served
from tests.support.patience import PATIENCE
from tests.support.processes import COMMAND, ERAS, TOKEN, environment, http_server, run
from tests.support.server import NOW, call, new_campaign, refusal
from tests.support.tokens import Clock, bearer, connected, new_token
from tests.support.wire import ACCEPT, INITIALIZE

pytestmark = pytest.mark.anyio

PING: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


def revoke(database: Database, name: str) -> None:
    database.run("revoke", lambda session: tokens.revoke(session, name_or_id=name, now=NOW))


def status(base: str, token: str | None, path: str = "/mcp", **headers: str) -> int:
    held = bearer(token) if token else {}
    return httpx.post(
        f"{base}{path}", headers={**ACCEPT, **held, **headers}, json=INITIALIZE, timeout=PATIENCE
    ).status_code


@pytest.mark.parametrize("how", [*ERAS, "sse"])
async def test_a_token_does_what_its_scopes_say_and_nothing_else(
    database: Database, database_url: str, how: str
) -> None:
    reader = new_token(database, "reader", Scope.READ)
    writer = new_token(database, "writer", Scope.WRITE)
    operator = new_token(database, "operator", Scope.OPS)
    with http_server(database_url) as base:
        async with connected(base, reader, how) as client:
            await call(client, "list_campaigns")
            for tool in ("create_template", "record_event"):
                said = await refusal(client, tool, **ARGUMENTS[tool])
                assert "needs the scope write" in said
                assert "this token has read" in said
            assert "needs the scope ops" in await refusal(client, "list_audit")
        async with connected(base, writer, how) as client:
            await call(client, "create_template", **ARGUMENTS["create_template"])
            assert "needs the scope read" in await refusal(client, "list_templates")
        async with connected(base, operator, how) as client:
            records = (await call(client, "list_audit"))["records"]
            assert "needs the scope read" in await refusal(client, "list_templates")
    assert [(record["actor"], record["tool"], record["outcome"]) for record in records] == [
        ("writer", "create_template", "ok"),
        ("reader", "record_event", "refused"),
        ("reader", "create_template", "refused"),
    ]
    assert [record.get("error") for record in records] == [None, "MissingScope", "MissingScope"]


ARGUMENTS: dict[str, dict[str, Any]] = {
    "create_template": {
        "name": "T",
        "type": "email",
        "email_steps": [{"step_number": 1, "subject": "Hello", "body": "Good morning, all"}],
    },
    "record_event": {"event": {"event_type": "opened", "channel": "email", "provider_message_id": "m1"}},
}


def test_every_tool_has_the_scope_that_its_kind_asks_for() -> None:
    for toolset in TOOLSETS:
        for tool in toolset.tools:
            usual = Scope.READ if tool.read_only else Scope.WRITE
            if tool.name in ("approve_drafts", "reject_draft", "settle_message"):
                usual = Scope.APPROVE
            assert tool.scope is (Scope.OPS if toolset.name == "ops" else usual), tool.name


async def test_the_token_of_the_settings_may_do_everything(database: Database, database_url: str) -> None:
    with http_server(database_url, SALES_AUTOMATION_TOKEN=TOKEN) as base:
        async with connected(base, TOKEN, "auto") as client:
            await new_campaign(client)
            records = (await call(client, "list_audit"))["records"]
        assert {record["actor"] for record in records} == {"default"}
        assert httpx.get(f"{base}/metrics", headers=bearer(TOKEN), timeout=PATIENCE).status_code == 200


async def test_the_request_id_of_the_client_is_kept_unless_it_could_tell_of_a_person(
    database: Database, database_url: str
) -> None:
    with http_server(database_url) as base:
        for given in ("order-66", "ann@example.com"):
            async with (
                httpx.AsyncClient(headers={"X-Request-Id": given}, timeout=PATIENCE) as http,
                Client(streamable_http_client(f"{base}/mcp", http_client=http)) as client,
            ):
                await call(client, "create_template", **ARGUMENTS["create_template"])
                row = (await call(client, "list_audit", detail="full"))["records"][0]
                assert row["actor"] == "local"
                assert (row["request_id"] == given) is (given == "order-66")


@pytest.mark.parametrize("how", ["legacy", "sse"])
async def test_a_session_is_of_no_use_to_another_token(database: Database, database_url: str, how: str) -> None:
    mine, other = new_token(database, "mine", Scope.READ), new_token(database, "other", Scope.READ)
    with http_server(database_url) as base:
        async with httpx.AsyncClient(headers={**ACCEPT, **bearer(mine)}, base_url=base, timeout=PATIENCE) as http:
            if how == "sse":
                async with http.stream("GET", "/sse") as stream:
                    lines = stream.aiter_lines()
                    place = await anext(_first_data(lines))
                    assert (await http.post(place, json=PING, headers=bearer(other))).status_code == 404
                    assert (await http.post(place, json=PING)).status_code == 202
                return
            opened = await http.post("/mcp", json=INITIALIZE)
            session = {"mcp-session-id": opened.headers["mcp-session-id"]}
            assert (await http.post("/mcp", json=PING, headers={**session, **bearer(other)})).status_code == 404
            assert (await http.post("/mcp", json=PING, headers=session)).status_code == 200


async def _first_data(lines: Any) -> AsyncGenerator[str]:
    async for line in lines:
        if line.startswith("data: "):
            yield line.removeprefix("data: ")
            return


def test_a_token_is_made_listed_and_revoked_on_the_command_line(database: Database, database_url: str) -> None:
    env = environment(database_url)
    with http_server(database_url) as base:
        assert status(base, None) == 200
        made = run("tokens", "create", "agent", "--scope", "read", "--scope", "write", env=env)
        assert made.returncode == 0, made.stderr
        token = made.stdout.strip()
        assert "\n" not in token
        assert len(token) > 40
        assert wait_until(lambda: status(base, None) == 401, PATIENCE)
        assert status(base, token) == 200
        listed = run("tokens", "list", env=env)
        assert "read,write" in listed.stdout
        assert "active" in listed.stdout
        assert token not in listed.stdout + listed.stderr
        assert run("tokens", "revoke", "agent", env=env).returncode == 0
        assert wait_until(lambda: status(base, token) == 401, PATIENCE)
        assert status(base, None) == 401
    assert "revoked" in run("tokens", "list", env=env).stdout
    with database.transaction("look") as session:
        kept = session.execute(text("SELECT name, token_hash, last_used_at FROM access_tokens")).one()
    assert kept.token_hash == tokens.hash_of(token)
    assert kept.last_used_at is not None  # the server has stopped


@pytest.mark.parametrize(("mode", "is_open"), [(0o600, False), (0o644, True), (0o640, True)])
def test_a_token_in_a_file_that_others_can_read_is_warned_of(
    database_url: str, tmp_path: Path, mode: int, is_open: bool
) -> None:
    path = tmp_path / "token"
    path.touch(mode)
    path.chmod(mode)
    command = [*COMMAND, "tokens", "create", f"agent-{mode}", "--scope", "read"]
    with path.open("w") as file:
        env = environment(database_url)
        done = subprocess.run(
            command, stdout=file, stderr=subprocess.PIPE, env=env, text=True, timeout=PATIENCE, check=True
        )
    assert len(path.read_text().strip()) > 40
    assert ("chmod 600" in done.stderr) == is_open


def test_what_is_wrong_with_a_command_is_said_in_one_line(database: Database, database_url: str) -> None:
    env = environment(database_url)
    new_token(database, "agent", Scope.READ)
    for arguments, reason in (
        (("create", "agent", "--scope", "read"), "already"),
        (("create", "stdio", "--scope", "read"), "name"),
        (("revoke", "nobody"), "nobody"),
    ):
        result = run("tokens", *arguments, env=env)
        assert result.returncode == 2
        assert reason in result.stderr
        assert result.stderr.count("\n") == 1
        assert result.stdout == ""


def test_another_address_is_served_with_a_stored_token(database: Database, database_url: str) -> None:
    token = new_token(database, "agent", Scope.READ)
    with http_server(database_url, "--host", "0.0.0.0") as base:
        here = base.replace("0.0.0.0", "127.0.0.1")
        assert status(here, token) == 200
        assert status(here, None) == 401
    revoke(database, "agent")
    result = run("serve", "--transport", "sse", "--port", "0", "--host", "0.0.0.0", env=environment(database_url))
    assert result.returncode == 2
    assert "tokens create" in result.stderr


def test_a_server_for_other_machines_is_open_to_nobody_without_a_token(make_app: Callable[..., App]) -> None:
    with served(make_app(), host="0.0.0.0") as client:
        assert client.post("/mcp", json={}).status_code == 401
    with served(make_app()) as client:
        assert client.post("/mcp", json={}).status_code != 401


def test_a_server_that_had_a_token_does_not_open_when_it_ends(database: Database, database_url: str) -> None:
    new_token(database, "agent", Scope.READ)
    revoke(database, "agent")
    with http_server(database_url) as base:
        assert status(base, None) == 401


def test_a_token_that_calls_too_often_is_told_when_to_come_again(database: Database, database_url: str) -> None:
    mine, other = new_token(database, "mine", Scope.READ), new_token(database, "other", Scope.READ)
    with http_server(database_url, SALES_AUTOMATION_RATE_LIMIT="0.001") as base:
        assert status(base, mine) == 200
        answer = httpx.post(f"{base}/mcp", headers={**ACCEPT, **bearer(mine)}, json=INITIALIZE, timeout=PATIENCE)
        assert answer.status_code == 429
        assert 1 <= int(answer.headers["retry-after"]) <= 1_000
        assert status(base, other) == 200


def test_wrong_tokens_are_held_up_and_right_ones_from_there_are_not(database: Database, database_url: str) -> None:
    mine = new_token(database, "mine", Scope.READ)
    with http_server(database_url, SALES_AUTOMATION_FAILED_AUTH_LIMIT="0.1") as base:
        assert [status(base, "wrong") for _ in range(3)] == [401, 429, 429]
        assert status(base, None) == 429
        assert status(base, mine) == 200


def test_host_and_origin_are_checked_on_every_route_that_holds_data(database_url: str) -> None:
    with http_server(database_url) as base:
        for headers, refused in (({"Host": "evil.example.com"}, 421), ({"Origin": "http://evil.example.com"}, 403)):
            for path in ("/sse", "/metrics"):
                assert httpx.get(f"{base}{path}", headers=headers, timeout=PATIENCE).status_code == refused, path
            for path in ("/mcp", "/messages/?session_id=0123456789abcdef0123456789abcdef"):
                assert (
                    httpx.post(f"{base}{path}", headers={**ACCEPT, **headers}, json=PING, timeout=PATIENCE).status_code
                    == refused
                ), path


async def test_a_revoked_token_holds_for_ten_seconds_at_most(database: Database, make_app: Callable[..., App]) -> None:
    clock = Clock()
    token = new_token(database, "agent", Scope.READ, Scope.OPS)
    token_cache = TokenCache(make_app(), default=None, is_loopback=True, monotonic=clock)
    found = await token_cache.find(token)
    assert found is not None
    assert (found.name, found.scopes) == ("agent", {Scope.READ, Scope.OPS})
    revoke(database, "agent")
    clock.seconds += KEPT_SECONDS - 0.1
    assert await token_cache.find(token) == found
    clock.seconds += 0.1
    assert await token_cache.find(token) is None
    assert not await token_cache.is_open()


def last_use(database: Database) -> datetime | None:
    with database.transaction("look") as session:
        return session.scalar(text("SELECT last_used_at FROM access_tokens"))


async def test_the_last_use_of_a_token_is_stored_though_no_request_follows(
    database: Database, make_app: Callable[..., App]
) -> None:
    app = make_app()
    token = new_token(database, "agent", Scope.READ)
    token_cache = TokenCache(app, default=None, is_loopback=True)
    async with token_cache.noting(every=0.01):
        assert await token_cache.find(token) is not None
        app.clock = lambda: NOW + timedelta(minutes=5)
        assert await run_sync(wait_until, lambda: last_use(database) is not None, PATIENCE)
    assert last_use(database) == NOW


async def test_the_last_use_of_a_token_is_stored_when_the_server_stops(
    database: Database, make_app: Callable[..., App]
) -> None:
    token = new_token(database, "agent", Scope.READ)
    token_cache = TokenCache(make_app(), default=None, is_loopback=True)
    async with token_cache.noting():
        assert await token_cache.find(token) is not None
        assert last_use(database) is None
    assert last_use(database) == NOW


async def test_a_last_use_that_can_not_be_stored_now_is_stored_later(
    database: Database, make_app: Callable[..., App]
) -> None:
    app = make_app(lock_timeout=0.05)
    token = new_token(database, "agent", Scope.READ)
    token_cache = TokenCache(app, default=None, is_loopback=True)
    assert await token_cache.find(token) is not None
    with database.engine.begin() as another:
        another.execute(text("SELECT id FROM access_tokens FOR UPDATE"))
        async with token_cache.noting():
            pass
    assert last_use(database) is None
    async with token_cache.noting():
        pass
    assert last_use(database) == NOW


async def use(token_cache: TokenCache, token: str) -> None:
    """While uses are stored often, and at the end: none of that may raise."""
    async with token_cache.noting(every=0.01):
        assert await token_cache.find(token) is not None
        pause = threading.Event()
        await run_sync(pause.wait, 0.1)


async def test_a_server_goes_on_where_the_database_takes_no_writes(
    database: Database, database_url: str, make_app: Callable[..., App]
) -> None:
    token = new_token(database, "agent", Scope.READ)
    options = quote("-c default_transaction_read_only=on")
    app = make_app(database_url=SecretStr(f"{database_url}&options={options}"))
    await use(TokenCache(app, default=None, is_loopback=True), token)
    assert last_use(database) is None


async def test_a_server_goes_on_where_the_last_use_of_tokens_meets_a_fault(
    database: Database, make_app: Callable[..., App], caplog: pytest.LogCaptureFixture
) -> None:
    token = new_token(database, "agent", Scope.READ)
    token_cache = TokenCache(make_app(), default=None, is_loopback=True)
    assert await token_cache.find(token) is not None
    rename = "ALTER TABLE access_tokens RENAME COLUMN last_used_at TO was_used_at"
    with database.transaction("break") as session:
        session.execute(text(rename))
    try:
        await use(token_cache, token)
    finally:
        with database.transaction("mend") as session:
            session.execute(text("ALTER TABLE access_tokens RENAME COLUMN was_used_at TO last_used_at"))
    assert "ProgrammingError" in caplog.text
    await use(token_cache, token)
    assert last_use(database) == NOW


async def test_a_token_ends_at_its_moment_even_while_it_is_kept(
    database: Database, make_app: Callable[..., App]
) -> None:
    app = make_app()
    token = new_token(database, "agent", Scope.READ, expires_at=NOW + timedelta(seconds=3))
    token_cache = TokenCache(app, default=None, is_loopback=True)
    assert await token_cache.find(token) is not None
    app.clock = lambda: NOW + timedelta(seconds=3)
    assert await token_cache.find(token) is None


async def test_requests_do_not_ask_the_database_each(database: Database, make_app: Callable[..., App]) -> None:
    clock = Clock()
    app = make_app()
    token = new_token(database, "agent", Scope.READ)
    token_cache = TokenCache(app, default=TOKEN, is_loopback=True, monotonic=clock)
    assert await token_cache.find(token) is not None
    app.close()  # from here on every look at the database fails
    assert [await token_cache.find(secret) is not None for secret in (token, TOKEN) * 50] == [True] * 100
    clock.seconds += KEPT_SECONDS
    assert await token_cache.find(TOKEN) == DEFAULT
    errors = [await error_of(token_cache, token) for _ in range(3)]
    assert len({str(error) for error in errors}) == 1
    assert len({id(error) for error in errors}) == 3  # what is raised again grows with each raise


async def error_of(token_cache: TokenCache, token: str) -> StoreUnavailable:
    with pytest.raises(StoreUnavailable) as raised:
        await token_cache.find(token)
    return raised.value


async def test_a_loopback_server_stays_open_while_the_database_is_away(make_app: Callable[..., App]) -> None:
    clock = Clock()
    app = make_app()
    token_cache = TokenCache(app, default=None, is_loopback=True, monotonic=clock)
    assert await token_cache.is_open()
    app.close()
    clock.seconds += 2 * KEPT_SECONDS
    assert await token_cache.is_open()
    assert not await TokenCache(app, default=None, is_loopback=False).is_open()


def test_a_later_use_of_a_token_stays(database: Database) -> None:
    with database.transaction("tokens") as session:
        token, _ = tokens.create(session, name="a", scopes=[Scope.READ], expires_at=None)
        for hours in (1, 2, 0):
            tokens.note_use(session, used={token.id: NOW + timedelta(hours=hours)})
        session.expire(token)
        assert token.last_used_at == NOW + timedelta(hours=2)


def test_a_name_is_free_again_once_its_token_is_revoked(database: Database) -> None:
    first = new_token(database, "agent", Scope.READ)
    with pytest.raises(Conflict):
        new_token(database, "agent", Scope.READ)
    with pytest.raises(InvalidInput):
        new_token(database, "other")
    revoke(database, "agent")
    with pytest.raises(NotFound):
        revoke(database, "agent")
    assert new_token(database, "agent", Scope.READ) != first
