"""Replies that a person approves before they go out."""

from collections.abc import Callable
from functools import partial

import pytest

from db.domain.drafts import DraftStatus
from db.domain.errors import InvalidTransition, Refused
from db.postgres.database import Database
from db.services.mail import mailboxes
from db.services.mail.mailboxes import MailboxChange
from db.services.outgoing.mails import NotBegun
from tests.support.drafts import approve, reject, shown, waiting
from tests.support.incoming import OWNER, look
from tests.support.replying import Talk, new_talk
from tests.support.steps import run_sql

BOSS = "boss@example.com"


def asked(database: Database, approval: str = "all", **headers: str) -> Talk:
    talk = new_talk(database, **headers)
    talk.asks(approval)
    return talk


def drafts_of(database: Database) -> list[str]:
    return [status for (status,) in look(database, "SELECT status FROM action_drafts ORDER BY id")]


@pytest.mark.parametrize("approval", ["all", "first_step"])
def test_where_approval_is_asked_for_a_reply_waits_for_a_person(database: Database, approval: str) -> None:
    talk = asked(database, approval, Cc=BOSS)
    draft = talk.drafted()
    assert (draft.step_number, draft.thread_id, draft.cc) == (None, talk.thread_id, [BOSS])
    assert talk.outbox.claim(hours=2) == []
    (listed,) = waiting(database)
    told = shown(database, listed)
    assert (listed.id, told.mailbox, told.contact.email) == (draft.id, OWNER, "bob@example.com")
    (decided,) = approve(database, listed)
    assert decided.reason is None
    assert waiting(database) == []
    assert approve(database, listed)[0].reason is None  # said again, it is queued once
    sending = talk.begun()
    assert (sending.message_id, sending.text, sending.cc) == (draft.id, "Tuesday at ten?", (BOSS,))
    ((fingerprint, approved),) = look(
        database, "SELECT fingerprint, approved_fingerprint FROM messages WHERE replies_to IS NOT NULL"
    )
    assert fingerprint == approved == draft.fingerprint
    talk.outbox.sent(sending, hours=2)
    assert talk.state() == "answered"


def sign(talk: Talk) -> None:
    change = MailboxChange(signature="Ann Other")
    talk.database.run("sign", partial(mailboxes.update, mailbox=talk.outbox.mailbox_id, change=change))


CHANGES: dict[str, Callable[[Talk], object]] = {
    "signature": sign,
    "recipient": lambda talk: run_sql(talk.database, "UPDATE contacts SET email = 'rob@example.com'"),
    "a newer message": lambda talk: talk.hears(),
    "by hand": lambda talk: talk.owner_writes(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_draft_that_reads_otherwise_by_now_is_stale(database: Database, change: Callable[[Talk], object]) -> None:
    talk = asked(database)
    draft = talk.drafted()
    change(talk)
    (decided,) = approve(database, draft)
    assert decided.reason is not None
    assert drafts_of(database) == [DraftStatus.STALE]
    assert talk.outbox.claim(hours=4) == []
    assert talk.statuses() == []


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_changes_after_the_approval_keeps_the_reply_back(
    database: Database, change: Callable[[Talk], object]
) -> None:
    talk = asked(database)
    approve(database, talk.drafted())
    change(talk)
    (claimed,) = talk.outbox.claim(hours=4)
    assert talk.outbox.begin(claimed, hours=4) in (NotBegun.WORDS, NotBegun.APPROVAL)
    assert talk.statuses()[0][0] == "not_sent"
    assert drafts_of(database) == [DraftStatus.STALE]
    talk.drafted("In other words")


def test_new_words_stand_in_the_place_of_a_draft_that_waits(database: Database) -> None:
    talk = asked(database)
    first, second = talk.drafted("One"), talk.drafted("Two")
    assert drafts_of(database) == [DraftStatus.STALE, DraftStatus.WAITING]
    assert approve(database, first)[0].reason is not None
    assert approve(database, second)[0].reason is None
    assert [sending.text for sending in talk.outbox.claim(hours=2)] == ["Two"]


def test_a_rejected_reply_does_not_go_out_approved_or_not(database: Database) -> None:
    talk = asked(database)
    reject(database, talk.drafted())
    draft = talk.drafted("Again")
    approve(database, draft)
    used = "SELECT sum(used)::int FROM sender_usage"
    before = look(database, used)
    (claimed,) = talk.outbox.claim(hours=2)
    assert look(database, used) != before
    reject(database, draft)
    assert look(database, used) == before
    assert talk.outbox.begin(claimed, hours=2) is NotBegun.CLAIMED_ANEW
    assert talk.statuses() == [("not_sent", "A person rejected it.")]
    assert drafts_of(database) == [DraftStatus.REJECTED, DraftStatus.REJECTED]
    with pytest.raises(InvalidTransition):
        reject(database, draft)
    third = talk.drafted("Once more")
    approve(database, third)
    talk.begun()
    with pytest.raises(Refused, match="can't be taken back"):
        reject(database, third)


def test_a_campaign_that_asks_nobody_any_more_sends_what_was_approved(database: Database) -> None:
    talk = asked(database)
    draft = talk.drafted()
    talk.asks("none")
    assert approve(database, draft)[0].reason is None
    assert talk.begun().text == "Tuesday at ten?"
