"""Replies by the tool, from a client to the mail server: in the thread, in one copy, and said of each what became of
it."""

from collections.abc import Callable, Generator
from email import message_from_bytes, policy
from email.message import EmailMessage
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from aiosmtpd.smtp import Envelope
from anyio.to_thread import run_sync
from mcp.client import Client
from sqlalchemy import text

from db.services.mail import mailboxes
from db.services.mail.mailboxes import MailboxChange
from mcp_server.process.app import App
from tests.support.incoming import Inbox, mail
from tests.support.mail_servers import SmtpServer, smtp_server
from tests.support.reading import ANN
from tests.support.sending import Clock, books, connect, enrolled, send_once
from tests.support.server import approving_server, call, refusal

pytestmark = pytest.mark.anyio

BOB, BOSS = "bob@example.com", "boss@example.org"


@pytest.fixture
def app(make_app: Callable[..., App], tmp_path: Path) -> App:
    made = make_app(allow_private_hosts=True, mailbox_key_file=tmp_path / "mailbox.key")
    made.clock = Clock()
    return made


@pytest.fixture
def server() -> Generator[SmtpServer]:
    with smtp_server({ANN: "secret"}) as started:
        yield started


def answered(app: App, server: SmtpServer, **headers: str) -> UUID:
    """The mailbox whose first mail Bob has answered."""
    mailbox_id = connect(app, server.port)
    change = MailboxChange(display_name="Ann Lee", signature="Ann Lee, Acme")
    app.run("sign", partial(mailboxes.update, mailbox=mailbox_id, change=change))
    enrollments = enrolled(app, [BOB])
    named = text("UPDATE contacts SET first_name = :name, last_name = 'Smith'")
    app.run("name", lambda session: session.execute(named, {"name": "Bob, Bcc: eve@example.com"}))
    assert send_once(app, mailbox_id) is None
    (sent,) = books(app)
    inbox = Inbox(app.database(), mailbox_id, UUID(int=0), enrollments)
    inbox.bring(mail("When?", answers=sent.internet_message_id, to=ANN, **headers), hours=0)
    return mailbox_id


def parsed(envelope: Envelope) -> EmailMessage:
    assert isinstance(envelope.content, bytes)
    found = message_from_bytes(envelope.content, policy=policy.default)
    assert isinstance(found, EmailMessage)
    return found


async def thread_of(client: Client) -> dict[str, Any]:
    (thread,) = (await call(client, "list_threads"))["threads"]
    return thread


async def test_a_reply_of_a_client_is_in_the_thread_once(app: App, server: SmtpServer) -> None:
    mailbox_id = await run_sync(partial(answered, app, server, Cc=f"Boss <{BOSS}>"))
    first = parsed(server.taken[0])
    async with Client(approving_server(app)) as client:
        thread = await thread_of(client)
        reply = {"thread_id": thread["id"], "body": "Tuesday at ten?\n\nAnn", "idempotency_key": "one"}
        made = await call(client, "reply_in_thread", **reply)
        assert (made["message"]["status"], made["thread"]["state"]) == ("queued", "needs_answer")
        assert await call(client, "reply_in_thread", **reply) == made
        assert made["message"]["id"] in await refusal(client, "reply_in_thread", **{**reply, "idempotency_key": "two"})
        for _ in range(2):
            assert await run_sync(send_once, app, mailbox_id) is None
        shown = await call(client, "get_thread", thread_id=thread["id"])
    assert shown["thread"]["state"] == "answered"
    last = shown["messages"][-1]
    assert (last["status"], last["from"], last["text"], last["cc"]) == ("sent", ANN, reply["body"], [BOSS])
    _, envelope = server.taken
    assert (envelope.mail_from, envelope.rcpt_tos) == (ANN, [BOB, BOSS])
    sent = parsed(envelope)
    assert (sent["From"], sent["Cc"], sent["Subject"]) == (f"Ann Lee <{ANN}>", BOSS, "Re: Hello")
    assert (sent["Bcc"], [address.addr_spec for address in sent["To"].addresses]) == (None, [BOB])
    assert sent["In-Reply-To"] == "<one@example.com>"
    assert sent["References"].split() == [first["Message-ID"], "<one@example.com>"]
    plain, html = (sent.get_body((kind,)) for kind in ("plain", "html"))
    assert plain is not None
    assert html is not None
    said = plain.get_content().replace("\r\n", "\n").rstrip()
    assert said == "Tuesday at ten?\n\nAnn\n\n-- \nAnn Lee, Acme"
    assert "<p>Tuesday at ten?</p>" in html.get_content()


async def test_a_reply_that_is_approved_goes_out(app: App, server: SmtpServer) -> None:
    mailbox_id = await run_sync(answered, app, server)
    async with Client(approving_server(app)) as client:
        thread = await thread_of(client)
        settings = {"mailboxes": [ANN], "approval": "first_step"}
        await call(client, "update_campaign", campaign_id=thread["campaign_id"], settings=settings)
        draft = (await call(client, "reply_in_thread", thread_id=thread["id"], body="At ten.", cc=[BOSS]))["draft"]
        assert (await call(client, "list_drafts"))["drafts"] == [draft]
        assert (draft["status"], draft["thread_id"], draft["cc"]) == ("waiting", thread["id"], [BOSS])
        assert await run_sync(send_once, app, mailbox_id) is None
        assert len(server.taken) == 1
        given = {"draft_id": draft["id"], "fingerprint": draft["fingerprint"]}
        assert (await call(client, "approve_drafts", drafts=[given]))["approved"] == 1
        assert await run_sync(send_once, app, mailbox_id) is None
        assert server.taken[1].rcpt_tos == [BOB, BOSS]
        again = (await call(client, "reply_in_thread", thread_id=thread["id"], body="Or at noon."))["draft"]
        rejected = await call(client, "reject_draft", draft_id=again["id"], reason="Too much", then="pause")
    assert rejected["draft"]["status"] == "rejected"


async def test_a_copy_that_is_not_taken_keeps_nobody_from_the_reply(app: App, server: SmtpServer) -> None:
    mailbox_id = await run_sync(answered, app, server)
    async with Client(approving_server(app)) as client:
        thread_id = (await thread_of(client))["id"]
        await call(client, "reply_in_thread", thread_id=thread_id, body="At ten.", cc=[BOSS, "eve@example.org"])
        server.turns["RCPT"] = [None, "550 5.1.1 no such user", None]
        assert await run_sync(send_once, app, mailbox_id) is None
        (*_, sent) = (await call(client, "get_thread", thread_id=thread_id))["messages"]
        assert (sent["status"], server.taken[1].rcpt_tos) == ("sent", [BOB, "eve@example.org"])
        assert f"No copy went to {BOSS}." in sent["answer"]


async def test_what_can_not_be_sent_is_told_and_not_tried(app: App, server: SmtpServer) -> None:
    mailbox_id = await run_sync(answered, app, server)
    async with Client(approving_server(app)) as client:
        thread_id = (await thread_of(client))["id"]
        of_thread = {"thread_id": thread_id}
        for bad in ({"body": ""}, {"body": " \n"}, {"body": "x" * 20_000_000}, {"body": "Hi", "cc": ["no address"]}):
            assert await refusal(client, "reply_in_thread", **of_thread, **bad)
        eleven = [f"p{number}@example.org" for number in range(11)]
        assert "cc" in await refusal(client, "reply_in_thread", **of_thread, body="Hi", cc=eleven)
        await call(client, "reply_in_thread", **of_thread, body="At ten.", cc=["jörg@example.org"])
        assert await run_sync(send_once, app, mailbox_id) is None
        (*_, kept) = (await call(client, "get_thread", **of_thread))["messages"]
        assert (kept["status"], len(server.taken)) == ("not_sent", 1)
        assert "SMTPUTF8" in kept["answer"]
        await call(client, "reply_in_thread", **of_thread, body="At ten.")
        assert await run_sync(send_once, app, mailbox_id) is None
        assert len(server.taken) == 2
