"""Two that change the same at the same time: whoever comes second works with what the first has left."""

from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.contacts import ContactFields, ContactRef
from db.domain.errors import InvalidTransition, Refused
from db.domain.events import EventType
from db.domain.states import ActionOutcome, EnrollmentAction
from db.domain.templates import EmailStep
from db.postgres.database import Database
from db.services.campaigns import campaigns
from db.services.dispatch import actions, claims
from db.services.enrollments import enrollments
from db.services.enrollments.enrollments import Former
from db.services.events import events
from tests.support.campaigns import (
    NOW,
    Scene,
    assert_counters_are_exact,
    enroll,
    event,
    make_campaign,
    new_scene,
    record,
    state,
)
from tests.support.meeting import Work, just_before, meet
from tests.support.steps import TAKES_STEPS

LATER = NOW + timedelta(hours=1)


def change(enrollment_id: UUID, action: EnrollmentAction) -> Work[Former]:
    return partial(enrollments.update, enrollment_id=enrollment_id, action=action, now=NOW)


def by_address(email: str) -> ContactRef:
    return ContactRef(None, ContactFields(email=email))


def take_in(campaign_id: UUID, person: ContactRef) -> Work[enrollments.Enrolled]:
    people = {0: person}

    def work(session: Session) -> enrollments.Enrolled:
        return enrollments.enroll(session, campaign_id=campaign_id, people=people, start_at=None, now=NOW)[0]

    return work


def of_campaign(name: str, campaign_id: UUID) -> Work[Any]:
    if name == "update":
        return partial(campaigns.update, campaign_id=campaign_id, fields={"name": "Another"}, now=NOW)
    command = {"start": campaigns.start, "pause": campaigns.pause, "complete": campaigns.complete}[name]
    return partial(command, campaign_id=campaign_id, now=NOW)


def claim(now: datetime, limit: int = 10) -> Work[claims.Claim]:
    return partial(claims.claim, campaign_id=None, channel=None, limit=limit, lease_seconds=60, now=now)


def campaign(database: Database, scene: Scene) -> str:
    with database.transaction("look") as session:
        return campaigns.get(session, campaign_id=scene.campaign_id).status


def statuses(database: Database, campaign_id: UUID) -> list[str]:
    with database.transaction("look") as session:
        of = text("SELECT status FROM campaign_enrollments WHERE instance_id = :id")
        return list(session.scalars(of, {"id": campaign_id}))


ADVANCE, PAUSE = EnrollmentAction.ADVANCE, EnrollmentAction.PAUSE


@pytest.mark.parametrize(("first", "second"), [(ADVANCE, PAUSE), (PAUSE, ADVANCE), (ADVANCE, ADVANCE)])
def test_changes_of_one_enrollment_add_up(
    database: Database, first: EnrollmentAction, second: EnrollmentAction
) -> None:
    scene = new_scene(database, 1)
    (one,) = scene.enrollments
    met = meet(database, change(one, first), change(one, second))
    met.second.result()
    after = state(database, one)
    assert met.waited
    assert after["status"] == ("active" if PAUSE not in (first, second) else "paused")
    assert after["current_step"] == [first, second].count(ADVANCE)
    assert_counters_are_exact(database)


@pytest.mark.parametrize("is_by_id", [True, False])
@pytest.mark.parametrize("unsubscribes_first", [True, False])
def test_nobody_is_taken_in_beside_their_unsubscribe_by_hand(
    database: Database, unsubscribes_first: bool, is_by_id: bool
) -> None:
    one, two = new_scene(database, 1), new_scene(database, 0)
    wish = change(one.enrollments[0], EnrollmentAction.UNSUBSCRIBE)
    with database.transaction("look") as session:
        contact_id = session.scalars(text("SELECT id FROM contacts")).one()
    who = ContactRef(contact_id, ContactFields()) if is_by_id else by_address("p0@example.com")
    enrol = take_in(two.campaign_id, who)
    met = meet(database, wish, enrol) if unsubscribes_first else meet(database, enrol, wish)
    assert met.waited
    met.second.result()
    assert statuses(database, two.campaign_id) == ([] if unsubscribes_first else ["unsubscribed"])
    assert_counters_are_exact(database)


@pytest.mark.parametrize("second", ["start", "pause", "complete", "update"])
def test_a_campaign_that_is_being_completed_takes_no_other_command(database: Database, second: str) -> None:
    scene = new_scene(database, 1)
    if second == "start":
        database.run("pause", of_campaign("pause", scene.campaign_id))
    met = meet(database, of_campaign("complete", scene.campaign_id), of_campaign(second, scene.campaign_id))
    assert met.waited
    assert isinstance(met.second.exception(), Refused if second == "update" else InvalidTransition)
    assert campaign(database, scene) == "completed"
    assert statuses(database, scene.campaign_id) == ["completed"]
    assert_counters_are_exact(database)


@pytest.mark.parametrize(("command", "becomes"), [("start", "active"), ("complete", "completed")])
@pytest.mark.parametrize("enrols_first", [True, False])
def test_whoever_is_taken_in_while_a_campaign_starts_or_ends_goes_with_it(
    database: Database, command: str, becomes: str, enrols_first: bool
) -> None:
    scene = new_scene(database, 1, start=command == "complete")
    enrol, move = take_in(scene.campaign_id, by_address("new@example.com")), of_campaign(command, scene.campaign_id)
    met = meet(database, enrol, move) if enrols_first else meet(database, move, enrol)
    assert met.waited
    if command == "complete" and not enrols_first:
        assert isinstance(met.second.exception(), Refused)
    else:
        met.second.result()
    found = statuses(database, scene.campaign_id)
    assert found == [becomes] * (1 if command == "complete" and not enrols_first else 2)
    with database.transaction("look") as session:
        due = text("SELECT count(*) FROM campaign_enrollments WHERE next_action_at IS NOT NULL")
        assert session.scalar(due) == (2 if command == "start" else 0)
    assert_counters_are_exact(database)


@pytest.mark.parametrize("is_second_claim", [False, True])
def test_nothing_is_handed_out_of_a_campaign_that_was_paused_since_the_claim_began(
    database: Database, is_second_claim: bool
) -> None:
    """The second claim of a step goes by the place under the daily limit that the first has taken."""
    steps = [EmailStep(1, "One", "The first of all")]
    campaign_id = database.run("campaign", partial(make_campaign, email_steps=steps, settings={"daily_limit": 1}))
    enroll(database, campaign_id, ["one@example.com"])
    if is_second_claim:
        assert len(database.run("claim", claim(NOW)).actions) == 1
    moment = LATER if is_second_claim else NOW
    pause = partial(database.run, "pause", of_campaign("pause", campaign_id))
    with just_before(database, TAKES_STEPS, pause):
        assert database.run("claim", claim(moment)).actions == []
    database.run("start", of_campaign("start", campaign_id))
    assert len(database.run("claim", claim(moment)).actions) == 1


def test_a_pause_waits_for_the_claim_that_is_taking_steps_and_a_claim_for_no_pause(database: Database) -> None:
    scene = new_scene(database, 1)
    pause = of_campaign("pause", scene.campaign_id)
    paused_first = meet(database, pause, claim(NOW))
    assert not paused_first.waited
    assert paused_first.second.result().actions == []
    database.run("start", of_campaign("start", scene.campaign_id))
    assert meet(database, claim(NOW), pause).waited


def test_two_claims_side_by_side_hand_out_different_steps_and_wait_for_nobody(database: Database) -> None:
    scene = new_scene(database, 4)
    handed: list[UUID] = []

    def first(session: Session) -> None:
        handed.extend(due.enrollment.id for due in claim(NOW, limit=2)(session).actions)

    met = meet(database, first, claim(NOW))
    assert not met.waited
    assert len(handed) == 2
    assert sorted([*handed, *(due.enrollment.id for due in met.second.result().actions)]) == sorted(scene.enrollments)


def test_what_a_batch_tells_counts_in_the_order_in_which_it_happened(database: Database) -> None:
    scene = new_scene(database, 1)
    (one,) = scene.enrollments
    later = event(EventType.REPLIED, one, step_number=1, hours=2)
    record(database, later, event(EventType.BOUNCED, one, step_number=1, hours=1))
    assert state(database, one)["stop_reason"] == "bounced"


def messages_of(database: Database, enrollment_id: UUID) -> list[tuple[Any, ...]]:
    with database.transaction("look") as session:
        of = text("""
            SELECT step_number, provider_message_id, delivered_at IS NOT NULL, open_count FROM campaign_actions
            WHERE enrollment_id = :id ORDER BY step_number
        """)
        return [tuple(row) for row in session.execute(of, {"id": enrollment_id})]


@pytest.mark.parametrize("names", [{"step_number": 1}, {}])
def test_a_report_whose_message_an_event_names_meanwhile_counts_as_one_that_comes_later(
    database: Database, names: dict[str, Any]
) -> None:
    steps = [EmailStep(1, "First", "The first of all"), EmailStep(2, "Second", "The second of all")]
    make = partial(make_campaign, email_steps=steps, start_at=NOW)
    told: list[list[tuple[Any, ...]]] = []
    for together in (False, True):
        ids = enroll(database, database.run("campaign", make), [f"p{together:d}@example.com"])
        (first,) = database.run("claim", claim(NOW)).actions
        report = partial(actions.complete, outcome=ActionOutcome.SENT, provider=None, error=None, now=NOW)
        done = partial(report, action_id=first.action_id, lease_token=first.lease_token, provider_message_id=None)
        database.run("complete", done)
        (second,) = database.run("claim", claim(NOW)).actions
        naming = event(EventType.DELIVERED, ids[0], hours=-1, provider_message_id="m", **names)
        tell = partial(events.record_events, events=[naming])
        late = partial(report, action_id=second.action_id, lease_token=second.lease_token, provider_message_id="m")
        if together:
            met = meet(database, tell, late, attempts=2)
            assert met.waited
            met.second.result()
        else:
            database.run("tell", tell)
            database.run("late", late)
        told.append(messages_of(database, ids[0]))
        record(database, event(EventType.OPENED, ids[0], provider_message_id="m"))
        told.append(messages_of(database, ids[0]))
    assert told[:2] == told[2:]
    assert_counters_are_exact(database)
