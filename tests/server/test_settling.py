"""A person settles a mail of which nobody knows whether it went out, with the scope approve."""

from collections.abc import Callable
from functools import partial

import pytest
from anyio import to_thread
from mcp.client import Client

from db.postgres.database import Database
from mcp_server.process.app import App
from tests.support.outbox import unknown_mail
from tests.support.server import approving_server, call, refusal

pytestmark = pytest.mark.anyio


async def test_a_person_settles_what_get_enrollment_shows(make_app: Callable[..., App], database: Database) -> None:
    mail = await to_thread.run_sync(partial(unknown_mail, database))
    async with Client(approving_server(make_app())) as client:
        shown = (await call(client, "get_enrollment", enrollment_id=str(mail.enrollment_id)))["enrollment"]
        (action,) = shown["actions"]
        assert (action["message_status"], action["internet_message_id"]) == ("unknown", mail.internet_message_id)
        assert shown["pause_reason"].startswith("delivery_unknown")
        settled = await call(client, "settle_message", message_id=action["message_id"], outcome="sent")
        assert settled["message"]["status"] == "sent"
        after = (await call(client, "get_enrollment", enrollment_id=str(mail.enrollment_id)))["enrollment"]
        assert (after["status"], after["actions"][0]["status"]) == ("active", "sent")
        thread = await call(client, "list_threads")
        (message,) = (await call(client, "get_thread", thread_id=thread["threads"][0]["id"]))["messages"]
        assert (message["status"], message["from"]) == ("sent", "cleo@other.example")


async def test_a_program_settles_nothing(client: Client, database: Database) -> None:
    mail = await to_thread.run_sync(partial(unknown_mail, database))
    told = await refusal(client, "settle_message", message_id=str(mail.message_id), outcome="not_sent")
    assert "needs the scope approve" in told
    assert "mail settle" in told
    report = (await call(client, "get_mailbox", mailbox="cleo@other.example"))["mailbox"]
    assert (report["unknown"], report["queued"]) == (1, 0)
    (health,) = (await call(client, "get_health"))["mailboxes"]
    for told in (report["advice"], health["advice"]):
        assert "list_threads with state delivery_unknown" in told
        assert "settle_message" in told
    (thread,) = (await call(client, "list_threads", state="delivery_unknown"))["threads"]
    (message,) = (await call(client, "get_thread", thread_id=thread["id"]))["messages"]
    assert (message["id"], message["status"]) == (str(mail.message_id), "unknown")
