"""Records a batch of events in a constant number of statements, whatever its size.

1. Lock the enrollments that the events are about, and all enrollments of a person whom an event stops.
2. Read the actions concerned, the campaign's steps if a send may have become known, and the earlier events of
enrollments
   whose events are placed again (db.services.events.placement).
3. Insert the events, which drops those that were recorded before, if any can have been.
4. Decide in memory what the rest means (db.domain). The locks keep other transactions from changing these rows.
5. Write the events that step 3 left, actions, enrollments, suppressions and counters.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.action import Action
from db.domain.attribution import check_step
from db.domain.bots import labelled, with_haste
from db.domain.contacts import strength
from db.domain.counting import contribution
from db.domain.drafts import Approval
from db.domain.enrollment import Enrollment
from db.domain.errors import InvalidInput, Outdated
from db.domain.events import FACTS, SENDS, EventType, EventVerdict, NewEvent, Stop
from db.domain.history import first_unsubscribe, note
from db.domain.holds import of_reply_elsewhere
from db.domain.metrics import Milestone
from db.domain.scheduling import Plan
from db.domain.states import ActionStatus, Channel, StopReason, SuppressionReason
from db.postgres.context import is_careful
from db.postgres.json import rows_parameter, to_text
from db.postgres.results import named
from db.services.campaigns import condition_waits, plans
from db.services.events import batches, event_rows, messages, placement
from db.services.events.batches import Batch, BatchRow, ChangedAction, Outcome
from db.services.events.find import Locked, lock_enrollments
from db.services.people import colleagues, opt_outs
from db.services.state import action_rows, conversation_rows, counters, draft_rows, enrollment_rows, harm, usage
from db.services.state.draft_rows import SentUnasked

_NO_PLAN = Plan(())
_FIRST = Approval.FIRST_STEP


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
    revealing = {row.key.campaign_id for row in batch.rows if batches.may_reveal_a_send(row)}
    batches.read_plans(session, batch, revealing)
    recorded = _record(session, batch, [None] * len(events))
    awaited = (row.enrollment.id for row in batch.rows if row.event.event_type in FACTS)
    condition_waits.end_of_enrollments(session, enrollment_ids=awaited)
    colleagues.note_answers(session, answered=[row.enrollment for row in batch.rows if row.event.is_reply])
    return recorded


class Known(NamedTuple):
    """An event of an action that the caller has locked with its enrollment, and whose plan it has read.

    has_message_elsewhere: its message is known of another step of the enrollment, or of none.
    """

    event: NewEvent
    enrollment: Enrollment
    action: Action
    plan: Plan
    has_message_elsewhere: bool = False


def record_known(session: Session, *, known: Sequence[Known]) -> Recorded:
    """Records what happened to actions, at most one of each enrollment. Outdated if a plan has changed since it was
    read, or a message is known elsewhere by now. The events must not stop people in other campaigns."""
    locked = Locked.of([one.enrollment for one in known])
    batch = batches.make([one.event for one in known], locked)
    for row in batch.rows:
        one = known[row.index]
        row.actions[one.action.step_number] = one.action
        row.has_message_elsewhere = one.has_message_elsewhere
        if one.event.provider_message_id is not None and not one.has_message_elsewhere:
            batch.looked_for.append((row.key, one.action.step_number, one.event.provider_message_id))
    batch.plans = batch.read_before = {one.enrollment.campaign_id: one.plan for one in known}
    return _record(session, batch, [None] * len(known))


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
        inserted = event_rows.insert(session, rows=batch.rows)
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
    awaited = write(session, batch, before, () if can_repeat else batch.rows)
    placements.save(session, batch)
    return Recorded(outcomes, batch.new_message_ids, awaited)


def _check(batch: Batch, outcomes: list[Outcome | None]) -> None:
    """Refuses, one by one, rows that name a step that does not exist. What a provider reports and what stops a person
    counts all the same, because nobody is there to correct it. What can't be about the step of its message is about
    another one."""
    valid: list[BatchRow] = []
    for row in batch.rows:
        row.event = labelled(row.event, None)
        if row.step_number is not None:
            plan = batch.plans.get(row.enrollment.campaign_id, _NO_PLAN)
            try:
                check_step(row.event, row.step_number, row.actions, plan.steps)
            except InvalidInput as refusal:
                if not row.follows_message and not (row.event.from_provider and row.event.suppresses):
                    outcomes[row.index] = Outcome(EventVerdict.INVALID, reason=str(refusal))
                    continue
                row.step_number, row.is_inferred, row.follows_message = None, True, False
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


def _apply(batch: Batch, row: BatchRow) -> None:
    """Applies one new event to the action of its step."""
    effect = row.event.effect
    if effect.milestone is None:
        return
    assert row.step_number is not None, "an event whose step nobody named is placed again"
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
        enrollment.advance(action, batch.plans[enrollment.campaign_id])


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


def _addresses_now(session: Session, contact_ids: Iterable[UUID]) -> Iterable[tuple[UUID, str | None, str | None]]:
    """Returns (contact, email, profile)."""
    asked = sorted(set(contact_ids))
    return [tuple(row) for row in session.execute(_ADDRESSES_NOW, rows_parameter(asked))] if asked else []


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
    found = _addresses_now(session, (contact_id for _, contact_id in untold))
    addresses = {id_: {Channel.EMAIL: email, Channel.LINKEDIN: profile} for id_, email, profile in found}
    for action, contact_id in untold:
        action.sent_to = addresses[contact_id][action.channel]


def _bind_message(batch: Batch, action: Action, event: NewEvent) -> None:
    if action.provider_message_id is None and event.provider_message_id is not None:
        action.provider_message_id = event.provider_message_id
        action.provider = action.provider or event.provider
        batch.new_message_ids.add(event.provider_message_id)


def _stop_all(session: Session, batch: Batch) -> None:
    """Ends what the events end. An opt-out from before the person gave new consent ends nothing, nor does a bounce from
    before somebody lifted one of that address."""
    stopping = [row for row in batch.rows if row.event.stop is not None]
    wishing = {row.enrollment.contact_id for row in stopping if row.event.is_wish}
    consents = opt_outs.consents_of(session, contact_ids=wishing)
    bouncing = [row for row in stopping if row.event.event_type is EventType.BOUNCED]
    working = _working_since(session, bouncing)
    for row in stopping:
        lifted = consents.get(row.enrollment.contact_id) if row.event.is_wish else working.get(row.id)
        if row.event.stop is not None and not (lifted is not None and row.event.occurred_at < lifted):
            _stop(batch, row, row.event.stop)


def _bounced_address(row: BatchRow) -> str | None:
    """Returns the address that bounced, as far as the event or its step tells; else it is today's."""
    action = row.actions.get(row.step_number or 0)
    return row.event.email or (action.sent_to if action else None)


def _working_since(session: Session, bouncing: Sequence[BatchRow]) -> dict[UUID, datetime]:
    """Returns event -> when somebody last lifted a bounce of its address."""
    told = {row.id: _bounced_address(row) for row in bouncing}
    untold = [row.enrollment.contact_id for row in bouncing if told[row.id] is None]
    today = {id_: email for id_, email, _ in _addresses_now(session, untold)}
    addresses = {row.id: told[row.id] or today.get(row.enrollment.contact_id) for row in bouncing}
    working = opt_outs.working_since(session, addresses=[address.lower() for address in addresses.values() if address])
    return {
        id_: working[address.lower()] for id_, address in addresses.items() if address and address.lower() in working
    }


def _stop(batch: Batch, row: BatchRow, stop: Stop) -> None:
    row.enrollment.stop(stop)
    if row.event.is_reply:
        for other in batch.locked.of_contact[row.enrollment.contact_id]:
            if other.id != row.enrollment.id:
                other.wait_for_a_person(
                    of_reply_elsewhere("the person", row.enrollment.campaign_id, row.enrollment.id).detail
                )
    if row.event.suppresses:
        contact_id = row.enrollment.contact_id
        reason = SuppressionReason(stop.reason)
        batch.suppressed[contact_id] = max(batch.suppressed.get(contact_id, reason), reason, key=strength)
        if reason is SuppressionReason.BOUNCED and (address := _bounced_address(row)) is not None:
            batch.bounced_at[contact_id] = address
        for other in batch.locked.of_contact[contact_id]:
            if other.is_open:
                other.stop(Stop(stop.command, StopReason.SUPPRESSED))


def write(
    session: Session,
    batch: Batch,
    before: enrollment_rows.Snapshot,
    events: Sequence[BatchRow],
) -> list[str]:
    """Writes what a batch has changed, and these events. Returns the new message ids for which events wait."""
    # Most of what providers report is known already (a delivered after an opened, say), and is not written.
    changed = [change for change in batch.changed_actions.values() if change.state != change.action.state()]
    for change in changed:
        batch.deltas.change(change.contribution, contribution(change.action))
    harm.note(session, changes=[(change.action, change.state) for change in changed])
    _settle_reservations(session, changed)
    _note_recipients(session, batch, [change.action for change in changed])
    opt_outs.add_for_contacts(session, reasons=batch.suppressed, source=batch.source, bounced_at=batch.bounced_at)
    enrollments = enrollment_rows.changes(before, batch.locked.enrollments.values())
    metrics, statuses = counters.metrics_rows(batch.deltas), counters.status_rows(enrollments.moves)
    if not (events or changed or metrics or enrollments.rows or batch.new_message_ids):
        return []
    # If counters did not fit before, they are added separately, and recounted.
    at_once = not is_careful()
    values = {
        "events": to_text([event_rows.values(row) for row in events]),
        "actions": to_text(action_rows.rows([change.action for change in changed])),
        "enrollments": to_text(enrollments.rows),
        "messages": to_text(list(batch.new_message_ids)),
        "campaign": next(iter(batch.read_before)) if len(batch.read_before) == 1 else None,
        **messages.asked(batch.looked_for[0] if len(batch.looked_for) == 1 else None),
        **counters.METRICS.parameter(metrics if at_once else ()),
        **counters.STATUSES.parameter(statuses if at_once else ()),
    }
    sent_unasked = _sent_unasked(batch, changed)
    known_metrics, known_statuses, awaited, changed_at, is_elsewhere = session.execute(_WRITE, values).one()
    _check_plans(session, batch, changed_at)
    draft_rows.mark_unapproved(session, sent=sent_unasked)
    if len(batch.looked_for) > 1:
        is_elsewhere = messages.any_elsewhere(session, messages=batch.looked_for)
    if is_elsewhere and not batch.messages:  # which this transaction has added itself
        raise Outdated
    counters.METRICS.add_missing(session, metrics, known_metrics or ())
    counters.STATUSES.add_missing(session, statuses, known_statuses or ())
    conversation_rows.wake(session, contact_ids=enrollments.ended)
    return awaited or []


def _check_plans(session: Session, batch: Batch, changed_at: datetime | None) -> None:
    """Raises Outdated if a plan has changed since it was read; changed_at: of the campaign, if there is one alone."""
    if len(batch.read_before) == 1:
        (plan,) = batch.read_before.values()
        plans.check(plan, changed_at)
    elif batch.read_before:
        moments = plans.changed_at(session, campaign_ids=batch.read_before)
        for campaign_id, plan in batch.read_before.items():
            plans.check(plan, moments.get(campaign_id))


def _sent_unasked(batch: Batch, changed: Iterable[ChangedAction]) -> list[SentUnasked]:
    """Returns the steps that are known as sent for the first time, of campaigns that ask for an approval of them."""
    asking = {
        id_: plan.sending.approval for id_, plan in batch.plans.items() if plan.sending.approval is not Approval.NONE
    }
    return [
        SentUnasked(action.campaign_id, action.enrollment_id, action.step_number, asking[action.campaign_id] is _FIRST)
        for action in (change.action for change in changed)
        if action.campaign_id in asking and action.sent_at is not None and action.known_status is not ActionStatus.SENT
    ]


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
    WITH events AS ({event_rows.INSERTING}), actions AS ({action_rows.WRITING}),
    enrollments AS ({enrollment_rows.WRITING}),
    metrics AS ({counters.ADDING_METRICS}), totals AS ({counters.ADDING_STATUSES})
    SELECT (SELECT {counters.METRICS_KEYS} FROM metrics), (SELECT {counters.STATUSES_KEYS} FROM totals),
           (SELECT jsonb_agg(DISTINCT provider_message_id) FROM orphaned_events
            WHERE status = 'waiting'
              AND provider_message_id = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST(:messages AS jsonb))))),
           (SELECT updated_at FROM campaign_instances WHERE id = CAST(:campaign AS uuid)), {messages.IS_ELSEWHERE}
"""
# On one line: psycopg parses a statement of more than 4,096 characters again each time. This one is longer, and the
# fewer it has the faster that is.
_WRITE = text(" ".join(_WRITING.split())).columns(*named("metrics", "totals", "awaited", "changed_at", "is_elsewhere"))
