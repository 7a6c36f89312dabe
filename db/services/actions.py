"""Claimed steps are reported done, and any step can be looked at before. db.services.claims hands them out."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from db.domain.errors import InvalidInput, LeaseLost, NotFound, Refused
from db.domain.events import EventType, NewEvent
from db.domain.funnel import Enrollment
from db.domain.scheduling import Step, next_step, step_for
from db.domain.states import (
    ActionOutcome,
    ActionStatus,
    Channel,
    EnrollmentCommand,
    EnrollmentStatus,
    LinkedInStepType,
    move_enrollment,
)
from db.models import CampaignAction, CampaignEnrollment, CampaignInstance, Contact, LinkedInSequence
from db.services import campaigns, enrollment_state, events, pacing, plans
from db.services.step_texts import Text, Texts


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
) -> tuple[CampaignAction, CampaignEnrollment]:
    """Report a claimed step: sent advances the enrollment, skipped passes the step, failed pauses the enrollment.

    The same report twice is answered, not repeated. LeaseLost when somebody else has claimed the step since.
    """
    action, row = _lock(session, action_id)
    if action.lease_token != lease_token:
        raise LeaseLost("lease_token is not the current one: the step was claimed again. Call claim_due_actions.")
    if action.status == outcome.value:
        return action, row
    if action.status != ActionStatus.CLAIMED:
        raise Refused(f"This action was reported as {action.status} before. Nothing was changed.")
    enrollment = enrollment_state.of_model(row)
    if outcome is ActionOutcome.SENT:
        sent = _event(action, _sent_event_type(session, action), provider, provider_message_id, now)
        events.record_own(session, event=sent, enrollment=enrollment)
    else:
        if outcome is ActionOutcome.SKIPPED:
            _skip(session, enrollment, action, error, now)
        else:
            _fail(session, enrollment, action, provider, error, now)
        _give_back(session, action)
    session.flush()  # the rows are read back below
    return _read(session, action_id)


# The enrollment first, as whoever records events locks them; and both, so that both are read as the last holder left
# them.
_BOTH = (
    select(CampaignAction, CampaignEnrollment)
    .select_from(CampaignEnrollment)
    .join(
        CampaignAction,
        (CampaignAction.instance_id == CampaignEnrollment.instance_id)
        & (CampaignAction.enrollment_id == CampaignEnrollment.id),
    )
    .where(CampaignAction.id == bindparam("id"))
    .execution_options(populate_existing=True)
)
_LOCK_BOTH = _BOTH.with_for_update(key_share=True)


def _lock(session: Session, action_id: UUID) -> tuple[CampaignAction, CampaignEnrollment]:
    found = session.execute(_LOCK_BOTH, {"id": action_id}).one_or_none()
    if found is None:
        raise NotFound("action", action_id, hint="claim_due_actions hands actions out.")
    return found[0], found[1]


def _read(session: Session, action_id: UUID) -> tuple[CampaignAction, CampaignEnrollment]:
    found = session.execute(_BOTH, {"id": action_id}).one()
    return found[0], found[1]


def _event(
    action: CampaignAction,
    event_type: EventType,
    provider: str | None,
    provider_message_id: str | None,
    now: datetime,
) -> NewEvent:
    return NewEvent(
        event_type=event_type,
        channel=Channel(action.channel),
        occurred_at=now,
        enrollment_id=action.enrollment_id,
        step_number=action.step_number,
        provider=provider,
        provider_message_id=provider_message_id,
    )


def _skip(session: Session, enrollment: Enrollment, action: CampaignAction, error: str | None, now: datetime) -> None:
    """Passed over: the next step is scheduled as if this one had been sent now."""
    before = enrollment_state.snapshot([enrollment])
    action.status, action.error = ActionStatus.SKIPPED, error
    plan = plans.of_campaign(session, instance_id=enrollment.instance_id)
    plans.locate(session, plans={enrollment.instance_id: plan}, enrollments=[enrollment])
    if enrollment.is_open:
        enrollment.pass_step(action.step_number, now, plan)
    enrollment_state.save(session, before=before, after=[enrollment])


def _fail(
    session: Session,
    enrollment: Enrollment,
    action: CampaignAction,
    provider: str | None,
    error: str | None,
    now: datetime,
) -> None:
    """Not sent: the enrollment waits for somebody to resume it (the step comes again) or to advance it."""
    if action.channel == Channel.EMAIL:
        event = _event(action, EventType.FAILED, provider, None, now)
        events.record_own(session, event=event, enrollment=enrollment)
        session.refresh(action)
    action.status, action.error = ActionStatus.FAILED, error
    before = enrollment_state.snapshot([enrollment])
    if enrollment.status is EnrollmentStatus.ACTIVE:
        enrollment.status = move_enrollment(enrollment.status, EnrollmentCommand.PAUSE)
        enrollment.next_action_at = now
    enrollment_state.save(session, before=before, after=[enrollment])


def _give_back(session: Session, action: CampaignAction) -> None:
    """Nothing was sent, so the place that the claim took under the limits is free again."""
    pacing.give_back(
        session,
        instance_id=action.instance_id,
        channel=Channel(action.channel),
        account=action.sender,
        reserved_on=action.reserved_on,
    )


_SENT_EVENTS = {
    LinkedInStepType.PROFILE_VISIT: EventType.PROFILE_VISITED,
    LinkedInStepType.CONNECTION_REQUEST: EventType.CONNECTION_SENT,
    LinkedInStepType.MESSAGE: EventType.MESSAGE_SENT,
    LinkedInStepType.VOICE_MESSAGE: EventType.VOICE_MESSAGE_SENT,
}


def _sent_event_type(session: Session, action: CampaignAction) -> EventType:
    if action.channel == Channel.EMAIL:
        return EventType.SENT
    statement = (
        select(LinkedInSequence.type)
        .join(CampaignInstance, CampaignInstance.template_id == LinkedInSequence.template_id)
        .where(CampaignInstance.id == action.instance_id, LinkedInSequence.step_number == action.step_number)
    )
    return _SENT_EVENTS[LinkedInStepType(session.scalars(statement).one())]


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
    """The step as it would go to the person of an enrollment, or to any contact if the contact were enrolled.

    The next one (of a contact the first), or that of `step_number`; `a_b_variant` chooses among the variants of a
    contact. InvalidInput says why the step can't be rendered.
    """
    current = 0
    if enrollment_id is not None:
        row = session.scalars(select(CampaignEnrollment).where(CampaignEnrollment.id == enrollment_id)).one_or_none()
        if row is None:
            raise NotFound("enrollment", enrollment_id, hint="list_enrollments shows those of a campaign.")
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
        raise NotFound("contact", contact_id, hint="find_contacts shows them.")
    texts = Texts.of_campaigns(session, plans.of_campaigns(session, instance_ids=[campaign_id]), public_url)
    sequence = texts.plans[campaign_id].steps
    if step_number is None:
        step = next_step(sequence, current, a_b_variant)
    else:
        step = step_for(sequence, step_number, a_b_variant)
    if step is None:
        raise InvalidInput("step_number: the campaign has no such active step left for this person.")
    return step, texts.render(campaign_id, enrollment_id, step, contact)
