"""Places the events of some enrollments again: where an event names no step, or comes late and may move others. All
other enrollments take their events one by one."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias
from uuid import UUID

from sqlalchemy.orm import Session

from db.domain.action import Action
from db.domain.bots import HASTE
from db.domain.counting import contribution, stepless_unsubscribe
from db.domain.enrollment import Enrollment
from db.domain.events import REACHED, EventType, EventVerdict
from db.domain.history import Entry, Replayed, replay
from db.domain.metrics import Milestone
from db.services.events import batches, history
from db.services.events.batches import Batch, BatchRow, ChangedAction, Outcome
from db.services.state.enrollment_rows import Key


def must_replay(row: BatchRow) -> bool:
    """Returns whether this event can't be placed alone, given what is known of its step."""
    if row.is_inferred:
        return True
    event, action = row.event, row.actions.get(row.step_number or 0)
    if _may_move_others(row, action) or _is_another_message(row, action) or _is_of_other_steps(row):
        return True
    if event.is_soft_bounce or (
        action is not None and action.has_soft_bounce and Milestone.DELIVERED in REACHED[event.event_type]
    ):
        return True
    if event.event_type is EventType.UNSUBSCRIBED:
        known = row.enrollment.unsubscribed_at
        return known is not None and event.occurred_at <= known
    return event.event_type is EventType.DELIVERED and action is not None and _may_relabel(row, action)


def _may_move_others(row: BatchRow, action: Action | None) -> bool:
    """Returns whether this event may move events whose step was inferred to another step."""
    event, until = row.event, row.enrollment.inferred_until
    if until is None:
        return False
    first = action.first_sign if action else None
    # At the same moment, a named step comes before an inferred one.
    is_sign = event.occurred_at <= until and (first is None or event.occurred_at <= first)
    return is_sign or (event.provider_message_id is not None and row.hint != row.step_number)


def _is_another_message(row: BatchRow, action: Action | None) -> bool:
    """Returns whether its step holds another message. A step holds the one that came first."""
    message, held = row.event.provider_message_id, action.provider_message_id if action else None
    return message is not None and held is not None and message != held


def _is_of_other_steps(row: BatchRow) -> bool:
    """Returns whether its message is of another step too, or may be. The lowest that is named for it counts."""
    message = row.event.provider_message_id
    return message is not None and (row.has_message_elsewhere or not _steps_of(message, row) <= {row.step_number})


def _steps_of(message: str, row: BatchRow) -> set[int]:
    return {number for number, action in row.actions.items() if action.provider_message_id == message}


def _at_odds(rows: Iterable[BatchRow]) -> set[UUID]:
    """Returns the enrollments of which these rows name several steps for one message."""
    steps: dict[tuple[UUID, str], int | None] = {}
    return {
        row.enrollment.id
        for row in rows
        if (message := row.event.provider_message_id) is not None
        and steps.setdefault((row.enrollment.id, message), row.step_number) != row.step_number
    }


def _may_relabel(row: BatchRow, action: Action) -> bool:
    """Returns whether this is the first known delivery, so that an earlier click may have come too soon after it."""
    at, known = row.event.occurred_at, action.delivery_told_at
    if known is not None:
        return at < known
    return action.clicked_at is not None and action.clicked_at - at < HASTE


Placed: TypeAlias = tuple[int | None, EventType, bool]


@dataclass(slots=True)
class Placement:
    """An enrollment whose events are placed again."""

    enrollment: Enrollment
    actions: dict[int, Action]
    known: Sequence[Entry]
    """Its events as they stood when the call began."""
    rows: list[BatchRow]
    stored: Sequence[Entry] = ()
    """The same events at their new places."""
    written: dict[UUID, Placed] = field(init=False)
    """event -> its place in the table, for events that are in the table"""
    result: Replayed | None = None
    withdrawn: frozenset[UUID] = frozenset()
    """Those of the known events that count no more."""

    def __post_init__(self) -> None:
        self.written = {entry.id: _placed(entry) for entry in self.known}

    def place(self, batch: Batch, outcomes: list[Outcome | None]) -> None:
        """Places all of its events, from what was known when the call began; also a second time. Refuses those that can
        be about no step."""
        plan = batch.plans[self.enrollment.campaign_id]
        self.stored = [replace(entry) for entry in self.known]
        self.result = replay(self.enrollment, self.actions, self.stored, self.rows, plan, self.withdrawn)
        self.stored = [entry for entry in self.stored if entry.id not in self.withdrawn]
        for row in self.rows:
            if row.id in self.result.refused:
                outcomes[row.index] = Outcome(EventVerdict.INVALID, reason=self.result.refused[row.id])
        self.rows = [row for row in self.rows if row.id not in self.result.refused]


@dataclass(slots=True)
class Placements:
    """The placements of a batch."""

    of_enrollment: dict[UUID, Placement] = field(default_factory=dict[UUID, Placement])

    @property
    def rows(self) -> list[BatchRow]:
        return [row for placement in self.of_enrollment.values() for row in placement.rows]

    def drop(self, batch: Batch, outcomes: list[Outcome | None], duplicates: Collection[UUID]) -> None:
        """Drops the rows that turned out to be recorded before; all others are in the table now."""
        for placement in self.of_enrollment.values():
            if any(row.id in duplicates for row in placement.rows):
                placement.rows = [row for row in placement.rows if row.id not in duplicates]
                placement.written.update({row.id: _placed(row) for row in placement.rows})
                placement.place(batch, outcomes)

    def settle(self, batch: Batch) -> None:
        """Applies what was decided to the batch."""
        for placement in self.of_enrollment.values():
            _settle(batch, placement)

    def save(self, session: Session, batch: Batch) -> None:
        """Writes the events that are placed differently now, and deletes actions of which nothing is known any more.
        Call it after the actions are written."""
        moved = [
            (placement.enrollment.campaign_id, entry)
            for placement in self.of_enrollment.values()
            for entry in (*placement.stored, *placement.rows)
            if placement.written.get(entry.id, _placed(entry)) != _placed(entry)
        ]
        history.move(session, moved=moved)
        # Only new placements can leave a step with no events.
        changed = [
            batch.changed_actions[id(action)]
            for placement in self.of_enrollment.values()
            for action in placement.actions.values()
            if id(action) in batch.changed_actions
        ]
        emptied = [change.action for change in changed if change.contribution and not contribution(change.action)]
        history.drop_actions(session, actions=emptied)


def place_anew(session: Session, batch: Batch, outcomes: list[Outcome | None]) -> Placements:
    """Reads what is needed to place the events of some enrollments again, and places them. Drops rows that were
    recorded before."""
    chosen = {row.enrollment.id for row in batch.rows if must_replay(row)} | _at_odds(batch.rows)
    if not chosen:
        return Placements()
    rows = [row for row in batch.rows if row.enrollment.id in chosen]
    batches.read_actions(session, rows, every=True)
    batches.read_plans(session, batch, {row.enrollment.campaign_id for row in rows})
    stored = history.read(session, owners={row.key for row in rows})
    placements = Placements()
    for row in rows:
        placement = placements.of_enrollment.get(row.enrollment.id)
        if placement is None:
            known = stored.get(row.enrollment.id, ())
            placement = placements.of_enrollment[row.enrollment.id] = Placement(row.enrollment, row.actions, known, [])
        placement.rows.append(row)
    for placement in placements.of_enrollment.values():
        _drop_known(placement, outcomes)
        _trust_messages(placement)
        placement.place(batch, outcomes)
    return placements


def _placed(entry: Entry) -> Placed:
    return entry.step_number, entry.event.event_type, entry.is_inferred


def _drop_known(placement: Placement, outcomes: list[Outcome | None]) -> None:
    """Drops repeated events, which must not push later ones to another step."""
    known: set[tuple[str | None, str | None]] = {
        (entry.event.provider, entry.event.provider_event_id)
        for entry in placement.known
        if entry.event.provider_event_id is not None
    }
    fresh: list[BatchRow] = []
    for row in placement.rows:
        identity = (row.event.provider, row.event.provider_event_id)
        if identity in known:
            outcomes[row.index] = Outcome(EventVerdict.DUPLICATE)
            continue
        if row.event.provider_event_id is not None:
            known.add(identity)
        fresh.append(row)
    placement.rows = fresh


def _trust_messages(placement: Placement) -> None:
    """Takes the step of a message that was not inferred."""
    doubtful = {entry.event.provider_message_id for entry in placement.known if entry.is_inferred}
    for row in placement.rows:
        if row.is_inferred and row.hint is not None and row.event.provider_message_id not in doubtful:
            row.step_number, row.is_inferred, row.follows_message = row.hint, False, True


def _settle(batch: Batch, placement: Placement) -> None:
    enrollment, actions, result = placement.enrollment, placement.actions, placement.result
    assert result is not None, "it was placed"
    before = {number: action.sent_at for number, action in actions.items()}
    stepless = stepless_unsubscribe(enrollment, actions.values())
    owner = Key(enrollment.campaign_id, enrollment.id)
    held = {action.provider_message_id for action in result.actions.values()}
    batch.messages.update(
        {
            (owner, action.provider_message_id): action.provider
            for action in actions.values()
            if action.provider_message_id is not None and action.provider_message_id not in held
        }
    )
    for number, placed in result.actions.items():
        action = actions.get(number)
        if action is None:
            actions[number] = placed
            batch.changed_actions[id(placed)] = ChangedAction(placed, None)
        else:
            batch.changed_actions[id(action)] = ChangedAction.of(action)
        if placed.provider_message_id is not None and (
            action is None or action.provider_message_id != placed.provider_message_id
        ):
            batch.new_message_ids.add(placed.provider_message_id)
        actions[number].become(placed)
    enrollment.unsubscribed_at = result.unsubscribed_at
    inferred = [entry.event.occurred_at for entry in (*placement.stored, *placement.rows) if entry.is_inferred]
    enrollment.inferred_until = max([*inferred, *filter(None, [enrollment.inferred_until])], default=None)
    batch.deltas.change(stepless, stepless_unsubscribe(enrollment, actions.values()))
    enrollment.follow(before, actions, batch.plans[enrollment.campaign_id])
