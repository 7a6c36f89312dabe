"""The mails that a step's person has, or will have got, before it."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.orm import Session

from db.domain.scheduling import Recipient, Step, step_for
from db.domain.states import Channel
from db.domain.threads import SentMail
from db.services.state import message_rows
from db.services.state.message_rows import SentStep


def before(
    session: Session,
    enrollment_id: UUID | None,
    sequence: Sequence[Step],
    current: int,
    step: Step,
    recipient: Recipient,
) -> list[SentStep]:
    """Returns the mails before the step: those that were sent, and those that would be until then, of which nothing is
    known but their step."""
    known: list[SentStep] = []
    if enrollment_id is not None:
        key = (recipient.campaign_id, enrollment_id, min(step.step_number, current + 1))
        known += message_rows.sent_before(session, steps=[key]).get(enrollment_id, ())
    return [*known, *coming(sequence, current, step, recipient)]


def coming(sequence: Sequence[Step], current: int, step: Step, recipient: Recipient) -> list[SentStep]:
    """Returns the mails that would be sent between `current` and the step."""
    numbers = sorted({other.step_number for other in sequence if current < other.step_number < step.step_number})
    found = [other for number in numbers if (other := step_for(sequence, number, recipient)) is not None]
    unsent = SentMail(None, None)
    emails = [other for other in found if other.channel is Channel.EMAIL]
    return [SentStep(other.step_number, other.a_b_variant, is_kept=False, mail=unsent) for other in emails]
