"""Moves a person from one campaign to another: the one enrollment ends, and the other begins or goes on."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.domain.contacts import ContactFields, ContactRef
from db.domain.enrollment import Enrollment
from db.domain.errors import InvalidInput, NotFound, Refused
from db.domain.events import Stop
from db.domain.states import EnrollmentCommand, EnrollmentStatus, EnrollVerdict, StopReason, move_enrollment
from db.models import CampaignEnrollment, Contact
from db.services.campaigns import campaigns
from db.services.enrollments.enrollments import Former, enroll
from db.services.state import conversation_rows, enrollment_rows


class Moved(NamedTuple):
    """The enrollment in the other campaign, and the campaign that the person came from."""

    enrollment_id: UUID
    from_campaign: UUID


def move(session: Session, *, enrollment_id: UUID, campaign_id: UUID, now: datetime) -> Moved:
    """Ends an enrollment and enrolls its person in another campaign, or reopens what ended there. Who is paused stays
    paused. Refused if either is not possible; then nothing is changed."""
    of_enrollment = select(CampaignEnrollment.campaign_id, CampaignEnrollment.contact_id)
    found = session.execute(of_enrollment.where(CampaignEnrollment.id == enrollment_id)).one_or_none()
    if found is None:
        raise NotFound("enrollment", enrollment_id)
    source, contact_id = found
    if source == campaign_id:
        raise InvalidInput("campaign_id is that of the enrollment's own campaign. list_campaigns shows the others.")
    for locked in sorted((source, campaign_id)):
        if locked == source:
            campaigns.lock_for_command(session, campaign_id=source)
        else:
            campaigns.lock_for_enrollment(session, campaign_id=campaign_id)
    who = ContactRef(contact_id, ContactFields())
    answer = enroll(session, campaign_id=campaign_id, people={0: who}, start_at=None, reopens=True, now=now)[0]
    if answer.verdict not in (EnrollVerdict.ENROLLED, EnrollVerdict.REOPENED) or answer.enrollment_id is None:
        there = f" The person's enrollment there is {answer.enrollment_id}." if answer.enrollment_id else ""
        raise Refused(f"The person can't be moved: {answer.reason or answer.verdict}.{there} Nothing was changed.")
    conversation_rows.hand_on(session, former=enrollment_id, to=answer.enrollment_id)
    former = _end(session, enrollment_id, now)
    if former.status is EnrollmentStatus.PAUSED:
        _pause(session, answer.enrollment_id, former.paused_until, now)
    return Moved(answer.enrollment_id, source)


def _end(session: Session, enrollment_id: UUID, now: datetime) -> Former:
    """Returns what it was."""
    enrollment = _lock(session, enrollment_id)
    before = enrollment_rows.snapshot([enrollment])
    enrollment.end_pause(now)
    enrollment.end_wait()  # an approval is asked for, or not, by the other campaign
    former = Former(enrollment.status, enrollment.paused_until)
    move_enrollment(former.status, EnrollmentCommand.MOVE)
    enrollment.stop(Stop(EnrollmentCommand.MOVE, StopReason.MOVED))
    enrollment_rows.save(session, before=before, after=[enrollment])
    return former


def _pause(session: Session, enrollment_id: UUID, until: datetime | None, now: datetime) -> None:
    """Pauses it for as long as the other one was, unless an event that waited for it has ended it. A reason for which
    the server paused the other one is about the texts there, and does not go along."""
    enrollment = _lock(session, enrollment_id)
    before = enrollment_rows.snapshot([enrollment])
    if enrollment.is_open and until is None:
        enrollment.pause()
    elif enrollment.is_open and until is not None:
        absent_until = session.scalars(select(Contact.absent_until).where(Contact.id == enrollment.contact_id)).one()
        enrollment.pause_until(until, absent_until, now)
    enrollment_rows.save(session, before=before, after=[enrollment])


def _lock(session: Session, enrollment_id: UUID) -> Enrollment:
    enrollment = enrollment_rows.lock_one(session, enrollment_id=enrollment_id)
    if enrollment is None:
        raise NotFound("enrollment", enrollment_id)
    return enrollment
