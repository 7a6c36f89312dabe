"""Webhooks that tell of an address: whom a bounce, a complaint and an opt-out hit."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from mcp.client import Client
from sqlalchemy import text

from db.postgres.database import Database
from mcp_server.calls.server import build_server
from mcp_server.process.app import App
from tests.support.server import NOW, call, new_campaign
from tests.support.webhook_senders import MESSAGE
from tests.support.webhooks import SENDERS, hooks, rows, sent, totals

pytestmark = pytest.mark.anyio

MakeApp = Callable[..., App]


@pytest.fixture
async def client(make_app: MakeApp) -> AsyncIterator[Client]:
    async with Client(build_server(make_app())) as connected:
        yield connected


COLLEAGUE = "colleague@partner.example.net"
OF_A_COLLEAGUE = [
    (
        "sendgrid",
        [{"event": "spamreport", "email": COLLEAGUE, "timestamp": 1793610000, "sg_event_id": "1"}],
        "complained",
    ),
    ("sendgrid", [{"event": "bounce", "email": COLLEAGUE, "timestamp": 1793610000, "sg_event_id": "1"}], "bounced"),
    ("postmark", {"RecordType": "Bounce", "ID": 1, "Type": "HardBounce", "Email": f"Al <{COLLEAGUE}>"}, "bounced"),
    ("mailgun", {"event": "complained", "id": "1", "timestamp": 1793610000, "recipient": COLLEAGUE}, "complained"),
    ("brevo", {"event": "hard_bounce", "email": COLLEAGUE, "ts_epoch": 1793610000000}, "bounced"),
    (
        "ses",
        {
            "eventType": "Bounce",
            "bounce": {"bounceType": "Permanent", "bouncedRecipients": [{"emailAddress": COLLEAGUE}]},
        },
        "bounced",
    ),
    (
        "ses",
        {"eventType": "Complaint", "complaint": {"complainedRecipients": [{"emailAddress": COLLEAGUE}]}},
        "complained",
    ),
    ("resend", {"type": "email.bounced", "data": {"to": [COLLEAGUE], "bounce": {"type": "Permanent"}}}, "bounced"),
    ("resend", {"type": "email.complained", "data": {"to": [COLLEAGUE]}}, "complained"),
    ("lemlist", {"type": "emailsBounced", "_id": "act_1", "leadEmail": COLLEAGUE}, "bounced"),
    ("standard", {"type": "email.bounced", "data": {"email": COLLEAGUE}}, "bounced"),
    ("standard", {"type": "email.complained", "data": {"email": COLLEAGUE}}, "complained"),
]


def told_of(name: str, payload: Any) -> Any:
    """The payload, of the message that `sent` has sent."""
    at = "2026-11-02T08:30:00.000Z"
    match name:
        case "sendgrid":
            told: Any = [{**payload[0], "sg_message_id": f"{MESSAGE}.recvd-1"}]
        case "mailgun":
            told = {"event-data": {**payload, "message": {"headers": {"message-id": MESSAGE}}}}
        case "brevo":
            told = {**payload, "message-id": f"<{MESSAGE}>"}
        case "ses":
            told = {**payload, "mail": {"messageId": MESSAGE, "timestamp": at, "destination": [COLLEAGUE]}}
        case "resend":
            told = {"created_at": at, **payload, "data": {"email_id": MESSAGE, **payload["data"]}}
        case "lemlist":
            told = {"createdAt": at, "leadId": "message", "stepId": "0123456789", **payload}
        case "standard":
            told = {**payload, "data": {"provider_message_id": MESSAGE, **payload["data"]}}
        case _:
            told = {**payload, "MessageID": MESSAGE}
    return told


@pytest.mark.parametrize(("name", "payload", "reason"), OF_A_COLLEAGUE)
@pytest.mark.parametrize("is_early", [False, True])
async def test_a_bounce_or_complaint_is_of_the_address_that_it_names(
    make_app: MakeApp, client: Client, database: Database, name: str, payload: Any, reason: str, is_early: bool
) -> None:
    sender, server = SENDERS[name], hooks(make_app)
    signed = sender.sign(told_of(name, payload), NOW)
    if is_early:  # the message is not known yet
        assert await server.send(sender, signed) == 200
        assert server.record() == 1
    scene = await sent(client, sender)
    if not is_early:
        assert await server.send(sender, signed) == 200
        assert server.record() == 1
    assert [row["status"] for row in rows(database)] == ["recorded"]
    (held,) = (await call(client, "list_suppressions"))["suppressions"]
    assert (held["email"], held["reason"]) == (COLLEAGUE, reason)
    counted = await totals(client, scene)
    assert {"bounced", "complained", "unsubscribed"}.isdisjoint(name for name, count in counted.items() if count)
    enrollment = (await call(client, "get_enrollment", enrollment_id=scene["enrollment_ids"][0]))["enrollment"]
    assert (enrollment["status"], enrollment["stop_reason"]) == ("completed", "finished")
    with database.transaction("look") as session:
        assert session.scalar(text("SELECT count(*) FROM orphaned_events")) == 0


PROSPECT = "person0@example.com"
BOUNCED_FOR_GOOD = {"bounce": {"type": "Permanent", "subType": "General"}}


@pytest.mark.parametrize("also", [{"to": [PROSPECT, COLLEAGUE]}, {"to": [PROSPECT], "cc": [COLLEAGUE]}])
@pytest.mark.parametrize(
    ("type_", "told"),
    [
        ("email.bounced", BOUNCED_FOR_GOOD),
        ("email.bounced", {"bounce": {"type": "Permanent", "subType": "Suppressed"}}),
        ("email.suppressed", {}),
    ],
)
async def test_a_bounce_that_does_not_say_whose_it_is_suppresses_nobody(
    make_app: MakeApp, client: Client, database: Database, type_: str, told: dict[str, Any], also: dict[str, Any]
) -> None:
    sender, server = SENDERS["resend"], hooks(make_app)
    scene = await sent(client, sender, email=PROSPECT)
    payload = told_of("resend", {"type": type_, "data": {**also, **told}})
    assert await server.send(sender, sender.sign(payload, NOW)) == 200
    assert server.record() == 1
    assert [row["status"] for row in rows(database)] == ["recorded"]
    assert (await call(client, "list_suppressions"))["suppressions"] == []
    enrollment = (await call(client, "get_enrollment", enrollment_id=scene["enrollment_ids"][0]))["enrollment"]
    assert enrollment["stop_reason"] == "finished"


async def test_a_complaint_that_does_not_say_whose_it_is_is_of_all_who_got_the_mail(
    make_app: MakeApp, client: Client
) -> None:
    sender, server = SENDERS["resend"], hooks(make_app)
    scene = await sent(client, sender, email=PROSPECT)
    payload = told_of("resend", {"type": "email.complained", "data": {"to": [PROSPECT, f"Al <{COLLEAGUE}>"]}})
    assert await server.send(sender, sender.sign(payload, NOW)) == 200
    assert server.record() == 1
    held = (await call(client, "list_suppressions"))["suppressions"]
    assert {(each["email"], each["reason"]) for each in held} == {(PROSPECT, "complained"), (COLLEAGUE, "complained")}
    assert (await totals(client, scene))["complained"] == 1


async def test_a_bounce_of_an_address_that_the_step_went_to_is_of_its_person(
    make_app: MakeApp, client: Client, database: Database
) -> None:
    sender, server = SENDERS["brevo"], hooks(make_app)
    scene = await sent(client, sender, email="person0@example.com")
    with database.transaction("change") as session:
        session.execute(text("UPDATE contacts SET email = 'new@example.com' WHERE email = 'person0@example.com'"))
    bounce = {"event": "hard_bounce", "email": "person0@example.com", "ts_epoch": 1793610000000}
    assert await server.send(sender, sender.sign(told_of("brevo", bounce), NOW)) == 200
    assert server.record() == 1
    assert (await totals(client, scene))["bounced"] == 1


async def test_who_is_known_to_have_unsubscribed_is_stopped_and_nothing_is_counted_of_the_mail(
    make_app: MakeApp, client: Client, database: Database
) -> None:
    sender, server = SENDERS["mailgun"], hooks(make_app)
    scene = await sent(client, sender)
    dropped = {
        "event": "failed",
        "id": "1",
        "timestamp": 1793610000,
        "severity": "permanent",
        "reason": "suppress-unsubscribe",
        "recipient": "person0@example.com",
    }
    assert await server.send(sender, sender.sign(told_of("mailgun", dropped), NOW)) == 200
    assert server.record() == 1
    (held,) = (await call(client, "list_suppressions"))["suppressions"]
    assert (held["email"], held["reason"]) == ("person0@example.com", "unsubscribed")
    counted = await totals(client, scene)
    assert (counted.get("bounced", 0), counted.get("unsubscribed", 0)) == (0, 0)
    contact = {"email": "person0@example.com"}
    again = await new_campaign(client, people=0, start=True)
    answer = await call(client, "enroll_contacts", campaign_id=again["campaign_id"], contacts=[contact])
    assert answer["suppressed"] == 1
