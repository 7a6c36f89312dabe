"""Records the reports of claimed steps, and previews any step. db.services.dispatch.claims hands them out."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from db.domain.action import Action
from db.domain.enrollment import Enrollment
from db.domain.errors import InvalidInput, LeaseLost, NotFound, Refused
from db.domain.events import EventType, NewEvent
from db.domain.scheduling import Plan, Recipient, Step, next_step, step_for, variants
from db.domain.states import (
    ActionOutcome,
    ActionStatus,
    Channel,
    EnrollmentStatus,
    LinkedInStepType,
)
from db.models import CampaignEnrollment, Contact
from db.postgres.results import named
from db.services.campaigns import campaigns, plans
from db.services.campaigns.step_texts import Text, Texts
from db.services.events import events, messages, orphans
from db.services.state import action_rows, enrollment_rows, usage


class Completed(NamedTuple):
    """An action and its enrollment as they are now, each by the names of its columns (and `campaign_id`)."""

    action: dict[str, Any]
    enrollment: dict[str, Any]


def complete(
    session: Session,
    *,
    action_id: UUID,
    lease_token: UUID,
    outcome: ActionOutcome,
    provider: str | None,
    provider_message_id: str | None,
    error: str | None,
    now: datetime,
) -> Completed:
    """Records the report of a claimed step: sent advances the enrollment, skipped passes the step, failed pauses the
    enrollment.

    What events tell of the step is kept beside the report, and both orders end alike: a step that anybody reports as
    sent is sent. The same report twice is answered, not repeated. LeaseLost if somebody else has claimed the step
    since.
    """
    held = _hold(session, action_id)
    if held.lease_token != lease_token:
        raise LeaseLost(
            "lease_token is not that of the current lease: others may have the step. Call claim_due_actions."
        )
    reported = held.action.reported
    if reported is outcome:
        if outcome is ActionOutcome.SENT:
            _bind(session, held, provider, provider_message_id)
        return _completed(held)
    if reported is not None:
        raise Refused(f"This action was reported as {reported} before. Nothing was changed.")
    before = enrollment_rows.snapshot([held.enrollment])
    held.action.reported = outcome
    if held.action.has_released:
        usage.release(session, reservations=dict.fromkeys(usage.usage_keys(held.action), 1))
    if outcome is ActionOutcome.SENT:
        _record(session, held, _sent_event_type(held), provider, provider_message_id, now)
    elif held.status != ActionStatus.SKIPPED:  # nothing waits for a step that somebody advanced past meanwhile
        _skip(session, held, now) if outcome is ActionOutcome.SKIPPED else _fail(session, held, provider, now)
    held.status = ActionStatus.SENT if held.action.sent_at is not None else ActionStatus(outcome)
    if outcome is not ActionOutcome.SENT:
        _note_report(session, held, error)
    if enrollment_rows.changes(before, [held.enrollment]).rows:
        held.updated_at = held.began_at
    return _completed(held)


@dataclass(slots=True)
class _Held:
    """A claimed step and its enrollment, both locked, with the plan that says what comes next."""

    id: UUID
    status: str
    lease_token: UUID | None
    error: str | None
    linkedin_type: str | None
    created_at: datetime
    updated_at: datetime
    """Both of the enrollment."""
    began_at: datetime
    """The transaction: the `updated_at` of what it writes."""
    enrollment: Enrollment
    action: Action
    plan: Plan


# All that a report needs, in one statement. It locks the enrollment first, as recording events does, and both rows, so
# that both are read as the last holder left them.
_OWN_NAMES = named(
    "action_id", "status", "lease_token", "error", "linkedin_type", "created_at", "updated_at", "began_at",
)  # fmt: skip
_HOLD = text(f"""
    SELECT a.id, a.status, a.lease_token, a.error,
           CASE WHEN a.channel = 'linkedin' THEN coalesce(a.linkedin_type, (
               SELECT type FROM linkedin_sequences WHERE template_id = i.template_id AND step_number = a.step_number
           )) END,
           e.created_at, e.updated_at, now(),
           {plans.COLUMNS}, {enrollment_rows.COLUMNS}, {action_rows.COLUMNS}
    FROM campaign_actions a
    JOIN campaign_enrollments e ON e.instance_id = a.instance_id AND e.id = a.enrollment_id
    JOIN campaign_instances i ON i.id = a.instance_id
    WHERE a.id = :id FOR NO KEY UPDATE OF e, a
""").columns(*_OWN_NAMES, *plans.NAMES, *enrollment_rows.NAMES, *action_rows.NAMES)
_OWN, _PLAN, _ENROLLMENT = len(_OWN_NAMES), len(plans.NAMES), len(enrollment_rows.NAMES)


def _hold(session: Session, action_id: UUID) -> _Held:
    found = session.execute(_HOLD, {"id": action_id}).one_or_none()
    if found is None:
        raise NotFound("action", action_id)
    own = found[:_OWN]
    plan, rest = found[_OWN : _OWN + _PLAN], found[_OWN + _PLAN :]
    enrollment = enrollment_rows.from_row(rest[:_ENROLLMENT])
    key = enrollment_rows.Key(enrollment.instance_id, enrollment.id)
    action = action_rows.from_row(key, rest[_ENROLLMENT:])
    return _Held(*own, enrollment=enrollment, action=action, plan=plans.from_row(*plan))


def _completed(held: _Held) -> Completed:
    action, enrollment = held.action, held.enrollment
    return Completed(
        {
            "id": held.id,
            "step_number": action.step_number,
            "channel": action.channel,
            "status": held.status,
            "a_b_variant": action.a_b_variant,
            "provider": action.provider,
            "provider_message_id": action.provider_message_id,
            "error": held.error,
            **action_rows.moments(action),
            "sent_to": action.sent_to,
            "open_count": action.open_count,
            "click_count": action.click_count,
        },
        {
            "id": enrollment.id,
            "campaign_id": enrollment.instance_id,
            "contact_id": enrollment.contact_id,
            "status": enrollment.status,
            "current_step": enrollment.current_step,
            "next_action_at": _opening(held.plan, enrollment),
            "a_b_variant": enrollment.a_b_variant,
            "stop_reason": enrollment.stop_reason,
            "pause_reason": enrollment.pause_reason,
            "unsubscribed_at": enrollment.unsubscribed_at,
            "created_at": held.created_at,
            "updated_at": held.updated_at,
        },
    )


def _opening(plan: Plan, enrollment: Enrollment) -> datetime | None:
    """Returns when the next step goes out: it is due, and the sending window is open."""
    due = enrollment.next_action_at
    return None if due is None else plan.sending.opening(due, enrollment.zone) or due


def _record(
    session: Session,
    held: _Held,
    event_type: EventType,
    provider: str | None,
    provider_message_id: str | None,
    now: datetime,
) -> None:
    event = NewEvent(
        event_type=event_type,
        channel=held.action.channel,
        occurred_at=now,
        enrollment_id=held.enrollment.id,
        step_number=held.action.step_number,
        provider=provider,
        provider_message_id=provider_message_id,
        is_report=True,
    )
    events.record_own(session, event=event, enrollment=held.enrollment, action=held.action, plan=held.plan)


def _skip(session: Session, held: _Held, now: datetime) -> None:
    """Passes the step: the next one is scheduled as if this one had been sent now, unless events tell when it was."""
    before = enrollment_rows.snapshot([held.enrollment])
    if held.enrollment.is_open and held.action.sent_at is None:
        held.enrollment.pass_step(held.action.step_number, now, held.plan)
    enrollment_rows.save(session, before=before, after=[held.enrollment])


def _fail(session: Session, held: _Held, provider: str | None, now: datetime) -> None:
    """Pauses the enrollment of an unsent step until somebody resumes it (the step comes again) or advances it. Also if
    an event tells that the step was sent, unless the enrollment has moved on since."""
    if held.action.channel is Channel.EMAIL:
        _record(session, held, EventType.FAILED, provider, None, now)
    before = enrollment_rows.snapshot([held.enrollment])
    behind = held.enrollment.current_step
    if held.enrollment.status is EnrollmentStatus.ACTIVE and held.action.step_number >= behind:
        held.enrollment.pause()
        if held.action.step_number > behind:
            held.enrollment.next_action_at = now
    enrollment_rows.save(session, before=before, after=[held.enrollment])


_BIND = text("""
    UPDATE campaign_actions SET provider = :provider, provider_message_id = :message, updated_at = now()
    WHERE instance_id = :campaign AND id = :id
""")


def _bind(session: Session, held: _Held, provider: str | None, provider_message_id: str | None) -> None:
    """Stores the message id of a step that was already known as sent, by an event or by a report without one."""
    action = held.action
    if provider_message_id is None or action.provider_message_id == provider_message_id:
        return
    if action.provider_message_id is not None:
        owner = enrollment_rows.Key(action.instance_id, action.enrollment_id)
        messages.keep(session, messages={(owner, provider_message_id): provider})
        orphans.match_messages(session, message_ids=[provider_message_id])
        return
    action.provider, action.provider_message_id = provider or action.provider, provider_message_id
    values = {"campaign": action.instance_id, "id": held.id, "provider": action.provider}
    session.execute(_BIND, {**values, "message": provider_message_id})
    orphans.match_messages(session, message_ids=[provider_message_id])


_NOTE_REPORT = text("""
    WITH noted AS (
        UPDATE campaign_actions SET status = :status, reported = :reported, error = :error, updated_at = now()
        WHERE instance_id = :campaign AND id = :id RETURNING 1
    )
    SELECT updated_at FROM campaign_instances WHERE id = :campaign AND EXISTS (SELECT FROM noted)
""")


def _note_report(session: Session, held: _Held, error: str | None) -> None:
    """Stores that the holder did not send it, and why. It still counts as sent if an event says so."""
    held.error = error
    values = {"campaign": held.action.instance_id, "id": held.id, "status": held.status, "error": error}
    plans.check(held.plan, session.scalar(_NOTE_REPORT, {**values, "reported": held.action.reported}))


_SENT_EVENTS = {
    LinkedInStepType.PROFILE_VISIT: EventType.PROFILE_VISITED,
    LinkedInStepType.CONNECTION_REQUEST: EventType.CONNECTION_SENT,
    LinkedInStepType.MESSAGE: EventType.MESSAGE_SENT,
    LinkedInStepType.VOICE_MESSAGE: EventType.VOICE_MESSAGE_SENT,
}


def _sent_event_type(held: _Held) -> EventType:
    return EventType.SENT if held.linkedin_type is None else _SENT_EVENTS[LinkedInStepType(held.linkedin_type)]


def preview(
    session: Session,
    *,
    enrollment_id: UUID | None,
    campaign_id: UUID | None,
    contact_id: UUID | None,
    step_number: int | None,
    a_b_variant: str | None,
    public_url: str | None = None,
) -> tuple[Step, Text]:
    """Returns the step as it would go to the person of an enrollment, or to any contact if the contact were enrolled.

    It is the next one (the first of a contact), or that of `step_number`; `a_b_variant` chooses among the variants for
    a contact. InvalidInput says why the step can't be rendered, or which variants there are.
    """
    current = 0
    if enrollment_id is not None:
        row = session.scalars(select(CampaignEnrollment).where(CampaignEnrollment.id == enrollment_id)).one_or_none()
        if row is None:
            raise NotFound("enrollment", enrollment_id)
        campaign_id, contact_id, current, a_b_variant = (
            row.instance_id,
            row.contact_id,
            row.current_step,
            row.a_b_variant,
        )
    assert campaign_id is not None, "an enrollment or a campaign is given"
    campaigns.get(session, campaign_id=campaign_id)
    contact = session.get(Contact, contact_id)
    if contact is None:
        raise NotFound("contact", contact_id)
    texts = Texts.of_campaigns(session, plans.of_campaigns(session, instance_ids=[campaign_id]), public_url)
    sequence = texts.plans[campaign_id].steps
    if enrollment_id is None:
        _check_variant(a_b_variant, variants(sequence))
    recipient = Recipient(campaign_id, contact.id, a_b_variant)
    step = (
        next_step(sequence, current, recipient) if step_number is None else step_for(sequence, step_number, recipient)
    )
    if step is None:
        raise InvalidInput(
            "step_number: the campaign has no such active step left for this person. get_template of "
            f"{texts.campaigns[campaign_id].template_id} shows its steps."
        )
    return step, texts.render(campaign_id, enrollment_id, step, contact)


def _check_variant(name: str | None, known: Sequence[str]) -> None:
    if name is None or name in known:
        return
    if not known:
        raise InvalidInput("a_b_variant: the campaign has no variants. Leave it out.")
    raise InvalidInput(f"a_b_variant: the campaign has no variant {name}. Its variants: {', '.join(known)}.")
