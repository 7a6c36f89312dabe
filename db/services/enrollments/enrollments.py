"""Enrollments: who is in which campaign, and how far."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import exists, select, text
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from db.domain.contacts import ContactFields, ContactRef
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
from db.models import CampaignAction, CampaignEnrollment, CampaignEvent, Contact, email_domain
from db.postgres.json import rows_parameter
from db.services.campaigns import campaigns, plans
from db.services.events import events, orphans
from db.services.paging import Page, page
from db.services.people import contacts, suppressions
from db.services.state import counters, enrollment_rows


@dataclass(slots=True)
class Enrolled:
    """The answer for one person. `reason` says why somebody was not enrolled, or what else became of the row."""

    verdict: EnrollVerdict
    enrollment_id: UUID | None = None
    contact_id: UUID | None = None
    reason: str | None = None


def enroll(
    session: Session, *, campaign_id: UUID, people: Mapping[int, ContactRef], start_at: datetime | None, now: datetime
) -> dict[int, Enrolled]:
    """Enrolls people (any number -> who), in a constant number of statements. Nobody is enrolled twice.

    `start_at` is the moment from which the first step's delay counts; without it the start of the campaign.
    """
    campaign = campaigns.lock_for_enrollment(session, campaign_id=campaign_id)
    found, answers, notes = _identify(session, people)
    # Locked against a suppression or a new time zone under way, which either sees the enrollment or is seen by the next
    # statements.
    _lock_contacts(session, found.values())
    refused = suppressions.of_contacts(session, contact_ids=list(set(found.values())), now=now)
    for contact_id in orphans.stopping(session, instance_id=campaign_id, contact_ids=list(refused)):
        del refused[contact_id]  # enrolled, and stopped below by an event that waited, so that the event counts
    welcome = {row: contact_id for row, contact_id in found.items() if contact_id not in refused}
    for row, contact_id in found.items():
        if contact_id in refused:
            reason = f"suppressed: {refused[contact_id]}"
            answers[row] = Enrolled(EnrollVerdict.SUPPRESSED, contact_id=contact_id, reason=reason)
    plan = plans.of_campaign(session, instance_id=campaign_id)
    is_running = campaign.status != CampaignStatus.DRAFT
    first = start_at or (now if is_running else None)
    status = EnrollmentStatus.ACTIVE if is_running else EnrollmentStatus.ENROLLED
    inserted = _insert(session, campaign_id, set(welcome.values()), plan, status, first)
    answers |= _answers(session, campaign_id, welcome, inserted)
    for row, note in notes.items():
        answers[row].reason = answers[row].reason or note
    if inserted:
        counters.add_statuses(session, {(campaign_id, status): len(inserted)})
        orphans.match_campaign(session, instance_id=campaign_id)
    return answers


_MERGED = "merged with an earlier row, which is about the same person"


def _identify(
    session: Session, people: Mapping[int, ContactRef]
) -> tuple[dict[int, UUID], dict[int, Enrolled], dict[int, str | None]]:
    """Returns (row -> contact, made if need be; answers for rows that are nobody; row -> a note on it)."""
    found: dict[int, UUID] = {}
    notes: dict[int, str | None] = {}
    answers: dict[int, Enrolled] = {}
    by_id = {row: ref.contact_id for row, ref in people.items() if ref.contact_id is not None}
    known = contacts.existing(session, contact_ids=list(set(by_id.values())))
    for row, contact_id in by_id.items():
        if contact_id in known:
            found[row] = contact_id
        else:
            answers[row] = Enrolled(
                EnrollVerdict.INVALID, reason=f"no contact {contact_id}: look it up with find_contacts"
            )
    # A row that names a contact may give an address as well, which must not be lost.
    named = {row: ref for row, ref in people.items() if row not in found and row not in answers}
    named |= {row: people[row] for row in found if people[row].fields.email or people[row].fields.linkedin_url}
    fields = {row: _of_person(ref) for row, ref in named.items()}
    meant = {row: found[row] for row in named if row in found}
    for row, contact in contacts.find_or_create(session, people=fields, overwrite=False, contact_ids=meant).items():
        found.pop(row, None)
        if contact.contact_id is None:
            answers[row] = Enrolled(EnrollVerdict.INVALID, reason=contact.reason)
        else:
            found[row] = contact.contact_id
            notes[row] = _MERGED if contact.is_merged else contact.note
    return found, answers, notes


def _of_person(ref: ContactRef) -> ContactFields:
    """Returns what a row says of its person; of a contact that it names by id, the addresses alone."""
    fields = ref.fields
    return fields if ref.contact_id is None else ContactFields(fields.email, fields.linkedin_url)


_LOCK_CONTACTS = text("""
    SELECT count(*) FROM (
        SELECT 1 FROM contacts
        WHERE id IN (SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid))
        ORDER BY id FOR SHARE
    ) locked
""")


def _lock_contacts(session: Session, contact_ids: Iterable[UUID]) -> None:
    session.execute(_LOCK_CONTACTS, rows_parameter(list(set(contact_ids))))


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
      AND contact_id IN (SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid))
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


def update(session: Session, *, enrollment_id: UUID, action: EnrollmentAction, now: datetime) -> None:
    """Pauses, resumes, advances past the next step, unsubscribes or completes. InvalidTransition if that is not
    allowed."""
    if action is EnrollmentAction.UNSUBSCRIBE:
        _unsubscribe(session, enrollment_id, now)
        return
    of_enrollment = select(CampaignEnrollment.instance_id).where(CampaignEnrollment.id == enrollment_id)
    instance_id = session.scalars(of_enrollment).one_or_none()
    if instance_id is None:
        raise _not_found(enrollment_id)
    is_draft = campaigns.lock_for_command(session, instance_id=instance_id) is CampaignStatus.DRAFT
    enrollment = enrollment_rows.lock_one(session, enrollment_id=enrollment_id)
    if enrollment is None:
        raise _not_found(enrollment_id)
    before = enrollment_rows.snapshot([enrollment])
    command = EnrollmentCommand(action)
    after = move_enrollment(enrollment.status, command)
    if action is EnrollmentAction.COMPLETE:
        enrollment.stop(Stop(command, StopReason.MANUAL))
    elif action is EnrollmentAction.ADVANCE:
        _advance(session, enrollment, now, is_draft=is_draft)
    elif action is EnrollmentAction.PAUSE:
        enrollment.pause()
    else:
        # In a draft nobody is active before its start, which gives every enrollment a due time.
        enrollment.status = EnrollmentStatus.ENROLLED if is_draft else after
        enrollment.next_action_at = enrollment.next_action_at or (None if is_draft else now)
    enrollment_rows.save(session, before=before, after=[enrollment])


def _unsubscribe(session: Session, enrollment_id: UUID, now: datetime) -> None:
    """Records an opt-out by hand, as any other event. It ends all writing to the person."""
    wish = NewEvent(EventType.UNSUBSCRIBED, Channel.EMAIL, now, enrollment_id=enrollment_id)
    if not session.scalar(select(exists().where(CampaignEnrollment.id == enrollment_id))):
        raise _not_found(enrollment_id)
    events.record_events(session, events=[wish], source="manual")


def _advance(session: Session, enrollment: Enrollment, now: datetime, *, is_draft: bool) -> None:
    """Skips the next step. It is noted as skipped, so that nobody sends it later. In a draft the delay of the step
    after it counts from the moment that the enrollment was given, or from the start."""
    plan = plans.of_campaign(session, instance_id=enrollment.instance_id)
    skipped = next_step(plan.steps, enrollment.current_step, enrollment.recipient)
    if skipped is None:
        raise Refused("No step is left to advance past. Call update_enrollment with action complete to end it.")
    of_step = select(CampaignAction).filter_by(enrollment_id=enrollment.id, step_number=skipped.step_number)
    action = session.scalars(of_step).one_or_none()
    if action is None:
        action = CampaignAction(
            instance_id=enrollment.instance_id,
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


_EVENTS_SHOWN = 20


def get(session: Session, *, enrollment_id: UUID) -> EnrollmentDetails:
    """Returns one enrollment with its actions and its latest events. NotFound if there is none."""
    statement = select(CampaignEnrollment).where(CampaignEnrollment.id == enrollment_id)
    enrollment = session.scalars(statement.execution_options(populate_existing=True)).one_or_none()
    if enrollment is None:
        raise _not_found(enrollment_id)
    _tell_openings(session, [enrollment])
    contact = session.get_one(Contact, enrollment.contact_id)
    of_enrollment = {"instance_id": enrollment.instance_id, "enrollment_id": enrollment.id}
    actions = session.scalars(
        select(CampaignAction).filter_by(**of_enrollment).order_by(CampaignAction.step_number)
    ).all()
    latest = (
        select(CampaignEvent)
        .filter_by(**of_enrollment)
        .order_by(CampaignEvent.occurred_at.desc(), CampaignEvent.id.desc())
    )
    events = session.scalars(latest.limit(_EVENTS_SHOWN)).all()
    return EnrollmentDetails(enrollment, contact, actions, events[::-1])


def list_(
    session: Session,
    *,
    campaign_id: UUID | None,
    status: EnrollmentStatus | None,
    contact_id: UUID | None = None,
    domain: str | None = None,
    limit: int,
    cursor: str | None,
) -> Page[EnrollmentDetails]:
    """Returns the enrollments of a campaign, or those of a person or of a domain's people in any campaign, newest
    first."""
    statement = select(CampaignEnrollment)
    if campaign_id is not None:
        campaigns.get(session, campaign_id=campaign_id)
        statement = statement.where(CampaignEnrollment.instance_id == campaign_id)
    if contact_id is not None:
        statement = statement.where(CampaignEnrollment.contact_id == contact_id)
    if domain is not None:
        theirs = select(Contact.id).where(email_domain == domain)
        statement = statement.where(CampaignEnrollment.contact_id.in_(theirs))
    if status is not None:
        statement = statement.where(CampaignEnrollment.status == status)
    found = page(session, statement, by=[CampaignEnrollment.id], limit=limit, cursor=cursor, listing="enrollments")
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
        plans.of_campaigns(session, instance_ids={enrollment.instance_id for enrollment, _ in waiting})
        if waiting
        else {}
    )
    for enrollment, due in waiting:
        opening = known[enrollment.instance_id].sending.opening(due, enrollment.zone)
        # For display only: it is no change, and is never written.
        set_committed_value(enrollment, "next_action_at", opening or due)


def people(session: Session, *, campaign_id: UUID, enrollment_ids: Collection[UUID]) -> dict[UUID, Contact]:
    """Returns the people of some enrollments of a campaign: enrollment -> contact."""
    statement = (
        select(CampaignEnrollment.id, Contact)
        .join(Contact, Contact.id == CampaignEnrollment.contact_id)
        .where(CampaignEnrollment.instance_id == campaign_id, CampaignEnrollment.id.in_(enrollment_ids))
    )
    return dict(session.execute(statement).all())


def _not_found(enrollment_id: UUID) -> NotFound:
    return NotFound("enrollment", enrollment_id)
