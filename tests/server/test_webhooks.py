"""What providers send is kept word for word, and counted once."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest
from mcp.client import Client

from db.postgres.database import Database
from mcp_server.calls.server import build_server
from mcp_server.process.app import App
from tests.support.server import NOW, call
from tests.support.webhook_senders import LEMLIST_SECRET, Sender, confirmation, sign_envelope
from tests.support.webhooks import SENDERS, every_provider, hooks, message_of, rows, sent, totals

pytestmark = pytest.mark.anyio

MakeApp = Callable[..., App]


@pytest.fixture
async def client(make_app: MakeApp) -> AsyncIterator[Client]:
    async with Client(build_server(make_app())) as connected:
        yield connected


@every_provider
async def test_a_signed_request_is_kept_word_for_word_and_counted_later(
    make_app: MakeApp, client: Client, database: Database, sender: Sender
) -> None:
    scene, server = await sent(client, sender), hooks(make_app)
    signed = sender.request(NOW)
    assert await server.send(sender, signed) == 200
    (row,) = rows(database)
    assert (row["status"], row["provider"], row["received_at"]) == ("waiting", sender.name, NOW)
    assert row["body"] == signed.body.replace(LEMLIST_SECRET.encode(), b"[secret]")
    assert "opened" not in {name for name, count in (await totals(client, scene)).items() if count}
    assert (server.record(), server.record()) == (1, 0)
    (row,) = rows(database)
    assert (row["status"], row["events_recorded"], row["error"]) == ("recorded", 1, None)
    assert row["recorded_at"] == NOW
    counts = await totals(client, scene)
    assert (counts["opened"], counts["total_opens"]) == (1, 1)
    assert server.counted(sender.name) == {"stored": 1}
    assert server.app.telemetry.events.counts() == {(sender.name, "recorded"): 1}


@every_provider
async def test_a_step_is_found_however_its_provider_and_message_were_written(
    make_app: MakeApp, client: Client, sender: Sender
) -> None:
    told = {"provider": f" {sender.name.title()}", "provider_message_id": f"<{message_of(sender)}> "}
    scene, server = await sent(client, sender, **told), hooks(make_app)
    assert await server.send(sender, sender.request(NOW)) == 200
    server.record()
    assert (await totals(client, scene))["opened"] == 1


@every_provider
async def test_own_references_come_before_the_message_id(
    make_app: MakeApp, client: Client, database: Database, sender: Sender
) -> None:
    scene, server = await sent(client, sender), hooks(make_app)
    other = scene["enrollment_ids"][1]
    attached = {"sales_enrollment_id": other, "sales_campaign_id": scene["campaign_id"], "sales_step": 1}
    assert await server.send(sender, sender.request(NOW, attached=attached)) == 200
    server.record()
    listed = await call(client, "list_events", campaign_id=scene["campaign_id"], enrollment_id=other, detail="full")
    (event,) = listed["events"]
    assert (event["event_type"], event["step_number"], event["provider"]) == ("opened", 1, sender.name)


@every_provider
async def test_an_unknown_reference_leaves_it_to_the_next(
    make_app: MakeApp, client: Client, database: Database, sender: Sender
) -> None:
    scene, server = await sent(client, sender), hooks(make_app)
    nobody = "00000000-0000-7000-8000-000000000007"
    by_message = sender.request(NOW, attached={"sales_enrollment_id": nobody, "sales_campaign_id": nobody})
    assert await server.send(sender, by_message) == 200
    server.record()
    listed = await call(
        client, "list_events", campaign_id=scene["campaign_id"], enrollment_id=scene["enrollment_ids"][0]
    )
    assert [event["event_type"] for event in listed["events"]] == ["opened", "sent"]


@pytest.mark.parametrize(
    "sender", [provider for provider in SENDERS.values() if provider.name != "standard"], ids=lambda sender: sender.name
)
async def test_campaign_and_email_find_whom_nothing_else_does(
    make_app: MakeApp, client: Client, database: Database, sender: Sender
) -> None:
    scene = await sent(client, SENDERS["standard" if sender.name != "standard" else "ses"])
    server = hooks(make_app)
    attached = {"sales_campaign_id": scene["campaign_id"], "sales_enrollment_id": "no id at all", "sales_step": "9 3"}
    assert await server.send(sender, sender.request(NOW, attached=attached, email="PERSON1@example.com")) == 200
    server.record()
    listed = await call(
        client, "list_events", campaign_id=scene["campaign_id"], enrollment_id=scene["enrollment_ids"][1]
    )
    assert [event["event_type"] for event in listed["events"]] == ["opened"]


@every_provider
async def test_a_request_that_comes_again_is_answered_as_before_and_counts_once(
    make_app: MakeApp, client: Client, database: Database, sender: Sender
) -> None:
    scene, server, another = await sent(client, sender), hooks(make_app), hooks(make_app)
    signed = sender.request(NOW)
    assert [await receiver.send(sender, signed) for receiver in (server, server, another)] == [200, 200, 200]
    server.record()
    assert len(rows(database)) == 1
    assert (await totals(client, scene))["total_opens"] == 1
    assert server.counted(sender.name) == {"stored": 1, "known": 1}


@pytest.mark.parametrize("name", ["resend", "standard", "sendgrid"])
async def test_another_try_that_is_signed_anew_is_known(make_app: MakeApp, database: Database, name: str) -> None:
    server, sender = hooks(make_app), SENDERS[name]
    payload = sender.opened(NOW, {}, "person0@example.com")
    tries = [sender.sign(payload, NOW + timedelta(seconds=seconds)) for seconds in (0, 60)]
    assert [await server.send(sender, request) for request in tries] == [200, 200]
    assert len(rows(database)) == 1


@pytest.mark.parametrize("name", ["mailgun", "resend", "standard"])
async def test_an_id_or_token_serves_one_body_alone(make_app: MakeApp, database: Database, name: str) -> None:
    server, sender = hooks(make_app), SENDERS[name]
    assert await server.send(sender, sender.request(NOW)) == 200
    assert await server.send(sender, sender.request(NOW, attached={"sales_step": 2})) == 409
    assert len(rows(database)) == 1
    assert server.counted(name) == {"stored": 1, "replayed": 1}


async def test_a_batch_loses_no_event_to_a_bad_one(make_app: MakeApp, client: Client, database: Database) -> None:
    sender = SENDERS["sendgrid"]
    scene, server = await sent(client, sender), hooks(make_app)
    (good,) = sender.opened(NOW, {}, "person0@example.com")
    unknown = {**good, "event": "levitated", "sg_event_id": "2"}
    no_step = {**good, "sg_event_id": "3", "sales_enrollment_id": scene["enrollment_ids"][0], "sales_step": 9}
    batch = [
        unknown,
        7,
        None,
        {**good, "event": "processed"},
        no_step,
        {**good, "timestamp": 1e30, "sg_event_id": "4"},
        good,
    ]
    assert await server.send(sender, sender.sign(batch, NOW)) == 200
    server.record()
    (row,) = rows(database)
    counts = {name: row[f"events_{name}"] for name in ("recorded", "duplicate", "orphaned", "invalid", "ignored")}
    assert counts == {"recorded": 2, "duplicate": 0, "orphaned": 0, "invalid": 4, "ignored": 1}
    assert row["status"] == "recorded"
    assert "the type of the event is unknown" in row["error"]
    assert (await totals(client, scene))["total_opens"] == 2


async def test_a_request_that_says_nothing_is_kept_with_the_reason(make_app: MakeApp, database: Database) -> None:
    server = hooks(make_app)
    for name, payload in (("postmark", {"RecordType": "Surprise"}), ("brevo", {}), ("standard", {"type": "a.b"})):
        assert await server.send(SENDERS[name], SENDERS[name].sign(payload, NOW)) == 200
    server.record()
    assert {(row["status"], row["events_invalid"]) for row in rows(database)} == {("failed", 1)}
    assert all(row["error"] for row in rows(database))


async def test_a_topic_of_amazon_is_held_for_an_operator_and_never_called(
    make_app: MakeApp, client: Client, database: Database
) -> None:
    server = hooks(make_app)
    assert (await server.post("ses", *sign_envelope(confirmation(NOW)))).json() == {"status": "held"}
    assert server.record() == 0
    assert [host for host, _ in server.amazon.asked] == ["sns.eu-west-1.amazonaws.com"]
    (held,) = (await call(client, "list_webhook_deliveries", status="held", detail="full"))["deliveries"]
    assert held["confirmation_url"].startswith("https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription")
    replayed = await call(client, "replay_events")
    assert replayed["deliveries"] == 0


async def test_the_message_says_which_step_where_our_reference_does_not(
    make_app: MakeApp, client: Client, database: Database
) -> None:
    sender = SENDERS["sendgrid"]
    steps = [{"step_number": n, "subject": "Hello", "body": "Good morning, all"} for n in (1, 2)]
    template = await call(client, "create_template", name="T", type="email", email_steps=steps)
    campaign = await call(client, "create_campaign", name="C", template_id=template["template"]["id"])
    campaign_id = campaign["campaign"]["id"]
    await call(client, "start_campaign", campaign_id=campaign_id)
    enrolled = await call(client, "enroll_contacts", campaign_id=campaign_id, contacts=[{"email": "a@example.com"}])
    enrollment_id = enrolled["results"][0]["enrollment_id"]
    base = {"event_type": "sent", "channel": "email", "enrollment_id": enrollment_id, "provider": sender.name}
    first = {**base, "step_number": 1, "provider_message_id": message_of(sender)}
    second = {**base, "step_number": 2, "provider_message_id": "another"}
    assert (await call(client, "record_events", events=[first, second]))["recorded"] == 2
    server = hooks(make_app)
    assert await server.send(sender, sender.request(NOW, attached={"sales_enrollment_id": enrollment_id})) == 200
    server.record()
    listed = await call(client, "list_events", campaign_id=campaign_id, event_type="opened")
    assert [event["step_number"] for event in listed["events"]] == [1]
