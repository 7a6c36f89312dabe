"""Unsubscribing by the link of a mail."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.domain.errors import NotFound
from db.domain.events import EventType, EventVerdict, NewEvent
from db.domain.ids import new_id
from db.domain.states import Channel
from db.models import CampaignEnrollment
from db.services.events import events
from db.services.people import opt_outs
from db.services.texts.unsubscribe_links import Link

PROVIDER = "unsubscribe-page"


def unsubscribe(session: Session, *, link: Link, now: datetime) -> EventVerdict:
    """Records that the person of this mail unsubscribes, whatever the state of the enrollment. NotFound if it is gone.

    The same link again is a duplicate and changes nothing, unless the person has consented again since: then the person
    now wants to leave.
    """
    found = session.execute(
        select(CampaignEnrollment.id, CampaignEnrollment.contact_id).where(CampaignEnrollment.id == link.enrollment_id)
    ).one_or_none()
    if found is None:
        raise NotFound("enrollment", link.enrollment_id)
    verdict = _record(session, link, f"{link.enrollment_id}", now)
    if verdict is not EventVerdict.DUPLICATE:
        return verdict
    # What holds the person for another reason, or for a time, is no wish.
    if opt_outs.of_people(session, contact_ids=[found.contact_id]):
        return verdict
    return _record(session, link, f"{link.enrollment_id} {new_id()}", now)


def _record(session: Session, link: Link, event_id: str, now: datetime) -> EventVerdict:
    verdict = EventVerdict.INVALID
    # The opt-out counts even if the template no longer has the step.
    for step in (link.step_number, None):
        event = NewEvent(
            event_type=EventType.UNSUBSCRIBED,
            channel=Channel.EMAIL,
            occurred_at=now,
            enrollment_id=link.enrollment_id,
            step_number=step,
            provider=PROVIDER,
            provider_event_id=event_id,
        )
        verdict = events.record_events(session, events=[event])[0].verdict
        if verdict is not EventVerdict.INVALID:
            break
    return verdict
