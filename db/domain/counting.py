"""The arithmetic of the counters of campaign_metrics. No input or output here.

Every counter is a sum over actions of `contribution(action)`. A batch of events therefore changes the counters by the
difference between the contributions before and after it, whatever the order in which events came.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date
from typing import NamedTuple, TypeAlias
from uuid import UUID

from db.domain.action import Action, ActionState
from db.domain.enrollment import Enrollment
from db.domain.metrics import COUNTERS, MILESTONES, Milestone
from db.domain.states import (
    Channel,
)

_SENT, _FAILED = MILESTONES.index(Milestone.SENT), MILESTONES.index(Milestone.FAILED)


class CounterKey(NamedTuple):
    """One row of campaign_metrics. Step 0 is "no step"; variant "" is "none"; the day is UTC."""

    campaign_id: UUID
    step_number: int
    channel: str
    a_b_variant: str
    cohort_day: date


Contribution: TypeAlias = tuple[CounterKey, list[int]]
"""What one action adds to one row of counters, in the order of COUNTERS."""


def contribution(action: Action, state: ActionState | None = None) -> Contribution | None:
    """Returns what the action adds to its counters, or added in that `state`; None while nothing has happened to it.

    The cohort is the day the step was sent, so an earlier `sent` that arrives late moves the whole action to its day.
    """
    times, opens, clicks = (state or (action.times, action.open_count, action.click_count))[:3]
    start = times[_SENT] or times[_FAILED]
    if start is None:
        return None
    day = start.astimezone(UTC).date()
    key = CounterKey(action.campaign_id, action.step_number, action.channel, action.a_b_variant or "", day)
    return key, [*[time is not None for time in times], opens, clicks]


@dataclass(slots=True)
class Deltas:
    """Changes to counters, by key, in the order of COUNTERS."""

    by_key: dict[CounterKey, list[int]] = field(default_factory=dict[CounterKey, list[int]])

    def change(self, before: Contribution | None, after: Contribution | None) -> None:
        """Adds the difference between an action's former and present contribution."""
        if before is not None and after is not None and before[0] == after[0]:
            before, after = None, (after[0], [now - then for now, then in zip(after[1], before[1], strict=True)])
        for entry, sign in ((before, -1), (after, 1)):
            if entry is not None:
                sums = self.by_key.setdefault(entry[0], [0] * len(COUNTERS))
                for index, count in enumerate(entry[1]):
                    if count:
                        sums[index] += sign * count

    def rows(self) -> list[tuple[CounterKey, list[int]]]:
        """Returns the changes that are not zero, in key order: the order in which the rows are locked."""
        return sorted((key, counts) for key, counts in self.by_key.items() if any(counts))


def stepless_unsubscribe(enrollment: Enrollment, actions: Iterable[Action]) -> Contribution | None:
    """Returns what the enrollment adds to the counters of step 0: its unsubscribe, if it belongs to no step."""
    at = enrollment.unsubscribed_at
    if at is None or any(action.unsubscribed_at is not None for action in actions):
        return None
    variant = enrollment.a_b_variant or ""
    key = CounterKey(enrollment.campaign_id, 0, Channel.EMAIL, variant, at.astimezone(UTC).date())
    return key, [counter == Milestone.UNSUBSCRIBED for counter in COUNTERS]
