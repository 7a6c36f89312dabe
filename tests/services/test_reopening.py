"""What has ended goes on where it was: by resuming, by enrolling again, and in another campaign; its history stays."""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from uuid import UUID

import pytest
from sqlalchemy import text

from db.domain.contacts import ContactFields, ContactRef
from db.domain.errors import InvalidInput, InvalidTransition, Refused
from db.domain.events import EventType
from db.domain.states import ActionOutcome, EnrollmentAction, SuppressionReason
from db.domain.templates import EmailStep
from db.postgres.database import Database
from db.services.campaigns import campaigns, templates
from db.services.enrollments import enrollments, moving
from db.services.people import suppressions
from tests.support.campaigns import NOW, assert_counters_are_exact, event, new_scene, record, state
from tests.support.steps import claim, report

LATER = NOW + timedelta(hours=30)


def do(database: Database, enrollment_id: UUID, *actions: EnrollmentAction) -> None:
    for action in actions:
        database.run("do", partial(enrollments.update, enrollment_id=enrollment_id, action=action, now=LATER))


def enroll_again(database: Database, campaign_id: UUID, emails: Sequence[str]) -> list[tuple[str, str | None]]:
    """(verdict, reason) of each."""
    people = {row: ContactRef(None, ContactFields(email=email)) for row, email in enumerate(emails)}
    work = partial(enrollments.enroll, campaign_id=campaign_id, people=people, start_at=None, reopens=True, now=LATER)
    answers = database.run("enroll", work)
    return [(str(answers[row].verdict), answers[row].reason) for row in people]


def move(database: Database, enrollment_id: UUID, campaign_id: UUID) -> UUID:
    work = partial(moving.move, enrollment_id=enrollment_id, campaign_id=campaign_id, now=LATER)
    return database.run("move", work).enrollment_id


def add_a_step(database: Database, campaign_id: UUID) -> None:
    with database.transaction("edit") as session:
        template_id = campaigns.get(session, campaign_id=campaign_id).template_id
        templates.lock_steps(session, template_id=template_id)
        step = EmailStep(4, "Four", "The very last of all", delay_hours=1)
        templates.update(session, template_id=template_id, fields={}, email_steps=[step], linkedin_steps=[])


def test_who_is_completed_by_hand_goes_on_with_the_delay_that_was_left(database: Database) -> None:
    (one,) = new_scene(database, 1).enrollments
    record(database, event(EventType.SENT, one, step_number=1, hours=20))
    before = state(database, one)
    do(database, one, EnrollmentAction.COMPLETE, EnrollmentAction.RESUME)
    assert state(database, one) == before  # the second step is due 24 hours after the first
    do(database, one, EnrollmentAction.ADVANCE, EnrollmentAction.COMPLETE, EnrollmentAction.RESUME)
    after = state(database, one)
    assert (after["current_step"], after["next_action_at"]) == (2, LATER + timedelta(hours=48))
    assert_counters_are_exact(database)


@pytest.mark.parametrize("by", ["resuming", "enrolling"])
def test_a_step_that_was_sent_is_never_sent_again(database: Database, by: str) -> None:
    scene = new_scene(database, 1)
    (one,) = scene.enrollments
    (due,) = claim(database, scene.campaign_id)
    do(database, one, EnrollmentAction.COMPLETE)
    report(database, due, ActionOutcome.SENT)
    # As another program might leave it: the step was sent, and its enrollment does not know.
    with database.transaction("by hand") as session:
        session.execute(text("UPDATE campaign_enrollments SET current_step = 0"))
    if by == "resuming":
        do(database, one, EnrollmentAction.RESUME)
    else:
        assert enroll_again(database, scene.campaign_id, ["p0@example.com"]) == [("reopened", None)]
    assert (state(database, one)["status"], state(database, one)["current_step"]) == ("active", 1)
    assert [due.step.step_number for due in claim(database, scene.campaign_id, hours=100)] == [2]


def test_who_has_left_is_reopened_by_name_and_not_by_a_list(database: Database) -> None:
    scene = new_scene(database, 1)
    (one,) = scene.enrollments
    record(database, event(EventType.AUTO_REPLIED, one, step_number=1, metadata={"automatic": "has_left"}))
    assert enroll_again(database, scene.campaign_id, ["p0@example.com"]) == [
        ("already_enrolled", "Ended: has_left. update_enrollment with action resume goes on all the same.")
    ]
    do(database, one, EnrollmentAction.RESUME)
    assert state(database, one)["status"] == "active"


def test_who_is_enrolled_again_goes_on_unless_they_have_answered(database: Database) -> None:
    scene = new_scene(database, 5)
    manual, finished, replied, left, running = scene.enrollments
    do(database, manual, EnrollmentAction.COMPLETE)
    record(
        database,
        event(EventType.SENT, finished, step_number=3),
        event(EventType.REPLIED, replied, step_number=1),
        event(EventType.UNSUBSCRIBED, left, step_number=1),
    )
    emails = [f"p{index}@example.com" for index in range(5)]
    assert enroll_again(database, scene.campaign_id, emails) == [
        ("reopened", None),
        ("already_enrolled", "Every step was sent or passed."),
        ("already_enrolled", "Ended: replied. update_enrollment with action resume goes on all the same."),
        ("suppressed", "suppressed: unsubscribed"),
        ("already_enrolled", None),
    ]
    add_a_step(database, scene.campaign_id)
    assert enroll_again(database, scene.campaign_id, emails[1:2]) == [("reopened", None)]
    assert (state(database, finished)["status"], state(database, finished)["stop_reason"]) == ("active", None)
    assert state(database, running)["status"] == "active"
    do(database, replied, EnrollmentAction.RESUME)
    assert state(database, replied)["status"] == "active"
    assert_counters_are_exact(database)


def test_a_list_that_is_imported_again_opens_nothing(database: Database) -> None:
    scene = new_scene(database, 1)
    do(database, scene.enrollments[0], EnrollmentAction.COMPLETE)
    people = {0: ContactRef(None, ContactFields(email="p0@example.com"))}
    work = partial(enrollments.enroll, campaign_id=scene.campaign_id, people=people, start_at=None, now=LATER)
    assert str(database.run("enroll", work)[0].verdict) == "already_enrolled"
    assert state(database, scene.enrollments[0])["stop_reason"] == "manual"


def test_what_may_not_go_on_stays_ended(database: Database) -> None:
    scene = new_scene(database, 4)
    left, suppressed, finished, ended = scene.enrollments
    record(database, event(EventType.UNSUBSCRIBED, left), event(EventType.SENT, finished, step_number=3))
    with pytest.raises(InvalidTransition, match="unsubscribed, which resume can't change"):
        do(database, left, EnrollmentAction.RESUME)
    do(database, suppressed, EnrollmentAction.COMPLETE)
    stop = partial(suppressions.suppress, email="p1@example.com", reason=SuppressionReason.MANUAL, source=None)
    database.run("suppress", stop)
    with pytest.raises(Refused, match=r"suppressed \(manual\)"):
        do(database, suppressed, EnrollmentAction.RESUME)
    with pytest.raises(Refused, match="Every step was sent or passed"):
        do(database, finished, EnrollmentAction.RESUME)
    database.run("complete", partial(campaigns.complete, campaign_id=scene.campaign_id, now=NOW))
    with pytest.raises(Refused, match="completed for good"):
        do(database, ended, EnrollmentAction.RESUME)
    assert_counters_are_exact(database)


def test_who_is_completed_in_a_draft_and_resumed_begins_with_the_campaign(database: Database) -> None:
    scene = new_scene(database, 2, start=False)
    one, two = scene.enrollments
    do(database, one, EnrollmentAction.COMPLETE, EnrollmentAction.RESUME)
    do(database, two, EnrollmentAction.COMPLETE)
    assert enroll_again(database, scene.campaign_id, ["p1@example.com"]) == [("reopened", None)]
    assert {state(database, who)["status"] for who in (one, two)} == {"enrolled"}
    database.run("start", partial(campaigns.start, campaign_id=scene.campaign_id, now=NOW))
    assert {due.enrollment.id for due in claim(database, scene.campaign_id)} == {one, two}
    assert_counters_are_exact(database)


def test_who_is_moved_there_and_back_goes_on_where_they_were(database: Database) -> None:
    here, there = new_scene(database, 1), new_scene(database, 0)
    (one,) = here.enrollments
    record(database, event(EventType.SENT, one, step_number=1))
    other = move(database, one, there.campaign_id)
    assert (state(database, one)["status"], state(database, one)["stop_reason"]) == ("completed", "moved")
    assert (state(database, other)["status"], state(database, other)["current_step"]) == ("active", 0)
    with database.transaction("look") as session:
        (action,) = enrollments.get(session, enrollment_id=one).actions
        assert action.sent_at == NOW
    assert move(database, other, here.campaign_id) == one
    assert (state(database, one)["status"], state(database, one)["current_step"]) == ("active", 1)
    assert state(database, other)["stop_reason"] == "moved"
    assert_counters_are_exact(database)


@pytest.mark.parametrize("starts", [True, False], ids=["running", "draft"])
def test_who_is_paused_stays_paused_where_they_are_moved(database: Database, *, starts: bool) -> None:
    here, there = new_scene(database, 1), new_scene(database, 0, start=starts)
    (one,) = here.enrollments
    do(database, one, EnrollmentAction.PAUSE)
    other = move(database, one, there.campaign_id)
    assert state(database, other)["status"] == "paused"
    if not starts:
        database.run("start", partial(campaigns.start, campaign_id=there.campaign_id, now=LATER))
    assert claim(database, there.campaign_id, hours=100) == []
    do(database, other, EnrollmentAction.RESUME)
    assert [due.enrollment.id for due in claim(database, there.campaign_id, hours=100)] == [other]
    assert_counters_are_exact(database)


def test_a_move_that_is_refused_changes_nothing(database: Database) -> None:
    here, there = new_scene(database, 3), new_scene(database, 1)
    known, ended, one = here.enrollments
    do(database, ended, EnrollmentAction.COMPLETE)
    before = [state(database, who) for who in (*here.enrollments, *there.enrollments)]
    with pytest.raises(Refused, match="already_enrolled"):
        move(database, known, there.campaign_id)  # the same address is in both
    with pytest.raises(InvalidTransition, match="move"):
        move(database, ended, there.campaign_id)
    with pytest.raises(InvalidInput, match="own campaign"):
        move(database, one, here.campaign_id)
    database.run("complete", partial(campaigns.complete, campaign_id=there.campaign_id, now=NOW))
    with pytest.raises(Refused, match="takes nobody in"):
        move(database, one, there.campaign_id)
    assert [state(database, who) for who in here.enrollments] == before[:3]
    assert_counters_are_exact(database)
