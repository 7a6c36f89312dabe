"""The agent's loop: steps that fall due are handed out under a lease, and reported done.

A claim moves the enrollment's next_action_at to the end of the lease. So the worker's index knows of leases without
looking at actions, and a step whose holder died is due again by itself. The unique key of campaign_actions and the
lock on the enrollment make a step sent at most once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from db.domain.errors import InvalidInput, LeaseLost, NotFound, Refused
from db.domain.events import EventType, EventVerdict, NewEvent, Stop
from db.domain.funnel import Enrollment
from db.domain.ids import new_id
from db.domain.scheduling import Step, next_step, step_for
from db.domain.states import (
    ActionOutcome,
    ActionStatus,
    CampaignStatus,
    Channel,
    EnrollmentCommand,
    EnrollmentStatus,
    LinkedInStepType,
    StopReason,
    move_enrollment,
)
from db.models import CampaignAction, CampaignEnrollment, CampaignInstance, Contact, LinkedInSequence
from db.postgres.json import rows_parameter
from db.services import enrollment_state, events, steps, suppressions
from db.services.enrollment_state import Key
from db.services.step_texts import Text, Texts


@dataclass(frozen=True, slots=True)
class DueAction:
    """A step for one person, rendered and leased to whoever claimed it."""

    enrollment: Enrollment
    contact: Contact
    step: Step
    text: Text
    lease_until: datetime
    lease_token: UUID = field(default_factory=uuid4)
    action_id: UUID | None = None

    @property
    def key(self) -> Key:
        return Key(self.enrollment.instance_id, self.enrollment.id)


@dataclass(frozen=True, slots=True)
class Blocked:
    """A step that can't be handed out as its text stands."""

    enrollment: Enrollment
    step: Step
    reason: str


@dataclass(frozen=True, slots=True)
class Claim:
    """What was handed out, and when the next step falls due if nothing else is due now."""

    actions: list[DueAction]
    next_due_at: datetime | None


_DUE = text(f"""
    SELECT {enrollment_state.COLUMNS}
    FROM campaign_enrollments e
    JOIN campaign_instances i ON i.id = e.instance_id AND i.status = 'active'
    LEFT JOIN LATERAL (
        SELECT t.channel FROM template_steps t
        WHERE t.template_id = i.template_id AND t.step_number > e.current_step
          AND (EXISTS (SELECT FROM email_sequences s WHERE s.template_id = t.template_id
                       AND s.step_number = t.step_number AND s.is_active)
            OR EXISTS (SELECT FROM linkedin_sequences s WHERE s.template_id = t.template_id
                       AND s.step_number = t.step_number AND s.is_active))
        ORDER BY t.step_number LIMIT 1
    ) upcoming ON true
    WHERE e.status = 'active' AND e.next_action_at IS NOT NULL AND e.next_action_at <= :now
      AND (CAST(:campaign AS uuid) IS NULL OR e.instance_id = :campaign)
      AND (CAST(:channel AS text) IS NULL OR upcoming.channel = :channel)
    ORDER BY e.next_action_at LIMIT :limit
    FOR NO KEY UPDATE OF e SKIP LOCKED
""")

_NEXT_DUE = text("""
    SELECT min(due) FROM (
        SELECT e.next_action_at AS due FROM campaign_enrollments e
        JOIN campaign_instances i ON i.id = e.instance_id AND i.status = 'active'
        WHERE e.status = 'active' AND e.next_action_at IS NOT NULL AND e.next_action_at > :now
          AND (CAST(:campaign AS uuid) IS NULL OR e.instance_id = :campaign)
        ORDER BY e.next_action_at LIMIT 1
    ) soonest
""")


def claim(
    session: Session,
    *,
    campaign_id: UUID | None,
    channel: Channel | None,
    limit: int,
    lease_seconds: int,
    now: datetime,
) -> Claim:
    """Hand out up to `limit` due steps of active campaigns, the one due longest first, for `lease_seconds`.

    Whoever must not be written to is stopped instead, and whoever's text lacks a variable is paused, with the reason
    in the action's `error`.
    """
    if campaign_id is not None:
        _check_running(session, campaign_id)
    values = {"campaign": campaign_id, "channel": channel, "limit": limit, "now": now}
    found = [enrollment_state.from_row(row) for row in session.execute(_DUE, values)]
    before = enrollment_state.snapshot(found)
    until = now + timedelta(seconds=lease_seconds)
    handed, blocked = _prepare(session, found, until, now)
    ids = _write_claims(session, handed, blocked)
    enrollment_state.save(session, before=before, after=found)
    claimed = [replace(due, action_id=ids[due.key]) for due in handed]
    if claimed:
        return Claim(claimed, None)
    return Claim([], session.scalar(_NEXT_DUE, {"campaign": campaign_id, "now": now}))


def _check_running(session: Session, campaign_id: UUID) -> None:
    campaign = session.get(CampaignInstance, campaign_id)
    if campaign is None:
        raise NotFound("campaign", campaign_id, hint="list_campaigns shows those that exist.")
    if campaign.status != CampaignStatus.ACTIVE:
        raise Refused(f"This campaign is {campaign.status}, so nothing of it is due. start_campaign makes it active.")


def _prepare(
    session: Session, found: Sequence[Enrollment], until: datetime, now: datetime
) -> tuple[list[DueAction], list[Blocked]]:
    """What of `found` can be handed out, and what can't for its text; the others are ended."""
    contact_ids = [each.contact_id for each in found]
    people = {contact.id: contact for contact in session.scalars(select(Contact).where(Contact.id.in_(contact_ids)))}
    refused = suppressions.of_contacts(session, contact_ids=contact_ids, now=now)
    texts = Texts.of_campaigns(session, {each.instance_id for each in found})
    handed: list[DueAction] = []
    blocked: list[Blocked] = []
    for each in found:
        if each.contact_id in refused:
            each.stop(Stop(EnrollmentCommand.UNSUBSCRIBE, StopReason.SUPPRESSED))
            continue
        step = texts.next_step(each)
        if step is None:
            each.stop(Stop(EnrollmentCommand.COMPLETE, StopReason.FINISHED))
            continue
        try:
            text_ = texts.render(each.instance_id, step, people[each.contact_id])
        except InvalidInput as error:
            each.status = move_enrollment(each.status, EnrollmentCommand.PAUSE)
            blocked.append(Blocked(each, step, str(error)))
        else:
            each.next_action_at = until
            handed.append(DueAction(each, people[each.contact_id], step, text_, until))
    return handed, blocked


_WRITE_CLAIMS = text("""
    INSERT INTO campaign_actions (instance_id, id, enrollment_id, step_number, channel, a_b_variant, status,
                                  lease_token, lease_until, error)
    SELECT instance_id, id, enrollment_id, step_number, channel, a_b_variant, status, lease_token, lease_until, error
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS a(
        instance_id uuid, id uuid, enrollment_id uuid, step_number int, channel text, a_b_variant text, status text,
        lease_token uuid, lease_until timestamptz, error text)
    ON CONFLICT (enrollment_id, step_number, instance_id) DO UPDATE
    SET status = excluded.status, lease_token = excluded.lease_token, lease_until = excluded.lease_until,
        error = excluded.error, a_b_variant = excluded.a_b_variant, updated_at = now()
    RETURNING instance_id, enrollment_id, id
""")


def _write_claims(session: Session, handed: Sequence[DueAction], blocked: Sequence[Blocked]) -> dict[Key, UUID]:
    """enrollment -> its action. A step that was sent is behind its enrollment, so it can't be among these."""
    rows = [
        _action_row(due.enrollment, due.step, ActionStatus.CLAIMED, lease=(due.lease_token, due.lease_until))
        for due in handed
    ]
    rows += [_action_row(each.enrollment, each.step, ActionStatus.FAILED, error=each.reason) for each in blocked]
    if not rows:
        return {}
    written = session.execute(_WRITE_CLAIMS, rows_parameter(rows))
    return {Key(instance_id, enrollment_id): id_ for instance_id, enrollment_id, id_ in written}


def _action_row(
    enrollment: Enrollment,
    step: Step,
    status: ActionStatus,
    *,
    lease: tuple[UUID | None, datetime | None] = (None, None),
    error: str | None = None,
) -> dict[str, Any]:
    return {
        "instance_id": enrollment.instance_id,
        "id": new_id(),
        "enrollment_id": enrollment.id,
        "step_number": step.step_number,
        "channel": step.channel,
        "a_b_variant": step.a_b_variant,
        "status": status,
        "lease_token": lease[0],
        "lease_until": lease[1],
        "error": error,
    }


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
    enrollment, action = _lock_action(session, action_id)
    if action.lease_token != lease_token:
        raise LeaseLost("lease_token is not the current one: the step was claimed again. Call claim_due_actions.")
    if action.status == outcome.value:
        return action, _enrollment_row(session, enrollment)
    if action.status != ActionStatus.CLAIMED:
        raise Refused(f"This action was reported as {action.status} before. Nothing was changed.")
    before = enrollment_state.snapshot([enrollment])
    if outcome is ActionOutcome.SENT:
        _record(session, enrollment, action, _sent_event_type(session, action), provider, provider_message_id, now)
    elif outcome is ActionOutcome.SKIPPED:
        action.status, action.error = ActionStatus.SKIPPED, error
        sequence = steps.of_campaigns(session, instance_ids=[enrollment.instance_id])[enrollment.instance_id]
        if enrollment.is_open:
            enrollment.pass_step(action.step_number, now, sequence)
        enrollment_state.save(session, before=before, after=[enrollment])
    else:
        _fail(session, enrollment, action, provider, error, now)
    session.flush()  # the rows are read back below
    session.refresh(action)
    return action, _enrollment_row(session, enrollment)


def _lock_action(session: Session, action_id: UUID) -> tuple[Enrollment, CampaignAction]:
    """The action under the lock of its enrollment, which is what every writer of actions takes first."""
    by_id = select(CampaignAction).where(CampaignAction.id == action_id)
    action = session.scalars(by_id).one_or_none()
    if action is None:
        raise NotFound("action", action_id, hint="claim_due_actions hands actions out.")
    enrollment = enrollment_state.lock_one(session, enrollment_id=action.enrollment_id)
    assert enrollment is not None, "an action goes with its enrollment"
    return enrollment, session.scalars(by_id.execution_options(populate_existing=True)).one()


def _record(
    session: Session,
    enrollment: Enrollment,
    action: CampaignAction,
    event_type: EventType,
    provider: str | None,
    provider_message_id: str | None,
    now: datetime,
) -> None:
    event = NewEvent(
        event_type=event_type,
        channel=Channel(action.channel),
        occurred_at=now,
        enrollment_id=enrollment.id,
        step_number=action.step_number,
        provider=provider,
        provider_message_id=provider_message_id,
    )
    (outcome,) = events.record_events(session, events=[event])
    assert outcome.verdict is EventVerdict.RECORDED, outcome.reason


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
        _record(session, enrollment, action, EventType.FAILED, provider, None, now)
    session.refresh(action)
    action.status, action.error = ActionStatus.FAILED, error
    before = enrollment_state.snapshot([enrollment])
    if enrollment.status is EnrollmentStatus.ACTIVE:
        enrollment.status = move_enrollment(enrollment.status, EnrollmentCommand.PAUSE)
        enrollment.next_action_at = now
    enrollment_state.save(session, before=before, after=[enrollment])


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


def _enrollment_row(session: Session, enrollment: Enrollment) -> CampaignEnrollment:
    key = (enrollment.instance_id, enrollment.id)
    return session.get_one(CampaignEnrollment, key, populate_existing=True)


def preview(session: Session, *, enrollment_id: UUID, step_number: int | None) -> tuple[Step, Text]:
    """The step as it would go to the person: the next one, or that of `step_number`. InvalidInput says why it can't."""
    row = session.scalars(select(CampaignEnrollment).where(CampaignEnrollment.id == enrollment_id)).one_or_none()
    if row is None:
        raise NotFound("enrollment", enrollment_id, hint="list_enrollments shows those of a campaign.")
    texts = Texts.of_campaigns(session, {row.instance_id})
    sequence = texts.sequences[row.instance_id]
    if step_number is None:
        step = next_step(sequence, row.current_step, row.a_b_variant)
    else:
        step = step_for(sequence, step_number, row.a_b_variant)
    if step is None:
        raise InvalidInput("step_number: the campaign has no such active step left for this person.")
    return step, texts.render(row.instance_id, step, session.get_one(Contact, row.contact_id))
