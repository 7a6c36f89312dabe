"""Records the reports of claimed steps, and previews any step. db.services.dispatch.claims hands them out."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from db.domain.conditions import Facts, is_met
from db.domain.drafts import Literal
from db.domain.enrollment import Enrollment
from db.domain.errors import InvalidInput, LeaseLost, NotFound, Refused
from db.domain.events import EventType, NewEvent
from db.domain.scheduling import Plan, Recipient, Step, draw_variant, next_step, step_for, variants
from db.domain.states import (
    ActionOutcome,
    Channel,
)
from db.models import CampaignEnrollment, Contact
from db.services.campaigns import campaigns, earlier_mails, plans
from db.services.campaigns.step_texts import Text, Texts
from db.services.dispatch import facts, held_steps
from db.services.dispatch.held_steps import Held
from db.services.events import events, messages
from db.services.events.record import Known
from db.services.mail import threads
from db.services.state import action_rows, conversation_rows, draft_rows, enrollment_rows, message_rows, usage


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
    internet_message_id: str | None = None,
) -> Completed:
    """Records the report of a claimed step: sent advances the enrollment, skipped passes the step, failed pauses the
    enrollment.

    What events tell of the step is kept beside the report, and both orders end alike: a step that anybody reports as
    sent is sent. The same report twice is answered, not repeated. LeaseLost if somebody else has claimed the step
    since. `internet_message_id`: the Message-ID of a sent email, if it is not the one that was handed out.
    """
    held = held_steps.hold(session, action_id=action_id, provider_message_id=provider_message_id)
    if held.lease_token != lease_token:
        raise LeaseLost(
            "lease_token is not that of the current lease: others may have the step. Call claim_due_actions."
        )
    reported = held.action.reported
    _note_message_id(session, held, outcome, internet_message_id, now)
    if reported is outcome:
        if outcome is ActionOutcome.SENT:
            _name_message(session, held, provider, provider_message_id, now)
        return _completed(held)
    if reported is not None:
        raise Refused(f"This action was reported as {reported} before. Nothing was changed.")
    before = enrollment_rows.snapshot([held.enrollment])
    held.action.reported = outcome
    if held.action.has_released:
        usage.release(session, reservations=dict.fromkeys(usage.usage_keys(held.action), 1))
    if outcome is ActionOutcome.SENT:
        _record(session, held, held.sent_event_type, provider, provider_message_id, now)
        threads.join_steps(session, action_ids=[held.id])
    elif not held.is_passed_by_hand:
        _pass_or_pause(session, held, outcome, provider, now)
    held.settle(outcome)
    if outcome is not ActionOutcome.SENT:
        _note_report(session, held, error)
        conversation_rows.free(session, enrollment_ids=[held.enrollment.id])
    if enrollment_rows.changes(before, [held.enrollment]).rows:
        held.updated_at = held.began_at
    return _completed(held)


def _note_message_id(
    session: Session, held: Held, outcome: ActionOutcome, internet_message_id: str | None, now: datetime
) -> None:
    """Keeps the Message-ID that an email was sent with, if it is told."""
    if internet_message_id is None:
        return
    if held.action.channel is not Channel.EMAIL:
        raise InvalidInput("internet_message_id is that of an email, and this step is not one. Leave it out.")
    if outcome is ActionOutcome.SENT and held.action.reported in (None, outcome):
        message_rows.note_id(session, action_id=held.id, internet_message_id=internet_message_id, now=now)


def _completed(held: Held) -> Completed:
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
            "campaign_id": enrollment.campaign_id,
            "contact_id": enrollment.contact_id,
            "status": enrollment.status,
            "current_step": enrollment.current_step,
            "next_action_at": _opening(held.plan, enrollment),
            "a_b_variant": enrollment.a_b_variant,
            "stop_reason": enrollment.stop_reason,
            "pause_reason": enrollment.pause_reason,
            "paused_until": enrollment.paused_until,
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
    held: Held,
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
    known = Known(event, held.enrollment, held.action, held.plan, held.has_message_elsewhere)
    events.record_own(session, known=[known])


def _pass_or_pause(session: Session, held: Held, outcome: ActionOutcome, provider: str | None, now: datetime) -> None:
    if outcome is ActionOutcome.FAILED and held.action.channel is Channel.EMAIL:
        _record(session, held, EventType.FAILED, provider, None, now)
    before = enrollment_rows.snapshot([held.enrollment])
    held.skip(now) if outcome is ActionOutcome.SKIPPED else held.fail(now)
    enrollment_rows.save(session, before=before, after=[held.enrollment])


def _name_message(
    session: Session, held: Held, provider: str | None, provider_message_id: str | None, now: datetime
) -> None:
    """Records the message of a step that was reported as sent without it, once."""
    action = held.action
    if provider_message_id is None or action.provider_message_id == provider_message_id:
        return
    if messages.is_named(session, action=action, message=provider_message_id):
        return
    at = action.sent_at or now
    _record(session, held, held.sent_event_type, provider, provider_message_id, at)


_NOTE_REPORT = text("""
    WITH noted AS (
        UPDATE campaign_actions SET status = :status, reported = :reported, error = :error, updated_at = now()
        WHERE instance_id = :campaign AND id = :id RETURNING 1
    )
    SELECT updated_at FROM campaign_instances WHERE id = :campaign AND EXISTS (SELECT FROM noted)
""")


def _note_report(session: Session, held: Held, error: str | None) -> None:
    """Stores that the holder did not send it, and why. It still counts as sent if an event says so."""
    held.error = error
    values = {"campaign": held.action.campaign_id, "id": held.id, "status": held.status, "error": error}
    plans.check(held.plan, session.scalar(_NOTE_REPORT, {**values, "reported": held.action.reported}))


class Preview(NamedTuple):
    """A step as it would go out. unmet: its condition in words, if that is false now."""

    step: Step
    text: Text
    unmet: str | None = None


def preview(
    session: Session,
    *,
    enrollment_id: UUID | None,
    campaign_id: UUID | None,
    contact_id: UUID | None,
    step_number: int | None,
    a_b_variant: str | None,
    public_url: str | None = None,
) -> Preview:
    """Returns the step as it would go to the person of an enrollment, or to any contact if the contact were enrolled.

    It is the next one (the first of a contact), or that of `step_number`; `a_b_variant` chooses among the variants for
    a contact. InvalidInput says why the step can't be rendered, or which variants there are.
    """
    current, mailbox_id, row = 0, None, None
    if enrollment_id is not None:
        row = session.scalars(select(CampaignEnrollment).where(CampaignEnrollment.id == enrollment_id)).one_or_none()
        if row is None:
            raise NotFound("enrollment", enrollment_id)
        campaign_id, contact_id, mailbox_id = row.campaign_id, row.contact_id, row.mailbox_id
        current, a_b_variant = row.current_step, row.a_b_variant
    assert campaign_id is not None, "an enrollment or a campaign is given"
    campaigns.get(session, campaign_id=campaign_id)
    contact = session.get(Contact, contact_id)
    if contact is None:
        raise NotFound("contact", contact_id)
    texts = Texts.of_campaigns(session, plans.of_campaigns(session, campaign_ids=[campaign_id]), public_url)
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
    sent = earlier_mails.before(session, enrollment_id, sequence, current, step, recipient)
    words = None if enrollment_id is None else _words(session, enrollment_id, step)
    rendered = texts.render(recipient, enrollment_id, step, contact, sent, mailbox_id, words)
    unmet = _unmet(
        session, step, contact, row, a_b_variant or draw_variant(variants(sequence), campaign_id, contact.id)
    )
    if enrollment_id is None or step.channel is not Channel.EMAIL:
        return Preview(step, rendered, unmet)
    id_ = message_rows.id_of_step(
        session, campaign_id=campaign_id, enrollment_id=enrollment_id, step_number=step.step_number
    )
    return Preview(step, replace(rendered, internet_message_id=id_), unmet)


def _unmet(
    session: Session, step: Step, contact: Contact, row: CampaignEnrollment | None, variant: str | None
) -> str | None:
    """Returns the condition of the step in words, if it is false now."""
    if step.condition is None:
        return None
    known = Facts(variant=variant, attributes=contact.attributes)
    if row is not None:
        known = facts.read(session, enrollments=[row], people={contact.id: contact})[row.id]
    return None if is_met(step.condition, known) else step.condition.told


def _words(session: Session, enrollment_id: UUID, step: Step) -> Literal | None:
    """Returns the words that were written for this person, if any were."""
    draft = draft_rows.of_steps(session, steps=[(enrollment_id, step.step_number)]).get(
        (enrollment_id, step.step_number)
    )
    return None if draft is None or draft.channel is not step.channel else draft.literal


def _check_variant(name: str | None, known: Sequence[str]) -> None:
    if name is None or name in known:
        return
    if not known:
        raise InvalidInput("a_b_variant: the campaign has no variants. Leave it out.")
    raise InvalidInput(f"a_b_variant: the campaign has no variant {name}. Its variants: {', '.join(known)}.")
