"""From the stored request to the event: in the background, after a crash, again on request, and past an erasure."""

import json
import select
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import anyio
import httpx2 as httpx
import pytest
from mcp.client import Client
from sqlalchemy import text

from db.domain.contacts import SuppressionTarget
from db.domain.webhooks import Normalised, StoredDelivery
from db.postgres.database import Database
from db.services.erasure import erasure
from mcp_server.calls.server import build_server
from mcp_server.process.app import App
from mcp_server.webhooks.base import Json, Provider
from mcp_server.webhooks.providers import providers
from mcp_server.webhooks.worker import Recorder
from tests.support.patience import PATIENCE
from tests.support.processes import http_server, server_process
from tests.support.server import NOW, call, new_campaign, refusal
from tests.support.webhook_senders import SHARED
from tests.support.webhooks import SENDERS, hooks, orphans, rows, sent, totals

pytestmark = pytest.mark.anyio

MakeApp = Callable[..., App]


@pytest.fixture
async def client(make_app: MakeApp) -> AsyncIterator[Client]:
    async with Client(build_server(make_app())) as connected:
        yield connected


async def until(reached: Callable[[], bool]) -> None:
    with anyio.fail_after(PATIENCE):
        while not reached():  # noqa: ASYNC110  the database tells nobody
            await anyio.sleep(0.02)


async def test_a_request_is_recorded_in_the_background_at_once(
    make_app: MakeApp, client: Client, database: Database
) -> None:
    sender = SENDERS["resend"]
    scene, server = await sent(client, sender), hooks(make_app)
    async with server.http.router.lifespan_context(server.http):
        # Each is woken for. If all waited for the looks every 15 s, they would take longer than this.
        with anyio.fail_after(PATIENCE):
            for number in range(20):
                assert await server.send(sender, sender.request(NOW, id=str(number))) == 200
                await until(lambda: all(row["status"] == "recorded" for row in rows(database)))
    assert (await totals(client, scene))["total_opens"] == 20


async def test_what_waits_at_the_start_is_recorded(make_app: MakeApp, client: Client, database: Database) -> None:
    sender = SENDERS["postmark"]
    scene, crashed = await sent(client, sender), hooks(make_app)
    assert await crashed.send(sender, sender.request(NOW)) == 200
    assert [row["status"] for row in rows(database)] == ["waiting"]
    server = hooks(make_app)
    async with server.http.router.lifespan_context(server.http):
        await until(lambda: [row["status"] for row in rows(database)] == ["recorded"])
    assert (await totals(client, scene))["opened"] == 1


async def test_an_address_that_a_provider_suppresses_is_written_to_by_nobody(
    make_app: MakeApp, client: Client, database: Database
) -> None:
    sender = SENDERS["postmark"]
    await new_campaign(client, people=1, start=True)
    change = {
        "RecordType": "SubscriptionChange",
        "MessageID": None,
        "SuppressSending": True,
        "SuppressionReason": "ManualSuppression",
        "Origin": "Customer",
        "Recipient": "Person0@example.com",
    }
    server = hooks(make_app)
    async with server.http.router.lifespan_context(server.http):
        assert await server.send(sender, sender.sign(change, NOW)) == 200
        await until(lambda: [row["status"] for row in rows(database)] == ["recorded"])
    (held,) = (await call(client, "list_suppressions"))["suppressions"]
    assert (held["email"], held["reason"]) == ("person0@example.com", "unsubscribed")
    assert (await call(client, "claim_due_actions"))["actions"] == []


async def test_several_recorders_take_each_request_once(make_app: MakeApp, client: Client, database: Database) -> None:
    sender = SENDERS["standard"]
    scene, server = await sent(client, sender), hooks(make_app)
    for number in range(60):
        assert await server.send(sender, sender.request(NOW, id=str(number))) == 200
    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(anyio.to_thread.run_sync, server.record)
    while server.record():
        pass
    assert sum(row["events_recorded"] for row in rows(database)) == 60
    assert (await totals(client, scene))["total_opens"] == 60


async def test_a_moment_far_ahead_is_taken_as_the_arrival_of_its_webhook(
    make_app: MakeApp, client: Client, database: Database
) -> None:
    sender = SENDERS["resend"]
    await sent(client, sender)
    server = hooks(make_app)
    told = sender.opened(NOW + timedelta(days=3_650), {}, "person0@example.com")
    assert await server.send(sender, sender.sign(told, NOW, id="1")) == 200
    assert server.record() == 1
    with database.transaction("look") as session:
        at = session.scalar(text("SELECT occurred_at FROM campaign_events WHERE event_type = 'opened'"))
    assert at == rows(database)[0]["received_at"]


async def test_a_request_that_breaks_its_normaliser_holds_up_no_other(
    make_app: MakeApp, client: Client, database: Database
) -> None:
    sender = SENDERS["brevo"]
    scene, server = await sent(client, sender), hooks(make_app)
    requests = [sender.request(NOW + timedelta(seconds=n)) for n in range(3)]
    for request in requests:
        assert await server.send(sender, request) == 200

    def read(payload: Json, delivery: StoredDelivery) -> Normalised:
        if delivery.body == requests[1].body:
            raise RecursionError("ann@example.com")
        return providers()["brevo"].normalise(payload, delivery)

    faulty = Provider("brevo", providers()["brevo"].verify, read)
    assert Recorder(server.app, {"brevo": faulty}).record_next() == 3
    assert [row["status"] for row in rows(database)] == ["recorded", "failed", "recorded"]
    said = str(rows(database)[1]["error"])
    assert said.startswith("Internal error: RecursionError. The server's log has it as the fault ")
    assert (await totals(client, scene))["total_opens"] == 2
    replayed = await call(client, "replay_events", delivery_ids=[str(rows(database)[1]["id"])])
    assert (replayed["deliveries"], replayed["recorded"], replayed["failed"]) == (1, 1, 0)
    assert (await totals(client, scene))["total_opens"] == 3


async def test_what_an_older_version_could_not_read_is_recorded_by_a_replay(
    make_app: MakeApp, client: Client, database: Database
) -> None:
    sender = SENDERS["ses"]
    scene, server = await sent(client, sender), hooks(make_app)
    assert await server.send(sender, sender.request(NOW)) == 200
    assert Recorder(server.app, {}).record_next() == 1
    (failed,) = (await call(client, "list_webhook_deliveries", status="failed"))["deliveries"]
    assert (failed["events_invalid"], failed["provider"]) == (1, "ses")
    assert "unknown to this version" in failed["error"]
    replayed = await call(client, "replay_events", provider="ses", idempotency_key="again")
    assert replayed == {
        "deliveries": 1, "failed": 0, "recorded": 1, "duplicates": 0, "orphaned": 0, "invalid": 0, "ignored": 0,
    }  # fmt: skip
    assert (await totals(client, scene))["opened"] == 1
    (done,) = (await call(client, "list_webhook_deliveries"))["deliveries"]
    assert (done["status"], done["events_recorded"], "error" in done) == ("recorded", 1, False)


async def test_a_replay_counts_nothing_twice(make_app: MakeApp, client: Client, database: Database) -> None:
    server = hooks(make_app)
    scenes: list[dict[str, Any]] = []
    for number, sender in enumerate(SENDERS.values()):
        scenes.append(await sent(client, sender) if number == 0 else await new_campaign(client, people=2, start=True))
        attached = {"sales_enrollment_id": scenes[-1]["enrollment_ids"][1], "sales_step": 1}
        assert await server.send(sender, sender.request(NOW, attached=attached)) == 200
    server.record()
    before = [await totals(client, scene) for scene in scenes]
    assert [total["total_opens"] for total in before] == [1] * len(SENDERS)
    for _ in range(2):
        replayed = await call(client, "replay_events")
        assert (replayed["deliveries"], replayed["recorded"], replayed["duplicates"]) == (8, 0, 8)
    assert [await totals(client, scene) for scene in scenes] == before
    assert {(row["events_recorded"], row["events_duplicate"]) for row in rows(database)} == {(1, 0)}


async def test_a_replay_can_be_narrowed(make_app: MakeApp, client: Client, database: Database) -> None:
    server = hooks(make_app)
    for name in ("brevo", "postmark"):
        assert await server.send(SENDERS[name], SENDERS[name].request(NOW)) == 200
    server.record()
    ids = [str(row["id"]) for row in rows(database)]
    later = "2026-11-02T09:00:01Z"
    for arguments, found in (
        ({"provider": "brevo"}, 1),
        ({"since": later}, 0),
        ({"until": later}, 2),
        ({"delivery_ids": ids[:1]}, 1),
        ({"after": ids[0]}, 1),
        ({"provider": "nobody"}, 0),
    ):
        assert (await call(client, "replay_events", **arguments))["deliveries"] == found, arguments
    assert "since" in await refusal(client, "replay_events", since=later, until="2026-11-01T00:00:00Z")


async def test_what_fits_nobody_is_listed_with_its_reason_until_it_fits(
    make_app: MakeApp, client: Client, database: Database
) -> None:
    server = hooks(make_app)
    scene = await new_campaign(client, start=True)
    attached = {"sales_campaign_id": scene["campaign_id"], "sales_step": 1}
    for name in ("sendgrid", "mailgun"):
        sender = SENDERS[name]
        assert await server.send(sender, sender.request(NOW, attached=attached, email="late@example.com")) == 200
    server.record()
    listed = (await call(client, "list_orphaned_events", provider="sendgrid", detail="full"))["orphans"]
    (orphan,) = listed
    assert (orphan["status"], orphan["email"], orphan["campaign_id"]) == (
        "waiting", "late@example.com", scene["campaign_id"],
    )  # fmt: skip
    assert "yet" in orphan["reason"]
    assert orphan["metadata"]["user_agent"] == "Mozilla/4.0"
    page = await call(client, "list_orphaned_events", limit=1)
    rest = await call(client, "list_orphaned_events", limit=1, cursor=page["next_cursor"])
    assert [row["provider"] for row in (*page["orphans"], *rest["orphans"])] == ["mailgun", "sendgrid"]
    assert (await call(client, "list_orphaned_events", status="expired"))["orphans"] == []
    assert (await call(client, "list_orphaned_events", until="2020-01-01T00:00:00Z"))["orphans"] == []
    await call(client, "enroll_contacts", campaign_id=scene["campaign_id"], contacts=[{"email": "late@example.com"}])
    assert (await call(client, "list_orphaned_events"))["orphans"] == []
    assert (await totals(client, scene))["total_opens"] == 2
    replayed = await call(client, "replay_events")
    assert (replayed["recorded"], replayed["duplicates"], replayed["orphaned"]) == (0, 2, 0)
    assert (await totals(client, scene))["total_opens"] == 2


def erase(database: Database, email: str) -> erasure.Erased:
    whom = {"target": SuppressionTarget(email=email), "even_if_unknown": True}
    return database.run("erase", partial(erasure.erase, now=datetime.now(UTC), **whom))


PERSON = "zoë+x@bücher.example"
SPELLINGS: list[Callable[[str], bytes]] = [
    lambda text: text.encode(),
    lambda text: text.upper().encode(),
    lambda text: json.dumps(text)[1:-1].encode(),
    lambda text: json.dumps(text.replace("+", "\u002b"))[1:-1].replace("+", "\\u002B").encode(),
    lambda text: json.dumps(json.dumps(text))[3:-3].encode(),
    lambda text: text.replace("bücher", "xn--bcher-kva").encode(),
    lambda text: text.replace("ë", "%C3%AB").replace("@", "%40").replace("ü", "%C3%BC").replace("+", "%2B").encode(),
]


@pytest.mark.parametrize("spelling", range(len(SPELLINGS)))
async def test_an_erasure_takes_the_bodies_along_that_mention_the_person(
    make_app: MakeApp, database: Database, spelling: int
) -> None:
    sender, server = SENDERS["postmark"], hooks(make_app)
    template = json.dumps(sender.opened(NOW, {}, "ADDRESS")).encode()
    body = template.replace(b"ADDRESS", SPELLINGS[spelling](PERSON))
    other = template.replace(b"ADDRESS", b"somebody.else@example.com")
    for payload in (body, other):
        assert await server.send(sender, sender.sign(payload, NOW)) == 200
    server.record()
    assert erase(database, PERSON).webhook_bodies == 1
    assert [row["body"] for row in rows(database)] == [None, other]
    assert all(row["events_orphaned"] + row["events_duplicate"] == 1 for row in rows(database))


async def test_what_waits_while_its_person_is_erased_counts_and_then_loses_its_body(
    make_app: MakeApp, client: Client, database: Database
) -> None:
    sender = SENDERS["sendgrid"]
    scene, server = await sent(client, sender), hooks(make_app)
    assert await server.send(sender, sender.request(NOW)) == 200
    erase(database, "person0@example.com")
    assert rows(database)[0]["body"] is not None
    late = sender.opened(NOW + timedelta(seconds=1), {"sales_campaign_id": scene["campaign_id"]}, "person0@example.com")
    assert await server.send(sender, sender.sign([{**late[0], "sg_event_id": "2"}], NOW)) == 200
    nobody = {"sales_campaign_id": str(uuid4())}
    lost = sender.opened(NOW, nobody, "person0@example.com")
    lost = [{**lost[0], "sg_event_id": "3", "sg_message_id": None}]
    assert await server.send(sender, sender.sign(lost, NOW)) == 200
    server.record()
    assert [(row["status"], row["body"]) for row in rows(database)] == [("recorded", None)] * 3
    assert [row["events_ignored"] for row in rows(database)] == [0, 0, 1]
    assert (await totals(client, scene))["total_opens"] == 2
    assert orphans(database) == []


async def test_no_acknowledged_request_is_lost_with_a_killed_server(client: Client, database_url: str) -> None:
    sender = SENDERS["postmark"]
    scene = await sent(client, sender)
    secret = {"SALES_AUTOMATION_WEBHOOK_POSTMARK": SHARED}
    acknowledged = 0
    for lap in range(3):
        with server_process(database_url, is_read=False, **secret) as (base, process):
            for number in range(10):
                at = NOW + timedelta(minutes=lap, seconds=number)
                body, headers = sender.request(at)
                answer = httpx.post(f"{base}/webhooks/postmark", content=body, headers=headers, timeout=PATIENCE)
                acknowledged += answer.status_code == 200
            process.kill()
    assert acknowledged == 30
    with http_server(database_url, **secret) as base:
        assert httpx.post(f"{base}/webhooks/resend", content=b"{}", timeout=PATIENCE).status_code == 404
        with anyio.fail_after(PATIENCE):
            while (await totals(client, scene))["total_opens"] < 30:  # noqa: ASYNC110  see `until`
                await anyio.sleep(0.05)
    assert (await totals(client, scene))["total_opens"] == 30


async def test_a_slow_sender_holds_up_nobody(database_url: str) -> None:
    secret = {"SALES_AUTOMATION_WEBHOOK_BREVO": SHARED}
    sender = SENDERS["brevo"]
    with http_server(database_url, **secret) as base:
        host, _, port = base.removeprefix("http://").partition(":")
        with ExitStack() as stack:
            slow = [stack.enter_context(socket.create_connection((host, int(port)))) for _ in range(60)]
            for connection in slow:
                connection.sendall(b"POST /webhooks/brevo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
            body, headers = sender.request(NOW)
            answer = httpx.post(f"{base}/webhooks/brevo", content=body, headers=headers, timeout=PATIENCE)
            assert answer.status_code == 200
            given_up, _, _ = select.select(slow, [], [], 0)
            assert given_up == []
