"""Accounts that campaigns share: their days, their counts, and what is given back."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from db.domain.events import EventType
from db.domain.states import ActionOutcome
from db.domain.templates import EmailStep
from db.postgres.database import Database
from db.services.campaigns import campaigns
from db.services.dispatch import claims, explain, lint
from tests.support.campaigns import enroll, event, make_campaign, record
from tests.support.steps import claim_at, report_at

ACCOUNT = "ann@example.com"
NOON = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def settings(zone: str, **sender: Any) -> dict[str, Any]:
    return {"timezone": zone, "senders": {"email": {"account": ACCOUNT, **sender}}}


def running(database: Database, given: Mapping[str, Any], people: int = 0) -> UUID:
    steps = [EmailStep(1, "Hello", "The first of all")]
    campaign_id = database.run("campaign", lambda session: make_campaign(session, email_steps=steps, settings=given))
    enroll(database, campaign_id, [f"p{index}@{campaign_id}.example.com" for index in range(people)])
    return campaign_id


def work_off(database: Database, campaign_id: UUID, now: datetime, *, limit: int = 100) -> int:
    """Claim and send; how many."""
    claimed = claim_at(database, campaign_id, now, limit=limit).actions
    for due in claimed:
        report_at(database, due, ActionOutcome.SENT, now)
    return len(claimed)


def set_(database: Database, campaign_id: UUID, given: Mapping[str, Any], now: datetime) -> None:
    database.run(
        "set",
        lambda session: campaigns.update(session, campaign_id=campaign_id, fields={"settings": dict(given)}, now=now),
    )


def test_an_account_has_one_day_in_whatever_zones_its_campaigns_are(database: Database) -> None:
    auckland, angeles = (
        running(database, settings(zone, daily_limit=10), 20) for zone in ("Pacific/Auckland", "America/Los_Angeles")
    )
    assert (work_off(database, auckland, NOON), work_off(database, angeles, NOON)) == (10, 0)
    midnight = datetime(2026, 11, 3, tzinfo=UTC)
    assert claim_at(database, angeles, NOON).next_due_at == claim_at(database, auckland, NOON).next_due_at == midnight
    # Nor does it get a day of its own by moving a campaign.
    set_(database, auckland, settings("Asia/Tokyo", daily_limit=10), NOON)
    assert work_off(database, auckland, midnight - timedelta(seconds=1)) == 0
    assert work_off(database, angeles, midnight) == 10


def test_the_day_of_an_account_is_that_of_the_zone_it_is_given(database: Database) -> None:
    given = settings("America/Los_Angeles", daily_limit=1, timezone="Asia/Tokyo")
    campaign_id = running(database, given, 2)
    assert work_off(database, campaign_id, NOON) == 1
    opening = datetime(2026, 11, 2, 15, 0, tzinfo=UTC)  # midnight in Tokyo
    assert claim_at(database, campaign_id, NOON).next_due_at == opening
    assert work_off(database, campaign_id, opening) == 1


def test_a_campaign_that_moves_to_another_zone_takes_its_counts_along(database: Database) -> None:
    campaign_id = running(database, {"timezone": "Pacific/Auckland", "daily_limit": 3}, 9)
    assert work_off(database, campaign_id, NOON) == 3  # Tuesday, 01:00 in Auckland
    set_(database, campaign_id, {"timezone": "America/Los_Angeles", "daily_limit": 3}, NOON)
    assert work_off(database, campaign_id, NOON) == 0  # Monday, 04:00 in Los Angeles
    set_(database, campaign_id, {"timezone": "Asia/Tokyo", "daily_limit": 3}, NOON)
    assert work_off(database, campaign_id, datetime(2026, 11, 2, 15, 0, tzinfo=UTC)) == 3


def test_what_went_out_before_a_limit_was_set_counts(database: Database) -> None:
    campaign_id = running(database, {}, 40)
    assert work_off(database, campaign_id, NOON, limit=20) == 20
    set_(database, campaign_id, {"daily_limit": 5}, NOON)
    assert work_off(database, campaign_id, NOON) == 0
    set_(database, campaign_id, {"daily_limit": 22, "min_gap_seconds": 600}, NOON)
    held = claim_at(database, campaign_id, NOON + timedelta(minutes=9))
    assert (held.actions, held.next_due_at) == ([], NOON + timedelta(minutes=10))


def test_what_an_account_sent_before_it_had_a_limit_counts(database: Database) -> None:
    campaign_id = running(database, settings("UTC"), 40)
    assert work_off(database, campaign_id, NOON, limit=20) == 20
    set_(database, campaign_id, settings("UTC", daily_limit=22), NOON)
    assert work_off(database, campaign_id, NOON) == 2


def test_the_limit_that_a_paused_campaign_gives_an_account_holds(database: Database) -> None:
    paused = running(database, settings("UTC", daily_limit=2))
    campaign_id = running(database, settings("UTC"), 5)
    database.run("pause", lambda session: campaigns.pause(session, campaign_id=paused, now=NOON))
    assert work_off(database, campaign_id, NOON) == 2


def test_a_reservation_is_released_where_it_was_taken_and_nowhere_else(database: Database) -> None:
    campaign_id = running(database, settings("Pacific/Auckland"), 30)
    late = NOON + timedelta(hours=11, minutes=58)
    claimed = claim_at(database, campaign_id, late, limit=10).actions
    for due in claimed[:5]:
        report_at(database, due, ActionOutcome.SENT, late)
    set_(database, campaign_id, settings("Pacific/Auckland", daily_limit=5), late)
    later = late + timedelta(minutes=4)  # the next day of the account, but not of the campaign
    for due in claimed[5:]:
        report_at(database, due, ActionOutcome.SKIPPED, later)
    assert work_off(database, campaign_id, later) == 5
    assert work_off(database, campaign_id, later) == 0


def test_a_reservation_that_is_released_on_its_day_is_free_for_both(database: Database) -> None:
    given = {**settings("Pacific/Auckland", daily_limit=10, timezone="America/Los_Angeles"), "daily_limit": 10}
    campaign_id = running(database, given, 30)
    claimed = claim_at(database, campaign_id, NOON).actions
    assert len(claimed) == 10
    for due in claimed[:8]:
        report_at(database, due, ActionOutcome.SKIPPED, NOON)
    assert len(claim_at(database, campaign_id, NOON).actions) == 8


@pytest.mark.parametrize("outcome", [ActionOutcome.SKIPPED, ActionOutcome.FAILED])
@pytest.mark.parametrize("is_told_first", [True, False])
def test_a_step_that_was_sent_after_all_counts_whenever_that_is_told(
    database: Database, outcome: ActionOutcome, is_told_first: bool
) -> None:
    """It counts on the day of its claim, which is another one for the account."""
    given = {**settings("Pacific/Auckland", daily_limit=3), "daily_limit": 4}
    campaign_id = running(database, given, 20)
    late = NOON + timedelta(hours=11, minutes=58)
    held, *others = claim_at(database, campaign_id, late, limit=2).actions
    later = late + timedelta(minutes=4)  # the next day of the account, but not of the campaign
    told = event(EventType.SENT, held.enrollment.id, step_number=1)
    steps = [lambda: record(database, told), lambda: report_at(database, held, outcome, later)]
    for step in steps if is_told_first else reversed(steps):
        step()
    record(database, told)  # once more, which changes nothing
    assert used(database) == {campaign_id: 2, ACCOUNT: 2}
    assert work_off(database, campaign_id, later) == 2  # of the campaign's four
    report_at(database, others[0], outcome, later)
    assert used(database) == {campaign_id: 3, ACCOUNT: 3}
    assert work_off(database, campaign_id, later) == 1  # of the account's three of this day


def used(database: Database) -> dict[UUID | str, int]:
    """campaign or account -> what is counted of it"""
    statement = """
        SELECT instance_id::text, sum(used)::int FROM campaign_usage GROUP BY 1
        UNION ALL SELECT account, sum(used)::int FROM sender_usage GROUP BY 1
    """
    with database.transaction("look") as session:
        found = session.execute(text(statement)).all()
    return {owner if "@" in owner else UUID(owner): count for owner, count in found}


def test_a_lost_step_with_a_reservation_comes_before_whoever_is_due_later(database: Database) -> None:
    """Of a queue with one place left one is read; whoever is lost stands behind that one, and before the others."""
    one = running(database, settings("UTC", daily_limit=2))
    other = running(database, {})
    lost, first = enroll(database, one, ["lost@example.com", "first@example.com"])
    (given,) = claim_at(database, one, NOON, limit=1).actions
    assert given.enrollment.id in (lost, first)
    late = enroll(database, other, ["a@example.com", "b@example.com"])
    with database.transaction("later") as session:
        session.execute(
            text("UPDATE campaign_enrollments SET next_action_at = :at WHERE instance_id = :id"),
            {"at": NOON + timedelta(minutes=6), "id": other},
        )
    now = NOON + timedelta(minutes=10)
    handed = database.run(
        "claim",
        lambda session: claims.claim(session, campaign_id=None, channel=None, limit=2, lease_seconds=300, now=now),
    )
    assert {due.enrollment.id for due in handed.actions} == {lost, first}
    assert late


def test_what_ends_last_is_when_it_can_move(database: Database) -> None:
    """The limit of the day is renewed before the gap of the account is over."""
    given = settings("UTC", min_gap_seconds=43_200)
    campaign_id = running(database, {**given, "daily_limit": 1}, 2)
    late = datetime(2026, 11, 2, 18, 0, tzinfo=UTC)
    assert work_off(database, campaign_id, late) == 1
    opening = late + timedelta(hours=12)
    assert claim_at(database, campaign_id, late).next_due_at == opening
    with database.transaction("explain") as session:
        assert explain.campaign(session, campaign_id=campaign_id, now=late).next_at == opening
    assert work_off(database, campaign_id, opening) == 1


def test_a_limit_that_is_used_up_counts_for_those_whose_window_opens_later_today(database: Database) -> None:
    window = {"days": ["mon", "tue"], "start": "09:00", "end": "17:00"}
    given = {"timezone": "UTC", "daily_limit": 1, "sending_window": window, "use_contact_timezone": True}
    campaign_id = running(database, given, 2)
    assert work_off(database, campaign_id, NOON) == 1
    evening = NOON + timedelta(hours=6)
    assert claim_at(database, campaign_id, evening).next_due_at == datetime(2026, 11, 3, 9, 0, tzinfo=UTC)


def test_a_campaign_that_names_another_zone_for_an_account_is_told(database: Database) -> None:
    running(database, settings("UTC", timezone="Europe/Berlin"))
    other = running(database, settings("UTC", timezone="Asia/Tokyo"))
    same = running(database, settings("UTC", timezone="Europe/Berlin"))
    with database.transaction("look") as session:
        told = [lint.of_accounts(session, campaign=campaigns.get(session, campaign_id=id_)) for id_ in (other, same)]
    ((warning,), nothing) = told
    assert ("ann@example.com" in warning, "Europe/Berlin" in warning, "Asia/Tokyo" in warning) == (True, True, True)
    assert nothing == []
