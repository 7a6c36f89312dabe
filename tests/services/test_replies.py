"""Replies within threads: each goes out once, from the thread's mailbox, at any hour, and only to who may be written
to."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest

from db.domain.contacts import SuppressionTarget
from db.domain.errors import Conflict, InvalidInput, NotFound, Refused
from db.domain.mail.verdict import BounceKind
from db.domain.states import MessageStatus, SettledAs, SuppressionReason
from db.postgres.database import Database
from db.services.campaigns import campaigns
from db.services.consent import replies
from db.services.erasure import erasure
from db.services.mail import mailboxes, stopping
from db.services.mail.mailboxes import MailboxChange
from db.services.outgoing import settling, signs
from db.services.outgoing.mails import NotBegun
from db.services.people import suppressions
from tests.support.campaigns import NOW, assert_counters_are_exact, enroll, state
from tests.support.incoming import OWNER, bounce, look
from tests.support.meeting import meet
from tests.support.outbox import SMTP, at
from tests.support.replying import ANSWER_ID, Talk, new_talk
from tests.support.steps import run_sql

BOSS, LISTED = "boss@example.com", "listed@example.com"


def suppress(database: Database, email: str) -> None:
    made = partial(suppressions.suppress, email=email, reason=SuppressionReason.UNSUBSCRIBED, source="hand")
    database.run("suppress", made)


def pace(talk: Talk, **settings: Any) -> None:
    change = MailboxChange(settings=settings)
    talk.database.run("pace", partial(mailboxes.update, mailbox=talk.outbox.mailbox_id, change=change))


def test_a_reply_answers_the_latest_message_in_its_thread(database: Database) -> None:
    talk = new_talk(database)
    assert talk.state() == "needs_answer"
    made = talk.queued()
    assert (made.status, made.thread_id, made.direction) == (MessageStatus.QUEUED, talk.thread_id, "out")
    assert talk.inbox.threads()[0].messages == 2
    mail = talk.begun()
    assert (mail.sender.address, mail.recipient.address) == (OWNER, "bob@example.com")
    assert (mail.subject, mail.text, mail.headers) == ("Re: Mail 1", "Tuesday at ten?", {})
    assert mail.internet_message_id == f"{made.id}@acme.example"
    assert mail.references == (talk.sent.internet_message_id, ANSWER_ID)
    assert talk.statuses() == [("sending", None)]
    talk.outbox.sent(mail, hours=2)
    assert talk.statuses() == [("sent", "250 taken")]
    thread = talk.inbox.threads()[0]
    assert (thread.state, thread.messages, thread.last_message_at) == ("answered", 3, at(2))
    assert talk.outbox.claim(hours=100) == []
    talk.hears("Fine.", hours=4, answers=mail.internet_message_id)
    assert talk.state() == "needs_answer"
    talk.queued("See you then.")
    assert talk.begun(hours=5).references[-2:] == (mail.internet_message_id, "at-4@example.com")
    assert state(database, mail.enrollment_id)["current_step"] == 1
    assert_counters_are_exact(database)


def test_a_reply_goes_out_from_a_domain_whose_steps_are_held(database: Database) -> None:
    talk = new_talk(database)
    enroll(database, talk.outbox.campaign_id, ["eve@example.com"])
    talk.queued()
    bare = """
        INSERT INTO sending_domains (domain, looked_at, absent_since, absent_until)
        VALUES (:domain, :until, :since, :until)
    """
    run_sql(database, bare, domain=OWNER.rpartition("@")[2], since=NOW, until=at(73))
    reply = talk.begun(hours=74)
    assert reply.recipient.address == "bob@example.com"
    talk.outbox.sent(reply, hours=74)
    run_sql(database, "DELETE FROM sending_domains")
    (step,) = talk.outbox.claim(hours=75)
    assert step.recipient.address == "eve@example.com"


def test_who_has_written_since_still_waits_for_an_answer(database: Database) -> None:
    talk = new_talk(database)
    talk.queued()
    talk.hears(hours=2.5)
    talk.outbox.sent(talk.begun(hours=3), hours=3)
    assert talk.state() == "needs_answer"


def test_a_reply_goes_before_steps_and_counts_under_the_limits_and_no_window(database: Database) -> None:
    talk = new_talk(database, ["bob@example.com", "eve@example.com"])
    pace(talk, daily_limit=3, min_gap_seconds=60, window={"days": ["sun"], "start": "01:00", "end": "01:01"})
    assert talk.outbox.claim(hours=2) == []
    talk.queued()
    pace(talk, window={"days": ["mon"], "start": "00:00", "end": "24:00"})
    (first,) = talk.outbox.claim(hours=2)
    assert first.action_id is None
    assert talk.outbox.claim(hours=2) == []  # the gap
    assert talk.outbox.deferred(first, hours=2, retry_seconds=60) == at(2) + timedelta(seconds=60)
    (again,) = talk.outbox.claim(hours=3)
    assert (again.message_id, again.attempts) == (first.message_id, 1)
    used = look(database, "SELECT sum(used)::int FROM sender_usage")
    assert used == [(2,)]  # the first step, and the reply once
    assert talk.outbox.begin(again, hours=3) is None
    talk.outbox.sent(again, hours=3)
    (step,) = talk.outbox.claim(hours=4)
    assert step.step_number == 1
    assert talk.outbox.begin(step, hours=4) is None
    talk.outbox.sent(step, hours=4)
    talk.hears(hours=4.5)
    talk.replying(hours=5)
    assert talk.outbox.claim(hours=5) == []  # the day
    assert len(talk.outbox.claim(hours=24)) == 1


def test_each_attempt_that_a_server_refuses_before_the_mail_is_told(database: Database) -> None:
    talk = new_talk(database)
    talk.queued()
    hours = 2.0
    for minutes in (1, 5, 15):
        (mail,) = talk.outbox.claim(hours=hours)
        assert talk.outbox.deferred(mail, hours=hours) == at(hours) + timedelta(minutes=minutes)
        hours += 1
    (mail,) = talk.outbox.claim(hours=hours)
    assert mail.attempts == 3
    talk.outbox.refused(mail, BounceKind.HARD, hours=hours)
    assert talk.statuses()[0][0] == "refused"
    assert look(database, "SELECT email FROM suppressions") == [("bob@example.com",)]


def test_those_to_whom_the_person_wrote_too_get_a_copy(database: Database) -> None:
    to = f"Ann <{OWNER.upper()}>, Boss@Example.com"
    talk = new_talk(database, to=to, Cc=f'{LISTED}, "no address", bob@example.com, {BOSS}, "a b"@example.com')
    suppress(database, LISTED)
    assert talk.queued(cc=["new@example.com", "bob@example.com"]).cc == [BOSS, "new@example.com"]
    (mail,) = talk.outbox.claim(hours=2)
    assert mail.cc == (BOSS, "new@example.com")


def test_a_copy_goes_to_nobody_who_is_suppressed(database: Database) -> None:
    talk = new_talk(database)
    suppress(database, LISTED)
    run_sql(
        database, "INSERT INTO suppressions (id, domain, reason) VALUES (gen_random_uuid(), 'none.example', 'manual')"
    )
    for address in (LISTED, "any@none.example"):
        with pytest.raises(Refused, match=rf"cc: {address} is suppressed"):
            talk.replying(cc=[BOSS, address])
    talk.queued(cc=[BOSS])
    (mail,) = talk.outbox.claim(hours=2)
    suppress(database, BOSS)
    assert talk.outbox.begin(mail, hours=2) is NotBegun.SUPPRESSED
    ((status, told),) = talk.statuses()
    assert (status, talk.state()) == ("not_sent", "needs_answer")
    assert "suppressed before it went out" in (told or "")
    assert look(database, "SELECT sum(used)::int FROM sender_usage") == [(1,)]
    talk.queued()


def set_campaign(talk: Talk, **settings: Any) -> None:
    fields = {"settings": {"mailboxes": [OWNER], **settings}}
    talk.database.run("set", partial(campaigns.update, campaign_id=talk.outbox.campaign_id, fields=fields, now=NOW))


def lose_the_mailbox(talk: Talk) -> None:
    run_sql(talk.database, "UPDATE threads SET mailbox_id = gen_random_uuid()")


def end_the_sender(talk: Talk) -> None:
    run_sql(talk.database, "DELETE FROM mailbox_leases")
    run_sql(talk.database, "UPDATE campaign_instances SET served_until = served_until - interval '3 days'")


NOT_NOW: dict[str, tuple[Callable[[Talk], object], str]] = {
    "suppressed": (lambda talk: suppress(talk.database, "bob@example.com"), r"suppressed \(unsubscribed\)"),
    "by agents": (lambda talk: set_campaign(talk, sent_by="agent"), "sent_by: agent"),
    "no mailbox": (lose_the_mailbox, "in no mailbox"),
    "no sender": (end_the_sender, "serve --send"),
    "no address": (
        lambda talk: run_sql(
            talk.database, "UPDATE contacts SET email = NULL, linkedin_url = 'https://www.linkedin.com/in/bob'"
        ),
        "no email",
    ),
    "nobody wrote": (
        lambda talk: run_sql(talk.database, "UPDATE messages SET kind = 'bounce' WHERE direction = 'in'"),
        "nothing to answer",
    ),
}


@pytest.mark.parametrize(("before", "told"), NOT_NOW.values(), ids=NOT_NOW)
def test_what_can_not_be_answered_says_why(database: Database, before: Callable[[Talk], object], told: str) -> None:
    talk = new_talk(database)
    before(talk)
    with pytest.raises(Refused, match=told):
        talk.replying()
    assert talk.statuses() == []


def test_bad_words_are_refused_whole(database: Database) -> None:
    talk = new_talk(database)
    for body in ("", " \n\u200b", "x" * 50_001, "x" * 20_000_000):
        with pytest.raises(InvalidInput, match="body"):
            talk.replying(body)
    with pytest.raises(InvalidInput, match="cc"):
        talk.replying(cc=['"a b"@example.com'])
    with pytest.raises(NotFound, match="list_threads"):
        database.run("reply", partial(replies.reply, thread_id=UUID(int=7), body="Hello", now=NOW))
    assert talk.statuses() == []


def test_a_thread_has_one_reply_on_its_way(database: Database) -> None:
    talk = new_talk(database)
    made = talk.queued()
    with pytest.raises(Conflict, match=str(made.id)):
        talk.replying("Another")
    talk.outbox.unknown(talk.begun())
    with pytest.raises(Conflict, match="settle_message"):
        talk.replying("Another")


def test_of_two_replies_at_the_same_moment_one_is_sent(database: Database) -> None:
    talk = new_talk(database)
    work = partial(replies.reply, thread_id=talk.thread_id, body="One", now=at(2))
    met = meet(database, work, partial(work, body="Two"))
    assert met.waited
    assert isinstance(met.second.exception(), Conflict)
    assert [mail.text for mail in talk.outbox.claim(hours=2)] == ["One"]


def test_a_reply_that_a_killed_sender_was_sending_never_goes_out_again(database: Database) -> None:
    talk = new_talk(database)
    talk.queued()
    (claimed,) = talk.outbox.claim(hours=2)
    other, left = talk.outbox.taken_over(hours=2)
    assert left == (0, 0)
    (again,) = other.claim(hours=2)
    assert other.begin(again, hours=2) is None
    assert talk.outbox.deferred(claimed, hours=2) is None  # of an attempt before this one
    talk.outbox.unknown(claimed, hours=2)
    assert talk.statuses() == [("sending", None)]
    third, left = other.taken_over(hours=2)
    assert left == (1, 0)
    assert talk.statuses() == [("unknown", None)]
    assert state(database, claimed.enrollment_id)["status"] == "completed"
    assert third.claim(hours=200) == []
    other.sent(again, hours=3)
    assert (talk.statuses(), talk.state()) == ([("sent", "250 taken")], "answered")


SIGNS: dict[str, Callable[[Talk, str], Any]] = {
    "a copy in Sent": lambda talk, id_: talk.database.run(
        "found", partial(signs.found, internet_message_ids=[id_], now=at(3))
    ),
    "an answer": lambda talk, id_: talk.hears(answers=id_),
    "a returned mail": lambda talk, id_: talk.inbox.bring(bounce(id_, id_="b2"), hours=3),
}


@pytest.mark.parametrize("sign", SIGNS.values(), ids=SIGNS)
def test_a_sign_of_an_unknown_reply_settles_it(database: Database, sign: Callable[[Talk, str], Any]) -> None:
    talk = new_talk(database)
    mail = talk.unknown()
    assert database.run("look", partial(signs.are_unsettled, internet_message_ids=[mail.internet_message_id]))
    sign(talk, mail.internet_message_id)
    assert talk.statuses()[0][0] == "sent"
    assert talk.state() == ("needs_answer" if sign is SIGNS["an answer"] else "answered")


def test_a_person_settles_an_unknown_reply_and_it_is_not_sent_again_by_itself(database: Database) -> None:
    talk = new_talk(database)
    mail = talk.unknown()
    settle = partial(settling.settle_message, message_id=mail.message_id, now=at(4))
    for _ in range(2):
        assert database.run("settle", partial(settle, outcome=SettledAs.NOT_SENT)).status == "not_sent"
    assert talk.outbox.claim(hours=5) == []
    assert talk.state() == "needs_answer"
    talk.queued("Once more")


def test_a_reply_that_is_refused_counts_as_a_returned_mail(database: Database) -> None:
    talk = new_talk(database)
    talk.queued()
    mail = talk.begun()
    talk.outbox.refused(mail, BounceKind.HARD, hours=2)
    assert talk.statuses() == [("refused", "550 no")]
    held = database.run("look", partial(suppressions.find, target=SuppressionTarget("bob@example.com")))
    assert held is not None
    assert held.reason == SuppressionReason.BOUNCED
    assert talk.state() == "needs_answer"
    assert_counters_are_exact(database)


def change_address(talk: Talk) -> None:
    run_sql(talk.database, "UPDATE contacts SET email = 'rob@example.com'")


MEANWHILE: dict[str, tuple[Callable[[Talk], object], NotBegun, str]] = {
    "suppressed": (lambda talk: suppress(talk.database, "bob@example.com"), NotBegun.SUPPRESSED, "not_sent"),
    "moved": (change_address, NotBegun.ADDRESS, "queued"),
    "by hand": (lambda talk: talk.owner_writes(hours=1), NotBegun.APPROVAL, "not_sent"),
    "asked": (lambda talk: talk.asks(), NotBegun.APPROVAL, "not_sent"),
    "stopped": (lambda talk: talk.database.run("stop", partial(stopping.stop, now=NOW)), NotBegun.STOPPED, "queued"),
    "paused": (
        lambda talk: talk.database.run(
            "pause",
            partial(mailboxes.update, mailbox=talk.outbox.mailbox_id, change=MailboxChange(), is_paused=True),
        ),
        NotBegun.MAILBOX,
        "queued",
    ),
}


@pytest.mark.parametrize(("meanwhile", "why", "status"), MEANWHILE.values(), ids=MEANWHILE)
def test_what_comes_between_the_claim_and_the_reply_holds_it(
    database: Database, meanwhile: Callable[[Talk], object], why: NotBegun, status: str
) -> None:
    talk = new_talk(database)
    talk.queued()
    (mail,) = talk.outbox.claim(hours=2)
    meanwhile(talk)
    assert talk.outbox.begin(mail, hours=2) is why
    assert talk.statuses()[0][0] == status
    assert look(
        database,
        "SELECT count(*) FROM message_bodies b JOIN messages m ON m.id = b.message_id "
        "WHERE m.replies_to IS NOT NULL AND b.raw IS NOT NULL",
    ) == [(0,)]
    if why is NotBegun.ADDRESS:
        assert talk.begun(hours=3).recipient.address == "rob@example.com"


def test_what_has_become_of_the_campaign_and_the_person_holds_no_reply(database: Database) -> None:
    talk = new_talk(database)
    talk.queued()
    database.run("pause", partial(campaigns.pause, campaign_id=talk.outbox.campaign_id, now=NOW))
    run_sql(database, "UPDATE contacts SET absent_from = now(), absent_until = '2027-01-01Z'")
    talk.outbox.sent(talk.begun(), hours=2)
    assert talk.state() == "answered"


def test_a_mailbox_that_is_removed_sends_no_reply_any_more(database: Database) -> None:
    talk = new_talk(database)
    talk.queued()
    change = MailboxChange(smtp=SMTP)
    database.run("connect", partial(mailboxes.connect, address="eve@acme.example", change=change))
    database.run("remove", partial(mailboxes.remove, mailbox=OWNER, move_to="eve@acme.example"))
    assert talk.statuses() == [("not_sent", f"The mailbox {OWNER} was removed.")]


def test_who_is_erased_gets_no_reply_and_no_copy(database: Database) -> None:
    talk = new_talk(database, Cc=BOSS)
    talk.queued()
    (mail,) = talk.outbox.claim(hours=2)
    target = SuppressionTarget(BOSS)
    database.run("erase", partial(erasure.erase, target=target, even_if_unknown=True, now=NOW))
    assert look(database, "SELECT cc FROM messages WHERE replies_to IS NOT NULL") == [([],)]
    assert talk.outbox.begin(mail, hours=2) is NotBegun.SUPPRESSED
    talk.queued()
    (mail,) = talk.outbox.claim(hours=2)
    database.run("erase", partial(erasure.erase, contact_id=mail.contact_id, now=NOW))
    assert talk.outbox.begin(mail, hours=2) is NotBegun.ERASED
    assert look(database, "SELECT 1 FROM messages") == []
    assert look(database, "SELECT 1 FROM threads") == []
