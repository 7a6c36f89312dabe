"""What comes between the claim of a mail and its beginning, and what comes at the same moment: the mail goes out once,
or not at all."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from db.domain.contacts import ContactFields
from db.domain.errors import LeaseLost
from db.domain.events import EventType
from db.domain.mail.verdict import BounceKind
from db.domain.states import EnrollmentAction, MessageStatus, SuppressionReason
from db.postgres.database import Database
from db.services.campaigns import campaigns
from db.services.enrollments import enrollments
from db.services.erasure import erasure
from db.services.events import events
from db.services.mail import mailboxes, stopping
from db.services.mail.mailboxes import MailboxChange
from db.services.outgoing import outcomes, queue
from db.services.outgoing.mails import NotBegun, QueuedMail
from db.services.people import contacts, suppressions
from tests.support.campaigns import NOW, assert_counters_are_exact, event, state
from tests.support.incoming import OWNER, look
from tests.support.meeting import meet
from tests.support.outbox import Outbox, at, new_outbox, take_lease
from tests.support.steps import claim, run_sql


def give_to_agents(outbox: Outbox) -> None:
    fields = {"settings": {"mailboxes": [OWNER], "sent_by": "agent"}}
    outbox.database.run("agents", partial(campaigns.update, campaign_id=outbox.campaign_id, fields=fields, now=NOW))


Meanwhile = Callable[[Outbox, QueuedMail], Any]


def unsubscribe(outbox: Outbox, mail: QueuedMail) -> Any:
    return partial(events.record_events, events=[event(EventType.UNSUBSCRIBED, mail.enrollment_id, step_number=1)])


def suppress(outbox: Outbox, mail: QueuedMail) -> Any:
    return partial(suppressions.suppress, email="bob@example.com", reason=SuppressionReason.MANUAL, source="hand")


def erase(outbox: Outbox, mail: QueuedMail) -> Any:
    return partial(erasure.erase, contact_id=mail.contact_id, now=NOW)


def pause_person(outbox: Outbox, mail: QueuedMail) -> Any:
    return partial(enrollments.update, enrollment_id=mail.enrollment_id, action=EnrollmentAction.PAUSE, now=NOW)


def pause_campaign(outbox: Outbox, mail: QueuedMail) -> Any:
    return partial(campaigns.pause, campaign_id=outbox.campaign_id, now=NOW)


def tell_delivered(outbox: Outbox, mail: QueuedMail) -> Any:
    told = event(EventType.DELIVERED, mail.enrollment_id, hours=0.01, step_number=1)
    return partial(events.record_events, events=[told], from_provider=True)


def advance(outbox: Outbox, mail: QueuedMail) -> Any:
    return partial(enrollments.update, enrollment_id=mail.enrollment_id, action=EnrollmentAction.ADVANCE, now=NOW)


def pause_mailbox(outbox: Outbox, mail: QueuedMail) -> Any:
    return partial(mailboxes.update, mailbox=outbox.mailbox_id, change=MailboxChange(), is_paused=True)


def stop(outbox: Outbox, mail: QueuedMail) -> Any:
    return partial(stopping.stop, now=NOW)


BETWEEN: dict[str, tuple[Meanwhile, NotBegun]] = {
    "unsubscribe": (unsubscribe, NotBegun.CLAIMED_ANEW),
    "suppress": (suppress, NotBegun.ENROLLMENT),
    "erase": (erase, NotBegun.ERASED),
    "pause_person": (pause_person, NotBegun.ENROLLMENT),
    "pause_campaign": (pause_campaign, NotBegun.CAMPAIGN),
    "tell_delivered": (tell_delivered, NotBegun.CLAIMED_ANEW),
    "advance": (advance, NotBegun.CLAIMED_ANEW),
    "pause_mailbox": (pause_mailbox, NotBegun.MAILBOX),
    "stop": (stop, NotBegun.STOPPED),
}


@pytest.mark.parametrize(("meanwhile", "why"), BETWEEN.values(), ids=BETWEEN)
def test_what_comes_between_a_claim_and_the_mail_holds_it(
    database: Database, meanwhile: Meanwhile, why: NotBegun
) -> None:
    outbox = new_outbox(database)
    (mail,) = outbox.claim()
    database.run("meanwhile", meanwhile(outbox, mail))
    assert outbox.begin(mail) is why
    assert MessageStatus.SENDING not in outbox.statuses()
    assert look(database, "SELECT 1 FROM message_bodies WHERE raw IS NOT NULL") == []
    assert outbox.begin(mail, hours=0.1) is not None
    assert_counters_are_exact(database)


@pytest.mark.parametrize("meanwhile", [unsubscribe, suppress, erase, pause_person, pause_campaign, stop])
def test_a_mail_that_has_begun_makes_what_comes_at_the_same_moment_wait(
    database: Database, meanwhile: Meanwhile
) -> None:
    """So whoever is told that it is done is told the truth: no mail begins any more."""
    outbox = new_outbox(database)
    (mail,) = outbox.claim()
    second = meanwhile(outbox, mail)
    if meanwhile is stop:
        database.run("stop", second)
        database.run("start", stopping.start)

        def second(session: Any) -> None:
            stopping.await_begun(session)

    met = meet(database, outbox.beginning(mail), second)
    assert met.waited
    met.second.result()


@pytest.mark.parametrize("meanwhile", [unsubscribe, suppress, erase, pause_person, pause_campaign])
def test_a_mail_waits_for_what_comes_at_the_same_moment_and_stays(database: Database, meanwhile: Meanwhile) -> None:
    outbox = new_outbox(database)
    (mail,) = outbox.claim()
    met = meet(database, meanwhile(outbox, mail), outbox.beginning(mail))
    assert met.waited
    assert met.second.result() is not None
    assert MessageStatus.SENDING not in outbox.statuses()


def test_a_sender_that_was_taken_over_while_it_began_sends_nothing(database: Database) -> None:
    outbox = new_outbox(database)
    (mail,) = outbox.claim()
    other = take_lease(database, outbox.mailbox_id)
    met = meet(database, partial(queue.take_over, lease=other, now=at(0)), outbox.beginning(mail))
    assert isinstance(met.second.exception(), LeaseLost)
    assert MessageStatus.SENDING not in outbox.statuses()


def test_a_mail_that_begins_while_its_mailbox_is_taken_over_is_unknown_or_has_not_begun(database: Database) -> None:
    outbox = new_outbox(database)
    (mail,) = outbox.claim()

    def lose(session: Any) -> None:
        session.connection().exec_driver_sql("UPDATE mailbox_leases SET token = gen_random_uuid()")

    met = meet(database, outbox.beginning(mail), lose)
    assert met.waited
    other, left = outbox.taken_over()
    assert left == (1, 0)
    assert other.statuses() == [MessageStatus.UNKNOWN]
    assert other.claim(hours=1_000) == []


def test_the_same_mail_begins_once_in_two_transactions_at_the_same_moment(database: Database) -> None:
    outbox = new_outbox(database)
    (mail,) = outbox.claim()
    met = meet(database, outbox.beginning(mail), outbox.beginning(mail))
    assert met.waited
    assert met.second.result() is NotBegun.CLAIMED_ANEW
    assert outbox.statuses() == [MessageStatus.SENDING]


def test_a_step_that_an_agent_has_claimed_anew_is_not_sent(database: Database) -> None:
    """As after its campaign was given to agents while the mail waited for longer than its lease."""
    outbox = new_outbox(database)
    (mail,) = outbox.claim()
    give_to_agents(outbox)
    (again,) = claim(database, outbox.campaign_id, hours=1)
    assert again.action_id == mail.action_id
    assert outbox.statuses() == [None]
    assert outbox.begin(mail, hours=1) is NotBegun.CLAIMED_ANEW


@pytest.mark.parametrize("is_lost", [True, False])
def test_no_agent_gets_a_step_whose_mail_may_have_gone_out(database: Database, is_lost: bool) -> None:
    outbox = new_outbox(database)
    mail = outbox.begun()
    if is_lost:
        outbox.unknown(mail)
    give_to_agents(outbox)
    for hours in (0.1, 1, 1_000):
        assert claim(database, outbox.campaign_id, hours=hours) == []
    assert outbox.statuses() == [MessageStatus.UNKNOWN if is_lost else MessageStatus.SENDING]


def test_an_answer_that_comes_while_a_slow_mail_is_held_lets_its_person_go_on(database: Database) -> None:
    outbox = new_outbox(database)
    mail = outbox.begun()
    assert outbox.claim(hours=1) == []
    assert state(database, mail.enrollment_id)["status"] == "paused"
    outbox.sent(mail, hours=1)
    now = state(database, mail.enrollment_id)
    assert (now["status"], now["current_step"], now["next_action_at"]) == ("active", 1, at(25))


def test_words_or_an_address_that_have_changed_since_the_claim_are_claimed_anew(database: Database) -> None:
    outbox = new_outbox(database)
    (mail,) = outbox.claim()
    run_sql(database, "UPDATE messages SET subject = 'Something else'")
    assert outbox.begin(mail) is NotBegun.WORDS
    (mail,) = outbox.claim()
    assert mail.subject == "Mail 1"
    run_sql(database, "UPDATE contacts SET email = 'bob@new.example.com'")
    assert outbox.begin(mail) is NotBegun.ADDRESS
    (mail,) = outbox.claim()
    assert mail.recipient.address == "bob@new.example.com"
    assert outbox.begin(mail) is None


@pytest.mark.parametrize("meanwhile", [unsubscribe, suppress, pause_person, pause_campaign, tell_delivered, advance])
def test_what_comes_while_a_mail_is_sent_does_not_keep_it_from_being_recorded(
    database: Database, meanwhile: Meanwhile
) -> None:
    outbox = new_outbox(database)
    mail = outbox.begun()
    database.run("meanwhile", meanwhile(outbox, mail))
    outbox.sent(mail, hours=0.1)
    assert outbox.statuses() == [MessageStatus.SENT]
    assert look(database, "SELECT status, reported FROM campaign_actions") == [("sent", "sent")]
    assert_counters_are_exact(database)


@pytest.mark.parametrize("answer", ["sent", "unknown", "deferred", "refused"])
def test_whoever_is_erased_while_their_mail_is_sent_stays_erased(database: Database, answer: str) -> None:
    outbox = new_outbox(database)
    mail = outbox.begun()
    database.run("erase", erase(outbox, mail))
    answers: dict[str, Callable[[], Any]] = {
        "sent": lambda: outbox.sent(mail),
        "unknown": lambda: outbox.unknown(mail),
        "deferred": lambda: outbox.deferred(mail),
        "refused": lambda: outbox.refused(mail, BounceKind.HARD),
    }
    answers[answer]()
    assert outbox.statuses() == []
    assert look(database, "SELECT 1 FROM message_bodies") == []
    assert state(database, mail.enrollment_id)["status"] == "unsubscribed"
    assert_counters_are_exact(database)


def test_two_answers_at_the_same_moment_count_once(database: Database) -> None:
    outbox = new_outbox(database)
    mail = outbox.begun()
    met = meet(
        database,
        outbox.sending(mail),
        partial(outcomes.unknown, mail=mail, now=at(0)),
        attempts=5,
    )
    met.second.result()
    assert outbox.statuses() == [MessageStatus.SENT]
    assert state(database, mail.enrollment_id)["status"] == "active"
    assert_counters_are_exact(database)


def test_an_address_that_changes_while_a_mail_begins_waits(database: Database) -> None:
    """So nobody is written to at an address that they are known not to have any more."""
    outbox = new_outbox(database)
    (mail,) = outbox.claim()
    person = {0: ContactFields(email="bob@example.com", linkedin_url="https://www.linkedin.com/in/bob")}
    change = partial(contacts.find_or_create, people=person, overwrite=True)
    assert meet(database, outbox.beginning(mail), change).waited
