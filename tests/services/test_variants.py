"""First steps whose variants wait for different times: each person's is due after the delay of the one they get."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from db.domain.contacts import ContactFields, ContactRef
from db.domain.states import EnrollmentAction
from db.domain.templates import EmailStep
from db.postgres.database import Database
from db.services.campaigns import campaigns, templates
from db.services.dispatch import actions
from db.services.enrollments import enrollments
from tests.support.campaigns import NOW, make_campaign

DELAYS = {"A": 1, "B": 5, "C": 9}
FIRST = [EmailStep(1, name, "The first of all", delay_hours=hours, a_b_variant=name) for name, hours in DELAYS.items()]
OTHERS = [EmailStep(2, name, "The last of all", a_b_variant=name) for name in "BXY"]
SHARED = [EmailStep(2, "Two", "The last of all")]
ZONES = [None, "Asia/Tokyo", "America/Lima"]
PERSONAL = {
    "timezone": "Europe/Berlin",
    "use_contact_timezone": True,
    "sending_window": {"days": ["mon", "tue"], "start": "09:00", "end": "10:00"},
}


def enroll(database: Database, campaign_id: UUID, people: int) -> None:
    refs = {
        index: ContactRef(None, ContactFields(email=f"p{index}@example.com", timezone=ZONES[index % len(ZONES)]))
        for index in range(people)
    }
    database.run(
        "enroll",
        lambda session: enrollments.enroll(session, campaign_id=campaign_id, people=refs, start_at=None, now=NOW),
    )


def start(database: Database, campaign_id: UUID) -> None:
    database.run("start", lambda session: campaigns.start(session, campaign_id=campaign_id, now=NOW))


def due_by_variant(database: Database, campaign_id: UUID) -> dict[tuple[str | None, str | None], set[datetime]]:
    """(variant of the first step, time zone) -> when it is due for those who get it there."""
    found: dict[tuple[str | None, str | None], set[datetime]] = {}
    statement = text("""
        SELECT e.id, c.timezone FROM campaign_enrollments e JOIN contacts c ON c.id = e.contact_id
        WHERE e.instance_id = :id
    """)
    with database.transaction("look") as session:
        for enrollment_id, zone in session.execute(statement, {"id": campaign_id}).all():
            step, *_ = actions.preview(
                session,
                enrollment_id=enrollment_id,
                campaign_id=None,
                contact_id=None,
                step_number=None,
                a_b_variant=None,
            )
            due = enrollments.get(session, enrollment_id=enrollment_id).enrollment.next_action_at
            assert due is not None
            found.setdefault((step.a_b_variant, zone), set()).add(due)
    return found


@pytest.mark.parametrize("settings", [{}, PERSONAL], ids=["anytime", "zones"])
@pytest.mark.parametrize("case", ["start", "enroll", "add"])
def test_the_first_step_is_due_after_the_delay_of_the_variant_that_is_sent(
    database: Database, case: str, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(campaigns, "_CHUNK", 50)
    steps = [*SHARED] if case == "add" else [*FIRST, *OTHERS]
    draft = database.run(
        "draft", lambda session: make_campaign(session, email_steps=steps, settings=settings, start_at=None)
    )
    if case == "enroll":
        start(database, draft)
    enroll(database, draft, 180)
    if case == "add":  # variants that nobody has, since they came after all were enrolled
        with database.transaction("look") as session:
            template_id = campaigns.get(session, campaign_id=draft).template_id
        database.run(
            "change",
            lambda session: templates.update(
                session, template_id=template_id, fields={}, email_steps=FIRST, linkedin_steps=[]
            ),
        )
    if case != "enroll":
        with database.transaction("look") as session:
            one = session.scalars(text("SELECT id FROM campaign_enrollments LIMIT 1")).one()
        database.run(
            "pause",
            lambda session: enrollments.update(session, enrollment_id=one, action=EnrollmentAction.PAUSE, now=NOW),
        )
        start(database, draft)
    found = due_by_variant(database, draft)
    assert set(found) == {(name, zone) for name in DELAYS for zone in ZONES}
    for (name, zone), dues in found.items():
        assert dues == {expected(DELAYS[name or ""], zone, settings)}


def expected(hours: int, zone: str | None, settings: dict[str, Any]) -> datetime:
    """NOW is a Monday, 9:00 UTC."""
    delayed = NOW + timedelta(hours=hours)
    if not settings:
        return delayed
    local = delayed.astimezone(ZoneInfo(zone or "Europe/Berlin"))
    opening = local.replace(hour=9)
    if local.hour < 9:
        return opening
    return local if local.hour == 9 else opening + timedelta(days=1)
