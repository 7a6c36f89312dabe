"""Steps that are changed while somebody holds one: nobody gets a step twice or out of order, and the answer tells who
misses one."""

from uuid import UUID

import pytest

from db.domain.errors import Refused
from db.domain.events import EventType
from db.domain.holds import HoldReason
from db.domain.states import ActionOutcome, EnrollmentAction, LinkedInStepType
from db.domain.templates import EmailStep, LinkedInStep
from db.postgres.database import Database
from db.services.campaigns import plans, positions, templates
from db.services.campaigns.positions import Affected
from db.services.dispatch import explain
from db.services.enrollments import enrollments
from tests.support.campaigns import NOW, assert_counters_are_exact, enroll, event, make_campaign, record, state
from tests.support.steps import claim, report, run_sql


def email(number: int, *, is_active: bool = True) -> EmailStep:
    return EmailStep(number, f"Step {number}", "The text of this step", is_active=is_active)


def running(database: Database, *steps: EmailStep, linkedin: tuple[LinkedInStep, ...] = ()) -> tuple[UUID, UUID]:
    """(campaign, template)"""
    campaign_id = database.run(
        "make", lambda session: make_campaign(session, email_steps=steps, linkedin_steps=linkedin)
    )
    return campaign_id, run_sql(database, "SELECT template_id FROM campaign_instances").scalar_one()


def change(
    database: Database, template_id: UUID, *steps: EmailStep, linkedin: tuple[LinkedInStep, ...] = ()
) -> list[Affected]:
    with database.transaction("change") as session:
        before = plans.steps_of_template(session, template_id=template_id)
        templates.update(session, template_id=template_id, fields={}, email_steps=steps, linkedin_steps=linkedin)
        return positions.affected(session, template_id=template_id, before=before)


@pytest.mark.parametrize("lease", ["reported", "runs out"])
def test_a_step_switched_on_before_the_one_that_is_held_is_not_sent_after_it(database: Database, lease: str) -> None:
    campaign_id, template_id = running(database, email(1), email(2, is_active=False), email(3))
    holder, other = enroll(database, campaign_id, ["a@example.com", "b@example.com"])
    for due in claim(database, campaign_id):
        report(database, due, ActionOutcome.SENT)
    (held,) = claim(database, campaign_id, limit=1)
    assert held.step.step_number == 3
    late = other if held.enrollment.id == holder else holder
    assert change(database, template_id, email(2)) == [
        Affected(2, is_in_use=True, will_get=1, will_not_get=1, waiting=1)
    ]
    if lease == "reported":
        report(database, held, ActionOutcome.SENT)
    again = {due.enrollment.id: due.step.step_number for due in claim(database, campaign_id, hours=1)}
    expected = {late: 2} if lease == "reported" else {late: 2, held.enrollment.id: 3}
    assert again == expected
    off = change(database, template_id, email(2, is_active=False))
    assert off == [Affected(2, is_in_use=False, will_get=0, will_not_get=1)]
    assert_counters_are_exact(database)


def test_no_step_is_added_before_one_that_is_held(database: Database) -> None:
    campaign_id, template_id = running(database, email(1), email(3))
    enroll(database, campaign_id, ["a@example.com"])
    report(database, claim(database, campaign_id)[0], ActionOutcome.SENT)
    (held,) = claim(database, campaign_id)
    with pytest.raises(Refused, match="step_number 2"):
        change(database, template_id, email(2))
    assert report(database, held, ActionOutcome.SENT).enrollment["status"] == "completed"


def test_what_was_handed_out_is_what_is_recorded(database: Database) -> None:
    visit = LinkedInStep(2, LinkedInStepType.PROFILE_VISIT, None)
    invitation = LinkedInStep(2, LinkedInStepType.CONNECTION_REQUEST, "Hello")
    campaign_id, template_id = running(database, email(1), linkedin=(invitation,))
    enroll(database, campaign_id, ["a@example.com"])
    report(database, claim(database, campaign_id)[0], ActionOutcome.SENT)
    (held,) = claim(database, campaign_id)
    change(database, template_id, linkedin=(visit,))
    report(database, held, ActionOutcome.SENT)
    kinds = run_sql(database, "SELECT event_type FROM campaign_events ORDER BY step_number").scalars().all()
    assert kinds == [EventType.SENT, EventType.CONNECTION_SENT]


def test_a_step_advanced_past_under_its_lease_is_recorded_as_sent_if_it_was(database: Database) -> None:
    campaign_id, _ = running(database, email(1), email(2))
    (one,) = enroll(database, campaign_id, ["a@example.com"])
    (held,) = claim(database, campaign_id)
    with database.transaction("advance") as session:
        enrollments.update(session, enrollment_id=one, action=EnrollmentAction.ADVANCE, now=NOW)
    assert report(database, held, ActionOutcome.SENT).action["status"] == "sent"
    assert state(database, one)["current_step"] == 1
    assert [due.step.step_number for due in claim(database, campaign_id)] == [2]
    assert_counters_are_exact(database)


def test_a_lease_is_told_as_one_though_its_step_is_out_of_use(database: Database) -> None:
    campaign_id, template_id = running(database, email(1), email(2))
    (one,) = enroll(database, campaign_id, ["a@example.com"])
    (held,) = claim(database, campaign_id)
    change(database, template_id, email(1, is_active=False))
    with database.transaction("explain", read_only=True) as session:
        told = explain.enrollment(session, enrollment_id=one, now=NOW)
    assert [(hold.reason, hold.until) for hold in told.holds] == [(HoldReason.LEASE_HELD, held.lease_until)]
    assert claim(database, campaign_id) == []


@pytest.mark.parametrize("outcome", [ActionOutcome.SKIPPED, ActionOutcome.FAILED])
def test_a_step_that_was_sent_keeps_its_place_whatever_is_reported(database: Database, outcome: ActionOutcome) -> None:
    campaign_id, _ = running(database, email(1), email(2))
    run_sql(database, """UPDATE campaign_instances SET settings = '{"daily_limit": 1}'""")
    enroll(database, campaign_id, ["a@example.com", "b@example.com"])
    (held,) = claim(database, campaign_id)
    record(database, event(EventType.SENT, held.enrollment.id, step_number=1))
    report(database, held, outcome)
    assert claim(database, campaign_id) == []
