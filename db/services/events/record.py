"""Records a batch of events in a constant number of statements, whatever its size.

1. Lock the enrollments that the events are about, and all enrollments of a person whom an event stops.
2. Read the actions concerned, the campaign's steps if a send may have become known, and the earlier events of
enrollments
   whose events are placed anew (db.services.events.placement).
3. Insert the events, which drops those that were recorded before, if any can have been.
4. Decide in memory what the rest means (db.domain). The locks keep other transactions from changing these rows.
5. Write the events that step 3 left, actions, enrollments, suppressions and counters.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.action import Action
from db.domain.attribution import check_step
from db.domain.bots import labelled, with_haste
from db.domain.contacts import strength
from db.domain.counting import contribution
from db.domain.enrollment import Enrollment
from db.domain.errors import InvalidInput
from db.domain.events import ANSWERS, SENDS, EventType, EventVerdict, NewEvent, Stop, impersonal
from db.domain.history import first_unsubscribe, note
from db.domain.metrics import Milestone
from db.domain.scheduling import Plan
from db.domain.states import ActionStatus, Channel, StopReason, SuppressionReason
from db.postgres.context import is_careful
from db.postgres.json import rows_parameter, to_text
from db.postgres.results import named
from db.services.campaigns import plans
from db.services.events import batches, messages, placement
from db.services.events.batches import Batch, BatchRow, ChangedAction, Outcome
from db.services.events.find import Locked, lock_enrollments
from db.services.people import opt_outs
from db.services.state import action_rows, counters, enrollment_rows, usage

_NO_PLAN = Plan(())


@dataclass(slots=True)
class Recorded:
    """One outcome per event by index; None if no enrollment was found."""

    outcomes: list[Outcome | None]
    known: set[str]
    """Message ids that are known now for the first time."""
    awaited: list[str]
    """The new message ids for which events wait."""


def record(session: Session, *, events: Sequence[NewEvent], source: str = "event") -> Recorded:
    """Records `events` and all that they imply. Leaves events of unknown enrollments to the caller."""
    batch = batches.make(events, lock_enrollments(session, events=events))
    batch.source = source
    batches.read_actions(session, batch.rows)
    revealing = {row.key.instance_id for row in batch.rows if batches.may_reveal_a_send(row)}
    batches.read_plans(session, batch, revealing)
    return _record(session, batch, [None] * len(events))


def record_known(session: Session, *, event: NewEvent, enrollment: Enrollment, action: Action, plan: Plan) -> Recorded:
    """Records what happened to an action that the caller has locked with its enrollment, and whose plan it has read.
    Outdated if the plan has changed since. The event must not stop the person in other campaigns."""
    batch = batches.make([event], Locked.alone(enrollment))
    batch.rows[0].actions[action.step_number] = action
    batch.plans[enrollment.instance_id] = plan
    batch.read_before = enrollment.instance_id, plan
    return _record(session, batch, [None])


def _record(session: Session, batch: Batch, outcomes: list[Outcome | None]) -> Recorded:
    before = enrollment_rows.snapshot(batch.locked.enrollments.values())
    _check(batch, outcomes)
    placements = placement.place_anew(session, batch, outcomes)
    plain = batch.rows
    if placements.of_enrollment:
        plain = [row for row in batch.rows if row.enrollment.id not in placements.of_enrollment]
    _label_haste(plain)
    batch.rows = [*plain, *placements.rows]
    can_repeat = any(row.event.provider_event_id is not None for row in batch.rows)
    if can_repeat:
        inserted = _insert_events(session, batch.rows)
        is_complete = len(inserted) == len(batch.rows)
        duplicates = [] if is_complete else [row for row in batch.rows if row.id not in inserted]
        for row in duplicates:
            outcomes[row.index] = Outcome(EventVerdict.DUPLICATE)
        if duplicates:
            plain = [row for row in plain if row.id in inserted]
            placements.drop(batch, outcomes, {row.id for row in duplicates})
            batch.rows = [*plain, *placements.rows]
    for row in plain:
        _apply(batch, row)
    placements.settle(batch)
    for row in placements.rows:
        if row.step_number is not None and row.step_number in row.actions:
            _note_address(row, row.actions[row.step_number])
    for row in batch.rows:
        outcomes[row.index] = Outcome(EventVerdict.RECORDED, row.id, _why_stepless(row))
        if row.event.provider_message_id is not None:
            _keep_message(batch, row, row.event.provider_message_id)
    messages.keep(session, messages=batch.messages)
    _stop_all(session, batch)
    awaited = _write(session, batch, before, () if can_repeat else batch.rows)
    placements.save(session, batch)
    return Recorded(outcomes, batch.new_message_ids, awaited)


def _check(batch: Batch, outcomes: list[Outcome | None]) -> None:
    """Refuses, one by one, rows that name a step that does not exist. What a provider reports and what stops a person
    counts all the same, because nobody is there to correct it."""
    valid: list[BatchRow] = []
    for row in batch.rows:
        row.event = labelled(row.event, None)
        if row.step_number is not None:
            plan = batch.plans.get(row.enrollment.instance_id, _NO_PLAN)
            try:
                check_step(row.event, row.step_number, row.actions, plan.steps)
            except InvalidInput as refusal:
                is_by_message = row.event.step_number is None and row.event.event_type in ANSWERS
                if not is_by_message and not (row.event.from_provider and row.event.suppresses):
                    outcomes[row.index] = Outcome(EventVerdict.INVALID, reason=str(refusal))
                    continue
                row.step_number, row.is_inferred = None, True
        valid.append(row)
    batch.rows = valid


def _label_haste(rows: Sequence[BatchRow]) -> None:
    """Labels clicks that came too soon after their delivery, which may be in this very batch."""
    if not any(row.event.from_provider and row.event.event_type is EventType.CLICKED for row in rows):
        return
    delivered: dict[tuple[UUID, int | None], datetime] = {}
    for row in rows:
        key = (row.enrollment.id, row.step_number)
        if row.event.event_type is EventType.DELIVERED:
            delivered.setdefault(key, row.event.occurred_at)
        elif row.event.event_type is EventType.CLICKED:
            action = row.actions.get(row.step_number or 0)
            told = [action.delivery_told_at if action else None, delivered.get(key)]
            row.event = with_haste(row.event, min(filter(None, told), default=None))


_INSERTING = """
    INSERT INTO campaign_events (instance_id, id, enrollment_id, event_type, channel, step_number, occurred_at,
                                 provider, provider_event_id, metadata, provider_message_id, is_inferred,
                                 from_provider)
    SELECT instance_id, id, enrollment_id, event_type, channel, step_number, occurred_at, provider, provider_event_id,
           metadata, provider_message_id, COALESCE(is_inferred, false), COALESCE(from_provider, false)
    FROM jsonb_populate_recordset(NULL::campaign_events, CAST(:events AS jsonb))
"""
_INSERT_EVENTS = text(f"""
    {_INSERTING}
    ON CONFLICT (provider, provider_event_id) WHERE provider_event_id IS NOT NULL DO NOTHING
    RETURNING id
""").columns(*named("id"))


def _insert_events(session: Session, rows: Sequence[BatchRow]) -> set[UUID]:
    """Inserts the events. Returns the ids of the new ones; the unique index decides, within the batch and between
    processes."""
    return set(
        session.execute(_INSERT_EVENTS, {"events": to_text([_event_values(row) for row in rows])}).scalars().all()
    )


def _event_values(row: BatchRow) -> dict[str, Any]:
    event = row.event
    values = {
        "instance_id": row.enrollment.instance_id,
        "id": row.id,
        "enrollment_id": row.enrollment.id,
        "event_type": event.event_type,
        "channel": event.channel,
        "step_number": row.step_number,
        "occurred_at": event.occurred_at,
        "provider": event.provider,
        "provider_event_id": event.provider_event_id,
        "metadata": impersonal(event.metadata) if row.enrollment.is_erased else event.metadata,
    }
    # Most events have none of these, and every key is written and read a thousand times.
    if event.provider_message_id is not None:
        values["provider_message_id"] = event.provider_message_id
    if row.is_inferred:
        values["is_inferred"] = True
    if event.from_provider:
        values["from_provider"] = True
    return values


def _apply(batch: Batch, row: BatchRow) -> None:
    """Applies one new event to the action of its step."""
    effect = row.event.effect
    if effect.milestone is None:
        return
    assert row.step_number is not None, "an event whose step nobody named is placed anew"
    enrollment = row.enrollment
    if effect.milestone is Milestone.UNSUBSCRIBED:
        effect = first_unsubscribe(effect, row.event.occurred_at, enrollment.unsubscribed_at)
        enrollment.unsubscribed_at = enrollment.unsubscribed_at or row.event.occurred_at
    action = batch.action_to_change(row, row.step_number)
    known = action.sent_at
    note(action, row.event, effect)
    _bind_message(batch, action, row.event)
    _note_address(row, action)
    if action.sent_at != known:
        enrollment.advance(action, batch.plans[enrollment.instance_id])


def _why_stepless(row: BatchRow) -> str | None:
    """Returns why a send has no step, in words for the caller."""
    if row.step_number is not None or row.event.event_type not in SENDS:
        return None
    return (
        f"It counts for no step: every {row.event.channel} step of this enrollment that it could be was sent before. "
        "Leave it, or give step_number (and another provider_event_id) where it is one of them."
    )


def _keep_message(batch: Batch, row: BatchRow, message: str) -> None:
    """Keeps a message that no action holds, so that it leads to its enrollment."""
    if all(action.provider_message_id != message for action in row.actions.values()):
        batch.messages[row.key, message] = row.event.provider
        batch.new_message_ids.add(message)


def _note_address(row: BatchRow, action: Action) -> None:
    if action.sent_to is None and row.event.channel is Channel.EMAIL and not row.enrollment.is_erased:
        action.sent_to = row.event.email


_ADDRESSES_NOW = text("""
    SELECT c.id, c.email, c.linkedin_url FROM jsonb_array_elements_text(CAST(:rows AS jsonb)) AS n(id)
    JOIN contacts c ON c.id = CAST(n.id AS uuid)
""")


def _note_recipients(session: Session, batch: Batch, actions: Iterable[Action]) -> None:
    """Notes the present address of the person as the recipient of a step that is known as sent for the first time, if
    no event named one."""
    enrollments = batch.locked.enrollments
    untold = [
        (action, enrollments[action.enrollment_id].contact_id)
        for action in actions
        if action.sent_at is not None and action.known_status is not ActionStatus.SENT and action.sent_to is None
    ]
    if not untold:
        return
    found = session.execute(_ADDRESSES_NOW, rows_parameter(list({contact_id for _, contact_id in untold})))
    addresses = {id_: {Channel.EMAIL: email, Channel.LINKEDIN: profile} for id_, email, profile in found}
    for action, contact_id in untold:
        action.sent_to = addresses[contact_id][action.channel]


def _bind_message(batch: Batch, action: Action, event: NewEvent) -> None:
    if action.provider_message_id is None and event.provider_message_id is not None:
        action.provider_message_id = event.provider_message_id
        action.provider = action.provider or event.provider
        batch.new_message_ids.add(event.provider_message_id)


def _stop_all(session: Session, batch: Batch) -> None:
    """Ends what the events end. An opt-out from before the person gave new consent ends nothing."""
    stopping = [row for row in batch.rows if row.event.stop is not None]
    wishing = {row.enrollment.contact_id for row in stopping if row.event.is_wish}
    consents = opt_outs.consents_of(session, contact_ids=wishing)
    for row in stopping:
        consent = consents.get(row.enrollment.contact_id)
        is_outdated = row.event.is_wish and consent is not None and row.event.occurred_at < consent
        if row.event.stop is not None and not is_outdated:
            _stop(batch, row, row.event.stop)


def _stop(batch: Batch, row: BatchRow, stop: Stop) -> None:
    row.enrollment.stop(stop)
    if row.event.suppresses:
        contact_id = row.enrollment.contact_id
        reason = SuppressionReason(stop.reason)
        batch.suppressed[contact_id] = max(batch.suppressed.get(contact_id, reason), reason, key=strength)
        action = row.actions.get(row.step_number or 0)
        address = row.event.email or (action.sent_to if action else None)
        if reason is SuppressionReason.BOUNCED and address is not None:
            batch.bounced_at[contact_id] = address
        for other in batch.locked.of_contact[contact_id]:
            if other.is_open:
                other.stop(Stop(stop.command, StopReason.SUPPRESSED))


def _write(
    session: Session,
    batch: Batch,
    before: enrollment_rows.Snapshot,
    events: Sequence[BatchRow],
) -> list[str]:
    # Most of what providers report is known already (a delivered after an opened, say), and is not written.
    changed = [change for change in batch.changed_actions.values() if change.state != change.action.state()]
    for change in changed:
        batch.deltas.change(change.contribution, contribution(change.action))
    _settle_reservations(session, changed)
    _note_recipients(session, batch, [change.action for change in changed])
    opt_outs.add_for_contacts(session, reasons=batch.suppressed, source=batch.source, bounced_at=batch.bounced_at)
    enrollments = enrollment_rows.changes(before, batch.locked.enrollments.values())
    metrics, statuses = counters.metrics_rows(batch.deltas), counters.status_rows(enrollments.moves)
    if not (events or changed or metrics or enrollments.rows):
        return []
    # If counters did not fit before, they are added separately, and recounted.
    at_once = not is_careful()
    values = {
        "events": to_text([_event_values(row) for row in events]),
        "actions": to_text(action_rows.rows([change.action for change in changed])),
        "enrollments": to_text(enrollments.rows),
        "messages": to_text(list(batch.new_message_ids)),
        "campaign": batch.read_before[0] if batch.read_before else None,
        **counters.METRICS.parameter(metrics if at_once else ()),
        **counters.STATUSES.parameter(statuses if at_once else ()),
    }
    known_metrics, known_statuses, awaited, changed_at = session.execute(_WRITE, values).one()
    if batch.read_before is not None:
        plans.check(batch.read_before[1], changed_at)
    counters.METRICS.add_missing(session, metrics, known_metrics or ())
    counters.STATUSES.add_missing(session, statuses, known_statuses or ())
    return awaited or []


def _settle_reservations(session: Session, changed: Iterable[ChangedAction]) -> None:
    """Releases the reservations of steps that turn out not to be sent, and takes them back for those that were sent
    after all."""
    released = Counter[usage.UsageKey]()
    for change in changed:
        if change.action.has_released != change.had_released:
            for key in usage.usage_keys(change.action):
                released[key] += 1 if change.action.has_released else -1
    usage.release(session, reservations=released)


# One statement, because one event needs most of these and each costs a round trip. The counters come last, after the
# rows they refer to, because everybody shares them. An event hardly ever waits for a message.
_WRITING = f"""
    WITH events AS ({_INSERTING}), actions AS ({action_rows.WRITING}),
    enrollments AS ({enrollment_rows.WRITING}),
    metrics AS ({counters.ADDING_METRICS}), totals AS ({counters.ADDING_STATUSES})
    SELECT (SELECT {counters.METRICS_KEYS} FROM metrics), (SELECT {counters.STATUSES_KEYS} FROM totals),
           (SELECT jsonb_agg(DISTINCT provider_message_id) FROM orphaned_events
            WHERE status = 'waiting'
              AND provider_message_id IN (SELECT jsonb_array_elements_text(CAST(:messages AS jsonb)))),
           (SELECT updated_at FROM campaign_instances WHERE id = CAST(:campaign AS uuid))
"""
# On one line, because psycopg parses a statement longer than 4,096 characters anew each time.
_WRITE = text(" ".join(_WRITING.split())).columns(*named("metrics", "totals", "awaited", "changed_at"))
