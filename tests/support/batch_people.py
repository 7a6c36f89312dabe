"""The people of batches, enrolled by their addresses."""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.contacts import ContactFields, ContactRef
from db.domain.events import EventType, NewEvent
from db.domain.states import Channel
from db.services.enrollments import enrollments
from tests.support.campaigns import NOW

PUBLIC_URL = "https://mail.example.com"

LATER = NOW + timedelta(minutes=10)

SENT = partial(NewEvent, EventType.SENT, Channel.EMAIL, NOW)


def person(email: str, **more: Any) -> ContactFields:
    profile = email.replace("@", "-at-").replace(".", "-")
    return ContactFields(email, f"https://www.linkedin.com/in/{profile}", "Ada", timezone="Europe/Berlin", **more)


def enroll_all(session: Session, campaign_id: UUID, refs: Sequence[ContactRef]) -> Sequence[enrollments.Enrolled]:
    """Enrolls people with whom no campaign is in conversation any more."""
    session.execute(text("DELETE FROM conversations"))
    given = dict(enumerate(refs))
    answers = enrollments.enroll(session, campaign_id=campaign_id, people=given, start_at=None, now=NOW)
    return [answers[number] for number in given]


def by_email(emails: Sequence[str]) -> list[ContactRef]:
    return [ContactRef(None, person(email)) for email in emails]
