"""A pause that ends by itself: the step is due at its end, plus the delay that was left when it began."""

from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from db.domain.errors import InvalidTransition
from db.domain.events import EventType
from db.domain.holds import HoldReason
from db.domain.metrics import GroupBy
from db.domain.states import ActionOutcome, EnrollmentAction, EnrollmentStatus, LinkedInStepType
from db.domain.templates import EmailStep, LinkedInStep
from db.postgres.database import Database
from db.services.campaigns import campaigns, templates
from db.services.dispatch import explain
from db.services.enrollments import enrollments, moving
from db.services.ops import health
from db.services.people import absences
from db.services.reports import metrics, overview
from db.services.state import pauses
from tests.support.campaigns import NOW, Scene, assert_counters_are_exact, enroll, event, new_scene, record, state
from tests.support.steps import claim, claim_at, report, run_sql

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
END = NOW + 10 * DAY


def do(
    database: Database,
    enrollment_id: UUID,
    action: EnrollmentAction,
    now: datetime = NOW,
    *,
    until: datetime | None = None,
) -> enrollments.Former:
    work = partial(enrollments.update, enrollment_id=enrollment_id, action=action, until=until, now=now)
    return database.run("do", work)


def pause(database: Database, enrollment_id: UUID, now: datetime = NOW, *, until: datetime | None = END) -> None:
    do(database, enrollment_id, EnrollmentAction.PAUSE, now, until=until)


def look(database: Database, enrollment_id: UUID) -> dict[str, Any]:
    statement = text("SELECT status, next_action_at, paused_until FROM campaign_enrollments WHERE id = :id")
    with database.transaction("look") as session:
        return dict(session.execute(statement, {"id": enrollment_id}).mappings().one())


def told(database: Database, enrollment_id: UUID, now: datetime) -> explain.Explanation:
    return database.run("explain", partial(explain.enrollment, enrollment_id=enrollment_id, now=now), read_only=True)


def whole(database: Database, campaign_id: UUID, now: datetime) -> explain.Explanation:
    return database.run("explain", partial(explain.campaign, campaign_id=campaign_id, now=now), read_only=True)


def handed(database: Database, scene: Scene, now: datetime) -> list[UUID]:
    return [due.enrollment.id for due in claim_at(database, scene.campaign_id, now).actions]


@pytest.fixture
def scene(database: Database) -> Scene:
    """Its person waits for the second step, which is due 24 hours after NOW."""
    scene = new_scene(database, 1)
    (first,) = claim(database, scene.campaign_id)
    report(database, first, ActionOutcome.SENT)
    return scene


def test_the_delay_that_was_left_is_left_at_the_end(database: Database, scene: Scene) -> None:
    (one,) = scene.enrollments
    pause(database, one, NOW + HOUR)
    then = END + 23 * HOUR
    assert look(database, one) == {"status": "paused", "next_action_at": then, "paused_until": END}
    for at, reasons in (
        (NOW + HOUR, [(HoldReason.ENROLLMENT_PAUSED, END), (HoldReason.STEP_DELAY, then)]),
        (END, [(HoldReason.STEP_DELAY, then)]),
        (then, []),
    ):
        explained = told(database, one, at)
        assert [(hold.reason, hold.until) for hold in explained.holds] == reasons
        assert explained.next_at == then
    assert whole(database, scene.campaign_id, NOW + HOUR).next_at == then
    assert claim_at(database, scene.campaign_id, NOW + HOUR).next_due_at == then
    assert claim_at(database, scene.campaign_id, then - timedelta(microseconds=1)).next_due_at == then
    assert handed(database, scene, then) == [one]
    assert_counters_are_exact(database)


def test_who_was_due_when_the_pause_began_is_due_at_its_end(database: Database) -> None:
    scene = new_scene(database, 2)
    one, other = scene.enrollments
    pause(database, one, NOW + HOUR)
    assert told(database, one, NOW + HOUR).next_at == END
    assert told(database, one, END).is_due  # nobody has claimed since, and the row is paused still
    assert whole(database, scene.campaign_id, END).is_due
    assert look(database, one)["status"] == "paused"
    assert handed(database, scene, END) == [other, one]  # the one that is due longest comes first
    assert look(database, one)["paused_until"] is None


def test_a_claim_moves_the_counters_of_pauses_that_are_over(database: Database) -> None:
    scene = new_scene(database, 5)
    for enrollment_id in scene.enrollments[:2]:
        pause(database, enrollment_id, until=NOW + HOUR)
    for enrollment_id in scene.enrollments[2:]:
        pause(database, enrollment_id)

    def statuses(now: datetime) -> dict[str, int]:
        look_up = partial(
            metrics.report, campaign_id=scene.campaign_id, group_by=GroupBy.TOTAL, since=None, until=None, now=now
        )
        shown = database.run("report", look_up, read_only=True).enrollment_status
        return {str(status): count for status, count in shown.items() if count}

    for now, expected in ((NOW, {"paused": 5}), (NOW + HOUR, {"active": 2, "paused": 3})):
        assert statuses(now) == expected
    assert_counters_are_exact(database)
    claim_at(database, scene.campaign_id, NOW + HOUR, limit=1)
    assert_counters_are_exact(database)
    assert sorted(look(database, each)["status"] for each in scene.enrollments) == [
        "active", "active", "paused", "paused", "paused"
    ]  # fmt: skip
    assert statuses(NOW) == {"active": 2, "paused": 3}


def test_a_claim_that_hands_out_nothing_counts_ended_pauses_too(database: Database, scene: Scene) -> None:
    pause(database, scene.enrollments[0], NOW + HOUR)
    assert claim_at(database, scene.campaign_id, END).actions == []
    assert look(database, scene.enrollments[0])["status"] == "active"
    assert_counters_are_exact(database)


def test_maintenance_ends_pauses_also_where_nobody_claims(database: Database) -> None:
    running, draft, still = new_scene(database, 2), new_scene(database, 1, start=False), new_scene(database, 1)
    for scene in (running, draft):
        for enrollment_id in scene.enrollments:
            pause(database, enrollment_id, until=NOW + HOUR)
    database.run("pause", partial(campaigns.pause, campaign_id=running.campaign_id, now=NOW))
    pause(database, still.enrollments[0])
    end = partial(pauses.end_some, before=NOW + HOUR, limit=2)
    assert [database.run("end", end), database.run("end", end), database.run("end", end)] == [2, 1, 0]
    assert [look(database, each)["status"] for each in running.enrollments] == ["active", "active"]
    assert look(database, draft.enrollments[0])["status"] == "enrolled"
    assert look(database, still.enrollments[0])["status"] == "paused"
    assert_counters_are_exact(database)


def test_who_is_listed_by_status_is_what_a_claim_would_find(database: Database) -> None:
    running, draft = new_scene(database, 2), new_scene(database, 1, start=False)
    for enrollment_id in (running.enrollments[0], *draft.enrollments):
        pause(database, enrollment_id, until=NOW + HOUR)

    def listed(scene: Scene, status: EnrollmentStatus | None, now: datetime) -> list[str]:
        work = partial(enrollments.list_, campaign_id=scene.campaign_id, status=status, limit=9, cursor=None, now=now)
        return sorted(row.enrollment.status for row in database.run("list", work, read_only=True).rows)

    paused, active, enrolled = EnrollmentStatus.PAUSED, EnrollmentStatus.ACTIVE, EnrollmentStatus.ENROLLED
    before, after = NOW + HOUR - timedelta(microseconds=1), NOW + HOUR
    assert [listed(running, status, before) for status in (paused, active)] == [["paused"], ["active"]]
    assert [listed(running, status, after) for status in (paused, active)] == [[], ["active", "active"]]
    assert [listed(draft, status, before) for status in (paused, enrolled)] == [["paused"], []]
    assert [listed(draft, status, after) for status in (paused, active, enrolled)] == [[], [], ["enrolled"]]
    get = partial(enrollments.get, enrollment_id=running.enrollments[0], now=after)
    shown = database.run("get", get, read_only=True).enrollment
    assert (shown.status, shown.paused_until) == ("active", None)


def test_what_waits_is_shown_behind_its_pause_and_counted_once_it_is_over(database: Database) -> None:
    scene = new_scene(database, 1)
    (one,) = scene.enrollments
    pause(database, one)
    page = database.run("see", partial(overview.waiting, campaign_id=None, limit=5, cursor=None), read_only=True)
    assert [(row.enrollment_id, row.next_action_at) for row in page.rows] == [(one, END)]
    for now, due in ((END - HOUR, 0), (END, 1)):
        count = partial(overview.count_due, campaign_id=None, now=now)
        assert database.run("count", count, read_only=True) == due
        stored = database.run("health", partial(health.stored, now=now), read_only=True)
        assert (stored.due, stored.oldest_due) == (due, END if due else None)


def test_resuming_early_gives_the_delay_back(database: Database, scene: Scene) -> None:
    (one,) = scene.enrollments
    pause(database, one, NOW + HOUR)
    assert do(database, one, EnrollmentAction.RESUME, NOW + DAY) == ("paused", END)
    assert look(database, one) == {
        "status": "active",
        "next_action_at": NOW + DAY + 23 * HOUR,
        "paused_until": None,
    }


def test_a_pause_is_made_longer_shorter_and_endless(database: Database, scene: Scene) -> None:
    (one,) = scene.enrollments
    pause(database, one, NOW + HOUR)
    for at, until in ((NOW + 2 * HOUR, END + DAY), (NOW + 3 * HOUR, NOW + DAY)):
        pause(database, one, at, until=until)
        assert look(database, one)["next_action_at"] == until + 23 * HOUR
    pause(database, one, NOW + 4 * HOUR, until=None)
    assert look(database, one) == {
        "status": "paused",
        "next_action_at": NOW + 4 * HOUR + 23 * HOUR,
        "paused_until": None,
    }
    assert told(database, one, END).next_at is None
    assert handed(database, scene, END + DAY) == []
    with pytest.raises(InvalidTransition):
        pause(database, one, until=None)
    pause(database, one, NOW + 5 * HOUR)
    assert look(database, one)["next_action_at"] == END + 22 * HOUR
    assert_counters_are_exact(database)


def test_a_pause_that_is_over_is_paused_and_resumed_as_anybody_who_is_active(database: Database, scene: Scene) -> None:
    (one,) = scene.enrollments
    pause(database, one, until=NOW + HOUR)
    with pytest.raises(InvalidTransition):
        do(database, one, EnrollmentAction.RESUME, NOW + HOUR)
    assert do(database, one, EnrollmentAction.PAUSE, NOW + 2 * HOUR) == ("active", None)
    assert look(database, one)["next_action_at"] == NOW + HOUR + DAY
    assert_counters_are_exact(database)


@pytest.mark.parametrize("action", [EnrollmentAction.COMPLETE, EnrollmentAction.UNSUBSCRIBE])
def test_what_ends_an_enrollment_ends_its_pause(database: Database, scene: Scene, action: EnrollmentAction) -> None:
    (one,) = scene.enrollments
    pause(database, one)
    do(database, one, action)
    assert (look(database, one)["next_action_at"], look(database, one)["paused_until"]) == (None, None)


def test_a_campaign_that_ends_ends_pauses(database: Database, scene: Scene) -> None:
    pause(database, scene.enrollments[0])
    database.run("complete", partial(campaigns.complete, campaign_id=scene.campaign_id, now=NOW))
    assert look(database, scene.enrollments[0]) == {
        "status": "completed", "next_action_at": None, "paused_until": None,
    }  # fmt: skip


def test_a_step_that_is_passed_in_a_pause_leaves_the_delay_of_the_next_one_whole(database: Database) -> None:
    scene = new_scene(database, 2)
    told_by_event, by_hand = scene.enrollments
    for enrollment_id in scene.enrollments:
        pause(database, enrollment_id)
    record(database, event(EventType.SENT, told_by_event, step_number=1, hours=1))
    do(database, by_hand, EnrollmentAction.ADVANCE, NOW + HOUR)
    for enrollment_id in scene.enrollments:
        assert look(database, enrollment_id)["next_action_at"] == END + DAY
    record(database, event(EventType.SENT, told_by_event, step_number=1, hours=0.5))
    assert look(database, told_by_event)["next_action_at"] >= END


def test_a_step_that_fails_in_a_pause_waits_for_a_person(database: Database) -> None:
    scene = new_scene(database, 1)
    (one,) = scene.enrollments
    (due,) = claim(database, scene.campaign_id)
    pause(database, one)
    report(database, due, ActionOutcome.FAILED)
    assert (look(database, one)["status"], look(database, one)["paused_until"]) == ("paused", None)
    assert handed(database, scene, END + DAY) == []


def test_a_new_delay_counts_within_a_pause_and_ends_none(database: Database, scene: Scene) -> None:
    (one,) = scene.enrollments
    pause(database, one, NOW + 20 * HOUR)
    for delay, then in ((48, END + 28 * HOUR), (1, END)):
        with database.transaction("edit") as session:
            template_id = campaigns.get(session, campaign_id=scene.campaign_id).template_id
            templates.lock_steps(session, template_id=template_id)
            step = LinkedInStep(2, LinkedInStepType.CONNECTION_REQUEST, "Hello", delay_hours=delay)
            templates.update(session, template_id=template_id, fields={}, email_steps=[], linkedin_steps=[step])
        assert look(database, one)["next_action_at"] == then


def test_the_delay_of_a_first_step_begins_when_a_pause_of_the_draft_ends(database: Database) -> None:
    scene = new_scene(database, 3, start=False)
    early, late, forever = scene.enrollments
    with database.transaction("edit") as session:
        template_id = campaigns.get(session, campaign_id=scene.campaign_id).template_id
        templates.lock_steps(session, template_id=template_id)
        steps = [EmailStep(1, "One", "The first of all", a_b_variant=name, delay_hours=5) for name in "AB"]
        templates.update(session, template_id=template_id, fields={}, email_steps=steps, linkedin_steps=[])
    pause(database, early, until=NOW + HOUR)
    pause(database, late)
    pause(database, forever, until=None)
    start = NOW + 2 * HOUR
    database.run("start", partial(campaigns.start, campaign_id=scene.campaign_id, now=start))
    assert [look(database, each)["next_action_at"] for each in scene.enrollments] == [
        start + 5 * HOUR, END + 5 * HOUR, start + 5 * HOUR
    ]  # fmt: skip
    assert handed(database, scene, start + 5 * HOUR) == [early]
    assert handed(database, scene, END + 5 * HOUR) == [early, late]
    assert_counters_are_exact(database)


def test_who_is_moved_stays_paused_until_then(database: Database, scene: Scene) -> None:
    (one,) = scene.enrollments
    pause(database, one)
    other = new_scene(database, 0).campaign_id
    there = database.run("move", partial(moving.move, enrollment_id=one, campaign_id=other, now=NOW)).enrollment_id
    assert look(database, there) == {"status": "paused", "next_action_at": END, "paused_until": END}


@pytest.mark.parametrize(("away", "then"), [(END + 5 * DAY, END + 5 * DAY), (END - 5 * DAY, END)])
@pytest.mark.parametrize("pauses_first", [True, False])
def test_a_pause_and_an_absence_spend_no_delay_twice(
    database: Database, scene: Scene, away: datetime, then: datetime, *, pauses_first: bool
) -> None:
    (one,) = scene.enrollments
    person = database.run("get", partial(enrollments.get, enrollment_id=one)).contact.id
    until = (away - DAY).date()
    then, away = (
        datetime.combine(moment.date(), datetime.min.time(), NOW.tzinfo) if moment != END else END
        for moment in (then, away)
    )
    begin = partial(absences.begin, contact_id=person, began_at=NOW, until=until, now=NOW)
    if pauses_first:
        pause(database, one)
    assert database.run("begin", begin) == away
    if not pauses_first:
        pause(database, one)
    assert look(database, one)["next_action_at"] == then + DAY
    do(database, one, EnrollmentAction.RESUME, NOW + HOUR)
    assert look(database, one)["next_action_at"] == away + DAY
    database.run("end", partial(absences.end, contact_id=person, now=NOW + HOUR))
    assert look(database, one)["next_action_at"] == NOW + HOUR + DAY


def test_limits_are_used_up_first_by_those_whose_pause_ended_before(database: Database) -> None:
    scene = new_scene(database, 3)
    with database.transaction("limit") as session:
        campaigns.update(session, campaign_id=scene.campaign_id, fields={"settings": {"daily_limit": 1}}, now=NOW)
    first, second, third = scene.enrollments
    for enrollment_id, until in ((first, END + HOUR), (second, END), (third, END + 2 * HOUR)):
        pause(database, enrollment_id, until=until)
    at = END + 3 * HOUR
    positions = {each: [hold.position for hold in told(database, each, at).holds] for each in scene.enrollments}
    assert positions == {second: [], first: [2], third: [3]}
    assert handed(database, scene, at) == [second]


def test_a_zone_in_which_only_somebody_paused_waits_is_seen(database: Database) -> None:
    scene = new_scene(database, 0)
    window = {"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "start": "09:00", "end": "17:00"}
    settings = {"use_contact_timezone": True, "sending_window": window, "timezone": "UTC"}
    with database.transaction("zones") as session:
        campaigns.update(session, campaign_id=scene.campaign_id, fields={"settings": settings}, now=NOW)
    (one,) = enroll(database, scene.campaign_id, ["p0@example.com"])
    run_sql(database, "UPDATE campaign_enrollments SET zone = 'Asia/Tokyo'")
    pause(database, one)  # until 18 o'clock in Tokyo
    then = datetime(2026, 11, 13, 0, 0, tzinfo=NOW.tzinfo)
    assert claim_at(database, scene.campaign_id, NOW).next_due_at == then
    assert whole(database, scene.campaign_id, NOW).next_at == then
    assert whole(database, scene.campaign_id, then).is_due
    assert handed(database, scene, then) == [one]
    assert state(database, one)["status"] == "active"


def test_a_reservation_is_kept_through_a_pause(database: Database) -> None:
    scene = new_scene(database, 2)
    with database.transaction("limit") as session:
        campaigns.update(session, campaign_id=scene.campaign_id, fields={"settings": {"daily_limit": 1}}, now=NOW)
    (due,) = claim(database, scene.campaign_id, limit=1)
    lease, until = due.lease_until - NOW, NOW + HOUR
    pause(database, due.enrollment.id, until=until)
    assert told(database, due.enrollment.id, until + lease).is_due
    assert whole(database, scene.campaign_id, NOW + lease).next_at == until + lease
    assert claim_at(database, scene.campaign_id, NOW + lease).next_due_at == until + lease
    assert handed(database, scene, until + lease) == [due.enrollment.id]
