"""How a batch of events enters the database: a constant number of statements, whatever its size.

1. lock the enrollments that the events are about (and, where an event stops a person, all of that person's),
2. read the actions concerned, and the campaign's steps where a send may become known,
3. insert the events, which drops those that were recorded before, if any of them can have been,
4. decide in memory what the rest means (db.domain.funnel): under the locks, nobody else changes these rows,
5. write events that step 3 left, actions, enrollments, suppressions and counters.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.attribution import step_of
from db.domain.errors import InvalidInput
from db.domain.events import EFFECTS, EventType, EventVerdict, NewEvent, Stop, impersonal
from db.domain.funnel import Action, Contribution, CounterKey, Deltas, Enrollment, contribution
from db.domain.ids import new_ids
from db.domain.machines import labelled
from db.domain.metrics import Milestone
from db.domain.scheduling import Plan, step_for
from db.domain.states import EnrollmentStatus, StopReason, SuppressionReason
from db.postgres.context import is_careful
from db.postgres.json import rows_parameter, to_text
from db.postgres.results import named
from db.services import action_state, counters, enrollment_state, plans, suppressions
from db.services.enrollment_state import Key
from db.services.locking import Locked, lock_enrollments

_NO_PLAN = Plan(())


@dataclass(slots=True)
class Outcome:
    """What became of one event. `reason` says why it was refused."""

    verdict: EventVerdict
    event_id: UUID | None = None
    reason: str | None = None


@dataclass(slots=True)
class _Row:
    """An event whose enrollment is known and locked."""

    index: int
    id: UUID
    event: NewEvent
    enrollment: Enrollment
    hint: int | None
    actions: dict[int, Action]
    """step number -> action, of the enrollment; shared by all of its rows"""
    step_number: int | None = None

    @property
    def key(self) -> Key:
        return Key(self.enrollment.instance_id, self.enrollment.id)


class Touched(NamedTuple):
    """An action that events were applied to, with what it was before."""

    action: Action
    state: tuple[object, ...] | None
    """None for an action that is new"""
    contribution: Contribution | None


@dataclass(slots=True)
class Batch:
    """The state of one call: what is locked and read, and what has to be written."""

    locked: Locked
    rows: list[_Row]
    plans: dict[UUID, Plan] = field(default_factory=dict[UUID, Plan])
    """campaign -> its plan, where a send may have become known"""
    touched: dict[tuple[UUID, int], Touched] = field(default_factory=dict[tuple[UUID, int], Touched])
    """(enrollment, step number) -> what events have changed of its action"""
    deltas: Deltas = field(default_factory=Deltas)
    suppressed: dict[UUID, SuppressionReason] = field(default_factory=dict[UUID, SuppressionReason])
    new_message_ids: set[str] = field(default_factory=set[str])


@dataclass(slots=True)
class Recorded:
    """One outcome per event by index, None where no enrollment was found; and the message ids, now known for the first
    time, for which events wait."""

    outcomes: list[Outcome | None]
    awaited: list[str]


def record(session: Session, *, events: Sequence[NewEvent], from_provider: bool = False) -> Recorded:
    """Record `events` and all that they imply. Events of unknown enrollments are left to the caller.

    from_provider: opens and clicks may have been made by machines (db.domain.machines), and nobody is there to correct
    a step that does not exist, so what stops a person counts without it.
    """
    batch = _batch(events, lock_enrollments(session, events=events))
    _read(session, batch)
    return _record(session, batch, [None] * len(events), from_provider=from_provider)


def record_known(session: Session, *, event: NewEvent, enrollment: Enrollment, action: Action, plan: Plan) -> Recorded:
    """Record what happened to an action, where the caller holds it and its enrollment locked and has read the plan. It
    must not stop the person in other campaigns."""
    batch = _batch([event], Locked.alone(enrollment))
    batch.rows[0].actions[action.step_number] = action
    batch.plans[enrollment.instance_id] = plan
    return _record(session, batch, [None], from_provider=False)


def _record(session: Session, batch: Batch, outcomes: list[Outcome | None], *, from_provider: bool) -> Recorded:
    before = enrollment_state.snapshot(batch.locked.enrollments.values())
    _attribute(batch, outcomes, from_provider=from_provider)
    if from_provider:
        _label(batch.rows)
    can_repeat = any(row.event.provider_event_id is not None for row in batch.rows)
    inserted = _insert_events(session, batch.rows) if can_repeat else {row.id for row in batch.rows}
    for row in batch.rows:
        if row.id in inserted:
            _apply(batch, row)
            outcomes[row.index] = Outcome(EventVerdict.RECORDED, row.id)
        else:
            outcomes[row.index] = Outcome(EventVerdict.DUPLICATE)
    return Recorded(outcomes, _write(session, batch, before, () if can_repeat else batch.rows))


def _batch(events: Sequence[NewEvent], locked: Locked) -> Batch:
    ids = new_ids(len(events))
    actions: defaultdict[UUID, dict[int, Action]] = defaultdict(dict)
    rows = [
        _Row(index, ids[index], event, *locked.of_event[index], actions[locked.of_event[index][0].id])
        for index, event in enumerate(events)
        if index in locked.of_event
    ]
    # In the order in which things happened, since an earlier stop wins over a later one.
    rows.sort(key=lambda row: (row.event.occurred_at, row.index))
    return Batch(locked, rows)


_READ_ACTIONS = text(f"""
    SELECT w.n, {action_state.COLUMNS}
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS w(n int, enrollment_id uuid, step_number int)
    CROSS JOIN LATERAL (
        SELECT * FROM campaign_actions
        WHERE enrollment_id = w.enrollment_id AND (w.step_number IS NULL OR step_number = w.step_number)
        OFFSET 0
    ) a
""").columns(*named("n"), *action_state.NAMES)


def _read(session: Session, batch: Batch) -> None:
    """The actions that the rows name, or all of an enrollment where a row names none; and the steps if need be."""
    wanted = {(row.enrollment.id, row.event.step_number or row.hint): row for row in batch.rows}
    if not wanted:
        return
    owners = list(wanted.values())
    given = [{"n": n, "enrollment_id": id_, "step_number": step} for n, (id_, step) in enumerate(wanted)]
    for row in session.execute(_READ_ACTIONS, rows_parameter(given)).all():
        n: int = row.n
        owner = owners[n]
        action = action_state.from_row(owner.key, row[1:])
        owner.actions[action.step_number] = action
    unknown = {row.key.instance_id for row in batch.rows if _may_reveal_a_send(row)}
    if unknown:
        batch.plans = plans.of_campaigns(session, instance_ids=unknown)
        plans.locate(session, plans=batch.plans, enrollments=batch.locked.enrollments.values())


def _may_reveal_a_send(row: _Row) -> bool:
    number = row.event.step_number or row.hint
    action = row.actions.get(number) if number is not None else None
    return action is None or action.sent_at is None or row.event.occurred_at < action.sent_at


def _attribute(batch: Batch, outcomes: list[Outcome | None], *, from_provider: bool) -> None:
    """Give each row its step; rows whose step does not exist are refused, one by one."""
    valid: list[_Row] = []
    for row in batch.rows:
        try:
            row.step_number = step_of(
                row.event,
                row.enrollment,
                row.actions.values(),
                batch.plans.get(row.enrollment.instance_id, _NO_PLAN).steps,
                row.hint,
            )
        except InvalidInput as refusal:
            if not (from_provider and row.event.suppresses):
                outcomes[row.index] = Outcome(EventVerdict.INVALID, reason=str(refusal))
                continue
            row.step_number = row.hint
        valid.append(row)
    batch.rows = valid


def _label(rows: Sequence[_Row]) -> None:
    """Opens and clicks of machines become events of their own type, which drive nothing."""
    delivered: dict[tuple[UUID, int | None], datetime] = {}
    for row in rows:
        action = row.actions.get(row.step_number or 0)
        known = action.reported_delivery if action else None
        # What this very batch reports as delivered is not in the action yet.
        key = (row.enrollment.id, row.step_number)
        if row.event.event_type is EventType.DELIVERED:
            delivered.setdefault(key, row.event.occurred_at)
        row.event = labelled(row.event, known or delivered.get(key))


_INSERTING = """
    INSERT INTO campaign_events (instance_id, id, enrollment_id, event_type, channel, step_number, occurred_at,
                                 provider, provider_event_id, metadata)
    SELECT instance_id, id, enrollment_id, event_type, channel, step_number, occurred_at,
           provider, provider_event_id, metadata
    FROM jsonb_populate_recordset(NULL::campaign_events, CAST(:events AS jsonb))
"""
_INSERT_EVENTS = text(f"""
    {_INSERTING}
    ON CONFLICT (provider, provider_event_id) WHERE provider_event_id IS NOT NULL DO NOTHING
    RETURNING id
""").columns(*named("id"))


def _insert_events(session: Session, rows: Sequence[_Row]) -> set[UUID]:
    """The ids of the events that were new. The unique index is the judge, within the batch as between processes."""
    return set(session.execute(_INSERT_EVENTS, {"events": to_text([_event_values(row) for row in rows])}).scalars())


def _event_values(row: _Row) -> dict[str, Any]:
    return {
        "instance_id": row.enrollment.instance_id,
        "id": row.id,
        "enrollment_id": row.enrollment.id,
        "event_type": row.event.event_type,
        "channel": row.event.channel,
        "step_number": row.step_number,
        "occurred_at": row.event.occurred_at,
        "provider": row.event.provider,
        "provider_event_id": row.event.provider_event_id,
        "metadata": impersonal(row.event.metadata) if row.enrollment.is_erased else row.event.metadata,
    }


def _apply(batch: Batch, row: _Row) -> None:
    """What one new event means for its action, its enrollment, and the person's other enrollments."""
    effect = EFFECTS[row.event.event_type]
    if row.step_number is not None and effect.milestone is not None:
        action = _touch(batch, row, row.step_number)
        known = action.sent_at
        action.apply(effect, row.event.occurred_at)
        _bind_message(batch, action, row.event)
        if action.sent_at != known:
            row.enrollment.advance(action, batch.plans[row.enrollment.instance_id], row.event.stop)
    elif effect.milestone is Milestone.UNSUBSCRIBED and row.enrollment.status is not EnrollmentStatus.UNSUBSCRIBED:
        batch.deltas.add_one(_key_without_step(row), effect.milestone)
    if row.event.stop is not None:
        _stop(batch, row, row.event.stop)


def _touch(batch: Batch, row: _Row, step_number: int) -> Action:
    """The action of that step, made if nothing was known of it."""
    key = (row.enrollment.id, step_number)
    if key in batch.touched:
        return batch.touched[key].action
    action = row.actions.get(step_number)
    if action is None:
        step = step_for(batch.plans[row.enrollment.instance_id].steps, step_number, row.enrollment.taker)
        variant = step.a_b_variant if step else None
        action = row.actions[step_number] = Action(*row.key, step_number, row.event.channel, variant)
        batch.touched[key] = Touched(action, None, None)
    else:
        batch.touched[key] = Touched(action, action.state(), contribution(action))
    return action


def _bind_message(batch: Batch, action: Action, event: NewEvent) -> None:
    if action.provider_message_id is None and event.provider_message_id is not None:
        action.provider_message_id = event.provider_message_id
        action.provider = action.provider or event.provider
        batch.new_message_ids.add(event.provider_message_id)


def _key_without_step(row: _Row) -> CounterKey:
    variant = row.enrollment.a_b_variant or ""
    return CounterKey(row.key.instance_id, 0, row.event.channel, variant, row.event.occurred_at.astimezone(UTC).date())


def _stop(batch: Batch, row: _Row, stop: Stop) -> None:
    row.enrollment.stop(stop)
    if row.event.suppresses:
        contact_id = row.enrollment.contact_id
        batch.suppressed.setdefault(contact_id, SuppressionReason(stop.reason))
        for other in batch.locked.of_contact[contact_id]:
            if other.is_open:
                other.stop(Stop(stop.command, StopReason.SUPPRESSED))


def _write(session: Session, batch: Batch, before: enrollment_state.Snapshot, events: Sequence[_Row]) -> list[str]:
    # Most of what providers report is known already (a delivered after an opened, say): that is written nowhere.
    changed = [each for each in batch.touched.values() if each.state != each.action.state()]
    for each in changed:
        batch.deltas.change(each.contribution, contribution(each.action))
    suppressions.add_for_contacts(session, reasons=batch.suppressed, source="event")
    enrollments = enrollment_state.changes(before, batch.locked.enrollments.values())
    metrics, statuses = counters.metrics_rows(batch.deltas), counters.status_rows(enrollments.moves)
    if not (events or changed or metrics or enrollments.rows):
        return []
    # Where counters did not fit before, they are added by themselves, and recounted.
    at_once = not is_careful()
    values = {
        "events": to_text([_event_values(row) for row in events]),
        "actions": to_text(action_state.rows([each.action for each in changed])),
        "enrollments": to_text(enrollments.rows),
        "messages": to_text(list(batch.new_message_ids)),
        **counters.METRICS.parameter(metrics if at_once else ()),
        **counters.STATUSES.parameter(statuses if at_once else ()),
    }
    *_, known_metrics, known_statuses, awaited = session.execute(_WRITE, values).one()
    counters.METRICS.add_missing(session, metrics, known_metrics or ())
    counters.STATUSES.add_missing(session, statuses, known_statuses or ())
    return awaited or []


# One statement, since one event needs most of these and each costs a round trip. The counters come last, after what
# they refer to: those rows are shared by everybody. Hardly ever does an event wait for a message.
_WRITING = f"""
    WITH events AS ({_INSERTING} RETURNING 1), actions AS ({action_state.WRITING} RETURNING 1),
    enrollments AS ({enrollment_state.WRITING} RETURNING 1),
    metrics AS ({counters.ADDING_METRICS}), totals AS ({counters.ADDING_STATUSES})
    SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM actions), (SELECT count(*) FROM enrollments),
           (SELECT jsonb_agg(key) FROM metrics), (SELECT jsonb_agg(key) FROM totals),
           (SELECT jsonb_agg(DISTINCT provider_message_id) FROM orphaned_events
            WHERE status = 'waiting'
              AND provider_message_id IN (SELECT jsonb_array_elements_text(CAST(:messages AS jsonb))))
"""
# In one line, since psycopg keeps no statement of more than 4,096 characters and would take this one apart each time.
_WRITE = text(" ".join(_WRITING.split())).columns(
    *named("events", "actions", "enrollments", "metrics", "totals", "awaited")
)
