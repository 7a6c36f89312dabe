"""Each mailbox has a pace of its own: limits, gap, ramp-up, window and zone, whatever its campaigns; and a state."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest

from db.domain.holds import HoldReason
from db.domain.mailboxes import MailboxCommand
from db.domain.sending import WEEKDAYS
from db.domain.states import ActionOutcome
from db.postgres.database import Database
from db.services.dispatch import explain
from db.services.mail import mailboxes
from db.services.mail.mailboxes import MailboxChange
from tests.support.campaigns import enroll
from tests.support.incoming import look
from tests.support.outgoing import ANN, BEN, connect, running, send_all
from tests.support.steps import claim_at, claim_for, report_at

MORNING = datetime(2026, 11, 2, 9, 10, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ALL_DAYS = list(WEEKDAYS)


def pause(database: Database, address: str, *, is_paused: bool = True) -> None:
    change = partial(mailboxes.update, mailbox=address, change=MailboxChange(), is_paused=is_paused)
    database.run("pause", change)


def fail(database: Database, address: str) -> None:
    def work(session: Any) -> None:
        row = mailboxes.find(session, mailbox=address, is_locked=True)
        mailboxes.command(session, row=row, command=MailboxCommand.FAIL, problem="The host refuses.", now=MORNING)

    database.run("fail", work)


def reasons(database: Database, campaign_id: UUID, now: datetime) -> list[HoldReason]:
    told = database.run("explain", partial(explain.campaign, campaign_id=campaign_id, now=now))
    return [hold.reason for hold in told.holds]


def test_a_mailbox_sends_as_many_a_day_as_it_may_in_its_own_zone(database: Database) -> None:
    ann = connect(database, ANN, daily_limit=3, timezone="Asia/Tokyo")
    campaign_id = running(database, ANN, people=10)
    assert send_all(database, ann, MORNING) == 3
    midnight = datetime(2026, 11, 2, 15, 0, tzinfo=UTC)
    assert claim_for(database, ann, MORNING).next_due_at == midnight
    assert reasons(database, campaign_id, MORNING)[0] is HoldReason.SENDER_DAILY_LIMIT
    assert send_all(database, ann, midnight - timedelta(seconds=1)) == 0
    assert send_all(database, ann, midnight) == 3


def test_a_mailbox_sends_as_many_an_hour_as_it_may(database: Database) -> None:
    ann = connect(database, ANN, hourly_limit=2, timezone="Asia/Kolkata")
    campaign_id = running(database, ANN, people=10)
    assert send_all(database, ann, MORNING) == 2
    # The clock of India shows half past when that of London shows the full hour.
    next_hour = MORNING + timedelta(minutes=20)
    assert claim_for(database, ann, MORNING).next_due_at == next_hour
    assert reasons(database, campaign_id, MORNING)[0] is HoldReason.SENDER_HOURLY_LIMIT
    assert send_all(database, ann, next_hour) == 2


def test_a_lost_step_goes_out_again_in_its_hour_on_its_place_and_later_on_a_new_one(database: Database) -> None:
    ann = connect(database, ANN, hourly_limit=1, daily_limit=2)
    running(database, ANN, people=1)
    (lost,) = claim_for(database, ann, MORNING).actions
    for minutes in (10, 49):
        (again,) = claim_for(database, ann, MORNING + timedelta(minutes=minutes)).actions
        assert (again.action_id, again.reserved_at) == (lost.action_id, MORNING)
    later = MORNING + HOUR
    (again,) = claim_for(database, ann, later).actions
    assert (again.action_id, again.reserved_at) == (lost.action_id, later)
    report_at(database, again, ActionOutcome.SENT, later)
    assert send_all(database, ann, later) == 0
    # It took a place of this hour, and none more of the day.
    assert send_all(database, ann, later + HOUR) == 1


def test_the_gap_is_drawn_between_one_and_one_and_a_half_and_each_look_finds_the_same(database: Database) -> None:
    ann = connect(database, ANN, min_gap_seconds=100)
    campaign_id = running(database, ANN, people=30)
    gaps, now = set[float](), MORNING
    for _ in range(12):
        assert send_all(database, ann, now) == 1
        following = claim_for(database, ann, now).next_due_at
        assert following is not None
        told = database.run("explain", partial(explain.campaign, campaign_id=campaign_id, now=now))
        assert told.holds[0].until == claim_for(database, ann, now).next_due_at == following
        assert send_all(database, ann, following - timedelta(seconds=1)) == 0
        gaps.add((following - now).total_seconds())
        now = following
    assert min(gaps) >= 100
    assert max(gaps) <= 150
    assert len(gaps) > 6


def test_the_gap_counts_over_midnight_as_it_did_before(database: Database) -> None:
    ann = connect(database, ANN, min_gap_seconds=7200)
    running(database, ANN, people=3)
    late = datetime(2026, 11, 2, 23, 30, tzinfo=UTC)
    assert send_all(database, ann, late) == 1
    following = claim_for(database, ann, late).next_due_at
    assert following is not None
    assert claim_for(database, ann, late + HOUR).next_due_at == following
    assert send_all(database, ann, following - timedelta(seconds=1)) == 0
    assert send_all(database, ann, following) == 1


def test_a_mailbox_without_a_gap_sends_at_once(database: Database) -> None:
    ann = connect(database, ANN, min_gap_seconds=0)
    running(database, ANN, people=5)
    assert len(claim_for(database, ann, MORNING).actions) == 5


def test_a_ramp_up_begins_with_the_first_mail(database: Database) -> None:
    ann = connect(database, ANN, daily_limit=50, ramp_up={"start": 2, "increase": 3})
    running(database, ANN, people=40)
    start = MORNING + 3 * DAY
    assert [send_all(database, ann, start + n * DAY) for n in range(4)] == [2, 5, 8, 11]


def test_a_mailbox_sends_while_its_own_window_and_that_of_the_campaign_are_open(database: Database) -> None:
    window = {"days": ALL_DAYS, "start": "10:00", "end": "12:00"}
    ann = connect(database, ANN, window=window, timezone="Europe/Berlin")
    hours = {"days": ALL_DAYS, "start": "10:30", "end": "18:00"}
    campaign_id = running(database, ANN, people=2, sending_window=hours, timezone="UTC")
    opening = MORNING.replace(hour=10, minute=30)
    assert claim_for(database, ann, MORNING).next_due_at == opening
    assert send_all(database, ann, opening) == 4
    enroll(database, campaign_id, ["later@example.com"])
    noon = MORNING.replace(hour=12)
    assert claim_for(database, ann, noon).actions == []
    assert claim_for(database, ann, noon).next_due_at == opening + DAY
    assert reasons(database, campaign_id, noon)[0] is HoldReason.OUTSIDE_WINDOW


@pytest.mark.parametrize(("rest", "reason"), [(pause, HoldReason.MAILBOX_PAUSED), (fail, HoldReason.MAILBOX_FAILING)])
def test_a_mailbox_that_rests_holds_its_people_and_no_others(database: Database, rest: Any, reason: HoldReason) -> None:
    ann, ben = connect(database, ANN), connect(database, BEN)
    campaign_id = running(database, ANN, BEN, people=4)
    handed = [*claim_for(database, ann, MORNING, limit=1).actions, *claim_for(database, ben, MORNING, limit=1).actions]
    for due in handed:
        report_at(database, due, ActionOutcome.SENT, MORNING)
    rest(database, ANN)
    assert claim_for(database, ann, MORNING).actions == []
    assert claim_for(database, ann, MORNING).next_due_at is None
    assert Counter(due.mailbox for due in claim_for(database, ben, MORNING).actions) == {BEN: 3}
    held = partial(explain.enrollment, enrollment_id=handed[0].enrollment.id, now=MORNING)
    told = database.run("explain", held)
    assert (told.holds[0].reason, told.next_at) == (reason, None)
    rest(database, BEN)
    enroll(database, campaign_id, ["later@example.com"])
    assert reasons(database, campaign_id, MORNING + DAY)[0] is reason


def test_agents_keep_to_the_limits_of_mailboxes(database: Database) -> None:
    connect(database, ANN, daily_limit=2)
    connect(database, BEN, daily_limit=5)
    campaign_id = running(database, ANN, BEN, people=20, sent_by="agent")
    claim = claim_at(database, campaign_id, MORNING)
    assert Counter(due.mailbox for due in claim.actions) == {ANN: 2, BEN: 5}
    assert Counter(due.sender for due in claim.actions) == {ANN: 2, BEN: 5}
    for due in claim.actions:
        report_at(database, due, ActionOutcome.SENT, MORNING)
    assert claim_at(database, campaign_id, MORNING).next_due_at == MORNING.replace(hour=0, minute=0) + DAY


def test_an_account_that_is_a_mailbox_has_its_limits_and_its_count(database: Database) -> None:
    ann = connect(database, ANN, daily_limit=3)
    running(database, ANN, people=5)
    sender = {"account": ANN.upper(), "daily_limit": 4}
    other = running(database, people=5, senders={"email": sender})
    assert len(claim_at(database, other, MORNING, limit=2).actions) == 2
    assert send_all(database, ann, MORNING) == 1
    assert claim_at(database, other, MORNING).actions == []
    pause(database, ANN)
    assert reasons(database, other, MORNING + DAY) == [HoldReason.MAILBOX_PAUSED]
    assert claim_at(database, other, MORNING + DAY).actions == []
    pause(database, ANN, is_paused=False)
    assert len(claim_at(database, other, MORNING + DAY).actions) == 3


def test_limits_of_an_account_hold_for_the_mailbox_of_that_name(database: Database) -> None:
    ann = connect(database, ANN, daily_limit=30)
    running(database, people=0, senders={"email": {"account": ANN, "daily_limit": 2}})
    running(database, ANN, people=5)
    assert send_all(database, ann, MORNING) == 2


def test_whoever_is_slower_gets_as_many_people_in_the_end(database: Database) -> None:
    ann, ben = connect(database, ANN, min_gap_seconds=600), connect(database, BEN)
    running(database, ANN, BEN, people=10)
    assert send_all(database, ben, MORNING) == 5 * 2
    now, sent = MORNING, 0
    while sent < 10:
        sent += send_all(database, ann, now)
        now += timedelta(minutes=15)
    assert sent == 10
    rows = look(database, "SELECT count(*) FROM campaign_enrollments GROUP BY mailbox_id")
    assert rows == [(5,), (5,)]


def test_what_one_may_not_send_today_another_takes(database: Database) -> None:
    ann, ben = connect(database, ANN, daily_limit=1), connect(database, BEN)
    running(database, ANN, BEN, people=9)
    assert len(claim_for(database, ann, MORNING).actions) == 1
    assert len(claim_for(database, ben, MORNING).actions) == 8


def test_a_sender_is_told_when_to_look_again_for_people_whom_another_takes(database: Database) -> None:
    ann, ben = connect(database, ANN), connect(database, BEN, min_gap_seconds=60)
    running(database, ANN, BEN, people=3)
    assert len(claim_for(database, ann, MORNING).actions) == 2
    waiting = claim_for(database, ann, MORNING)
    assert waiting.actions == []
    assert waiting.next_due_at is not None
    assert MORNING < waiting.next_due_at <= MORNING + timedelta(minutes=1)
    assert len(claim_for(database, ben, MORNING).actions) == 1
