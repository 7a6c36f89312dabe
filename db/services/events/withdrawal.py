"""Takes events back, as if they had never been told: their steps are counted again, the suppressions that they made are
lifted, and what they ended is open again."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.enrollment import Enrollment
from db.domain.events import EFFECTS, REPLIES, EventType, NewEvent, Stop
from db.domain.scheduling import Plan, next_step
from db.domain.states import CampaignStatus, Channel, EnrollmentCommand, StopReason
from db.postgres.json import rows_parameter
from db.postgres.results import named
from db.services.campaigns import plans
from db.services.events import batches, history, record
from db.services.events.batches import Batch
from db.services.events.find import Locked, lock_enrollments
from db.services.events.placement import Placement, Placements
from db.services.people import colleagues, opt_outs, suppressions
from db.services.state import enrollment_rows


class _Found(NamedTuple):
    campaign_id: UUID
    enrollment_id: UUID
    id: UUID
    event_type: EventType
    created_at: datetime


_FIND = text("""
    SELECT e.instance_id, e.enrollment_id, e.id, e.event_type, e.created_at
    FROM jsonb_array_elements_text(CAST(:rows AS jsonb)) AS w(id)
    JOIN campaign_events e ON e.provider = :provider AND e.provider_event_id = w.id
    ORDER BY e.instance_id, e.enrollment_id, e.id
""").columns(*named("campaign_id", "enrollment_id", "id", "event_type", "created_at"))
_DELETE = text("""
    DELETE FROM campaign_events e USING jsonb_to_recordset(CAST(:rows AS jsonb)) AS w(instance_id uuid, id uuid)
    WHERE e.instance_id = w.instance_id AND e.id = w.id
""")
_ENDS: Mapping[EventType, StopReason] = MappingProxyType(
    {kind: effect.stop.reason for kind, effect in EFFECTS.items() if effect.stop is not None}
)


def withdraw(session: Session, *, provider: str, provider_event_ids: Collection[str], now: datetime) -> int:
    """Takes back the events of a provider with these ids. Returns how many there were.

    An enrollment that one of them ended takes its next step again when that is due, unless something else ends it too.
    The suppressions of these people whose source is the provider are lifted, unless another of its events says the
    same.
    """
    wanted = {**rows_parameter(sorted(provider_event_ids)), "provider": provider}
    found = [
        _Found(campaign_id, enrollment_id, id_, EventType(kind), created_at)
        for campaign_id, enrollment_id, id_, kind, created_at in session.execute(_FIND, wanted)
    ]
    if not found:
        return 0
    events = [_lock(event) for event in found]
    locked = lock_enrollments(session, events=events)
    batch = batches.make(events, locked)
    batches.read_actions(session, batch.rows, every=True)
    batches.read_plans(session, batch, {row.key.campaign_id for row in batch.rows})
    placements = _place(session, batch, frozenset(event.id for event in found))
    batch.rows = []
    concerned = [_ended_by(event, locked) for event in found]
    others = _lock_suppressed(session, locked, min(event.created_at for event in found))
    before = enrollment_rows.snapshot(locked.enrollments.values())
    placements.settle(batch)
    _lift(session, provider, found, locked)
    for enrollment in dict.fromkeys(enrollment.id for enrollment in (*filter(None, concerned), *others)):
        _take_up(session, locked.enrollments[enrollment], placements, now)
    _let_go_on(session, locked, {locked.enrollments[event.enrollment_id].id for event in found})
    record.write(session, batch, before, ())
    placements.save(session, batch)
    for event in found:
        _free_colleagues(session, event, locked, placements, now)
    session.execute(_DELETE, rows_parameter([{"instance_id": event.campaign_id, "id": event.id} for event in found]))
    return len(found)


def _lock(event: _Found) -> NewEvent:
    """Returns an event that locks the person, and then all of their enrollments, as one that stops them does."""
    return NewEvent(EventType.UNSUBSCRIBED, Channel.EMAIL, event.created_at, enrollment_id=event.enrollment_id)


def _place(session: Session, batch: Batch, withdrawn: frozenset[UUID]) -> Placements:
    """Places what is left of the events again."""
    rows = {row.enrollment.id: row for row in batch.rows}
    known = history.read(session, owners={row.key for row in rows.values()})
    placements = Placements()
    for id_, row in rows.items():
        placement = Placement(row.enrollment, row.actions, known.get(id_, ()), [], withdrawn=withdrawn)
        placement.place(batch, [])
        placements.of_enrollment[id_] = placement
    return placements


def _ended_by(event: _Found, locked: Locked) -> Enrollment | None:
    """Returns the enrollment of the event, if one of its kind ended it."""
    enrollment = locked.enrollments[event.enrollment_id]
    return enrollment if enrollment.stop_reason is _ENDS.get(event.event_type, StopReason.HAS_LEFT) else None


_SUPPRESSED = text(f"""
    SELECT {enrollment_rows.COLUMNS} FROM campaign_enrollments e
    WHERE e.contact_id = ANY (ARRAY(SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid)))
      AND e.stop_reason = '{StopReason.SUPPRESSED}' AND e.updated_at >= :since
    ORDER BY e.instance_id, e.id FOR NO KEY UPDATE OF e
""")


def _lock_suppressed(session: Session, locked: Locked, since: datetime) -> list[Enrollment]:
    """Returns the other enrollments of these people that were stopped in other campaigns since then, locked."""
    people = sorted({enrollment.contact_id for enrollment in locked.enrollments.values()})
    rows = session.execute(_SUPPRESSED, {**rows_parameter(people), "since": since})
    found = [enrollment_rows.from_row(row) for row in rows]
    others = [enrollment for enrollment in found if enrollment.id not in locked.enrollments]
    locked.enrollments.update({enrollment.id: enrollment for enrollment in others})
    return others


_MADE_ALONE = """
    jsonb_to_recordset(CAST(:rows AS jsonb)) AS w(contact_id uuid, address text, event_type text, reason text)
    WHERE (s.email = w.address OR lower(s.linkedin_url) = lower(w.address))
      AND s.source = :provider AND s.reason = w.reason AND s.replaced_reason IS {not_}NULL
      AND NOT EXISTS (
          SELECT FROM campaign_enrollments e
          JOIN campaign_events v ON v.instance_id = e.instance_id AND v.enrollment_id = e.id
          WHERE e.contact_id = w.contact_id AND v.provider = :provider AND v.event_type = w.event_type
            AND v.id NOT IN (SELECT CAST(jsonb_array_elements_text(CAST(:withdrawn AS jsonb)) AS uuid))
      )
"""
_RESTORE = text(f"""
    UPDATE suppressions s
    SET reason = s.replaced_reason, source = s.replaced_source, expires_at = s.replaced_expires_at,
        replaced_reason = NULL, replaced_source = NULL, replaced_expires_at = NULL
    FROM {_MADE_ALONE.format(not_="NOT ")}
""")
_LIFT = text(f"DELETE FROM suppressions s USING {_MADE_ALONE.format(not_='')}")


def _lift(session: Session, provider: str, found: Sequence[_Found], locked: Locked) -> None:
    """Lifts the suppressions that these events alone have made. One that they have replaced stands again."""
    kinds = {
        (locked.enrollments[event.enrollment_id].contact_id, event.event_type)
        for event in found
        if EFFECTS[event.event_type].suppresses
    }
    if not kinds:
        return
    addresses = opt_outs.addresses_of(session, contact_ids={contact_id for contact_id, _ in kinds})
    rows = [
        {"contact_id": contact_id, "address": entry.address, "event_type": kind, "reason": _ENDS[kind]}
        for contact_id, kind in kinds
        for entry in addresses
        if entry.contact_id == contact_id
    ]
    withdrawn = rows_parameter([event.id for event in found])["rows"]
    values = {**rows_parameter(rows), "provider": provider, "withdrawn": withdrawn}
    session.execute(_LIFT, values)  # first: what is restored may have the same source
    session.execute(_RESTORE, values)


def _take_up(session: Session, enrollment: Enrollment, placements: Placements, now: datetime) -> None:
    """Opens an enrollment again, unless something else ends it."""
    campaign = plans.with_status(session, campaign_id=enrollment.campaign_id)
    status, plan = campaign if campaign is not None else (CampaignStatus.FAILED, Plan(()))
    placement = placements.of_enrollment.get(enrollment.id)
    left = (entry.event.stop for entry in placement.stored) if placement else ()
    held = suppressions.of_people_in(session, people=[(enrollment.campaign_id, enrollment.contact_id)], now=now)
    stops = [*_stops(left), *_ends(status, is_suppressed=bool(held) or enrollment.is_erased)]
    upcoming = next_step(plan.steps, enrollment.current_step, enrollment.recipient)
    enrollment.take_up(upcoming, stops, now)


def _let_go_on(session: Session, locked: Locked, enrollment_ids: Collection[UUID]) -> None:
    """Lets the other enrollments go on that waited because the person had answered one of these, if that is taken
    back."""
    taken_back = [locked.enrollments[id_] for id_ in enrollment_ids]
    for enrollment in taken_back:
        if enrollment.stop_reason is StopReason.REPLIED:
            continue
        for other in locked.of_contact[enrollment.contact_id]:
            if other.is_held_by_reply(enrollment.id):
                other.go_on(is_draft=_is_draft(session, other))


def _free_colleagues(session: Session, event: _Found, locked: Locked, placements: Placements, now: datetime) -> None:
    """Lets colleagues go on whom an answer had held or stopped, if that is taken back."""
    answered = locked.enrollments[event.enrollment_id]
    if event.event_type not in REPLIES or answered.stop_reason is StopReason.REPLIED:
        return
    freed = colleagues.of_answer(session, answered=answered)
    before = enrollment_rows.snapshot([*freed.held, *freed.stopped])
    for other in freed.held:
        other.go_on(is_draft=_is_draft(session, other))
    for other in freed.stopped:
        _take_up(session, other, placements, now)
    enrollment_rows.save(session, before=before, after=[*freed.held, *freed.stopped])


def _is_draft(session: Session, enrollment: Enrollment) -> bool:
    found = plans.with_status(session, campaign_id=enrollment.campaign_id)
    return found is not None and found[0] is CampaignStatus.DRAFT


def _stops(left: Iterable[Stop | None]) -> list[Stop]:
    return [stop for stop in left if stop is not None]


def _ends(status: CampaignStatus, *, is_suppressed: bool) -> list[Stop]:
    ends: list[Stop] = []
    if is_suppressed:
        ends.append(Stop(EnrollmentCommand.UNSUBSCRIBE, StopReason.SUPPRESSED))
    if status in (CampaignStatus.COMPLETED, CampaignStatus.FAILED):
        ends.append(Stop(EnrollmentCommand.COMPLETE, StopReason.CAMPAIGN_COMPLETED))
    return ends
