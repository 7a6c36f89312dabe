"""A step whose lease ran out is handed out again under the reservation that it holds."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from threading import Barrier
from typing import Any
from uuid import UUID

from sqlalchemy import text

from db.domain.states import LinkedInStepType
from db.domain.templates import EmailStep, LinkedInStep
from db.postgres.database import Database
from db.services.dispatch import claims, explain
from tests.support.campaigns import NOW, enroll, make_campaign, statements_of

LATER = NOW + timedelta(minutes=10)


def campaign(database: Database, settings: dict[str, Any], *, linkedin: bool = False) -> UUID:
    return database.run(
        "campaign",
        partial(
            make_campaign,
            email_steps=[EmailStep(1, "Hello", "The first of all")],
            linkedin_steps=[LinkedInStep(2, LinkedInStepType.MESSAGE, "Hello")] if linkedin else [],
            settings=settings,
        ),
    )


def claim(database: Database, campaign_id: UUID, now: datetime, *, limit: int = 100) -> list[UUID]:
    """The enrollments whose steps are handed out, for five minutes."""
    given = claims.claim
    claimed = database.run(
        "claim",
        lambda session: given(session, campaign_id=campaign_id, channel=None, limit=limit, lease_seconds=300, now=now),
    )
    return [due.enrollment.id for due in claimed.actions]


def used(database: Database, campaign_id: UUID) -> tuple[int, datetime]:
    with database.transaction("look") as session:
        statement = text("SELECT sum(used)::int, max(last_at) FROM campaign_usage WHERE instance_id = :id")
        count, last_at = session.execute(statement, {"id": campaign_id}).one()
        return count, last_at


def test_of_two_agents_who_come_for_a_lost_step_at_once_one_gets_it(database: Database) -> None:
    campaign_id = campaign(database, {"daily_limit": 1})
    enroll(database, campaign_id, ["a@example.com", "b@example.com"])
    lost = claim(database, campaign_id, NOW)
    together = Barrier(2)

    def come(_: int) -> list[UUID]:
        together.wait()
        return claim(database, campaign_id, LATER)

    with ThreadPoolExecutor(2) as agents:
        handed = [*agents.map(come, range(2))]
    assert sorted(handed, key=len) == [[], lost]
    assert used(database, campaign_id) == (1, LATER)


def test_a_lost_step_keeps_its_reservation_while_the_limit_has_room(database: Database) -> None:
    campaign_id = campaign(database, {"daily_limit": 3})
    people = enroll(database, campaign_id, [f"p{index}@example.com" for index in range(4)])
    lost = claim(database, campaign_id, NOW, limit=1)
    assert len(claim(database, campaign_id, LATER)) == 3
    assert used(database, campaign_id)[0] == 3
    with database.transaction("explain") as session:
        after = LATER + timedelta(minutes=5)
        due = [id_ for id_ in people if explain.enrollment(session, enrollment_id=id_, now=after).is_due]
    assert sorted(claim(database, campaign_id, after)) == sorted(due)
    assert lost[0] in due
    assert len(due) == 3


def test_the_first_in_line_is_reserved_though_one_with_a_reservation_is_before_them(database: Database) -> None:
    """The channels are queues of their own where accounts are named, and the campaign's limit is one for both."""
    settings = {"daily_limit": 2, "senders": {"email": {"account": "sales@example.com"}}}
    campaign_id = campaign(database, settings, linkedin=True)
    lost, second, third = enroll(database, campaign_id, [f"p{index}@example.com" for index in range(3)])
    with database.transaction("set the scene") as session:
        # `third` waits for the other channel, and `second` has stood in line longer than it.
        for id_, step, minutes in ((lost, 0, 0), (second, 0, 6), (third, 1, 7)):
            due = NOW + timedelta(minutes=minutes)
            session.execute(
                text("UPDATE campaign_enrollments SET current_step = :step, next_action_at = :due WHERE id = :id"),
                {"id": id_, "step": step, "due": due},
            )
    assert claim(database, campaign_id, NOW) == [lost]
    with database.transaction("explain") as session:
        due = {id_ for id_ in (lost, second, third) if explain.enrollment(session, enrollment_id=id_, now=LATER).is_due}
    assert due == {lost, second}
    assert set(claim(database, campaign_id, LATER)) == due


def test_lost_steps_are_searched_only_if_the_limit_has_no_room(database: Database) -> None:
    campaign_id = campaign(database, {"daily_limit": 5})
    enroll(database, campaign_id, ["a@example.com", "b@example.com"])
    seen = statements_of(database, lambda: claim(database, campaign_id, NOW, limit=1))
    assert not any("reserved_at >= l.since" in statement for statement in seen)
