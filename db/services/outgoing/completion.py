"""Completes the steps of mails that went out."""

from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from db.domain.errors import LeaseLost, Refused
from db.domain.events import EventType, NewEvent
from db.domain.mail.effects import PROVIDER
from db.domain.states import ActionOutcome, Channel, EnrollmentStatus
from db.services.dispatch import actions, held_steps
from db.services.events import events


def complete(session: Session, *, action_id: UUID, lease_token: UUID, now: datetime) -> bool:
    """Completes the step of a mail that was sent, as its holder does. If others have claimed or reported it since, it
    is sent all the same. Returns whether its enrollment is paused."""
    try:
        completed = actions.complete(
            session,
            action_id=action_id,
            lease_token=lease_token,
            outcome=ActionOutcome.SENT,
            provider=None,
            provider_message_id=None,
            error=None,
            now=now,
        )
    except (LeaseLost, Refused):
        held = held_steps.hold(session, action_id=action_id, provider_message_id=None)
        event = NewEvent(
            EventType.SENT,
            Channel.EMAIL,
            now,
            enrollment_id=held.enrollment.id,
            step_number=held.action.step_number,
            provider=PROVIDER,
            provider_event_id=f"{action_id}/sent",
            from_provider=True,
        )
        events.record_events(session, events=[event], from_provider=True, source=PROVIDER)
        return True
    return completed.enrollment["status"] is EnrollmentStatus.PAUSED
