"""Who waits: in the zone of each person, and while what they wait for is changed."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.contacts import ContactFields, ContactRef
from db.domain.holds import HoldReason
from db.domain.states import ActionOutcome
from db.domain.templates import EmailStep
from db.postgres.database import Database
from db.services.campaigns import campaigns, reschedule, templates
from db.services.dispatch import explain
from db.services.enrollments import enrollments
from db.services.people import contacts
from tests.support.campaigns import make_campaign
from tests.support.steps import claim_at, report_at

OFFICE = {"days": ["mon", "tue", "wed", "thu", "fri"], "start": "09:00", "end": "17:00"}
BERLIN: dict[str, Any] = {"timezone": "Europe/Berlin", "sending_window": OFFICE, "use_contact_timezone": True}
NOON = datetime(2026, 11, 2, 11, 0, tzinfo=UTC)  # Monday, 12:00 in Berlin
ONE_STEP = [EmailStep(1, "Hello", "The first of all")]


def running(database: Database, settings: Mapping[str, Any], steps: list[EmailStep] | None = None) -> UUID:
    return database.run(
        "campaign", lambda session: make_campaign(session, email_steps=steps or ONE_STEP, settings=settings)
    )


def enroll(database: Database, campaign_id: UUID, zones: list[str | None], *, at: datetime = NOON) -> list[UUID]:
    """Enroll a person in each of the zones."""
    people = {
        index: ContactRef(None, ContactFields(email=f"p{index}@{campaign_id}.example.com", timezone=zone))
        for index, zone in enumerate(zones)
    }
    answers = database.run(
        "enroll",
        lambda session: enrollments.enroll(session, campaign_id=campaign_id, people=people, start_at=None, now=at),
    )
    return [answers[index].enrollment_id or UUID(int=0) for index in people]


def explained(database: Database, campaign_id: UUID, now: datetime) -> explain.Explanation:
    with database.transaction("explain") as session:
        return explain.campaign(session, campaign_id=campaign_id, now=now)


@pytest.mark.parametrize(
    ("zone", "opening"),
    [
        ("Asia/Tokyo", datetime(2026, 11, 3, 0, 0, tzinfo=UTC)),
        ("America/Los_Angeles", datetime(2026, 11, 2, 17, 0, tzinfo=UTC)),
        ("Pacific/Honolulu", datetime(2026, 11, 2, 19, 0, tzinfo=UTC)),
    ],
)
def test_whoever_follows_what_is_told_sends_at_each_persons_own_opening(
    database: Database, zone: str, opening: datetime
) -> None:
    campaign_id = running(database, BERLIN)
    enroll(database, campaign_id, [zone])
    told = explained(database, campaign_id, NOON)
    assert (claim_at(database, campaign_id, NOON).next_due_at, told.next_at) == (opening, opening)
    assert [(hold.reason, hold.until) for hold in told.holds] == [(HoldReason.OUTSIDE_WINDOW, opening)]
    assert len(claim_at(database, campaign_id, opening).actions) == 1


def test_one_who_is_due_behind_many_who_are_closed_is_seen(database: Database) -> None:
    campaign_id = running(database, BERLIN)
    # They were due while it was Monday morning in Tokyo, and nobody came.
    enroll(database, campaign_id, ["Asia/Tokyo"] * 201, at=NOON - timedelta(hours=10))
    with database.transaction("enroll") as session:
        person = {0: ContactRef(None, ContactFields(email="open@example.com"))}
        enrollments.enroll(session, campaign_id=campaign_id, people=person, start_at=None, now=NOON)
    assert explained(database, campaign_id, NOON).is_due
    assert len(claim_at(database, campaign_id, NOON, limit=1).actions) == 1
    held = claim_at(database, campaign_id, NOON, limit=1)
    assert (held.actions, held.next_due_at) == ([], NOON + timedelta(seconds=300))


def change(settings: Mapping[str, Any]) -> Callable[[Session, UUID], object]:
    return lambda session, campaign_id: campaigns.update(
        session, campaign_id=campaign_id, fields={"settings": dict(settings)}, now=NOON
    )


def move_person(session: Session, campaign_id: UUID) -> None:
    fields = ContactFields(email=f"p0@{campaign_id}.example.com", timezone="Europe/Paris")
    contacts.find_or_create(session, people={0: fields}, overwrite=True)


LATE = {"timezone": "Europe/Berlin", "sending_window": {**OFFICE, "start": "15:00"}}
EDITS: dict[str, tuple[dict[str, Any], str | None, Callable[[Session, UUID], object]]] = {
    "a wider window": (LATE, None, change({**LATE, "sending_window": OFFICE})),
    "no window": (LATE, None, change({})),
    "another zone": (LATE, None, change({**LATE, "timezone": "Asia/Dubai"})),
    "a holiday less": ({**BERLIN, "holidays": ["2026-11-02"]}, None, change(BERLIN)),
    "no zones of people": (BERLIN, "Asia/Tokyo", change({**BERLIN, "use_contact_timezone": False})),
    "zones of people": ({**BERLIN, "timezone": "Asia/Tokyo", "use_contact_timezone": False}, "Europe/Rome",
                        change({**BERLIN, "timezone": "Asia/Tokyo"})),
    "the zone of those without one": ({**BERLIN, "timezone": "Asia/Tokyo"}, None, change(BERLIN)),
    "the zone of the person": (BERLIN, "Asia/Tokyo", move_person),
}  # fmt: skip


@pytest.mark.parametrize("name", EDITS)
def test_whoever_waits_is_looked_at_anew_when_what_holds_them_changes(database: Database, name: str) -> None:
    settings, zone, edit = EDITS[name]
    campaign_id = running(database, settings)
    (enrollment_id,) = enroll(database, campaign_id, [zone])
    held = claim_at(database, campaign_id, NOON)
    assert held.actions == []
    assert held.next_due_at is not None
    database.run("edit", lambda session: edit(session, campaign_id))
    with database.transaction("explain") as session:
        assert explain.enrollment(session, enrollment_id=enrollment_id, now=NOON).is_due
    assert [due.enrollment.id for due in claim_at(database, campaign_id, NOON).actions] == [enrollment_id]


THREE_STEPS = [
    EmailStep(1, "One", "The first of all"),
    EmailStep(2, "Two", "The second of all", delay_hours=1),
    EmailStep(3, "Three", "The last of all", delay_hours=72),
]


def switch(database: Database, campaign_id: UUID, *, is_active: bool) -> None:
    """Take step 2 out of use, or back into it."""
    step = EmailStep(2, "Two", "The second of all", delay_hours=1, is_active=is_active)

    def work(session: Session) -> None:
        template_id = campaigns.get(session, campaign_id=campaign_id).template_id
        templates.update(session, template_id=template_id, fields={}, email_steps=[step], linkedin_steps=[])

    database.run("switch", work)


def test_a_step_that_is_switched_off_takes_its_delay_with_it(database: Database) -> None:
    campaign_id = running(database, {}, THREE_STEPS)
    enroll(database, campaign_id, [None])
    (first,) = claim_at(database, campaign_id, NOON).actions
    report_at(database, first, ActionOutcome.SENT, NOON)
    switch(database, campaign_id, is_active=False)
    assert claim_at(database, campaign_id, NOON + timedelta(hours=1)).next_due_at == NOON + timedelta(hours=72)
    switch(database, campaign_id, is_active=True)
    (second,) = claim_at(database, campaign_id, NOON + timedelta(hours=1)).actions
    assert second.step.step_number == 2


def delay(database: Database, campaign_id: UUID, *steps: EmailStep) -> None:
    def work(session: Session) -> None:
        template_id = campaigns.get(session, campaign_id=campaign_id).template_id
        templates.update(session, template_id=template_id, fields={}, email_steps=steps, linkedin_steps=[])

    database.run("delay", work)


def moments(database: Database, campaign_id: UUID) -> dict[UUID, datetime]:
    statement = text("SELECT id, next_action_at FROM campaign_enrollments WHERE instance_id = :id")
    with database.transaction("look") as session:
        return dict(tuple(row) for row in session.execute(statement, {"id": campaign_id}))


def test_whoever_waits_for_a_step_goes_by_its_new_delay(database: Database) -> None:
    campaign_id = running(database, {}, THREE_STEPS)
    one, two = enroll(database, campaign_id, [None, None])
    (first,) = claim_at(database, campaign_id, NOON, limit=1).actions
    report_at(database, first, ActionOutcome.SENT, NOON)
    other = two if first.enrollment.id == one else one
    delay(database, campaign_id, replace(THREE_STEPS[1], delay_hours=30), replace(THREE_STEPS[0], delay_hours=2))
    expected = {first.enrollment.id: NOON + timedelta(hours=30), other: NOON + timedelta(hours=2)}
    assert moments(database, campaign_id) == expected
    delay(database, campaign_id, replace(THREE_STEPS[1], delay_hours=0), replace(THREE_STEPS[2], delay_hours=1))
    assert moments(database, campaign_id) == {**expected, first.enrollment.id: NOON}
    (second,) = claim_at(database, campaign_id, NOON).actions
    assert second.step.step_number == 2


def test_whoever_waits_goes_by_the_new_delay_though_those_before_wait_for_another(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reschedule, "_CHUNK", 2)
    campaign_id = running(database, {}, THREE_STEPS)
    people = sorted(enroll(database, campaign_id, [None] * 5))
    for due in claim_at(database, campaign_id, NOON, limit=5).actions:
        if due.enrollment.id == people[-1]:
            report_at(database, due, ActionOutcome.SENT, NOON)
    before = moments(database, campaign_id)
    delay(database, campaign_id, replace(THREE_STEPS[1], delay_hours=30))
    assert moments(database, campaign_id) == {**before, people[-1]: NOON + timedelta(hours=30)}


@pytest.mark.parametrize("is_lost", [False, True])
def test_a_step_that_was_handed_out_is_not_held_back_by_a_new_delay(database: Database, is_lost: bool) -> None:
    campaign_id = running(database, {}, THREE_STEPS)
    one, two = enroll(database, campaign_id, [None, None])
    (held,) = claim_at(database, campaign_id, NOON, limit=1).actions
    later = NOON + timedelta(minutes=10 if is_lost else 1)
    delay(database, campaign_id, replace(THREE_STEPS[0], delay_hours=3))
    other = two if held.enrollment.id == one else one
    assert moments(database, campaign_id) == {held.enrollment.id: held.lease_until, other: NOON + timedelta(hours=3)}
    handed = [due.enrollment.id for due in claim_at(database, campaign_id, later).actions]
    assert handed == ([held.enrollment.id] if is_lost else [])


def test_each_variant_has_its_own_new_delay(database: Database) -> None:
    variants = [EmailStep(1, "One", "The first of all", a_b_variant=name) for name in "AB"]
    campaign_id = running(database, {}, variants)
    # As many as it takes that each variant is drawn by somebody, whatever the ids are.
    enroll(database, campaign_id, [None] * 40)
    delay(database, campaign_id, replace(variants[1], delay_hours=4))
    with database.transaction("look") as session:
        rows = session.execute(text("SELECT a_b_variant, next_action_at FROM campaign_enrollments")).all()
    assert {tuple(row) for row in rows} == {("A", NOON), ("B", NOON + timedelta(hours=4))}


def test_a_step_that_is_claimed_stays_with_its_holder_while_steps_change(database: Database) -> None:
    campaign_id = running(database, {}, THREE_STEPS)
    enroll(database, campaign_id, [None, None])
    later = NOON + timedelta(hours=1)
    for due in claim_at(database, campaign_id, NOON).actions:
        report_at(database, due, ActionOutcome.SENT, NOON)
    (held,) = claim_at(database, campaign_id, later, limit=1).actions
    switch(database, campaign_id, is_active=False)
    expected = {held.enrollment.id: NOON + timedelta(hours=72)}
    with database.transaction("look") as session:
        rows = session.execute(text("SELECT id, next_action_at FROM campaign_enrollments")).all()
    assert {id_: due for id_, due in rows if id_ in expected} == expected
    switch(database, campaign_id, is_active=True)
    told = claim_at(database, campaign_id, later)
    assert [due.enrollment.id for due in told.actions] == [id_ for id_, _ in rows if id_ not in expected]
    assert claim_at(database, campaign_id, later).next_due_at == later + timedelta(seconds=300)
