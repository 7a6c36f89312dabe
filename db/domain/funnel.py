"""The arithmetic of events: what a batch does to the actions and enrollments it touches. No input or output here.

Every counter of campaign_metrics is a sum over actions of `contribution(action)`. A batch therefore changes the
counters by the difference between the contributions before and after it, whatever the order in which events came.
"""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import NamedTuple, TypeAlias
from uuid import UUID

from db.domain.events import IMPLIES, Effect, Stop
from db.domain.metrics import COUNTERS, MILESTONES, Milestone, Total
from db.domain.scheduling import Plan, Taker, due_at, next_step
from db.domain.states import ActionStatus, Channel, EnrollmentCommand, EnrollmentStatus, StopReason, move_enrollment

_INDEX = {milestone: index for index, milestone in enumerate(MILESTONES)}
_SENT = _INDEX[Milestone.SENT]
_FAILED = _INDEX[Milestone.FAILED]
_REACHED = {milestone: tuple(_INDEX[each] for each in (milestone, *IMPLIES[milestone])) for milestone in MILESTONES}
_DELIVERED = _INDEX[Milestone.DELIVERED]
_AFTER_DELIVERY = tuple(_INDEX[milestone] for milestone in MILESTONES if Milestone.DELIVERED in IMPLIES[milestone])
_TERMINAL = frozenset({EnrollmentStatus.COMPLETED, EnrollmentStatus.BOUNCED, EnrollmentStatus.UNSUBSCRIBED})


class CounterKey(NamedTuple):
    """One row of campaign_metrics. Step 0 is "no step"; variant "" is "none"; the day is UTC."""

    instance_id: UUID
    step_number: int
    channel: str
    a_b_variant: str
    cohort_day: date


@dataclass(slots=True)
class Action:
    """One step for one enrollment. `times` holds the first moment of each milestone, in the order of MILESTONES."""

    instance_id: UUID
    enrollment_id: UUID
    step_number: int
    channel: Channel
    a_b_variant: str | None
    provider: str | None = None
    provider_message_id: str | None = None
    times: list[datetime | None] = field(default_factory=lambda: [None] * len(MILESTONES))
    open_count: int = 0
    click_count: int = 0

    @property
    def sent_at(self) -> datetime | None:
        return self.times[_SENT]

    @property
    def reported_delivery(self) -> datetime | None:
        """When it was delivered, if somebody has said so: what came later implies that it was, and not when."""
        delivered = self.times[_DELIVERED]
        implied = [self.times[index] for index in _AFTER_DELIVERY]
        return None if delivered in implied else delivered

    def state(self) -> tuple[object, ...]:
        """All that events can change of it, to tell later whether they did."""
        return (self.provider, self.provider_message_id, self.open_count, self.click_count, *self.times)

    @property
    def status(self) -> ActionStatus:
        if self.times[_SENT] is not None:
            return ActionStatus.SENT
        return ActionStatus.FAILED if self.times[_FAILED] is not None else ActionStatus.CLAIMED

    def apply(self, effect: Effect, occurred_at: datetime) -> None:
        """Set the milestone of `effect` and all that it implies to the earliest moment known."""
        if effect.milestone is not None:
            for index in _REACHED[effect.milestone]:
                known = self.times[index]
                if known is None or occurred_at < known:
                    self.times[index] = occurred_at
        if effect.total is Total.TOTAL_OPENS:
            self.open_count += 1
        elif effect.total is Total.TOTAL_CLICKS:
            self.click_count += 1


Contribution: TypeAlias = tuple[CounterKey, list[int]]
"""What one action adds to one row of counters, in the order of COUNTERS."""


def contribution(action: Action) -> Contribution | None:
    """What the action adds to its counters; None while nothing has happened to it.

    The cohort is the day the step was sent, so an earlier `sent` that arrives late moves the whole action to its day.
    """
    start = action.times[_SENT] or action.times[_FAILED]
    if start is None:
        return None
    day = start.astimezone(UTC).date()
    key = CounterKey(action.instance_id, action.step_number, action.channel, action.a_b_variant or "", day)
    return key, [*[time is not None for time in action.times], action.open_count, action.click_count]


@dataclass(slots=True)
class Deltas:
    """Changes to counters, by key, in the order of COUNTERS."""

    by_key: dict[CounterKey, list[int]] = field(default_factory=dict[CounterKey, list[int]])

    def change(self, before: Contribution | None, after: Contribution | None) -> None:
        """An action that contributed `before` contributes `after`."""
        for entry, sign in ((before, -1), (after, 1)):
            if entry is not None:
                sums = self.by_key.setdefault(entry[0], [0] * len(COUNTERS))
                for index, count in enumerate(entry[1]):
                    if count:
                        sums[index] += sign * count

    def add_one(self, key: CounterKey, counter: str) -> None:
        self.by_key.setdefault(key, [0] * len(COUNTERS))[COUNTERS.index(counter)] += 1

    def rows(self) -> list[tuple[CounterKey, list[int]]]:
        """The changes that are not zero, in key order: the order in which the rows are locked."""
        return sorted((key, counts) for key, counts in self.by_key.items() if any(counts))


@dataclass(slots=True)
class Enrollment:
    """The part of an enrollment that events move."""

    instance_id: UUID
    id: UUID
    contact_id: UUID
    status: EnrollmentStatus
    current_step: int
    next_action_at: datetime | None
    a_b_variant: str | None
    stop_reason: StopReason | None = None
    is_erased: bool = False
    """The person's data was erased, so what is still reported of them is kept without its details."""
    zone: str | None = None
    """The person's time zone, where the campaign follows it."""
    pause_reason: str | None = None
    """Why the server paused it; None where a person did, and once it is paused no more."""

    @property
    def is_open(self) -> bool:
        return self.status not in _TERMINAL

    @property
    def taker(self) -> Taker:
        return Taker(self.instance_id, self.contact_id, self.a_b_variant)

    def advance(self, action: Action, plan: Plan, stop: Stop | None = None) -> None:
        """Take note that `action` was sent: its step is done, and the next one is due after its delay, or none is left.

        A late message about an earlier step moves nothing; one about the current step may correct the moment. `stop` is
        how the event that tells of it ends the enrollment, which then is not finished by having had its last step.
        """
        if action.sent_at is not None and action.step_number >= self.current_step and self.is_open:
            if stop is None:
                self.pass_step(action.step_number, action.sent_at, plan)
            else:
                self.current_step = action.step_number

    def pass_step(self, step_number: int, at: datetime, plan: Plan) -> None:
        """The step is behind this enrollment since `at`: the next one is due after its delay, or none is left. Nothing
        moves where a later step is behind it already."""
        if step_number < self.current_step:
            return
        self.current_step = step_number
        upcoming = next_step(plan.steps, step_number, self.taker)
        if upcoming is None:
            self._end(EnrollmentCommand.COMPLETE, StopReason.FINISHED)
        else:
            self.next_action_at = due_at(at, upcoming, plan.sending, self.zone)

    def pause(self, reason: str | None = None) -> None:
        """Hold it back until somebody resumes it."""
        self.status = move_enrollment(self.status, EnrollmentCommand.PAUSE)
        self.pause_reason = reason

    def stop(self, stop: Stop) -> None:
        """End the enrollment. What has ended already changes only by an unsubscribe, which wins over all."""
        repeated = self.status is EnrollmentStatus.UNSUBSCRIBED
        if not repeated and (self.is_open or stop.command is EnrollmentCommand.UNSUBSCRIBE):
            self._end(stop.command, stop.reason)

    def _end(self, command: EnrollmentCommand, reason: StopReason) -> None:
        self.status = move_enrollment(self.status, command)
        self.stop_reason = reason
        self.next_action_at = None
