"""Webhooks that come all at once: nobody waits for another's certificate, for the recording, or is told too early."""

import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import contextmanager
from uuid import UUID

import anyio
import httpx2 as httpx
import pytest
from anyio.to_thread import run_sync
from mcp.client import Client
from sqlalchemy import text

from db.domain.states import ActionOutcome
from db.postgres.database import Database
from db.services.dispatch import actions
from mcp_server.calls.server import build_server
from mcp_server.http import webhooks
from mcp_server.process.app import App
from mcp_server.webhooks.providers import providers
from mcp_server.webhooks.worker import Recorder
from tests.support.patience import PATIENCE
from tests.support.server import NOW, call, new_campaign
from tests.support.webhook_senders import MESSAGE, Amazon, notification, ses_opened, sign_envelope
from tests.support.webhooks import SENDERS, Hooks, hooks, orphans, rows, totals

pytestmark = pytest.mark.anyio

MakeApp = Callable[..., App]
THREADS = 40  # that tools have in one process


class SlowAmazon(Amazon):
    """Hands its certificate out once it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def __call__(self, host: str, path: str) -> bytes:
        certificate = super().__call__(host, path)
        assert self.go.wait(PATIENCE)
        return certificate


def post_standard(server: Hooks, number: int) -> Awaitable[httpx.Response]:
    sender = SENDERS["standard"]
    return server.post("standard", *sender.sign(sender.opened(NOW, {}, "a@example.com"), NOW, id=f"id-{number}"))


async def test_a_slow_certificate_holds_nobody_else_up(make_app: MakeApp, database: Database) -> None:
    amazon = SlowAmazon()
    server, answers = hooks(make_app, amazon), list[int]()

    async def post_ses(number: int) -> None:
        message = ses_opened(NOW, {}, "a@example.com")
        signed = sign_envelope(notification(message, NOW, id=str(number)))
        answers.append((await server.post("ses", *signed)).status_code)

    async with anyio.create_task_group() as group:
        for number in range(THREADS + 10):
            group.start_soon(post_ses, number)
        with anyio.fail_after(PATIENCE):
            while not amazon.asked:
                await anyio.lowlevel.checkpoint()
            assert (await post_standard(server, 1)).status_code == 200
            assert await run_sync(lambda: "a tool's thread") == "a tool's thread"
        assert answers == []
        amazon.go.set()
    assert answers == [200] * (THREADS + 10)
    assert len(amazon.asked) == 1


async def test_bodies_that_nobody_has_verified_are_bounded_in_all(
    make_app: MakeApp, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "_HELD_MOST", 8_192)
    server = hooks(make_app, webhook_max_bytes=4_096)
    go, stopped, answers = anyio.Event(), list[int](), list[int]()

    async def stop_half_way() -> AsyncIterator[bytes]:
        yield b" " * 4_000
        stopped.append(1)
        await go.wait()
        yield b" "

    async def stall() -> None:
        answers.append((await server.post("standard", stop_half_way(), {})).status_code)

    async with anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(stall)
        with anyio.fail_after(PATIENCE):
            while len(stopped) < 2:
                await anyio.lowlevel.checkpoint()
        for provider, status in (("standard", 503), ("brevo", 429)):  # which drops what meets a 503
            refused = await server.post(provider, b" " * 1_000, {})
            assert (refused.status_code, refused.headers["connection"]) == (status, "close")
            assert int(refused.headers["retry-after"]) > 0
        go.set()
    assert answers == [401, 401]
    assert (await post_standard(server, 1)).status_code == 200


@contextmanager
def held_up(database: Database) -> Generator[None]:
    """Nothing can be stored meanwhile."""
    with database.transaction("hold up") as session:
        session.execute(text("LOCK TABLE webhook_deliveries IN SHARE MODE"))
        yield


async def test_no_request_is_acknowledged_before_it_is_committed(make_app: MakeApp, database: Database) -> None:
    server, answers = hooks(make_app), list[int]()
    waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%webhook_deliveries%'"

    async def post(number: int) -> None:
        answers.append((await post_standard(server, number)).status_code)

    async with anyio.create_task_group() as group:
        with held_up(database):
            for number in range(9):
                group.start_soon(post, number)
            with anyio.fail_after(PATIENCE), database.engine.connect() as look:
                while not look.scalar(text(waits)):
                    look.rollback()
                    await anyio.lowlevel.checkpoint()
            assert answers == []
    assert answers == [200] * 9
    assert len(rows(database)) == 9


async def test_recording_goes_on_while_requests_keep_coming(make_app: MakeApp, database: Database) -> None:
    server = hooks(make_app)
    async with Recorder(server.app, providers()) as recorder:
        with anyio.fail_after(PATIENCE):
            for number in range(5):
                assert (await post_standard(server, number)).status_code == 200
                while any(row["status"] == "waiting" for row in rows(database)):
                    recorder.wake()  # as each request does
                    await anyio.lowlevel.checkpoint()


async def test_what_comes_at_the_moment_its_message_is_reported_is_counted_soon(
    make_app: MakeApp, database: Database
) -> None:
    server, sender = hooks(make_app), SENDERS["standard"]
    async with Client(build_server(server.app)) as client, Recorder(server.app, providers(), look_again_seconds=0.05):
        scene = await new_campaign(client, people=1, start=True)
        (due,) = (await call(client, "claim_due_actions"))["actions"]
        with database.transaction("report") as session:
            actions.complete(
                session,
                action_id=UUID(due["action_id"]),
                lease_token=UUID(due["lease_token"]),
                outcome=ActionOutcome.SENT,
                provider=sender.name,
                provider_message_id=MESSAGE,
                error=None,
                now=NOW,
            )
            assert await server.send(sender, sender.sign(sender.opened(NOW, {}, "a@example.com"), NOW, id="1")) == 200
            with anyio.fail_after(PATIENCE):
                while not orphans(database):
                    await anyio.lowlevel.checkpoint()
        with anyio.fail_after(PATIENCE):
            while (await totals(client, scene))["opened"] != 1:
                await anyio.lowlevel.checkpoint()
    assert orphans(database) == []
