"""The mails that this server sends: what becomes of each is kept, and none goes out twice."""

import zlib
from dataclasses import replace
from datetime import timedelta
from functools import partial
from uuid import UUID

import pytest
from sqlalchemy.orm import Session

from db.domain.errors import LeaseLost, NotFound, Refused
from db.domain.events import EventType
from db.domain.holds import HoldReason
from db.domain.mail.verdict import BounceKind
from db.domain.states import EnrollmentAction, MessageStatus, SettledAs
from db.postgres.database import Database
from db.services.dispatch import explain
from db.services.enrollments import enrollments
from db.services.mail import mailboxes, progress
from db.services.mail.mailboxes import MailboxChange
from db.services.mail.progress import MailboxProgress
from db.services.outgoing import queue, settling, signs
from db.services.outgoing.mails import NotBegun, QueuedMail
from db.services.state import message_rows
from tests.support.campaigns import assert_counters_are_exact, event, record, state, totals
from tests.support.incoming import look
from tests.support.outbox import RAW, SMTP, Outbox, at, new_outbox


def holds_of(outbox: Outbox, *, hours: float = 0) -> list[str]:
    """What holds the step, besides that agents don't get it."""
    work = partial(explain.enrollment, enrollment_id=outbox.enrollments[0], now=at(hours))
    found = [hold.reason for hold in outbox.database.run("explain", work).holds]
    return [str(reason) for reason in found if reason is not HoldReason.SENT_BY_SERVER]


def test_a_mail_that_was_taken_completes_its_step(database: Database) -> None:
    outbox = new_outbox(database)
    (mail,) = outbox.claim()
    assert outbox.statuses() == [MessageStatus.QUEUED]
    assert outbox.begin(mail) is None
    assert outbox.statuses() == [MessageStatus.SENDING]
    ((raw, digest),) = look(
        database, "SELECT b.raw, m.hash FROM messages m JOIN message_bodies b ON b.message_id = m.id"
    )
    assert zlib.decompress(raw) == RAW
    assert digest is not None
    outbox.sent(mail, hours=0.1)
    outbox.sent(mail, hours=0.2)
    assert outbox.statuses() == [MessageStatus.SENT]
    now = state(database, outbox.enrollments[0])
    assert (now["current_step"], now["next_action_at"]) == (1, at(24.1))
    assert totals(database, outbox.campaign_id)["sent"] == 1
    assert outbox.claim(hours=1) == []
    assert [later.step_number for later in outbox.claim(hours=25)] == [2]
    assert_counters_are_exact(database)


def test_a_mail_tells_all_that_its_bytes_are_made_of(database: Database) -> None:
    outbox = new_outbox(database)
    (first,) = outbox.claim(public_url="https://mail.acme.example")
    assert (first.sender.address, first.recipient.address) == ("ann@acme.example", "bob@example.com")
    assert (first.subject, first.text, first.references) == ("Mail 1", "Nice to meet you.", ())
    assert first.internet_message_id == f"{first.action_id}@acme.example"
    assert first.headers["List-Unsubscribe"].startswith("<https://mail.acme.example/unsubscribe/")
    assert outbox.begin(first) is None
    outbox.sent(first)
    (second,) = outbox.claim(hours=25)
    assert second.references == (first.internet_message_id,)


def test_a_claim_that_has_not_begun_is_given_back(database: Database) -> None:
    outbox = new_outbox(database)
    mails = outbox.claim()
    database.run("release", partial(queue.release, lease=outbox.lease, mails=mails, now=at(0.01)))
    assert state(database, outbox.enrollments[0])["next_action_at"] == at(0.01)
    (again,) = outbox.claim(hours=0.01)
    assert again.lease_token != mails[0].lease_token
    assert again.internet_message_id == mails[0].internet_message_id
    assert outbox.begin(mails[0], hours=0.01) is NotBegun.CLAIMED_ANEW
    assert outbox.begin(again, hours=0.01) is None


def test_the_next_holder_settles_what_the_last_one_left(database: Database) -> None:
    outbox = new_outbox(database, ["bob@example.com", "eve@example.com"])
    begun, waiting = outbox.claim()
    assert outbox.begin(begun) is None
    other, left = outbox.taken_over(hours=0.01)
    assert left == (1, 1)
    assert sorted(filter(None, other.statuses())) == [MessageStatus.QUEUED, MessageStatus.UNKNOWN]
    assert [mail.action_id for mail in other.claim(hours=0.01)] == [waiting.action_id]
    assert other.claim(hours=100) != []  # the lease of that mail ran out; never the unknown one
    assert begun.action_id not in {mail.action_id for mail in other.claim(hours=1_000)}
    with pytest.raises(LeaseLost):
        outbox.begin(waiting, hours=0.01)
    with pytest.raises(LeaseLost):
        outbox.claim()


def test_nobody_is_written_to_again_while_nobody_knows_whether_a_mail_went_out(database: Database) -> None:
    outbox = new_outbox(database)
    mail = outbox.begun()
    outbox.unknown(mail)
    outbox.unknown(mail)
    assert outbox.statuses() == [MessageStatus.UNKNOWN]
    assert holds_of(outbox) == [HoldReason.DELIVERY_UNKNOWN]
    for hours in (1.0, 100.0):
        resume = partial(
            enrollments.update, enrollment_id=mail.enrollment_id, action=EnrollmentAction.RESUME, now=at(hours)
        )
        database.run("resume", resume)
        assert holds_of(outbox, hours=hours) == [HoldReason.DELIVERY_UNKNOWN]
        assert outbox.claim(hours=hours) == []
        assert state(database, mail.enrollment_id)["status"] == "paused"
    assert look(database, "SELECT status, error FROM campaign_actions") == [("claimed", None)]
    assert_counters_are_exact(database)


def test_a_copy_in_sent_settles_an_unknown_mail(database: Database) -> None:
    outbox = new_outbox(database)
    mail = outbox.begun()
    outbox.unknown(mail)
    ids = ["other@acme.example", mail.internet_message_id]
    assert database.run("look", partial(signs.are_unsettled, internet_message_ids=ids))
    assert database.run("found", partial(signs.found, internet_message_ids=ids, now=at(1))) == 1
    assert database.run("found", partial(signs.found, internet_message_ids=ids, now=at(1))) == 0
    assert outbox.statuses() == [MessageStatus.SENT]
    now = state(database, mail.enrollment_id)
    assert (now["status"], now["current_step"], now["next_action_at"]) == ("active", 1, at(25))
    assert totals(database, outbox.campaign_id)["sent"] == 1
    assert_counters_are_exact(database)


def test_the_report_of_a_provider_settles_an_unknown_mail(database: Database) -> None:
    outbox = new_outbox(database)
    mail = outbox.begun()
    outbox.unknown(mail)
    record(database, event(EventType.DELIVERED, mail.enrollment_id, hours=1, step_number=1))
    assert database.run("settle", partial(signs.settle, mailbox_id=outbox.mailbox_id, now=at(2))) == 1
    assert outbox.statuses() == [MessageStatus.SENT]
    assert state(database, mail.enrollment_id)["status"] == "active"
    assert [later.step_number for later in outbox.claim(hours=26)] == [2]


def test_a_deferred_mail_whose_step_a_hand_skips_is_dropped(database: Database) -> None:
    outbox = new_outbox(database)
    mail = outbox.begun()
    outbox.deferred(mail)
    skip = partial(enrollments.update, enrollment_id=mail.enrollment_id, action=EnrollmentAction.ADVANCE, now=at(0.001))
    database.run("skip", skip)
    assert [later.step_number for later in outbox.claim(hours=25)] == [2]
    assert outbox.statuses() == [MessageStatus.NOT_SENT, MessageStatus.QUEUED]


def test_a_deferred_mail_is_tried_again_after_longer_and_longer_pauses(database: Database) -> None:
    outbox = new_outbox(database)
    waited: list[float] = []
    hours = 0.0
    while True:
        (mail,) = outbox.claim(hours=hours)
        assert outbox.begin(mail, hours=hours) is None
        again_at = outbox.deferred(mail, hours=hours)
        if again_at is None:
            break
        assert outbox.deferred(mail, hours=hours) == again_at  # told twice, it counts once
        assert outbox.statuses() == [MessageStatus.QUEUED]
        if len(waited) < 3:
            assert holds_of(outbox, hours=hours) == [HoldReason.DEFERRED]
        later = (again_at - at(0)) / timedelta(hours=1)
        assert outbox.claim(hours=later - 0.001) == []
        waited.append(round((later - hours) * 60))
        hours = later
    assert waited[:6] == [1, 5, 15, 60, 60, 60]
    assert 72 <= hours < 73.5
    assert outbox.statuses() == [MessageStatus.REFUSED]
    assert look(database, "SELECT bounce, rule, answer FROM messages") == [
        ("expired", "deferred_for_72_hours", "450 try later")
    ]
    assert totals(database, outbox.campaign_id)["sent"] == totals(database, outbox.campaign_id)["bounced"] == 1
    assert_counters_are_exact(database)


def test_the_pause_before_another_attempt_can_be_set(database: Database) -> None:
    outbox = new_outbox(database)
    mail = outbox.begun()
    assert outbox.deferred(mail, retry_seconds=7) == at(0) + timedelta(seconds=7)


def test_a_recipient_that_is_refused_for_good_has_bounced(database: Database) -> None:
    outbox = new_outbox(database)
    (mail,) = outbox.claim()
    assert outbox.refused(mail, BounceKind.HARD) is None
    assert outbox.refused(mail, BounceKind.HARD) is None
    assert outbox.statuses() == [MessageStatus.REFUSED]
    assert state(database, mail.enrollment_id)["stop_reason"] == "bounced"
    assert look(database, "SELECT email, reason FROM suppressions") == [("bob@example.com", "bounced")]
    counted = totals(database, outbox.campaign_id)
    assert (counted["sent"], counted["bounced"], counted["hard_bounced"]) == (1, 1, 1)
    assert_counters_are_exact(database)


def test_who_is_refused_for_now_goes_on_until_it_is_five_times_in_a_row(database: Database) -> None:
    outbox = new_outbox(database, number=6)
    for n in range(5):
        assert state(database, outbox.enrollments[0])["stop_reason"] is None
        outbox.refused(outbox.begun(hours=25 * n), BounceKind.FULL, hours=25 * n)
    assert state(database, outbox.enrollments[0])["stop_reason"] == "bounced"
    assert_counters_are_exact(database)


def test_a_refusal_of_the_mailbox_gives_the_step_back_and_three_in_a_row_make_it_failing(database: Database) -> None:
    outbox = new_outbox(database, [f"p{n}@example.com" for n in range(4)])
    mails = outbox.claim()
    assert outbox.refused(mails[0], BounceKind.POLICY) == at(1)
    assert outbox.refused(mails[0], BounceKind.POLICY, hours=0.5) == at(1)
    assert outbox.begin(mails[1]) is None
    assert outbox.refused(mails[1], BounceKind.AUTH) == at(1)
    assert look(database, "SELECT status FROM mailboxes") == [("active",)]
    assert outbox.refused(mails[2], BounceKind.POLICY) == at(1)
    ((status, problem),) = look(database, "SELECT status, problem FROM mailboxes")
    assert status == "failing"
    assert "3 mails in a row" in problem
    assert "550 no" in problem
    assert outbox.begin(mails[3]) is NotBegun.MAILBOX
    assert totals(database, outbox.campaign_id)["sent"] == 0
    assert look(database, "SELECT 1 FROM suppressions") == []


def test_a_mail_that_is_taken_ends_the_row_of_refusals(database: Database) -> None:
    outbox = new_outbox(database, [f"p{n}@example.com" for n in range(4)])
    mails = outbox.claim()
    outbox.refused(mails[0], BounceKind.POLICY)
    outbox.refused(mails[1], BounceKind.POLICY)
    assert outbox.begin(mails[2]) is None
    outbox.sent(mails[2])
    outbox.refused(mails[3], BounceKind.POLICY)
    assert look(database, "SELECT status, refusals FROM mailboxes") == [("active", 1)]


def test_a_mail_that_can_not_be_offered_pauses_its_enrollment(database: Database) -> None:
    outbox = new_outbox(database)
    (mail,) = outbox.claim()
    assert outbox.refused(mail, BounceKind.UNKNOWN, code=None) is None
    assert outbox.statuses() == [MessageStatus.NOT_SENT]
    assert state(database, mail.enrollment_id)["status"] == "paused"
    resume = partial(enrollments.update, enrollment_id=mail.enrollment_id, action=EnrollmentAction.RESUME, now=at(1))
    database.run("resume", resume)
    assert [again.action_id for again in outbox.claim(hours=1)] == [mail.action_id]


def test_an_answer_that_comes_after_the_mailbox_was_taken_over_counts(database: Database) -> None:
    outbox = new_outbox(database, [f"p{n}@example.com" for n in range(3)])
    sent, deferred, refused = outbox.claim()
    for mail in (sent, deferred, refused):
        assert outbox.begin(mail) is None
    other, left = outbox.taken_over()
    assert left == (3, 0)
    outbox.sent(sent)
    assert outbox.deferred(deferred) is not None
    outbox.refused(refused, BounceKind.HARD)
    assert sorted(filter(None, outbox.statuses())) == ["queued", "refused", "sent"]
    assert [mail.action_id for mail in other.claim(hours=1)] == [deferred.action_id]
    assert_counters_are_exact(database)


def test_what_waits_for_somebody_who_has_ended_is_dropped(database: Database) -> None:
    outbox = new_outbox(database)
    outbox.deferred(outbox.begun())
    complete = partial(
        enrollments.update, enrollment_id=outbox.enrollments[0], action=EnrollmentAction.COMPLETE, now=at(0)
    )
    database.run("complete", complete)
    assert outbox.claim(hours=1) == []
    assert outbox.statuses() == [MessageStatus.NOT_SENT]


def settle(outbox: Outbox, mail: QueuedMail, outcome: SettledAs, *, hours: float = 1) -> str | None:
    work = partial(settling.settle_message, message_id=mail.message_id, outcome=outcome, now=at(hours))
    return outbox.database.run("settle", lambda session: work(session).status)


def test_a_person_says_that_an_unknown_mail_was_sent(database: Database) -> None:
    outbox = new_outbox(database)
    mail = outbox.begun()
    outbox.unknown(mail)
    for _ in range(2):
        assert settle(outbox, mail, SettledAs.SENT) == MessageStatus.SENT
    now = state(database, mail.enrollment_id)
    assert (now["status"], now["current_step"], now["next_action_at"]) == ("active", 1, at(25))
    assert totals(database, outbox.campaign_id)["sent"] == 1
    with pytest.raises(Refused, match="sent"):
        settle(outbox, mail, SettledAs.NOT_SENT)
    assert_counters_are_exact(database)


def test_a_mail_that_a_person_says_was_not_sent_goes_out_with_the_same_message_id(database: Database) -> None:
    outbox = new_outbox(database)
    mail = outbox.begun()
    outbox.unknown(mail)
    for _ in range(2):
        assert settle(outbox, mail, SettledAs.NOT_SENT) == MessageStatus.NOT_SENT
    (again,) = outbox.claim(hours=1)
    assert again.internet_message_id == mail.internet_message_id
    assert outbox.begin(again, hours=1) is None
    assert outbox.begin(mail, hours=1) is NotBegun.CLAIMED_ANEW
    outbox.deferred(mail, hours=1)  # of the attempt before, whose sender was slow
    outbox.unknown(mail, hours=1)
    outbox.refused(mail, BounceKind.HARD, hours=1)
    assert outbox.statuses() == [MessageStatus.SENDING]
    outbox.sent(again, hours=1)
    assert totals(database, outbox.campaign_id)["sent"] == 1


def test_a_sign_counts_more_than_what_a_person_said(database: Database) -> None:
    outbox = new_outbox(database)
    mail = outbox.begun()
    outbox.unknown(mail)
    settle(outbox, mail, SettledAs.NOT_SENT)
    (again,) = outbox.claim(hours=1)
    ids = [mail.internet_message_id]
    database.run("found", partial(signs.found, internet_message_ids=ids, now=at(1)))
    assert outbox.begin(again, hours=1) is NotBegun.CLAIMED_ANEW
    assert outbox.statuses() == [MessageStatus.SENT]
    assert totals(database, outbox.campaign_id)["sent"] == 1


def test_only_an_unknown_mail_is_settled(database: Database) -> None:
    outbox = new_outbox(database)
    (mail,) = outbox.claim()
    with pytest.raises(Refused, match="queued"):
        settle(outbox, mail, SettledAs.SENT)
    with pytest.raises(NotFound, match="get_enrollment"):
        settle(outbox, replace(mail, message_id=UUID(int=1)), SettledAs.SENT)


def test_a_mailbox_tells_how_many_mails_wait_and_of_how_many_nobody_knows(database: Database) -> None:
    outbox = new_outbox(database, [f"p{n}@example.com" for n in range(4)])
    sent, lost, refused, _ = outbox.claim()
    for mail in (sent, lost):
        assert outbox.begin(mail) is None
    outbox.sent(sent, hours=0.5)
    outbox.unknown(lost)
    outbox.refused(refused, BounceKind.HARD, hours=0.7)

    def told(session: Session) -> MailboxProgress:
        rows = mailboxes.list_(session)
        return progress.of_mailboxes(session, rows=rows, now=at(1))[outbox.mailbox_id]

    found = database.run("progress", told)
    assert (found.queued, found.unknown, found.sent_today, found.last_sent_at) == (1, 1, 1, at(0.5))


@pytest.mark.parametrize("kind", [BounceKind.POLICY, BounceKind.HARD])
def test_what_a_mailbox_was_sending_when_it_was_removed_is_unknown_until_somebody_knows(
    database: Database, kind: BounceKind
) -> None:
    outbox = new_outbox(database)
    mail = outbox.begun()
    other = partial(mailboxes.connect, address="cleo@other.example", change=MailboxChange(smtp=SMTP))
    database.run("other", lambda session: other(session).id)
    database.run("remove", partial(mailboxes.remove, mailbox=outbox.mailbox_id, move_to="cleo@other.example"))
    assert outbox.statuses() == [MessageStatus.UNKNOWN]
    outbox.refused(mail, kind)
    assert outbox.statuses() == [MessageStatus.QUEUED if kind is BounceKind.POLICY else MessageStatus.REFUSED]


def test_an_unknown_mail_outlives_the_words_of_its_age(database: Database) -> None:
    outbox = new_outbox(database, ["bob@example.com", "eve@example.com"])
    mail, other = outbox.claim()
    assert outbox.begin(mail) is None
    outbox.unknown(mail)
    for enrollment_id in (mail.enrollment_id, other.enrollment_id):
        complete = partial(enrollments.update, enrollment_id=enrollment_id, action=EnrollmentAction.COMPLETE, now=at(1))
        database.run("complete", complete)
    database.run("forget", partial(message_rows.forget_some, before=at(10_000), limit=10))
    assert look(database, "SELECT 1 FROM message_bodies") == []
    assert outbox.statuses() == [MessageStatus.UNKNOWN]
    assert settle(outbox, mail, SettledAs.SENT) == MessageStatus.SENT
    database.run("forget", partial(message_rows.forget_some, before=at(10_000), limit=10))
    assert outbox.statuses() == []
