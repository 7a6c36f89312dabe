"""Threads by the tools: listed, read and closed."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from mcp.client import Client

from db.domain.mail.verdict import Finding, MailKind
from db.postgres.database import Database
from mcp_server.schemas.threads import NOTICE
from tests.support.campaigns import NOW
from tests.support.conversations import Answer, Conversations
from tests.support.server import call, refusal

pytestmark = pytest.mark.anyio

EMAILS = ["ada@example.com", "ben@example.com", "cid@example.com"]
RAW = b"""From: Ada <ada@example.com>
To: ann@example.com
Subject: Re: Hello
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/plain; charset=utf-8

Yes, call me.

> Nice to meet you.
--b
Content-Type: application/pdf; name="offer.pdf"
Content-Disposition: attachment; filename="offer.pdf"

--b--
"""


async def listed(client: Client, **filters: Any) -> list[str]:
    """The ids of the threads that fit, page by page."""
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = await call(client, "list_threads", limit=2, **filters, **({"cursor": cursor} if cursor else {}))
        found += [thread["id"] for thread in page["threads"]]
        cursor = page.get("next_cursor")
        if cursor is None:
            return found


async def thread_of(client: Client, thread_id: object, **more: Any) -> dict[str, Any]:
    return await call(client, "get_thread", thread_id=str(thread_id), **more)


async def test_threads_are_listed_by_who_has_to_answer(client: Client, database: Database) -> None:
    made = Conversations(database, EMAILS)
    ada, ben, cid = made.threads
    made.answer(ada, Answer(minutes=70))
    made.answer(ben, Answer(kind=MailKind.AUTO_REPLY, minutes=80))
    assert await listed(client) == [str(ben), str(ada), str(cid)]
    assert await listed(client, state="needs_answer") == [str(ada)]
    assert await listed(client, state="waiting") == [str(ben), str(cid)]
    assert await listed(client, kind="auto_reply") == [str(ben)]
    assert await listed(client, since=(NOW + timedelta(minutes=75)).isoformat()) == [str(ben)]
    made.answer(ada, Answer(kind=MailKind.OWNER_WROTE, minutes=90))
    assert await listed(client, state="answered") == [str(ada)]


async def test_threads_are_listed_by_campaign_person_and_mailbox(client: Client, database: Database) -> None:
    made, other = Conversations(database, EMAILS[:2]), Conversations(database, EMAILS[2:], name="D")
    ada, ben = made.threads
    made.answer(ada, Answer())
    assert set(await listed(client, campaign_id=str(made.campaign_id))) == {str(ada), str(ben)}
    assert await listed(client, campaign_id=str(other.campaign_id)) == [str(other.threads[0])]
    (row,) = (await call(client, "list_threads", state="needs_answer"))["threads"]
    assert await listed(client, contact_id=row["contact"]["id"]) == [str(ada)]
    for mailbox in (str(made.mailbox_id), "C-Ann@example.com"):
        assert await listed(client, mailbox=mailbox) == [str(ada)]
    assert await listed(client, mailbox=str(other.mailbox_id)) == []
    assert "list_mailboxes" in await refusal(client, "list_threads", mailbox="nobody@example.com")


async def test_a_row_says_with_whom_and_about_what_a_thread_is(client: Client, database: Database) -> None:
    made = Conversations(database, EMAILS[:1])
    made.answer(made.threads[0], Answer(minutes=70))
    (row,) = (await call(client, "list_threads"))["threads"]
    contact = row["contact"]
    assert (contact["email"], set(contact)) == ("ada@example.com", {"id", "email"})
    detail = await call(client, "get_enrollment", enrollment_id=row["enrollment_id"])
    assert contact["id"] == detail["enrollment"]["contact"]["id"]
    assert {name: row[name] for name in row.keys() - {"contact", "enrollment_id"}} == {
        "id": str(made.threads[0]),
        "campaign_id": str(made.campaign_id),
        "subject": "Hello",
        "last_message_at": "2026-11-02T10:10:00Z",
        "last_kind": "human",
        "messages": 2,
        "state": "needs_answer",
    }


async def test_a_thread_shows_what_was_sent_and_what_was_answered(client: Client, database: Database) -> None:
    made = Conversations(database, EMAILS[:1])
    verdict = {"rule": "answer", "evidence": "In-Reply-To", "findings": [Finding.FORGED_QUOTE], "sender_name": "Ada"}
    (answer_id,) = made.answer(made.threads[0], Answer(raw=RAW, minutes=70, more=verdict))
    told = await thread_of(client, made.threads[0])
    assert told["notice"] == NOTICE
    sent, came = told["messages"]
    assert (sent["direction"], sent["subject"], sent["text"]) == ("out", "Hello", "Nice to meet you.")
    assert came == {
        "id": str(answer_id),
        "direction": "in",
        "kind": "human",
        "status": "recorded",
        "internet_message_id": f"{answer_id}@example.com",
        "from": "person@example.com",
        "from_name": "Ada",
        "date": "2026-11-02T10:10:00Z",
        "subject": "Re: Hello",
        "text": "Yes, call me.",
        "findings": ["forged_quote"],
        "rule": "answer",
        "evidence": "In-Reply-To",
    }
    _, whole = (await thread_of(client, made.threads[0], detail="full"))["messages"]
    assert whole["whole_text"] == "Yes, call me.\n\n> Nice to meet you."
    assert whole["attachments"] == ["offer.pdf"]


async def test_what_nobody_sees_is_not_shown(client: Client, database: Database) -> None:
    made = Conversations(database, EMAILS[:1])
    hidden = "Yes\u200b \u202eesrever\u202c \U000e0049\U000e0067no\u00adte\x07"
    more = {"evidence": hidden, "subject": hidden, "sender_name": hidden}
    raw = RAW.replace(b"offer.pdf", "o\u202effer.pdf".encode()).replace(b"call", "c\u200ball".encode())
    made.answer(made.threads[0], Answer(said=hidden, raw=raw, more=more))
    _, came = (await thread_of(client, made.threads[0], detail="full"))["messages"]
    for name in ("text", "evidence", "subject", "from_name"):
        assert came[name] == "Yes esrever note", name
    assert "Yes, call me." in came["whole_text"]
    assert came["attachments"] == ["offer.pdf"]


async def test_long_texts_are_cut_and_the_latest_are_shown_first(client: Client, database: Database) -> None:
    made = Conversations(database, EMAILS[:1])
    answers = [Answer(said=f"{number} " * 15_000, minutes=70 + number) for number in range(7)]
    made.answer(made.threads[0], *answers)
    first, *came = (await thread_of(client, made.threads[0]))["messages"]
    assert [len(message["text"]) for message in came] == [0, 0, *(20_000 for _ in range(5))]
    assert all(message["is_cut"] for message in came)
    assert (first["text"], first["is_cut"]) == ("", True)


async def test_the_latest_hundred_messages_of_a_thread_are_shown(client: Client, database: Database) -> None:
    made = Conversations(database, EMAILS[:1])
    ids = made.answer(made.threads[0], *(Answer(minutes=70 + number) for number in range(120)))
    told = await thread_of(client, made.threads[0])
    assert [message["id"] for message in told["messages"]] == [str(id_) for id_ in ids[-100:]]
    assert told["thread"]["messages"] == 121


async def test_a_closed_thread_needs_no_answer_until_the_person_writes(client: Client, database: Database) -> None:
    made = Conversations(database, EMAILS[:1])
    thread_id = made.threads[0]
    made.answer(thread_id, Answer())
    for _ in range(2):
        closed = await call(client, "close_thread", thread_id=str(thread_id))
        assert closed["thread"]["state"] == "closed"
    assert await listed(client, state="closed") == [str(thread_id)]
    made.answer(thread_id, Answer(minutes=90))
    assert (await thread_of(client, thread_id))["thread"]["state"] == "needs_answer"


@pytest.mark.parametrize("tool", ["get_thread", "close_thread"])
async def test_a_thread_that_there_is_not_is_told(client: Client, tool: str) -> None:
    assert "list_threads shows those there are" in await refusal(client, tool, thread_id=str(uuid4()))


async def test_the_thread_of_somebody_who_was_erased_names_nobody(client: Client, database: Database) -> None:
    made = Conversations(database, EMAILS[:1])
    made.answer(made.threads[0], Answer(raw=RAW))
    await call(client, "erase_contact", email=EMAILS[0])
    for thread in (await call(client, "list_threads"))["threads"]:
        told = str(await thread_of(client, thread["id"], detail="full"))
        assert "ada@example.com" not in told
        assert "call me" not in told
