"""Enrollments: who is in which campaign, and how far."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from db.domain.contacts import ContactRef
from db.domain.enrollment import Enrollment
from db.domain.errors import NotFound, Refused
from db.domain.events import EventType, NewEvent, Stop
from db.domain.ids import new_ids
from db.domain.scheduling import Plan, Recipient, choose, draw_variant, due_at, next_step, stage_after, variants
from db.domain.states import (
    ActionStatus,
    CampaignStatus,
    Channel,
    EnrollmentAction,
    EnrollmentCommand,
    EnrollmentStatus,
    EnrollVerdict,
    StopReason,
    move_enrollment,
)
from db.models import CampaignAction, CampaignEnrollment, CampaignEvent, Contact, has_domain
from db.postgres.json import rows_parameter
from db.services.campaigns import campaigns, plans
from db.services.enrollments import ended_pauses, reopening
from db.services.enrollments.enrolled import Enrolled, identify, lock_contacts
from db.services.events import events, orphans
from db.services.paging import Page, page
from db.services.people import suppressions
from db.services.state import counters, enrollment_rows, message_rows
from db.services.state.message_rows import Words


def enroll(
    session: Session,
    *,
    campaign_id: UUID,
    people: Mapping[int, ContactRef],
    start_at: datetime | None,
    reopens: bool = False,
    now: datetime,
) -> dict[int, Enrolled]:
    """Enrolls people (any number -> who), in a constant number of statements. Nobody is enrolled twice.

    start_at: the moment from which the first step's delay counts; without it the start of the campaign. reopens:
    whether who was enrolled and has ended without an answer goes on where they were.
    """
    campaign = campaigns.lock_for_enrollment(session, campaign_id=campaign_id)
    found, answers, notes = identify(session, people=people)
    # Locked against a suppression or a new time zone under way, which either sees the enrollment or is seen by the next
    # statements.
    lock_contacts(session, contact_ids=found.values())
    people_here = {(campaign_id, contact_id) for contact_id in found.values()}
    held = suppressions.of_people_in(session, people=people_here, now=now)
    refused = {contact_id: why for (_, contact_id), why in held.items()}
    for contact_id in orphans.stopping(session, campaign_id=campaign_id, contact_ids=list(refused)):
        del refused[contact_id]  # enrolled, and stopped below by an event that waited, so that the event counts
    welcome = {row: contact_id for row, contact_id in found.items() if contact_id not in refused}
    for row, contact_id in found.items():
        if contact_id in refused:
            reason = f"{refused[contact_id].state}: {refused[contact_id].reason}"
            answers[row] = Enrolled(EnrollVerdict.SUPPRESSED, contact_id=contact_id, reason=reason)
    plan = plans.of_campaign(session, campaign_id=campaign_id)
    is_running = campaign.status != CampaignStatus.DRAFT
    first = start_at or (now if is_running else None)
    status = EnrollmentStatus.ACTIVE if is_running else EnrollmentStatus.ENROLLED
    inserted = _insert(session, campaign_id, set(welcome.values()), plan, status, first)
    answers |= _answers(session, campaign_id, welcome, inserted)
    if reopens:
        _reopen(session, campaign_id, answers, plan, now, is_draft=not is_running)
    for row, note in notes.items():
        answers[row].reason = answers[row].reason or note
    if inserted:
        counters.add_statuses(session, {(campaign_id, status): len(inserted)})
        orphans.match_campaign(session, campaign_id=campaign_id)
    return answers


_INSERT = text("""
    INSERT INTO campaign_enrollments
        (instance_id, id, contact_id, status, next_action_at, delay_from, zone, a_b_variant)
    SELECT :campaign, id, contact_id, :status, next_action_at, CAST(:delay_from AS timestamptz), zone, a_b_variant
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS e(
        id uuid, contact_id uuid, next_action_at timestamptz, zone text, a_b_variant text)
    ORDER BY contact_id
    ON CONFLICT (instance_id, contact_id) DO NOTHING
    RETURNING contact_id, id
""")


def _insert(
    session: Session,
    campaign_id: UUID,
    contact_ids: Collection[UUID],
    plan: Plan,
    status: EnrollmentStatus,
    first: datetime | None,
) -> dict[UUID, UUID]:
    """Returns contact -> enrollment, for people who were not enrolled before."""
    if not contact_ids:
        return {}
    names = variants(plan.steps)
    opening = stage_after(plan.steps, 0)
    zones = plans.zones(session, contact_ids=contact_ids) if plan.sending.follows_contact else {}
    rows: list[dict[str, Any]] = []
    for id_, contact_id in zip(new_ids(len(contact_ids)), contact_ids, strict=True):
        variant = draw_variant(names, campaign_id, contact_id)
        step = choose(opening, Recipient(campaign_id, contact_id, variant))
        due = due_at(first, step) if first and step else first
        zone = plan.sending.zone_of(zones.get(contact_id))
        row = {"id": id_, "contact_id": contact_id, "next_action_at": due, "zone": zone, "a_b_variant": variant}
        rows.append(row)
    values = {**rows_parameter(rows), "campaign": campaign_id, "status": status, "delay_from": first}
    return dict(tuple(row) for row in session.execute(_INSERT, values))


_EXISTING = text("""
    SELECT contact_id, id FROM campaign_enrollments
    WHERE instance_id = :campaign
      AND contact_id = ANY (ARRAY(SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid)))
""")


def _answers(
    session: Session, campaign_id: UUID, welcome: Mapping[int, UUID], inserted: Mapping[UUID, UUID]
) -> dict[int, Enrolled]:
    others = list({contact_id for contact_id in welcome.values() if contact_id not in inserted})
    before: dict[UUID, UUID] = {}
    if others:
        values = {**rows_parameter(others), "campaign": campaign_id}
        before = dict(tuple(row) for row in session.execute(_EXISTING, values))
    answers: dict[int, Enrolled] = {}
    fresh = dict(inserted)
    for row, contact_id in welcome.items():
        if contact_id in fresh:
            answers[row] = Enrolled(EnrollVerdict.ENROLLED, fresh.pop(contact_id), contact_id)
        else:
            known = inserted.get(contact_id) or before[contact_id]
            answers[row] = Enrolled(EnrollVerdict.ALREADY_ENROLLED, known, contact_id)
    return answers


def _reopen(
    session: Session, campaign_id: UUID, answers: Mapping[int, Enrolled], plan: Plan, now: datetime, *, is_draft: bool
) -> None:
    """Reopens who was enrolled before and has ended; notes it in the answers."""
    known = [answer for answer in answers.values() if answer.verdict is EnrollVerdict.ALREADY_ENROLLED]
    ids = list({answer.enrollment_id for answer in known if answer.enrollment_id is not None})
    told = reopening.reopen_some(
        session, campaign_id=campaign_id, enrollment_ids=ids, plan=plan, now=now, is_draft=is_draft
    )
    for answer in known:
        if answer.enrollment_id is not None and answer.enrollment_id in told:
            problem = told[answer.enrollment_id]
            answer.verdict = EnrollVerdict.REOPENED if problem is None else answer.verdict
            answer.reason = answer.reason or problem


class Former(NamedTuple):
    """What an enrollment was before it was changed."""

    status: EnrollmentStatus
    paused_until: datetime | None = None


def update(
    session: Session, *, enrollment_id: UUID, action: EnrollmentAction, until: datetime | None = None, now: datetime
) -> Former:
    """Pauses (`until` then, or until it is resumed), resumes, advances past the next step, unsubscribes or completes;
    db.services.enrollments.moving moves. Returns what it was before. InvalidTransition if that is not allowed, Refused
    if one that has ended can't be resumed."""
    of_enrollment = select(CampaignEnrollment.campaign_id, CampaignEnrollment.contact_id, CampaignEnrollment.status)
    found = session.execute(of_enrollment.where(CampaignEnrollment.id == enrollment_id)).one_or_none()
    if found is None:
        raise _not_found(enrollment_id)
    campaign_id, contact_id, known = found
    if action is EnrollmentAction.UNSUBSCRIBE:
        _unsubscribe(session, enrollment_id, now)
        return Former(EnrollmentStatus(known))
    status = campaigns.lock_for_command(session, campaign_id=campaign_id)
    is_draft = status is CampaignStatus.DRAFT
    if action in (EnrollmentAction.PAUSE, EnrollmentAction.RESUME):
        lock_contacts(
            session, contact_ids=[contact_id]
        )  # before the enrollment, and for the same reason, as when people enroll
    enrollment = enrollment_rows.lock_one(session, enrollment_id=enrollment_id)
    if enrollment is None:
        raise _not_found(enrollment_id)
    before = enrollment_rows.snapshot([enrollment])
    enrollment.end_pause(now, is_draft=is_draft)
    former = Former(enrollment.status, enrollment.paused_until)
    if action is EnrollmentAction.PAUSE:
        enrollment.end_wait()  # who is paused by hand stays paused when their words are approved
        _pause(session, enrollment, until, now)
        enrollment_rows.save(session, before=before, after=[enrollment])
        return former
    command = EnrollmentCommand(action)
    after = move_enrollment(enrollment.status, command)
    if action is EnrollmentAction.COMPLETE:
        enrollment.stop(Stop(command, StopReason.MANUAL))
    elif action is EnrollmentAction.ADVANCE:
        _advance(session, enrollment, now, is_draft=is_draft)
    elif not enrollment.is_open:
        plan = plans.of_campaign(session, campaign_id=campaign_id)
        reopening.reopen(session, enrollment=enrollment, status=status, plan=plan, now=now)
    else:
        # In a draft nobody is active before its start, which gives every enrollment a due time.
        if enrollment.paused_until is not None:
            enrollment.give_back_delay(_absent_until(session, contact_id), now)
        enrollment.status = EnrollmentStatus.ENROLLED if is_draft else after
        enrollment.next_action_at = enrollment.next_action_at or (None if is_draft else now)
    enrollment_rows.save(session, before=before, after=[enrollment])
    return former


def _pause(session: Session, enrollment: Enrollment, until: datetime | None, now: datetime) -> None:
    """Pauses it. A pause that would end by itself can be changed, and another one be given an end."""
    absent_until = _absent_until(session, enrollment.contact_id)
    if until is not None:
        enrollment.pause_until(until, absent_until, now)
    elif enrollment.paused_until is not None:
        enrollment.give_back_delay(absent_until, now)
    else:
        enrollment.pause()


def _absent_until(session: Session, contact_id: UUID) -> datetime | None:
    return session.scalars(select(Contact.absent_until).where(Contact.id == contact_id)).one()


def _unsubscribe(session: Session, enrollment_id: UUID, now: datetime) -> None:
    """Records an opt-out by hand, as any other event. It ends all writing to the person."""
    wish = NewEvent(EventType.UNSUBSCRIBED, Channel.EMAIL, now, enrollment_id=enrollment_id)
    events.record_events(session, events=[wish], source="manual")


def _advance(session: Session, enrollment: Enrollment, now: datetime, *, is_draft: bool) -> None:
    """Skips the next step. It is noted as skipped, so that nobody sends it later. In a draft the delay of the step
    after it counts from the moment that the enrollment was given, or from the start."""
    plan = plans.of_campaign(session, campaign_id=enrollment.campaign_id)
    skipped = next_step(plan.steps, enrollment.current_step, enrollment.recipient)
    if skipped is None:
        raise Refused("No step is left to advance past. Call update_enrollment with action complete to end it.")
    of_step = select(CampaignAction).filter_by(enrollment_id=enrollment.id, step_number=skipped.step_number)
    action = session.scalars(of_step).one_or_none()
    if action is None:
        action = CampaignAction(
            campaign_id=enrollment.campaign_id,
            enrollment_id=enrollment.id,
            step_number=skipped.step_number,
            channel=skipped.channel,
            a_b_variant=skipped.a_b_variant,
        )
        session.add(action)
    if action.sent_at is None:
        # The holder of the step may have sent it, and then reports it under the lease as before.
        action.status = ActionStatus.SKIPPED
    begins = enrollment.next_action_at
    enrollment.pass_step(skipped.step_number, begins or now if is_draft else now, plan)
    if is_draft and begins is None:
        enrollment.next_action_at = enrollment.delay_from = None


@dataclass(frozen=True, slots=True)
class EnrollmentDetails:
    """An enrollment with the person and, oldest first, its actions and its latest events."""

    enrollment: CampaignEnrollment
    contact: Contact
    actions: Sequence[CampaignAction] = ()
    events: Sequence[CampaignEvent] = ()
    words: Mapping[UUID, Words] = field(default_factory=dict[UUID, Words])
    """action -> what was handed out last for it"""


_EVENTS_SHOWN = 20


def get(session: Session, *, enrollment_id: UUID, now: datetime | None = None) -> EnrollmentDetails:
    """Returns one enrollment with its actions and its latest events. A pause that was over at `now` is left out.
    NotFound if there is none."""
    statement = select(CampaignEnrollment).where(CampaignEnrollment.id == enrollment_id)
    enrollment = session.scalars(statement.execution_options(populate_existing=True)).one_or_none()
    if enrollment is None:
        raise _not_found(enrollment_id)
    ended_pauses.tell(session, enrollments=[enrollment], now=now)
    _tell_openings(session, [enrollment])
    contact = session.get_one(Contact, enrollment.contact_id)
    of_enrollment = {"campaign_id": enrollment.campaign_id, "enrollment_id": enrollment.id}
    actions = session.scalars(
        select(CampaignAction).filter_by(**of_enrollment).order_by(CampaignAction.step_number)
    ).all()
    latest = (
        select(CampaignEvent)
        .filter_by(**of_enrollment)
        .order_by(CampaignEvent.occurred_at.desc(), CampaignEvent.id.desc())
    )
    events = session.scalars(latest.limit(_EVENTS_SHOWN)).all()
    words = message_rows.of_actions(session, action_ids=[action.id for action in actions])
    return EnrollmentDetails(enrollment, contact, actions, events[::-1], words)


def list_(
    session: Session,
    *,
    campaign_id: UUID | None,
    status: EnrollmentStatus | None,
    contact_id: UUID | None = None,
    domain: str | None = None,
    limit: int,
    cursor: str | None,
    now: datetime | None = None,
) -> Page[EnrollmentDetails]:
    """Returns the enrollments of a campaign, or those of a person or of a domain's people in any campaign, newest
    first. A pause that was over at `now` counts no more."""
    statement = select(CampaignEnrollment)
    if campaign_id is not None:
        campaigns.get(session, campaign_id=campaign_id)
        statement = statement.where(CampaignEnrollment.campaign_id == campaign_id)
    if contact_id is not None:
        statement = statement.where(CampaignEnrollment.contact_id == contact_id)
    if domain is not None:
        theirs = select(Contact.id).where(has_domain(domain))
        statement = statement.where(CampaignEnrollment.contact_id.in_(theirs))
    if status is not None:
        statement = statement.where(ended_pauses.has(status, now))
    found = page(session, statement, by=[CampaignEnrollment.id], limit=limit, cursor=cursor, listing="enrollments")
    ended_pauses.tell(session, enrollments=found.rows, now=now)
    _tell_openings(session, found.rows)
    wanted = [enrollment.contact_id for enrollment in found.rows]
    people = {contact.id: contact for contact in session.scalars(select(Contact).where(Contact.id.in_(wanted)))}
    rows = [EnrollmentDetails(enrollment, people[enrollment.contact_id]) for enrollment in found.rows]
    return Page(rows, found.next_cursor)


def _tell_openings(session: Session, enrollments: Iterable[CampaignEnrollment]) -> None:
    """Sets next_action_at to the moment at which the step goes out: when it is due and the sending window is open."""
    waiting = [
        (enrollment, enrollment.next_action_at) for enrollment in enrollments if enrollment.next_action_at is not None
    ]
    known = (
        plans.of_campaigns(session, campaign_ids={enrollment.campaign_id for enrollment, _ in waiting})
        if waiting
        else {}
    )
    for enrollment, due in waiting:
        opening = known[enrollment.campaign_id].sending.opening(due, enrollment.zone)
        # For display only: it is not a change, and is never written.
        set_committed_value(enrollment, "next_action_at", opening or due)


def people(session: Session, *, campaign_id: UUID, enrollment_ids: Collection[UUID]) -> dict[UUID, Contact]:
    """Returns the people of some enrollments of a campaign: enrollment -> contact."""
    statement = (
        select(CampaignEnrollment.id, Contact)
        .join(Contact, Contact.id == CampaignEnrollment.contact_id)
        .where(CampaignEnrollment.campaign_id == campaign_id, CampaignEnrollment.id.in_(enrollment_ids))
    )
    return dict(session.execute(statement).all())


def _not_found(enrollment_id: UUID) -> NotFound:
    return NotFound("enrollment", enrollment_id)
