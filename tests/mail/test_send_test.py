"""Tests of a step: sent to one of our own mailboxes as a person would get it, and counted by nothing."""

from collections.abc import Callable, Generator
from typing import Any

import pytest
from mcp.client import Client
from sqlalchemy import text

from db.domain.mail.message import Address
from db.mail import parse_mail
from mcp_server.calls.server import build_server
from mcp_server.process.app import App
from tests.support.mail_servers import DROP, SmtpServer, smtp_server
from tests.support.server import call, refusal

pytestmark = pytest.mark.anyio
ANN, BOB = "ann@example.com", "bob@example.com"
STEPS = [
    {
        "step_number": 1,
        "subject": "For {{ first_name }}",
        "body": "Dear {{ first_name }} of {{ attributes.city }},\nhi.",
    },
    {"step_number": 2, "delay_hours": 24, "body": "Did you see it, {{ email }}?"},
]


@pytest.fixture
def smtp(monkeypatch: pytest.MonkeyPatch) -> Generator[SmtpServer]:
    monkeypatch.setenv("SALES_AUTOMATION_MAILBOX_PASSWORD_ANN_EXAMPLE_COM", "secret")
    with smtp_server({ANN: "secret"}) as server:
        yield server


async def prepared(client: Client, smtp: SmtpServer) -> dict[str, Any]:
    """The arguments of a test of the first step, from Ann to Bob."""
    server = {"host": "127.0.0.1", "port": smtp.port, "security": "none"}
    for address, name in ((ANN, "Ann Lee"), (BOB, "Bob")):
        await call(
            client, "connect_mailbox", address=address, smtp=server, display_name=name, signature=f"{name}\nSales"
        )
    template = (await call(client, "create_template", name="T", type="email", email_steps=STEPS))["template"]
    campaign = (await call(client, "create_campaign", name="C", template_id=template["id"]))["campaign"]
    return {"campaign_id": campaign["id"], "step_number": 1, "mailbox": ANN, "to": BOB}


def contents(smtp: SmtpServer) -> list[bytes]:
    """The mails that it has taken."""
    found = [envelope.content for envelope in smtp.taken]
    return [content for content in found if isinstance(content, bytes)]


async def enroll(client: Client, campaign_id: str, person: dict[str, Any]) -> None:
    await call(client, "enroll_contacts", campaign_id=campaign_id, contacts=[person])


async def test_a_draft_is_tested_on_an_invented_person(client: Client, app: App, smtp: SmtpServer) -> None:
    test = await prepared(client, smtp)
    answer = await call(client, "send_test", **test)
    (envelope,) = smtp.taken
    assert (envelope.mail_from, envelope.rcpt_tos) == (ANN, [BOB])
    mail = parse_mail(contents(smtp)[0])
    assert answer == {"sent": True, "internet_message_id": mail.internet_message_id}
    assert mail.internet_message_id.endswith("@example.com")
    assert (mail.sender, mail.to) == (Address("Ann Lee", ANN), (Address("Bob", BOB),))
    assert (mail.subject, mail.text) == ("For Sam", "Dear Sam of city,\nhi.\n\n-- \nAnn Lee\nSales")
    assert mail.header("x-sales-automation-test") == "true"
    metrics = await call(client, "get_metrics", campaign_id=test["campaign_id"])
    assert metrics["totals"]["sent"] == 0
    assert app.run("count", lambda session: session.scalar(text("SELECT count(*) FROM messages"))) == 0


async def test_a_test_is_filled_in_for_the_first_person_without_their_address(client: Client, smtp: SmtpServer) -> None:
    test = await prepared(client, smtp)
    people = [
        {"email": "cid@example.org", "first_name": "Cid", "attributes": {"city": "Rome"}},
        {"email": "dee@example.org", "first_name": "Dee", "attributes": {"city": "Oslo"}},
    ]
    for person in people:
        await enroll(client, test["campaign_id"], person)
    for step_number in (1, 2):
        await call(client, "send_test", **{**test, "step_number": step_number})
    first, second = map(parse_mail, contents(smtp))
    assert first.text.startswith("Dear Cid of Rome,")
    assert (second.subject, second.text.partition("\n")[0]) == ("Re: For Cid", f"Did you see it, {BOB}?")
    assert b"cid@example.org" not in b"".join(contents(smtp))
    found = await call(client, "find_contacts", search="cid")
    assert found["contacts"][0]["email"] == "cid@example.org"


async def test_what_keeps_a_test_from_being_sent_is_told(client: Client, smtp: SmtpServer) -> None:
    test = await prepared(client, smtp)
    for change, told in (
        ({"to": "cid@example.org"}, "one of our own mailboxes alone. list_mailboxes shows them"),
        ({"mailbox": "cid@example.org"}, "list_mailboxes shows those there are"),
        ({"step_number": 3}, "no active email with that number. Its emails: 1, 2."),
        ({"mailbox": BOB}, "has no credentials for SMTP"),
    ):
        assert told in await refusal(client, "send_test", **{**test, **change})
    await enroll(client, test["campaign_id"], {"email": "cid@example.org", "first_name": "Cid"})
    assert "missing_variable" in await refusal(client, "send_test", **test)
    await call(client, "update_mailbox", mailbox=ANN, status="paused")
    assert "ann@example.com is paused. update_mailbox" in await refusal(client, "send_test", **test)
    assert smtp.seen == []


@pytest.mark.parametrize(
    ("script", "outcome", "detail", "said"),
    [
        ({"RCPT": "550 5.7.1 not today"}, "refused", "refused the recipient", "5.7.1 not today"),
        ({"DOT": "451 later"}, "deferred", "Try again", "later"),
        ({"DOT": DROP}, "unknown", "look whether it arrived", None),
    ],
)
async def test_what_became_of_a_test_is_told(
    client: Client, smtp: SmtpServer, script: dict[str, str], outcome: str, detail: str, said: str | None
) -> None:
    test = await prepared(client, smtp)
    smtp.script = script
    answer = await call(client, "send_test", **test)
    assert (answer["sent"], answer["outcome"], answer.get("server_said")) == (False, outcome, said)
    assert detail in answer["detail"]


async def test_a_password_that_is_refused_is_told(client: Client, smtp: SmtpServer) -> None:
    test = await prepared(client, smtp)
    smtp.passwords[ANN] = "other"
    assert "refuses the credentials" in await refusal(client, "send_test", **test)


async def test_no_transaction_is_open_while_a_test_is_sent(client: Client, app: App, smtp: SmtpServer) -> None:
    open_: list[int | None] = []
    idle = text("SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'")

    class Taken(list[Any]):
        def append(self, envelope: Any) -> None:
            open_.append(app.run("look", lambda session: session.scalar(idle)))
            super().append(envelope)

    test = await prepared(client, smtp)
    smtp.taken = Taken()
    assert (await call(client, "send_test", **test))["sent"]
    assert open_ == [0]


async def test_a_read_only_server_sends_no_test(make_app: Callable[..., App]) -> None:
    async with Client(build_server(make_app(read_only=True))) as client:
        assert "send_test" not in {tool.name for tool in (await client.list_tools()).tools}
