"""What providers send is let in by their signature alone, kept word for word, and counted once."""

import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2 as httpx
import pytest
from mcp.client import Client
from pydantic import SecretStr, ValidationError

from db.postgres.database import Database
from mcp_server.app import App
from mcp_server.server import build_server
from mcp_server.settings import Settings
from tests.server.conftest import NOW, call
from tests.server.senders import (
    CERTIFICATE,
    LEMLIST_SECRET,
    TOPIC,
    Amazon,
    Sender,
    Signed,
    amazon_certificate,
    confirmation,
    notification,
    ses_opened,
    sign_envelope,
)
from tests.server.webhook_scene import SENDERS, hooks, message_of, rows, sent, totals

pytestmark = pytest.mark.anyio

ALL = list(SENDERS.values())
TIMED = [sender for sender in ALL if sender.has_timestamp]
every_provider = pytest.mark.parametrize("sender", ALL, ids=lambda sender: sender.name)
every_timed_provider = pytest.mark.parametrize("sender", TIMED, ids=lambda sender: sender.name)
MakeApp = Callable[..., App]


def only(app: App) -> MakeApp:
    def make(**_: Any) -> App:
        return app

    return make


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


@pytest.mark.parametrize("sender", [each for each in ALL if each.name != "standard"], ids=lambda sender: sender.name)
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


def forged(sender: Sender) -> list[Signed]:
    """Requests that the holder of the secret has not made: with no signature, a broken one, or that of another key."""
    body, headers = sender.request(NOW)
    is_in_body = sender.name in ("mailgun", "ses", "lemlist")
    if not is_in_body:
        broken = ["", "v1", "v1,", "v1,AAAA", "v1,é", "x" * 9_000, "Basic !", "Basic QTpC", "Bearer nobody", "Digest x"]
        made = [Signed(body, {**headers, name: value}) for name in headers for value in broken]
        made.append(Signed(body, {}))
        if sender.has_timestamp:
            made.append(Signed(body.replace(b"person0", b"person1") + b" ", headers))
        return made
    payload = json.loads(body)
    wrong: list[Any] = ["x", "AAAA", "\ud800", "é", None, 7, {}, []]
    names = ["signature", "secret", "Signature", "SigningCertURL", "SignatureVersion", "TopicArn", "Message", "Type"]
    changed = [{**payload, name: bad} for name in names if name in payload for bad in wrong]
    if sender.name == "mailgun":
        signature = payload["signature"]
        changed += [{**payload, "signature": {**signature, name: bad}} for name in signature for bad in wrong]
    return [Signed(json.dumps(each).encode(), headers) for each in changed]


@every_provider
async def test_what_is_not_signed_leaves_nothing_but_a_count(
    make_app: MakeApp, database: Database, sender: Sender
) -> None:
    server, attempts = hooks(make_app), forged(sender)
    assert len(attempts) > 7
    for attempt in attempts:
        answer = await server.post(sender.name, *attempt)
        assert answer.status_code in (400, 401), (attempt, answer.text)
        assert sender.secret not in answer.text
    assert rows(database) == []
    assert sum(server.counted(sender.name).values()) == len(attempts)
    assert set(server.counted(sender.name)) <= {"forged", "malformed"}


@every_timed_provider
@pytest.mark.parametrize("away", [timedelta(days=-1), timedelta(hours=1)], ids=["old", "ahead"])
async def test_a_signature_of_another_time_is_stale(
    make_app: MakeApp, database: Database, sender: Sender, away: timedelta
) -> None:
    server = hooks(make_app)
    assert await server.send(sender, sender.request(NOW + away)) == 400
    assert rows(database) == []
    assert server.counted(sender.name) == {"stale": 1}


@every_provider
async def test_a_request_that_was_acknowledged_is_not_taken_again(
    make_app: MakeApp, client: Client, database: Database, sender: Sender
) -> None:
    scene, server = await sent(client, sender), hooks(make_app)
    signed = sender.request(NOW)
    assert [await server.send(sender, signed) for _ in range(3)] == [200, 409, 409]
    server.record()
    assert len(rows(database)) == 1
    assert (await totals(client, scene))["total_opens"] == 1
    assert server.counted(sender.name) == {"stored": 1, "replayed": 2}


@every_provider
async def test_a_request_is_acknowledged_again_by_a_server_that_has_forgotten(
    make_app: MakeApp, database: Database, sender: Sender
) -> None:
    first, second = hooks(make_app), hooks(make_app)
    signed = sender.request(NOW)
    assert (await first.send(sender, signed), await second.send(sender, signed)) == (200, 200)
    assert len(rows(database)) == 1
    assert second.counted(sender.name) == {"known": 1}


@pytest.mark.parametrize("name", ["resend", "standard", "sendgrid"])
async def test_another_try_that_is_signed_anew_is_known(make_app: MakeApp, database: Database, name: str) -> None:
    server, sender = hooks(make_app), SENDERS[name]
    payload = sender.opened(NOW, {}, "person0@example.com")
    tries = [sender.sign(payload, NOW + timedelta(seconds=seconds)) for seconds in (0, 60)]
    assert [await server.send(sender, each) for each in tries] == [200, 200]
    assert len(rows(database)) == 1


@pytest.mark.parametrize("name", ["mailgun", "resend", "standard"])
async def test_an_id_or_token_serves_one_body_alone(make_app: MakeApp, database: Database, name: str) -> None:
    server, sender = hooks(make_app), SENDERS[name]
    assert await server.send(sender, sender.request(NOW)) == 200
    assert await server.send(sender, sender.request(NOW, attached={"sales_step": 2})) == 409
    assert len(rows(database)) == 1
    assert server.counted(name) == {"stored": 1, "replayed": 1}


@every_provider
async def test_a_body_that_was_cut_off_is_refused(make_app: MakeApp, database: Database, sender: Sender) -> None:
    server = hooks(make_app)
    body, headers = sender.request(NOW)
    for cut in (body[:-1], body[: len(body) // 2], b""):
        assert await server.send(sender, Signed(cut, headers)) in (400, 401)
    if sender.signs_bytes:  # also where somebody has signed what was cut
        assert await server.send(sender, sender.sign(body[:-5], NOW, id="2")) == 400
    assert rows(database) == []


@every_provider
async def test_bytes_that_are_no_text_are_refused(make_app: MakeApp, database: Database, sender: Sender) -> None:
    server = hooks(make_app)
    for broken in (b'{"a": "\xff"}', b'{"a": "\xed\xa0\x80"}', b"\x00", b'"text"', b"7", b"{\x00}", b"NaN"):
        signed = sender.sign(broken, NOW) if sender.signs_bytes else Signed(broken, {})
        assert await server.send(sender, signed) in (400, 401), broken
    assert rows(database) == []
    if sender.signs_bytes:
        assert server.counted(sender.name) == {"malformed": 7}


@every_provider
async def test_a_huge_body_is_refused_while_it_is_read(make_app: MakeApp, database: Database, sender: Sender) -> None:
    server = hooks(make_app, webhook_max_bytes=4096)
    _, headers = sender.request(NOW)
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(1_000):
            read += 1
            yield b" " * 1024

    assert (await server.post(sender.name, endless(), headers)).status_code == 413
    assert read < 10
    assert (await server.post(sender.name, b" " * 4097, headers)).status_code == 413
    assert rows(database) == []
    assert server.counted(sender.name) == {"too_large": 2}


async def test_without_its_secret_a_webhook_is_not_there(make_app: MakeApp, database: Database) -> None:
    server = hooks(make_app, webhook_resend=None, webhook_postmark="")
    for name in ("resend", "postmark", "nobody", "max_bytes", ""):
        assert (await server.post(name, b"{}", {})).status_code == 404
    assert await server.send(SENDERS["brevo"], SENDERS["brevo"].request(NOW)) == 200
    read_only = hooks(make_app, read_only=True)
    assert await read_only.send(SENDERS["brevo"], SENDERS["brevo"].request(NOW)) == 404
    assert len(rows(database)) == 1
    assert server.app.telemetry.webhooks.counts()["unknown", "off"] == 2


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
async def test_only_posts_are_taken(make_app: MakeApp, method: str) -> None:
    transport = httpx.ASGITransport(app=hooks(make_app).http)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as plain:
        assert (await plain.request(method, "/webhooks/brevo")).status_code == 405


@every_provider
async def test_without_a_database_the_provider_is_asked_to_come_again(sender: Sender, tmp_path: Any) -> None:
    settings: dict[str, Any] = {f"webhook_{sender.name}": sender.secret, "start_attempts": 1, "home": tmp_path}
    url = SecretStr("postgresql://somebody:secret@127.0.0.1:1/nothing")
    app = App(Settings(database_url=url, **settings), clock=lambda: NOW, patience=10)
    server = hooks(only(app))
    answer = await server.post(sender.name, *sender.request(NOW))
    assert answer.status_code == (429 if sender.name == "brevo" else 503)
    assert int(answer.headers["retry-after"]) > 0
    assert server.counted(sender.name) == {"unavailable": 1}
    app.close()


def test_a_secret_that_can_be_none_is_named_at_the_start(tmp_path: Any) -> None:
    for name, wrong in (
        ("sendgrid", "no base64!"),
        ("standard", "whsec_?"),
        ("ses", "arn:aws:sqs:x"),
        ("resend", "whsec_#"),
    ):
        with pytest.raises(ValidationError) as refused:
            Settings(home=tmp_path, **{f"webhook_{name}": wrong})  # pyright: ignore[reportArgumentType] - as the environment gives it
        assert f"webhook_{name}" in str(refused.value)
        assert wrong not in str(refused.value)


async def test_a_key_that_is_none_loses_no_event(make_app: MakeApp, database: Database) -> None:
    server = hooks(make_app, webhook_sendgrid="bm8ga2V5")
    assert await server.send(SENDERS["sendgrid"], SENDERS["sendgrid"].request(NOW)) == 503
    assert (server.counted("sendgrid"), rows(database)) == ({"unavailable": 1}, [])


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


async def test_both_versions_of_amazons_signature_are_taken_with_one_look_at_the_certificate(
    make_app: MakeApp, database: Database
) -> None:
    server = hooks(make_app)
    message = ses_opened(NOW, {}, "person0@example.com")
    for number, version in ((1, "1"), (2, "2")):
        signed = sign_envelope(notification(message, NOW, id=str(number), Subject="Hello"), version=version)
        assert (await server.post("ses", *signed)).status_code == 200
    assert len(server.amazon.asked) == 1
    assert len(rows(database)) == 2


ELSEWHERE = [
    "https://sns.eu-west-1.amazonaws.com.evil.example.com/SimpleNotificationService-01.pem",
    "https://evil.example.com/SimpleNotificationService-01.pem",
    "http://sns.eu-west-1.amazonaws.com/SimpleNotificationService-01.pem",
    "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-01.pem",
    "https://user@sns.eu-west-1.amazonaws.com/SimpleNotificationService-01.pem",
    "https://sns.eu-west-1.amazonaws.com:8443/SimpleNotificationService-01.pem",
    "https://sns.eu-west-1.amazonaws.com/other/SimpleNotificationService-01.pem",
    "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-01.pem?x",
    "https://s3.eu-west-1.amazonaws.com/SimpleNotificationService-01.pem",
    "file:///etc/passwd",
    "https://[::1",
]


@pytest.mark.parametrize("url", ELSEWHERE)
async def test_a_certificate_is_fetched_from_amazons_own_host_alone(
    make_app: MakeApp, database: Database, url: str
) -> None:
    server = hooks(make_app)
    signed = sign_envelope(notification(ses_opened(NOW, {}, "a@example.com"), NOW, SigningCertURL=url))
    assert (await server.post("ses", *signed)).status_code == 401
    assert server.amazon.asked == []
    assert rows(database) == []


async def test_amazon_signs_for_anybody_so_another_topic_is_refused(make_app: MakeApp, database: Database) -> None:
    server = hooks(make_app)
    for topic in (TOPIC + "2", "arn:aws:sns:eu-west-1:999999999999:ses-events", ""):
        for envelope in (notification({}, NOW, TopicArn=topic), confirmation(NOW, TopicArn=topic)):
            assert (await server.post("ses", *sign_envelope(envelope))).status_code == 401
    assert (server.amazon.asked, rows(database)) == ([], [])


async def test_a_certificate_that_has_expired_or_is_none_does_not_serve(make_app: MakeApp, database: Database) -> None:
    signed = sign_envelope(notification({}, NOW))
    expired = hooks(make_app, Amazon(amazon_certificate(datetime(2026, 1, 1, tzinfo=UTC))))
    assert (await expired.post("ses", *signed)).status_code == 401
    broken = hooks(make_app, Amazon(b"-----BEGIN NOTHING"))
    answers = [await broken.post("ses", *signed) for _ in range(9)]
    assert {answer.status_code for answer in answers} == {503}
    assert len(broken.amazon.asked) == 5  # then it asks no more for a while
    assert rows(database) == []
    assert CERTIFICATE.endswith(broken.amazon.asked[0][1])


async def test_the_token_of_the_server_is_not_asked_of_providers(make_app: MakeApp, database: Database) -> None:
    from mcp_server.http.app import build_http_app  # noqa: PLC0415  with a token, unlike the scene's

    app = make_app(webhook_brevo=SENDERS["brevo"].secret)
    server = hooks(only(app))
    server.http = build_http_app(build_server(app), app, host="127.0.0.1", token="a-token-made-for-this-test")
    assert await server.send(SENDERS["brevo"], SENDERS["brevo"].request(NOW)) == 200
    assert (await server.post("../mcp", b"{}", {})).status_code == 401


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
