"""Calls that meet over what they share: people, reservations, reports, templates, and what waits."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.contacts import ContactFields, ContactRef
from db.domain.errors import Busy, InvalidInput, Refused
from db.domain.events import EventType
from db.domain.states import (
    ActionOutcome,
    EnrollmentAction,
    LinkedInStepType,
    PathType,
    SuppressionReason,
    TemplateType,
)
from db.domain.templates import EmailStep, LinkedInStep
from db.domain.webhooks import NewDelivery
from db.postgres.database import Database
from db.services.campaigns import campaigns, templates
from db.services.dispatch import actions, claims
from db.services.enrollments import enrollments
from db.services.erasure import erasure
from db.services.events import deliveries, events, orphans
from db.services.people import suppressions
from tests.support.campaigns import (
    NOW,
    assert_counters_are_exact,
    enroll,
    event,
    make_campaign,
    new_scene,
    record,
    state,
    totals,
)
from tests.support.meeting import Work, just_before, meet

ONE_STEP = [EmailStep(1, "One", "The first of all")]


def take_in(campaign_id: UUID, contact_id: UUID) -> Work[Any]:
    people = {0: ContactRef(contact_id, ContactFields())}
    return partial(enrollments.enroll, campaign_id=campaign_id, people=people, start_at=None, now=NOW)


def stop_by_event(_contact_id: UUID, enrollment_id: UUID) -> Work[Any]:
    return partial(events.record_events, events=[event(EventType.UNSUBSCRIBED, enrollment_id)])


def stop_by_suppression(_contact_id: UUID, _enrollment_id: UUID) -> Work[Any]:
    return partial(suppressions.suppress, email="p0@example.com", reason=SuppressionReason.MANUAL, source=None)


def stop_by_erasure(contact_id: UUID, _enrollment_id: UUID) -> Work[Any]:
    return partial(erasure.erase, contact_id=contact_id, now=NOW)


@pytest.mark.parametrize("stop", [stop_by_event, stop_by_suppression, stop_by_erasure])
@pytest.mark.parametrize("stops_first", [True, False])
def test_nobody_is_taken_in_beside_what_stops_them(
    database: Database, stop: Callable[[UUID, UUID], Work[Any]], stops_first: bool
) -> None:
    one, two = new_scene(database, 1), new_scene(database, 0)
    with database.transaction("look") as session:
        contact_id = session.scalars(text("SELECT id FROM contacts")).one()
    enrol, end = take_in(two.campaign_id, contact_id), stop(contact_id, one.enrollments[0])
    met = meet(database, end, enrol) if stops_first else meet(database, enrol, end)
    assert met.waited
    met.second.result()
    with database.transaction("look") as session:
        going_on = text("SELECT count(*) FROM campaign_enrollments WHERE status IN ('enrolled', 'active', 'paused')")
        assert session.scalar(going_on) == 0
    assert_counters_are_exact(database)


@pytest.mark.parametrize("stop", [stop_by_suppression, stop_by_erasure])
@pytest.mark.parametrize("stops_first", [True, False])
def test_nobody_is_reopened_beside_what_stops_them(
    database: Database, stop: Callable[[UUID, UUID], Work[Any]], stops_first: bool
) -> None:
    (one,) = new_scene(database, 1).enrollments
    update = partial(enrollments.update, enrollment_id=one, now=NOW)
    database.run("end", partial(update, action=EnrollmentAction.COMPLETE))
    with database.transaction("look") as session:
        contact_id = session.scalars(text("SELECT id FROM contacts")).one()
    resume, end = partial(update, action=EnrollmentAction.RESUME), stop(contact_id, one)
    met = meet(database, end, resume) if stops_first else meet(database, resume, end)
    assert met.waited
    if stops_first:
        assert isinstance(met.second.exception(), Refused)
    else:
        met.second.result()
    assert state(database, one)["status"] in ("completed", "unsubscribed")
    assert_counters_are_exact(database)


def claim(campaign_id: UUID) -> Work[claims.Claim]:
    return partial(claims.claim, campaign_id=campaign_id, channel=None, limit=1, lease_seconds=60, now=NOW)


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ({"daily_limit": 2}, 1),
        ({"senders": {"email": {"account": "a@example.com", "daily_limit": 2}}}, 2),
    ],
    ids=["a campaign", "an account of two campaigns"],
)
def test_the_last_reservation_under_a_limit_is_given_once(
    database: Database, settings: dict[str, Any], count: int
) -> None:
    """Another claim begins between the look at what is left and the note of what was taken."""
    make = partial(make_campaign, email_steps=ONE_STEP, settings=settings)
    made = [database.run("campaign", make) for _ in range(count)]
    for campaign_id in made:
        enroll(database, campaign_id, ["a@example.com", "b@example.com", "c@example.com"])
    handed = len(database.run("claim", claim(made[0])).actions)
    hasty = Database(replace(database.config, lock_timeout=0.1, max_attempts=1))
    refused: list[Busy] = []

    def intrude() -> None:
        try:
            hasty.run("claim", claim(made[-1]))
        except Busy as busy:
            refused.append(busy)

    with just_before(database, "INSERT INTO campaign_usage", intrude):
        handed += len(database.run("claim", claim(made[0])).actions)
    hasty.close()
    assert handed == 2
    assert len(refused) == 1
    assert database.run("claim", claim(made[-1])).actions == []


@pytest.mark.parametrize("outcome", [ActionOutcome.FAILED, ActionOutcome.SKIPPED, ActionOutcome.SENT])
def test_of_two_reports_of_a_step_the_first_counts(database: Database, outcome: ActionOutcome) -> None:
    scene = new_scene(database, 1)
    (due,) = database.run("claim", claim(scene.campaign_id)).actions
    report = partial(
        actions.complete,
        action_id=due.action_id,
        lease_token=due.lease_token,
        provider="mail",
        provider_message_id="m-1",
        error=None,
        now=NOW,
    )
    met = meet(database, partial(report, outcome=ActionOutcome.SENT), partial(report, outcome=outcome))
    assert met.waited
    if outcome is ActionOutcome.SENT:
        assert met.second.result().action["status"] == "sent"
    else:
        assert isinstance(met.second.exception(), Refused)
    assert totals(database, scene.campaign_id)["sent"] == 1
    assert state(database, scene.enrollments[0])["current_step"] == 1
    assert_counters_are_exact(database)


def test_what_waits_is_recorded_once_by_two_who_look_at_once(database: Database) -> None:
    scene = new_scene(database, 1)
    record(database, event(EventType.SENT, scene.enrollments[0], step_number=1))
    record(database, event(EventType.OPENED, None, hours=1, provider_message_id="m-1"))
    with database.transaction("late") as session:
        session.execute(text("UPDATE campaign_actions SET provider_message_id = 'm-1'"))
    look = partial(orphans.match_some, after=UUID(int=0), limit=10)
    met = meet(database, look, look)
    assert met.waited
    assert met.second.result()[0] == 0
    assert totals(database, scene.campaign_id)["total_opens"] == 1
    assert_counters_are_exact(database)


def test_no_campaign_is_made_of_a_template_that_is_being_archived(database: Database) -> None:
    scene = new_scene(database, 0)
    with database.transaction("look") as session:
        template_id = campaigns.get(session, campaign_id=scene.campaign_id).template_id
    create = partial(campaigns.create, name="Late", template_id=template_id, settings={}, provider_config={})
    met = meet(database, partial(templates.archive, template_id=template_id), create)
    assert met.waited
    assert isinstance(met.second.exception(), Refused)


def test_a_step_number_belongs_to_the_channel_that_came_first(database: Database) -> None:
    make = partial(templates.create, name="T", type=TemplateType.MULTI_CHANNEL, path_type=PathType.STRUCTURED)
    with database.transaction("a template without a campaign, which would be locked too") as session:
        template_id = make(session, description=None, settings={}, email_steps=ONE_STEP, linkedin_steps=[]).id
    add = partial(templates.update, template_id=template_id, fields={})
    email = partial(add, email_steps=[EmailStep(4, "Four", "The last of all")], linkedin_steps=[])
    visit = partial(add, email_steps=[], linkedin_steps=[LinkedInStep(4, LinkedInStepType.MESSAGE, "Hello")])
    met = meet(database, email, visit)
    assert met.waited
    assert isinstance(met.second.exception(), InvalidInput)


@pytest.mark.parametrize("stop", [stop_by_event, stop_by_suppression])
def test_whoever_is_stopped_while_the_campaign_ends_is_counted_where_they_were(
    database: Database, caplog: pytest.LogCaptureFixture, stop: Callable[[UUID, UUID], Work[Any]]
) -> None:
    scene = new_scene(database, 2)
    first = stop(scene.enrollments[0], scene.enrollments[0])
    met = meet(database, first, partial(campaigns.complete, campaign_id=scene.campaign_id, now=NOW))
    assert met.waited
    met.second.result()
    assert [state(database, enrollment_id)["status"] for enrollment_id in scene.enrollments] == [
        "unsubscribed",
        "completed",
    ]
    assert_counters_are_exact(database)
    assert not caplog.records, "nothing had to be recounted"


def test_a_webhook_request_is_worked_on_by_one_and_waited_for_by_nobody(database: Database) -> None:
    made = [NewDelivery("resend", b"{}", bytes([n]) * 32, NOW + timedelta(seconds=n), f"d-{n}") for n in range(3)]
    database.run("store", partial(deliveries.store, deliveries=made))
    seen: list[str | None] = []

    def first(session: Session) -> None:
        seen.extend(delivery.delivery_id for delivery in deliveries.next_waiting(session, limit=2))

    met = meet(database, first, partial(deliveries.next_waiting, limit=10))
    assert not met.waited
    assert (seen, [delivery.delivery_id for delivery in met.second.result()]) == (["d-0", "d-1"], ["d-2"])
