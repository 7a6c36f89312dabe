"""What a person or an agent says of a mail holds over the rules, and takes back whole what the rules made of it."""

from datetime import UTC, date, datetime, timedelta
from functools import partial
from uuid import UUID

import pytest

from db.domain.errors import InvalidInput, NotFound, Refused
from db.domain.mail.verdict import MailKind
from db.domain.states import ActionOutcome, Interest, SuppressionReason, ThreadState
from db.postgres.database import Database
from db.services.dispatch import actions
from db.services.mail import sorting
from db.services.people import suppressions
from tests.support.campaigns import NOW, assert_counters_are_exact, enroll, make_campaign, state, totals
from tests.support.incoming import SETTINGS, Inbox, answered, bounce, id_of, look, mail, new_inbox, steps
from tests.support.steps import claim, run_sql

LATER = NOW + timedelta(hours=2)


def sort(inbox: Inbox, kind: MailKind | None, message_id: UUID | None = None, **more: object) -> None:
    id_ = message_id or inbox.messages()[-1].id
    given = {"until": None, "interest": None, "now": LATER, **more}
    inbox.database.run("sort", partial(sorting.sort_reply, message_id=id_, kind=kind, **given))  # pyright: ignore[reportArgumentType]


def replay(inbox: Inbox) -> sorting.Replayed:
    work = partial(sorting.replay_some, mailbox_id=inbox.mailbox_id, since=None, after=None, limit=100, now=LATER)
    return inbox.database.run("replay", work)


def test_an_answer_that_was_none_opens_the_enrollment_again(database: Database) -> None:
    inbox = answered(database)
    sort(inbox, MailKind.AUTO_REPLY)
    assert state(database, inbox.enrollments[0])["status"] == "active"
    assert totals(database, inbox.campaign_id)["replied"] == 0
    assert totals(database, inbox.campaign_id)["delivered"] == 1
    (thread,) = inbox.threads()
    assert (thread.state, thread.last_kind) == (ThreadState.WAITING, MailKind.AUTO_REPLY)
    assert [due.step.step_number for due in claim(database, inbox.campaign_id, hours=25)] == [2]
    assert_counters_are_exact(database)


def test_sorting_back_and_forth_ends_where_it_began(database: Database) -> None:
    inbox = answered(database)
    before = state(database, inbox.enrollments[0]), totals(database, inbox.campaign_id)
    for kind in (MailKind.UNSUBSCRIBE, MailKind.BOUNCE, MailKind.ABSENCE, MailKind.HAS_LEFT,
                 MailKind.COMPLAINT, MailKind.OTHER, MailKind.HUMAN):  # fmt: skip
        sort(inbox, kind)
        assert_counters_are_exact(database)
    assert (state(database, inbox.enrollments[0]), totals(database, inbox.campaign_id)) == before
    assert look(database, "SELECT 1 FROM suppressions") == []
    assert look(database, "SELECT 1 FROM contacts WHERE absent_until IS NOT NULL") == []
    assert look(database, "SELECT count(*) FROM campaign_events WHERE provider = 'mailbox'") == [(1,)]


def test_an_unsubscribe_that_was_none_is_lifted_in_every_campaign(database: Database) -> None:
    inbox = new_inbox(database)
    make = partial(make_campaign, name="D", email_steps=steps(2), settings=SETTINGS)
    (other,) = enroll(database, database.run("other", make), ["bob@example.com"])
    (due,) = inbox.send()
    inbox.bring(mail("Unsubscribe me please.", answers=id_of(due)))
    assert state(database, other)["stop_reason"] == "suppressed"
    sort(inbox, MailKind.HUMAN)
    assert look(database, "SELECT 1 FROM suppressions") == []
    assert state(database, other)["status"] == "paused", "since the person has answered"
    assert state(database, inbox.enrollments[0])["stop_reason"] == "replied"
    assert_counters_are_exact(database)
    sort(inbox, MailKind.AUTO_REPLY)
    assert state(database, other)["status"] == "active"


def test_what_a_hand_suppressed_stays(database: Database) -> None:
    inbox = new_inbox(database)
    (due,) = inbox.send()
    by_hand = partial(
        suppressions.suppress, email="bob@example.com", reason=SuppressionReason.UNSUBSCRIBED, source="phone"
    )
    database.run("suppress", by_hand)
    inbox.bring(mail("Unsubscribe me please.", answers=id_of(due)))
    sort(inbox, MailKind.AUTO_REPLY)
    assert look(database, "SELECT source FROM suppressions") == [("phone",)]
    assert state(database, inbox.enrollments[0])["status"] == "unsubscribed"


@pytest.mark.parametrize("words", ["Unsubscribe me please.", None])
def test_a_hands_suppression_that_a_mail_made_stronger_stands_again(database: Database, words: str | None) -> None:
    inbox = new_inbox(database)
    (due,) = inbox.send()
    by_hand = partial(
        suppressions.suppress,
        email="bob@example.com",
        reason=SuppressionReason.MANUAL,
        source="phone",
        expires_at=LATER + timedelta(days=9),
    )
    database.run("suppress", by_hand)
    inbox.bring(bounce(id_of(due)) if words is None else mail(words, answers=id_of(due)))
    if words is not None:  # and once more, by a bounce that says less
        inbox.bring(bounce(id_of(due), id_="b2"))
    reason = "bounced" if words is None else "unsubscribed"
    assert look(database, "SELECT reason, source FROM suppressions") == [(reason, "mailbox")]
    sort(inbox, MailKind.AUTO_REPLY, inbox.messages()[0].id)
    assert look(database, "SELECT reason, source FROM suppressions") == [("manual", "phone")]
    assert look(database, "SELECT expires_at, replaced_reason FROM suppressions") == [(LATER + timedelta(days=9), None)]
    assert state(database, inbox.enrollments[0])["status"] != "active"


@pytest.mark.parametrize("reason", [SuppressionReason.UNSUBSCRIBED, SuppressionReason.BOUNCED])
def test_what_others_said_after_the_mail_stands_when_the_mail_is_taken_back(
    database: Database, reason: SuppressionReason
) -> None:
    inbox = new_inbox(database)
    (due,) = inbox.send()
    inbox.bring(mail("Unsubscribe me please.", answers=id_of(due)))
    for source, said in (("note", SuppressionReason.MANUAL), ("phone", reason), ("list", SuppressionReason.MANUAL)):
        by_hand = partial(suppressions.suppress, email="bob@example.com", reason=said, source=source)
        database.run("suppress", by_hand)
    assert look(database, "SELECT reason, source FROM suppressions") == [("unsubscribed", "mailbox")]
    sort(inbox, MailKind.AUTO_REPLY)
    assert look(database, "SELECT reason, source, replaced_reason FROM suppressions") == [(reason, "phone", None)]
    assert state(database, inbox.enrollments[0])["status"] != "active"


def test_what_another_mail_of_theirs_says_stays(database: Database) -> None:
    inbox = new_inbox(database)
    (due,) = inbox.send()
    inbox.bring(
        mail("Unsubscribe me please.", answers=id_of(due), id_="1@example.com"),
        mail("I said: unsubscribe me.", answers=id_of(due), id_="2@example.com"),
    )
    sort(inbox, MailKind.AUTO_REPLY)
    assert look(database, "SELECT email FROM suppressions") == [("bob@example.com",)]
    assert state(database, inbox.enrollments[0])["status"] == "unsubscribed"


def test_an_absence_takes_the_day_that_is_said_and_is_taken_back(database: Database) -> None:
    inbox = answered(database, "I am away.")
    sort(inbox, MailKind.ABSENCE, until=date(2026, 11, 20))
    assert look(database, "SELECT absent_until FROM contacts") == [(datetime(2026, 11, 21, tzinfo=UTC),)]
    sort(inbox, None, until=date(2026, 11, 10))
    assert look(database, "SELECT absent_until FROM contacts") == [(datetime(2026, 11, 11, tzinfo=UTC),)]
    sort(inbox, MailKind.HUMAN)
    assert look(database, "SELECT absent_until FROM contacts") == [(None,)]


def test_a_guess_that_is_sorted_counts_and_lets_go(database: Database) -> None:
    inbox = new_inbox(database, ["bob@example.com", "carol@example.com"])
    inbox.send()
    inbox.bring(mail("Are you at the fair?", subject="The fair"))
    inbox.bring(mail("At the fair?", sender="carol@example.com", subject="The fair", id_="c@example.com"))
    first, second = inbox.messages()
    sort(inbox, MailKind.HUMAN, first.id)
    sort(inbox, MailKind.AUTO_REPLY, second.id)
    reasons = {state(database, id_)["stop_reason"] for id_ in inbox.enrollments}
    assert reasons == {"replied", None}
    assert look(database, "SELECT pause_reason FROM campaign_enrollments WHERE status = 'paused'") == []
    assert totals(database, inbox.campaign_id)["replied"] == 1


def test_an_interest_is_kept_and_changes_nothing_else(database: Database) -> None:
    inbox = answered(database)
    sort(inbox, None, interest=Interest.NOT_NOW)
    (message,) = inbox.messages()
    assert (message.interest, message.kind, message.sorted_at) == (Interest.NOT_NOW, MailKind.HUMAN, None)


def test_what_can_not_be_sorted_is_refused(database: Database) -> None:
    inbox = answered(database)
    with pytest.raises(InvalidInput, match="Give kind"):
        sort(inbox, None)
    with pytest.raises(InvalidInput, match="until goes with"):
        sort(inbox, MailKind.HUMAN, until=date(2026, 11, 20))
    with pytest.raises(NotFound, match="get_thread"):
        sort(inbox, MailKind.HUMAN, UUID(int=1))
    run_sql(database, "UPDATE messages SET direction = 'out', kind = 'owner_wrote' WHERE mailbox_id IS NOT NULL")
    with pytest.raises(Refused, match="our own"):
        sort(inbox, MailKind.HUMAN)


def test_judging_again_by_the_same_rules_changes_nothing(database: Database) -> None:
    inbox = new_inbox(database, ["bob@example.com", "carol@example.com"])
    sent = {due.contact.email: due for due in inbox.send()}
    inbox.bring(
        mail("Yes.", answers=id_of(sent["bob@example.com"])),
        bounce(id_of(sent["carol@example.com"]), recipient="carol@example.com"),
    )
    before = look(database, "SELECT * FROM campaign_enrollments ORDER BY id")
    assert replay(inbox)[:2] == (2, 0)
    assert look(database, "SELECT * FROM campaign_enrollments ORDER BY id") == before
    assert [thread.messages for thread in inbox.threads()] == [2, 2]


def test_judging_again_mends_what_an_older_rule_got_wrong(database: Database) -> None:
    inbox = answered(database, "Please remove me from your list.")
    sort(inbox, MailKind.HUMAN)
    run_sql(database, "UPDATE messages SET sorted_at = NULL, rules_version = 1 WHERE kind IS NOT NULL")
    assert replay(inbox)[:2] == (1, 1)
    assert state(database, inbox.enrollments[0])["stop_reason"] == "unsubscribed"
    assert totals(database, inbox.campaign_id)["replied"] == 0
    assert_counters_are_exact(database)


def test_what_was_sorted_by_hand_survives_a_replay(database: Database) -> None:
    inbox = answered(database, "Please remove me from your list.")
    sort(inbox, MailKind.HUMAN)
    assert replay(inbox) == sorting.Replayed(0, 0, None)
    assert [message.kind for message in inbox.messages()] == [MailKind.HUMAN]


def test_judging_again_finds_a_guess_whose_message_id_was_told_later(database: Database) -> None:
    inbox = new_inbox(database)
    (due,) = inbox.send()
    inbox.bring(mail("I answer what the provider really sent.", answers="made-by-provider@example.net"))
    assert inbox.messages()[0].is_guess
    told = partial(
        actions.complete,
        action_id=due.action_id,
        lease_token=due.lease_token,
        outcome=ActionOutcome.SENT,
        provider=None,
        provider_message_id=None,
        error=None,
        internet_message_id="made-by-provider@example.net",
        now=LATER,
    )
    database.run("told later", told)
    assert replay(inbox)[:2] == (1, 1)
    assert state(database, inbox.enrollments[0])["stop_reason"] == "replied"
    assert totals(database, inbox.campaign_id)["replied"] == 1
