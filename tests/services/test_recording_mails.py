"""What a mail does that comes in: whose it is, what it is, and what follows from it."""

from datetime import UTC, date, datetime, timedelta

import pytest

from db.domain.holds import HoldReason
from db.domain.mail.verdict import MailKind
from db.domain.states import ThreadState
from db.mail import envelope_of
from db.postgres.database import Database
from db.services.mail import matching, recording
from tests.support.campaigns import NOW, assert_counters_are_exact, state, totals
from tests.support.drafts import approve, settings, waiting
from tests.support.incoming import OWNER, Inbox, bounce, id_of, look, mail, new_inbox
from tests.support.steps import claim, run_sql


def kinds(inbox: Inbox) -> list[str | None]:
    return [message.kind for message in inbox.messages()]


def test_an_answer_stops_its_enrollment_once(database: Database) -> None:
    inbox = new_inbox(database)
    (due,) = inbox.send()
    answer = mail("Yes, call me on Tuesday.\r\n\r\n> Nice to meet you.", answers=id_of(due))
    inbox.bring(answer)
    inbox.bring(answer, folder="Archive")
    assert state(database, inbox.enrollments[0])["stop_reason"] == "replied"
    assert totals(database, inbox.campaign_id)["replied"] == 1
    (message,) = inbox.messages()
    assert (message.kind, message.status, message.is_guess) == (MailKind.HUMAN, "recorded", False)
    (thread,) = inbox.threads()
    assert (thread.state, thread.messages, thread.last_kind) == (ThreadState.NEEDS_ANSWER, 2, MailKind.HUMAN)
    assert thread.mailbox_id == inbox.mailbox_id
    assert look(database, "SELECT body FROM message_bodies WHERE raw IS NOT NULL") == [("Yes, call me on Tuesday.",)]
    assert_counters_are_exact(database)


def test_an_answer_counts_for_the_step_whose_mail_it_answers(database: Database) -> None:
    inbox = new_inbox(database)
    (first,) = inbox.send()
    inbox.send(hours=25)
    inbox.bring(mail("A late answer to the first one.", answers=id_of(first)), hours=26)
    rows = look(database, "SELECT step_number FROM campaign_actions WHERE replied_at IS NOT NULL")
    assert rows == [(1,)]


def test_an_answer_before_the_step_is_reported_is_recorded_all_the_same(database: Database) -> None:
    inbox = new_inbox(database)
    (due,) = claim(database, inbox.campaign_id)
    inbox.bring(mail("That was quick, I am in.", answers=id_of(due)))
    assert state(database, inbox.enrollments[0])["stop_reason"] == "replied"
    (thread,) = inbox.threads()
    assert thread.messages == 2


def test_a_colleague_who_answers_from_another_address_answers_for_the_person(database: Database) -> None:
    inbox = new_inbox(database)
    (due,) = inbox.send()
    inbox.bring(mail("Bob gave me this. We are interested.", sender="Eve <eve@other.example>", answers=id_of(due)))
    assert state(database, inbox.enrollments[0])["stop_reason"] == "replied"


def test_an_absence_holds_and_counts_as_no_answer(database: Database) -> None:
    inbox = new_inbox(database)
    (due,) = inbox.send()
    body = "I am out of the office and will be back on 16 November 2026."
    inbox.bring(mail(body, subject="Automatic reply: Hello", answers=id_of(due), Auto_Submitted="auto-replied"))
    assert kinds(inbox) == [MailKind.ABSENCE]
    assert inbox.messages()[0].return_on == date(2026, 11, 16)
    ((until,),) = look(database, "SELECT absent_until FROM contacts")
    assert until == datetime(2026, 11, 17, tzinfo=UTC)
    assert state(database, inbox.enrollments[0])["status"] == "active"
    assert claim(database, inbox.campaign_id, hours=48) == []
    assert totals(database, inbox.campaign_id)["replied"] == 0
    assert [thread.state for thread in inbox.threads()] == [ThreadState.WAITING]


def test_who_has_left_is_no_answer_and_gets_nothing_more(database: Database) -> None:
    inbox = new_inbox(database)
    (due,) = inbox.send()
    body = "Bob Brown has left the company. Please write to carol@example.com instead."
    inbox.bring(mail(body, subject="Automatic reply", answers=id_of(due), Auto_Submitted="auto-replied"))
    assert state(database, inbox.enrollments[0])["stop_reason"] == "has_left"
    assert totals(database, inbox.campaign_id)["replied"] == 0
    assert look(database, "SELECT 1 FROM suppressions") == []


def test_an_unsubscribe_in_words_suppresses(database: Database) -> None:
    inbox = new_inbox(database)
    (due,) = inbox.send()
    inbox.bring(mail("Please remove me from your list.", answers=id_of(due)))
    assert kinds(inbox) == [MailKind.UNSUBSCRIBE]
    assert state(database, inbox.enrollments[0])["status"] == "unsubscribed"
    assert look(database, "SELECT email, source FROM suppressions") == [("bob@example.com", "mailbox")]
    assert totals(database, inbox.campaign_id)["replied"] == 0


def test_a_hard_bounce_ends_the_enrollment_and_suppresses_the_address(database: Database) -> None:
    inbox = new_inbox(database)
    (due,) = inbox.send()
    inbox.bring(bounce(id_of(due)))
    assert state(database, inbox.enrollments[0])["status"] == "bounced"
    assert look(database, "SELECT email, reason FROM suppressions") == [("bob@example.com", "bounced")]
    assert inbox.messages()[0].bounce == "hard"
    assert_counters_are_exact(database)


def test_a_bounce_of_somebody_in_copy_leaves_the_enrollment(database: Database) -> None:
    inbox = new_inbox(database)
    (due,) = inbox.send()
    inbox.bring(bounce(id_of(due), recipient="dead@example.com"))
    assert state(database, inbox.enrollments[0])["status"] == "active"
    assert look(database, "SELECT email FROM suppressions") == [("dead@example.com",)]


@pytest.mark.parametrize(("number", "status"), [(4, "active"), (5, "bounced")])
def test_five_mails_in_a_row_that_came_back_for_now_end_the_enrollment(
    database: Database, number: int, status: str
) -> None:
    inbox = new_inbox(database, number=6)
    for step in range(number):
        (due,) = inbox.send(hours=25 * step)
        inbox.bring(bounce(id_of(due), status="4.2.2", id_=f"b{step}"), hours=25 * step + 1)
    assert state(database, inbox.enrollments[0])["status"] == status
    assert look(database, "SELECT 1 FROM suppressions") == []


def test_a_mail_of_the_person_between_them_begins_the_row_anew(database: Database) -> None:
    inbox = new_inbox(database, number=6)
    for step in range(5):
        (due,) = inbox.send(hours=25 * step)
        if step == 3:
            note = mail(
                "We have received your mail.",
                answers=id_of(due),
                id_="auto@example.com",
                Auto_Submitted="auto-replied",
                Precedence="bulk",
            )
            inbox.bring(note, hours=25 * step + 0.5)
        inbox.bring(bounce(id_of(due), status="4.2.2", id_=f"b{step}"), hours=25 * step + 1)
    assert state(database, inbox.enrollments[0])["status"] == "active"


def test_a_mail_of_the_address_alone_is_a_guess_that_holds_and_stops_nothing(database: Database) -> None:
    inbox = new_inbox(database)
    inbox.send()
    inbox.bring(mail("By the way, are you at the fair?", subject="The fair"))
    (message,) = inbox.messages()
    assert message.is_guess
    held = look(database, "SELECT status, pause_reason FROM campaign_enrollments")
    assert held[0][0] == "paused"
    assert held[0][1].startswith(HoldReason.REPLY_UNSURE)
    assert totals(database, inbox.campaign_id)["replied"] == 0
    assert claim(database, inbox.campaign_id, hours=48) == []


def test_what_the_owner_writes_by_hand_joins_the_thread_and_holds(database: Database) -> None:
    inbox = new_inbox(database)
    (due,) = inbox.send()
    inbox.bring(mail("Hi Bob, calling you now.", sender=OWNER, to="bob@example.com", answers=id_of(due)))
    (message,) = inbox.messages()
    assert (message.kind, message.direction) == (MailKind.OWNER_WROTE, "out")
    held = look(database, "SELECT status, pause_reason FROM campaign_enrollments")
    assert held[0][1].startswith(HoldReason.OWNER_WROTE)
    assert [thread.state for thread in inbox.threads()] == [ThreadState.ANSWERED]


def test_what_the_owner_writes_by_hand_holds_whoever_waits_for_an_approval_too(database: Database) -> None:
    inbox = new_inbox(database)
    (due,) = inbox.send()
    settings(database, inbox.campaign_id, approval="all")
    assert claim(database, inbox.campaign_id, hours=24) == []
    inbox.bring(mail("Calling you now.", sender=OWNER, to="bob@example.com", answers=id_of(due)), hours=25)
    approve(database, *waiting(database))
    ((status, reason),) = look(database, "SELECT status, pause_reason FROM campaign_enrollments")
    assert (status, reason.partition(":")[0]) == ("paused", HoldReason.OWNER_WROTE)


def test_what_the_owner_forwards_to_a_colleague_is_of_nobody(database: Database) -> None:
    inbox = new_inbox(database)
    (due,) = inbox.send()
    inbox.bring(mail("FYI", sender=OWNER, to="eve@acme.example", answers=id_of(due)))
    assert inbox.messages() == []
    assert inbox.unrelated() == 1
    assert state(database, inbox.enrollments[0])["status"] == "active"


def test_of_what_is_of_nobody_no_word_stays(database: Database) -> None:
    inbox = new_inbox(database)
    inbox.send()
    secret = mail("My private words", sender="Eve <eve@other.example>", subject="Private")
    inbox.bring(secret)
    assert (inbox.messages(), inbox.unrelated()) == ([], 1)
    rows = look(database, "SELECT b.message_id FROM message_bodies b WHERE raw IS NOT NULL")
    assert rows == []


def test_a_second_mail_with_a_used_id_is_kept_beside_the_first(database: Database) -> None:
    inbox = new_inbox(database)
    (due,) = inbox.send()
    inbox.bring(
        mail("The first.", answers=id_of(due)),
        mail("The second.", answers=id_of(due), date="Mon, 02 Nov 2026 11:00:00 +0000"),
    )
    assert len(inbox.messages()) == 2


def test_a_mail_without_an_id_is_kept_by_its_bytes(database: Database) -> None:
    inbox = new_inbox(database)
    (due,) = inbox.send()
    without = mail("No id here.", answers=id_of(due), id_=None)
    inbox.bring(without)
    inbox.bring(without)
    assert kinds(inbox) == [MailKind.HUMAN]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (mail("x", answers="unknown@example.com"), True),  # of a person in an open thread
        (mail("x", sender="eve@other.example"), False),
        (mail("x", sender=OWNER, to="bob@example.com"), True),
        (mail("x", sender=OWNER, to="eve@other.example"), False),
        (bounce(None), True),
    ],
)
def test_only_the_bodies_of_mails_that_may_matter_are_wanted(database: Database, raw: bytes, expected: bool) -> None:
    inbox = new_inbox(database)
    inbox.send()
    with database.transaction("look") as session:
        now = NOW + timedelta(hours=1)
        assert matching.wanted(session, envelopes=[envelope_of(raw.partition(b"\r\n\r\n")[0])], now=now) == [expected]


def test_a_copy_of_our_own_mail_is_not_wanted(database: Database) -> None:
    inbox = new_inbox(database)
    (due,) = inbox.send()
    copy = mail("Nice to meet you.", sender=OWNER, to="bob@example.com", id_=id_of(due))
    with database.transaction("look") as session:
        assert matching.wanted(session, envelopes=[envelope_of(copy)], now=NOW) == [False]
    inbox.bring(copy)
    assert inbox.messages() == []


def test_mails_that_cross_are_recorded_in_the_order_in_which_they_came(database: Database) -> None:
    inbox = new_inbox(database, ["bob@example.com", "carol@example.com"])
    sent = {due.contact.email: due for due in inbox.send()}
    bob, carol = sent["bob@example.com"], sent["carol@example.com"]
    inbox.bring(
        mail("Stop writing to me.", answers=id_of(bob), id_="1@example.com"),
        mail("Yes please.", sender="Carol <carol@example.com>", answers=id_of(carol), id_="2@example.com"),
        bounce(id_of(carol), recipient="carol@example.com"),
    )
    stopped = {id_: state(database, id_)["stop_reason"] for id_ in inbox.enrollments}
    assert stopped == {bob.enrollment.id: "unsubscribed", carol.enrollment.id: "bounced"}
    assert_counters_are_exact(database)


def test_a_mail_that_can_not_be_recorded_holds_up_no_other_and_is_tried_again(database: Database) -> None:
    people = [f"{name}@example.com" for name in ("bob", "carol", "dan")]
    inbox = new_inbox(database, people)
    sent = {due.contact.email or "": due for due in inbox.send()}
    # The database refuses the answer of one of them.
    run_sql(database, "ALTER TABLE threads ADD CONSTRAINT no_bad CHECK (state <> 'needs_answer' OR messages <> 2 "
                      f"OR enrollment_id <> '{sent[people[1]].enrollment.id}')")  # fmt: skip
    answers = [
        mail("Yes.", sender=email, answers=id_of(sent[email]), id_=f"{number}@x.example")
        for number, email in enumerate(people)
    ]
    inbox.bring(*answers)
    assert [message.kind for message in inbox.messages()] == ["human", "other", "human"]
    assert inbox.messages()[1].rule == recording.INTERNAL_FAULT
    reasons = [state(database, sent[email].enrollment.id)["stop_reason"] for email in people]
    assert reasons == ["replied", None, "replied"]
    run_sql(database, "ALTER TABLE threads DROP CONSTRAINT no_bad")
    again = database.run("again", lambda session: recording.try_again(session, mailbox_id=None))
    assert again == {inbox.mailbox_id}
    assert inbox.record(NOW + timedelta(hours=2)) == 1
    assert {state(database, id_)["stop_reason"] for id_ in inbox.enrollments} == {"replied"}


@pytest.mark.parametrize("odd", ["NUL\0 in it", "half a \ud83d pair", "=?utf-7?q?+2D0-?="])
def test_what_no_database_keeps_is_left_out_of_a_mail(database: Database, odd: str) -> None:
    inbox = new_inbox(database)
    (due,) = inbox.send()
    head = f"From: {odd} <bob@example.com>\r\nSubject: {odd}\r\nIn-Reply-To: <{id_of(due)}>\r\n\r\nYes. {odd}\r\n"
    inbox.bring(head.encode("utf-8", "surrogatepass"))
    assert [message.kind for message in inbox.messages()] == [MailKind.HUMAN]
    assert state(database, inbox.enrollments[0])["stop_reason"] == "replied"
