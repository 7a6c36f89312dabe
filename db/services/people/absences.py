"""Absences: who is away gets nothing in any campaign until the day after the return, and keeps the delay of each step.

An absence is not a state of an enrollment. It is kept with the person, and moves what waits.
"""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy.orm import Session

from db.domain.absence import end_of
from db.domain.errors import NotFound
from db.domain.sending import zone
from db.models import Contact
from db.services.ops import settings
from db.services.state import enrollment_rows


def begin(session: Session, *, contact_id: UUID, began_at: datetime, until: date | None, now: datetime) -> datetime:
    """Notes that the person is away from `began_at` on and back on the day `until`; without a date, for a week. Returns
    the end of the absence. Nothing changes if it has ended already, or if a longer one is known.

    Each step that waits is due at the end, plus what is left of its delay. NotFound if there is no such contact.
    """
    contact = _lock(session, contact_id)
    place = zone(contact.timezone or settings.get(session).timezone)
    end = end_of(began_at, until, place, now)
    known = contact.absent_until
    if end <= now or contact.erased_at is not None or (known is not None and end <= known):
        return end if known is None else max(end, known)
    is_longer = known is not None and known > now
    contact.absent_from = contact.absent_from if is_longer else min(began_at, now)
    contact.absent_until = end
    session.flush()
    _move(session, contact_id, known, end, now)
    return end


def end(session: Session, *, contact_id: UUID, now: datetime) -> None:
    """Takes an absence back: what is left of the delay of each step counts from now. NotFound if there is no such
    contact."""
    contact = _lock(session, contact_id)
    known = contact.absent_until
    contact.absent_from = contact.absent_until = None
    session.flush()
    if known is not None and known > now:
        _move(session, contact_id, known, None, now)


def _lock(session: Session, contact_id: UUID) -> Contact:
    """Returns the person, locked before their enrollments: nobody enrolls them elsewhere meanwhile."""
    contact = session.get(Contact, contact_id, with_for_update={"key_share": True}, populate_existing=True)
    if contact is None:
        raise NotFound("contact", contact_id)
    return contact


def _move(session: Session, contact_id: UUID, was: datetime | None, becomes: datetime | None, now: datetime) -> None:
    enrollments = enrollment_rows.lock_open_of_contacts(session, contact_ids=[contact_id])
    before = enrollment_rows.snapshot(enrollments)
    for enrollment in enrollments:
        enrollment.note_absence(was, becomes, now)
    enrollment_rows.save(session, before=before, after=enrollments)
