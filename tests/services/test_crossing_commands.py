"""Commands for a campaign and commands for its people cross: nobody is forgotten, and nobody waits in a circle."""

from functools import partial
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.errors import Refused
from db.domain.events import EventType
from db.domain.states import ActionOutcome, EnrollmentAction
from db.postgres.database import Database
from db.services.campaigns import campaigns
from db.services.enrollments import enrollments
from db.services.enrollments.enrollments import Former
from tests.support.campaigns import NOW, assert_counters_are_exact, event, new_scene, record, state
from tests.support.meeting import done_first, meet
from tests.support.steps import claim, report, run_sql


def command(enrollment_id: UUID, action: EnrollmentAction) -> partial[Former]:
    return partial(enrollments.update, enrollment_id=enrollment_id, action=action, now=NOW)


def do(database: Database, enrollment_id: UUID, *actions: EnrollmentAction) -> None:
    for action in actions:
        database.run("command", command(enrollment_id, action))


def test_who_is_paused_while_the_campaign_starts_has_a_moment(database: Database) -> None:
    scene = new_scene(database, 2, start=False)
    one = scene.enrollments[0]
    met = meet(
        database, partial(campaigns.start, campaign_id=scene.campaign_id, now=NOW), command(one, EnrollmentAction.PAUSE)
    )
    assert met.waited
    assert met.second.exception() is None
    assert state(database, one)["status"] == "paused"
    do(database, one, EnrollmentAction.RESUME)
    assert {due.enrollment.id for due in claim(database, scene.campaign_id)} == set(scene.enrollments)
    assert_counters_are_exact(database)


def test_who_is_paused_and_resumed_in_a_draft_begins_with_the_campaign(database: Database) -> None:
    scene = new_scene(database, 2, start=False)
    one, two = scene.enrollments
    do(database, one, EnrollmentAction.PAUSE, EnrollmentAction.RESUME)
    do(database, two, EnrollmentAction.PAUSE)
    assert state(database, one)["status"] == "enrolled"
    database.run("start", partial(campaigns.start, campaign_id=scene.campaign_id, now=NOW))
    do(database, two, EnrollmentAction.RESUME)
    assert {due.enrollment.id for due in claim(database, scene.campaign_id)} == {one, two}
    assert_counters_are_exact(database)


def test_advance_in_a_draft_counts_from_the_start(database: Database) -> None:
    scene = new_scene(database, 2, start=False)
    one, two = scene.enrollments
    do(database, one, EnrollmentAction.ADVANCE)
    database.run("start", partial(campaigns.start, campaign_id=scene.campaign_id, now=NOW))
    assert [due.enrollment.id for due in claim(database, scene.campaign_id)] == [two]
    assert claim(database, scene.campaign_id, hours=23.9)[0].enrollment.id == two
    assert [
        due.step.step_number for due in claim(database, scene.campaign_id, hours=24) if due.enrollment.id == one
    ] == [2]


def complete(campaign_id: UUID) -> partial[object]:
    return partial(campaigns.complete, campaign_id=campaign_id, now=NOW)


def test_nobody_is_active_in_a_campaign_that_was_completed_while_they_were_resumed(database: Database) -> None:
    scene = new_scene(database, 2)
    one = scene.enrollments[0]
    do(database, one, EnrollmentAction.PAUSE)
    met = meet(database, command(one, EnrollmentAction.RESUME), complete(scene.campaign_id))
    assert (met.waited, met.second.exception()) == (True, None)
    assert {state(database, id_)["status"] for id_ in scene.enrollments} == {"completed"}
    assert_counters_are_exact(database)


def test_nobody_is_resumed_in_a_campaign_that_is_completed_meanwhile(database: Database) -> None:
    scene = new_scene(database, 2)
    one = scene.enrollments[0]
    do(database, one, EnrollmentAction.PAUSE)
    met = meet(database, complete(scene.campaign_id), command(one, EnrollmentAction.RESUME))
    assert met.waited
    assert isinstance(met.second.exception(), Refused)
    assert state(database, one)["status"] == "completed"


@pytest.mark.parametrize("held", [0, 1, 2])
def test_a_campaign_is_completed_without_counters_in_hand_while_it_waits_for_people(
    database: Database, held: int
) -> None:
    scene = new_scene(database, 3)
    do(database, scene.enrollments[2], EnrollmentAction.PAUSE)
    run_sql(database, "UPDATE campaign_enrollments SET status = 'enrolled' WHERE id = :id", id=scene.enrollments[1])

    def hold(session: Session) -> None:
        session.execute(
            text("SELECT FROM campaign_enrollments WHERE id = :id FOR UPDATE"), {"id": scene.enrollments[held]}
        )

    def count(status: str, session: Session) -> None:
        statement = "SELECT FROM campaign_enrollment_totals WHERE status = :status FOR UPDATE"
        session.execute(text(statement), {"status": status})

    probes = {status: partial(count, status) for status in ("active", "paused", "enrolled")}
    assert done_first(database, hold, complete(scene.campaign_id), probes, None) == set()
    assert_counters_are_exact(database)


def test_a_report_after_the_end_moves_the_step_on(database: Database) -> None:
    scene = new_scene(database, 2)
    first, second = claim(database, scene.campaign_id)
    record(database, event(EventType.UNSUBSCRIBED, first.enrollment.id))
    database.run("complete", complete(scene.campaign_id))
    for due in (first, second):
        report(database, due, ActionOutcome.SENT)
        after = state(database, due.enrollment.id)
        assert (after["current_step"], after["next_action_at"]) == (1, None)
    assert_counters_are_exact(database)
