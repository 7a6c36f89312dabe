"""Who gets into a campaign, how far they get, and what starting and ending a campaign does to them."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from db.domain.contacts import ContactFields, ContactRef
from db.domain.errors import InvalidInput, InvalidTransition, Refused
from db.domain.events import EventType
from db.domain.states import EnrollmentAction, SuppressionReason
from db.domain.templates import EmailStep
from db.postgres.database import Database
from db.services.campaigns import campaigns, templates
from db.services.enrollments import enrollments
from db.services.enrollments.enrollments import Enrolled
from db.services.people import contacts, suppressions
from tests.support.campaigns import NOW, assert_counters_are_exact, enroll, event, new_scene, record, state

LINK = "https://www.linkedin.com/in/jane"


def take_in(database: Database, campaign_id: UUID, *people: ContactRef, hours: float | None = None) -> list[Enrolled]:
    start_at = None if hours is None else NOW + timedelta(hours=hours)
    answers = database.run(
        "enroll",
        lambda session: enrollments.enroll(
            session, campaign_id=campaign_id, people=dict(enumerate(people)), start_at=start_at, now=NOW
        ),
    )
    return [answers[index] for index in range(len(people))]


def person(**fields: Any) -> ContactRef:
    return ContactRef(None, ContactFields(**fields))


def test_a_person_is_known_by_email_by_profile_and_by_id(database: Database) -> None:
    scene = new_scene(database, 0)
    (first,) = take_in(database, scene.campaign_id, person(email="jane@example.com", linkedin_url=LINK))
    assert first.contact_id is not None
    again = take_in(
        database,
        scene.campaign_id,
        person(email="jane@example.com"),
        person(linkedin_url=LINK),
        ContactRef(first.contact_id, ContactFields()),
    )
    assert {(str(outcome.verdict), outcome.enrollment_id) for outcome in again} == {
        ("already_enrolled", first.enrollment_id)
    }
    assert_counters_are_exact(database)


def test_two_rows_of_one_new_person_are_one_enrollment(database: Database) -> None:
    scene = new_scene(database, 0)
    one, two = take_in(database, scene.campaign_id, person(email="a@example.com"), person(email="a@example.com"))
    assert (str(one.verdict), str(two.verdict)) == ("enrolled", "already_enrolled")
    assert one.enrollment_id == two.enrollment_id


def test_addresses_of_two_people_are_refused_and_empty_fields_are_filled(database: Database) -> None:
    scene = new_scene(database, 0)
    take_in(database, scene.campaign_id, person(email="a@example.com", first_name="Ann"), person(linkedin_url=LINK))
    (clash,) = take_in(database, scene.campaign_id, person(email="a@example.com", linkedin_url=LINK))
    assert "two contacts" in str(clash.reason)
    take_in(database, scene.campaign_id, person(email="a@example.com", first_name="Eve", company="Acme"))
    with database.transaction("look") as session:
        row = session.execute(text("SELECT first_name, company FROM contacts WHERE email = 'a@example.com'")).one()
    assert tuple(row) == ("Ann", "Acme")


@pytest.mark.parametrize("target", [{"email": "jane@example.com"}, {"domain": "example.com"}, {"linkedin_url": LINK}])
def test_the_suppressed_stay_out_by_any_of_their_addresses(database: Database, target: dict[str, Any]) -> None:
    scene = new_scene(database, 0)
    database.run(
        "suppress",
        lambda session: suppressions.suppress(session, **target, reason=SuppressionReason.MANUAL, source=None),
    )
    (answer,) = take_in(database, scene.campaign_id, person(email="jane@example.com", linkedin_url=LINK))
    assert (str(answer.verdict), answer.reason) == ("suppressed", "suppressed: manual")


def test_a_draft_waits_for_its_start_and_start_at_for_its_moment(database: Database) -> None:
    draft = new_scene(database, 2, start=False)
    assert state(database, draft.enrollments[0])["status"] == "enrolled"
    database.run("start", lambda session: campaigns.start(session, campaign_id=draft.campaign_id, now=NOW))
    started = state(database, draft.enrollments[0])
    assert (started["status"], started["next_action_at"]) == ("active", NOW)
    (later,) = take_in(database, draft.campaign_id, person(email="later@example.com"), hours=5)
    assert later.enrollment_id is not None
    assert state(database, later.enrollment_id)["next_action_at"] == NOW + timedelta(hours=5)
    assert_counters_are_exact(database)


def test_starting_and_completing_moves_everybody_chunk_by_chunk(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(campaigns, "_CHUNK", 3)
    scene = new_scene(database, 10, start=False)
    database.run("start", lambda session: campaigns.start(session, campaign_id=scene.campaign_id, now=NOW))
    assert {state(database, enrollment)["status"] for enrollment in scene.enrollments} == {"active"}
    assert_counters_are_exact(database)
    database.run("complete", lambda session: campaigns.complete(session, campaign_id=scene.campaign_id, now=NOW))
    assert {state(database, enrollment)["stop_reason"] for enrollment in scene.enrollments} == {"campaign_completed"}
    assert_counters_are_exact(database)
    with pytest.raises(Refused, match="completed"):
        enroll(database, scene.campaign_id, ["late@example.com"])


def test_pausing_a_campaign_shifts_nothing(database: Database) -> None:
    scene = new_scene(database, 1)
    before = state(database, scene.enrollments[0])
    database.run("pause", lambda session: campaigns.pause(session, campaign_id=scene.campaign_id, now=NOW))
    later = NOW + timedelta(days=3)
    database.run("start", lambda session: campaigns.start(session, campaign_id=scene.campaign_id, now=later))
    assert state(database, scene.enrollments[0]) == before


def test_a_campaign_that_ends_leaves_nobody_waiting(database: Database) -> None:
    scene = new_scene(database, 2)
    update(database, scene.enrollments[0], EnrollmentAction.PAUSE)
    database.run("complete", lambda session: campaigns.complete(session, campaign_id=scene.campaign_id, now=NOW))
    ended = [
        (state(database, enrollment)["status"], state(database, enrollment)["stop_reason"])
        for enrollment in scene.enrollments
    ]
    assert ended == [("completed", "campaign_completed")] * 2
    assert_counters_are_exact(database)


def test_variants_are_split_evenly(database: Database) -> None:
    scene = new_scene(database, 1_000)
    with database.transaction("look") as session:
        statement = text("SELECT count(*) FROM campaign_enrollments WHERE a_b_variant = 'A' AND instance_id = :id")
        first = session.scalar(statement, {"id": scene.campaign_id}) or 0
    assert 400 < first < 600  # six standard deviations to either side


def update(database: Database, enrollment_id: UUID, action: EnrollmentAction) -> None:
    database.run(
        "update",
        lambda session: enrollments.update(session, enrollment_id=enrollment_id, action=action, now=NOW),
    )


def test_an_enrollment_is_paused_resumed_advanced_completed(database: Database) -> None:
    scene = new_scene(database, 1)
    (one,) = scene.enrollments
    update(database, one, EnrollmentAction.PAUSE)
    assert state(database, one)["status"] == "paused"
    with pytest.raises(InvalidTransition, match="resume"):
        update(database, one, EnrollmentAction.PAUSE)
    update(database, one, EnrollmentAction.RESUME)
    update(database, one, EnrollmentAction.ADVANCE)
    assert (state(database, one)["current_step"], state(database, one)["status"]) == (1, "active")
    update(database, one, EnrollmentAction.COMPLETE)
    assert state(database, one)["stop_reason"] == "manual"
    with pytest.raises(InvalidTransition, match="unsubscribe"):
        update(database, one, EnrollmentAction.ADVANCE)
    update(database, one, EnrollmentAction.UNSUBSCRIBE)
    assert state(database, one)["status"] == "unsubscribed"
    assert_counters_are_exact(database)


def template_of(database: Database, campaign_id: UUID) -> UUID:
    with database.transaction("look") as session:
        return campaigns.get(session, campaign_id=campaign_id).template_id


def change(database: Database, template_id: UUID, *steps: EmailStep) -> None:
    database.run(
        "change",
        lambda session: templates.update(
            session, template_id=template_id, fields={}, email_steps=steps, linkedin_steps=[]
        ),
    )


def test_a_template_takes_steps_at_its_end_and_none_before_what_somebody_did(database: Database) -> None:
    scene = new_scene(database, 1)
    template_id = template_of(database, scene.campaign_id)
    record(database, event(EventType.SENT, scene.enrollments[0], step_number=3))
    change(database, template_id, EmailStep(4, "Four", "The very last one"))
    with pytest.raises(InvalidInput, match="belongs to linkedin"):
        change(database, template_id, EmailStep(2, "Two", "Between the two"))
    with pytest.raises(InvalidInput, match="variant"):
        change(database, template_id, EmailStep(1, "One", "Without a variant"))


def test_pages_hold_still_while_rows_are_added(database: Database) -> None:
    scene = new_scene(database, 6)
    with database.transaction("first") as session:
        first = enrollments.list_(session, campaign_id=scene.campaign_id, status=None, limit=4, cursor=None)
    enroll(database, scene.campaign_id, [f"new{i}@example.com" for i in range(5)])
    with database.transaction("second") as session:
        second = enrollments.list_(
            session, campaign_id=scene.campaign_id, status=None, limit=4, cursor=first.next_cursor
        )
        seen = [row.enrollment.id for row in (*first.rows, *second.rows)]
        assert sorted(seen) == sorted(scene.enrollments)
        for cursor in (f"{first.next_cursor}x", "AAAA", first.next_cursor):
            with pytest.raises(InvalidInput, match="cursor"):
                contacts.find(session, search=None, email=None, company=None, limit=4, cursor=cursor)
