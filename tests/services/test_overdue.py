"""A server that begins to send over a backlog of weeks holds what is overdue; whoever waits for a limit goes on."""

from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from db.domain.contacts import ContactFields, ContactRef
from db.domain.holds import HoldReason
from db.domain.states import ActionOutcome
from db.postgres.database import Database
from db.services.campaigns import campaigns
from db.services.dispatch import explain
from db.services.enrollments import enrollments
from tests.support.campaigns import NOW, enroll
from tests.support.outgoing import ANN, BEN, connect, running, send_all
from tests.support.steps import claim_at, claim_for, report_at

DAY = timedelta(days=1)


def reasons(database: Database, campaign_id: UUID, days: int) -> list[HoldReason]:
    now = NOW + days * DAY
    told = database.run("explain", partial(explain.campaign, campaign_id=campaign_id, now=now))
    return [hold.reason for hold in told.holds]


def set_(database: Database, campaign_id: UUID, **settings: Any) -> None:
    fields = {"settings": {"mailboxes": [ANN], **settings}}
    database.run("set", partial(campaigns.update, campaign_id=campaign_id, fields=fields, now=NOW))


def enroll_later(database: Database, campaign_id: UUID, days: int) -> None:
    people = {0: ContactRef(None, ContactFields(email="later@example.com"))}
    at = NOW + days * DAY
    database.run("enroll", partial(enrollments.enroll, campaign_id=campaign_id, people=people, start_at=at, now=at))


def test_what_was_long_due_when_the_server_began_waits_for_a_person(database: Database) -> None:
    ann = connect(database, ANN)
    campaign_id = running(database, ANN, people=2)
    nothing = claim_for(database, ann, NOW + 20 * DAY)
    assert (nothing.actions, nothing.next_due_at) == ([], None)
    assert reasons(database, campaign_id, 20) == [HoldReason.OVERDUE]
    enroll_later(database, campaign_id, 20)
    later = NOW + 20 * DAY
    assert [due.contact.email for due in claim_for(database, ann, later).actions] == ["later@example.com"]
    # They do not go on by themselves, however long the server has sent since.
    assert send_all(database, ann, later + 3 * DAY) == 2
    assert send_all(database, ann, later + 9 * DAY) == 0
    assert len(claim_for(database, ann, later + 9 * DAY, include_overdue=True).actions) == 2


def test_a_setting_lets_it_go(database: Database) -> None:
    ann = connect(database, ANN)
    campaign_id = running(database, ANN, people=2)
    assert send_all(database, ann, NOW + 20 * DAY) == 0
    set_(database, campaign_id, include_overdue=True)
    assert reasons(database, campaign_id, 20) == [HoldReason.NO_SENDER_RUNNING]
    assert send_all(database, ann, NOW + 20 * DAY) == 4


def test_what_was_due_for_a_week_goes(database: Database) -> None:
    ann = connect(database, ANN)
    running(database, ANN, people=1)
    assert send_all(database, ann, NOW + 7 * DAY) == 2


def test_whoever_waits_for_a_limit_goes_on_however_long_it_takes(database: Database) -> None:
    ann, ben = connect(database, ANN, daily_limit=1), connect(database, BEN, daily_limit=1)
    running(database, ANN, BEN, people=12)
    assert [send_all(database, mailbox, NOW + n * DAY) for n in range(12) for mailbox in (ann, ben)] == [1] * 24


def test_a_short_break_changes_nothing_and_a_long_one_holds_what_was_due_before(database: Database) -> None:
    ann = connect(database, ANN, daily_limit=1)
    campaign_id = running(database, ANN, people=9)
    days = (0, 1, 7, 13, 14)
    assert [send_all(database, ann, NOW + n * DAY) for n in days] == [1] * len(days)
    assert send_all(database, ann, NOW + 30 * DAY) == 0
    assert reasons(database, campaign_id, 30)[0] is HoldReason.OVERDUE


def test_a_sender_that_comes_back_when_it_was_told_to_makes_no_break(database: Database) -> None:
    ann = connect(database, ANN, daily_limit=2)
    closed = [f"2026-11-{day:02}" for day in range(3, 20)]
    running(database, ANN, people=3, holidays=closed)
    assert send_all(database, ann, NOW) == 2
    following = claim_for(database, ann, NOW).next_due_at
    assert following is not None
    assert following >= NOW + 16 * DAY
    assert send_all(database, ann, following) == 2


def test_agents_get_what_is_overdue(database: Database) -> None:
    connect(database, ANN)
    campaign_id = running(database, ANN, people=2, sent_by="agent")
    enroll(database, campaign_id, ["one@example.com"])
    claimed = claim_at(database, campaign_id, NOW + 30 * DAY).actions
    assert len(claimed) == 3
    report_at(database, claimed[0], ActionOutcome.SENT, NOW + 30 * DAY)
