"""The state of one call that records events: the people, what is known of them, and what has to be written."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Self
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.action import Action, ActionState
from db.domain.counting import Contribution, Deltas, contribution
from db.domain.enrollment import Enrollment
from db.domain.events import ANSWERS, EventVerdict, NewEvent
from db.domain.history import Entry, position, source_of
from db.domain.ids import new_ids
from db.domain.scheduling import Plan, step_for
from db.domain.states import SuppressionReason
from db.postgres.json import rows_parameter
from db.postgres.results import named
from db.services.campaigns import plans
from db.services.events.find import Locked
from db.services.state import action_rows
from db.services.state.enrollment_rows import Key


@dataclass(slots=True)
class Outcome:
    """What became of one event. `reason` says why it was refused."""

    verdict: EventVerdict
    event_id: UUID | None = None
    reason: str | None = None


@dataclass(slots=True)
class BatchRow(Entry):
    """An event whose enrollment is known and locked."""

    index: int
    enrollment: Enrollment
    hint: int | None
    """The step that its message belongs to."""
    actions: dict[int, Action]
    """step number -> action, of the enrollment; shared by all of its rows."""
    has_message_elsewhere: bool = False
    """Its message is known of another step, or of none."""

    @property
    def key(self) -> Key:
        return Key(self.enrollment.campaign_id, self.enrollment.id)


class ChangedAction(NamedTuple):
    """An action that events change, with its state before."""

    action: Action
    state: ActionState | None
    """None for an action that is new"""
    had_released: bool = False

    @classmethod
    def of(cls, action: Action) -> Self:
        """Returns a known action before anything changes in it."""
        return cls(action, action.state(), action.has_released)

    @property
    def contribution(self) -> Contribution | None:
        """What it added to its counters before."""
        return None if self.state is None else contribution(self.action, self.state)


@dataclass(slots=True)
class Batch:
    """What was locked and read for a batch, and what has to be written."""

    locked: Locked
    rows: list[BatchRow]
    plans: dict[UUID, Plan] = field(default_factory=dict[UUID, Plan])
    """campaign -> its plan, for campaigns in which a send may have become known"""
    changed_actions: dict[int, ChangedAction] = field(default_factory=dict[int, ChangedAction])
    """id() of an action -> its change"""
    deltas: Deltas = field(default_factory=Deltas)
    suppressed: dict[UUID, SuppressionReason] = field(default_factory=dict[UUID, SuppressionReason])
    bounced_at: dict[UUID, str] = field(default_factory=dict[UUID, str])
    """contact -> the address that bounced, which need not be today's"""
    source: str = "event"
    """The source that suppressions are given."""
    new_message_ids: set[str] = field(default_factory=set[str])
    read_before: Mapping[UUID, Plan] = field(default_factory=dict[UUID, Plan])
    """campaign -> its plan, if that was read before the enrollments were locked"""
    looked_for: list[tuple[Key, int, str]] = field(default_factory=list[tuple[Key, int, str]])
    """(enrollment, step, message): messages that were looked for at other steps before the enrollment was locked, and
    were not there."""
    messages: dict[tuple[Key, str], str | None] = field(default_factory=dict[tuple[Key, str], str | None])
    """(enrollment, message) -> its provider, of messages that no action holds"""

    def action_to_change(self, row: BatchRow, step_number: int) -> Action:
        """Returns the action of that step in order to change it. Makes it if nothing was known of it."""
        action = row.actions.get(step_number)
        if action is not None and id(action) in self.changed_actions:
            return action
        if action is None:
            step = step_for(self.plans[row.enrollment.campaign_id].steps, step_number, row.enrollment.recipient)
            variant = step.a_b_variant if step else None
            action = row.actions[step_number] = Action(*row.key, step_number, row.event.channel, variant)
            self.changed_actions[id(action)] = ChangedAction(action, None)
        else:
            self.changed_actions[id(action)] = ChangedAction.of(action)
        return action


def make(events: Sequence[NewEvent], locked: Locked) -> Batch:
    """Returns the batch of the events whose enrollments were found, in the order in which they happened."""
    ids = new_ids(len(events))
    actions: defaultdict[UUID, dict[int, Action]] = defaultdict(dict)
    rows: list[BatchRow] = []
    for index, event in enumerate(events):
        found = locked.of_event.get(index)
        if found is not None:
            enrollment, hint = found
            # After a step was inferred, the step of a message may have been inferred too.
            told = event.step_number or (hint if enrollment.inferred_until is None else None)
            follows_message = event.step_number is None and told is not None
            known, is_kept = actions[enrollment.id], index in locked.of_kept_message
            rows.append(
                BatchRow(
                    ids[index], event, told, told is None, follows_message, index, enrollment, hint, known, is_kept
                )
            )
    rows.sort(key=position)
    return Batch(locked, rows)


_READ_ACTIONS = text(f"""
    SELECT w.n, {action_rows.COLUMNS}
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS w(n int, enrollment_id uuid, step_number int, message text)
    CROSS JOIN LATERAL (
        SELECT * FROM campaign_actions
        WHERE enrollment_id = w.enrollment_id
          AND (w.step_number IS NULL OR step_number = w.step_number OR provider_message_id = w.message)
        OFFSET 0
    ) a
""").columns(*named("n"), *action_rows.NAMES)


def read_actions(session: Session, rows: Iterable[BatchRow], *, every: bool = False) -> None:
    """Reads the actions that the rows name by a step or a message, or all of an enrollment if a row names no step
    (`every`: in any case). Known ones stay as they are."""
    wanted = {
        (row.enrollment.id, None if every else row.step_number, None if every else row.event.provider_message_id): row
        for row in rows
    }
    if not wanted:
        return
    owners = list(wanted.values())
    given = [
        {"n": n, "enrollment_id": id_, "step_number": step, "message": message}
        for n, (id_, step, message) in enumerate(wanted)
    ]
    for row in session.execute(_READ_ACTIONS, rows_parameter(given)).all():
        n: int = row.n
        owner = owners[n]
        action = action_rows.from_row(owner.key, row[1:])
        owner.actions.setdefault(action.step_number, action)


def read_plans(session: Session, batch: Batch, campaign_ids: Collection[UUID]) -> None:
    """Reads the plans of these campaigns that are not known yet."""
    missing = set(campaign_ids) - batch.plans.keys()
    if missing:
        found = plans.of_campaigns(session, campaign_ids=missing)
        batch.plans.update(found)


def may_reveal_a_send(row: BatchRow) -> bool:
    """Returns whether the row may be the first to tell that or when its step was sent, or depends on what the step
    is."""
    action = row.actions.get(row.step_number or 0)
    if action is None or action.channel != row.event.channel or row.event.event_type in ANSWERS:
        return True
    return action.may_be_corrected(row.event.occurred_at, source_of(row.event))
