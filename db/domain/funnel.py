"""The arithmetic of events: what a batch does to the actions and enrollments it touches. No input or output here.

Every counter of campaign_metrics is a sum over actions of `contribution(action)`. A batch therefore changes the
counters by the difference between the contributions before and after it, whatever the order in which events came.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import NamedTuple, TypeAlias
from uuid import UUID

from db.domain.events import IMPLIES, Effect, Stop
from db.domain.metrics import COUNTERS, MILESTONES, Milestone, Total
from db.domain.scheduling import Plan, Taker, due_at, next_step
from db.domain.states import (
    ENDS,
    STOP_RANKS,
    ActionOutcome,
    ActionStatus,
    Channel,
    EnrollmentCommand,
    EnrollmentStatus,
    SentSource,
    StopReason,
    move_enrollment,
)

_INDEX = {milestone: index for index, milestone in enumerate(MILESTONES)}
_SENT = _INDEX[Milestone.SENT]
_FAILED = _INDEX[Milestone.FAILED]
_REACHED = {milestone: tuple(_INDEX[each] for each in (milestone, *IMPLIES[milestone])) for milestone in MILESTONES}
_BOUNCED = _INDEX[Milestone.BOUNCED]
_HARD_BOUNCED = _INDEX[Milestone.HARD_BOUNCED]
_CLICKED = _INDEX[Milestone.CLICKED]
_UNSUBSCRIBED = _INDEX[Milestone.UNSUBSCRIBED]
_SOURCE_RANKS = {None: -1, **{source: rank for rank, source in enumerate(SentSource)}}
_FINISH = Stop(EnrollmentCommand.COMPLETE, StopReason.FINISHED)
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
    """One step for one enrollment. `times` holds the first moment of each milestone, in the order of MILESTONES; that
    of being sent is the one of the best source."""

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
    known_status: ActionStatus | None = None
    """As it is stored; None for an action that is new."""
    sent_source: SentSource | None = None
    delivery_told_at: datetime | None = None
    """When it was delivered, if somebody has said so: what came later implies that it was, and not when."""
    reported: ActionOutcome | None = None
    """How whoever holds it has reported it, whatever events tell of it."""
    sent_to: str | None = None
    """The address that it went to, or is to go to; None where nobody has said."""
    claimed_at: datetime | None = None
    """When it was first handed out: before that nobody has sent it, whatever events tell."""
    reserved_at: datetime | None = None
    """When its last claim took a place under the limits."""
    sender: str | None = None
    """The account that the place is of as well."""

    @property
    def sent_at(self) -> datetime | None:
        return self.times[_SENT]

    @property
    def unsubscribed_at(self) -> datetime | None:
        return self.times[_UNSUBSCRIBED]

    @property
    def clicked_at(self) -> datetime | None:
        return self.times[_CLICKED]

    @property
    def is_passed(self) -> bool:
        """Whether it is behind its enrollment: sent, or passed over."""
        return self.sent_at is not None or self.status is ActionStatus.SKIPPED

    @property
    def has_given_back(self) -> bool:
        """Whether the place that its claim took is free again: its holder has not sent it, nor has anybody else."""
        is_unsent = self.reported in (ActionOutcome.FAILED, ActionOutcome.SKIPPED) and self.sent_at is None
        return is_unsent and self.reserved_at is not None

    @property
    def first_sign(self) -> datetime | None:
        """The first moment at which it was sent for certain: somebody may have told a later one."""
        signs = [time for index, time in enumerate(self.times) if time is not None and index != _FAILED]
        return min(signs, default=None)

    def state(self) -> "ActionState":
        """All that events can change of it, to tell later whether they did."""
        return ActionState(
            [*self.times],
            self.open_count,
            self.click_count,
            self.provider,
            self.provider_message_id,
            self.sent_source,
            self.delivery_told_at,
            self.sent_to,
        )

    @property
    def status(self) -> ActionStatus:
        if self.times[_SENT] is not None:
            return ActionStatus.SENT
        known = self.known_status
        if known is ActionStatus.CLAIMED or known is ActionStatus.SKIPPED:
            return known  # what its holder does with it counts, though an event tells of a failure
        if known is ActionStatus.SENT and self.reported in (ActionOutcome.FAILED, ActionOutcome.SKIPPED):
            return ActionStatus(self.reported)  # it was another step that was sent
        if self.times[_FAILED] is not None:
            return ActionStatus.FAILED
        return ActionStatus.CLAIMED if known is None or known is ActionStatus.SENT else known

    def apply(self, effect: Effect, occurred_at: datetime, source: SentSource = SentSource.IMPLIED) -> None:
        """Set the milestone of `effect` and all that it implies to the earliest moment known. `source` says how it is
        known that the step was sent."""
        if effect.milestone is not None:
            for index in _REACHED[effect.milestone]:
                if index == _SENT:
                    self.note_sent(occurred_at, source)
                    continue
                known = self.times[index]
                if known is None or occurred_at < known:
                    self.times[index] = occurred_at
        if effect.total is Total.TOTAL_OPENS:
            self.open_count += 1
        elif effect.total is Total.TOTAL_CLICKS:
            self.click_count += 1

    def note_sent(self, at: datetime, source: SentSource) -> None:
        """It was sent then, as far as `source` knows. A better source wins, and of the same the earlier moment."""
        if self.may_be_corrected(at, source):
            self.times[_SENT], self.sent_source = self._bounded(at), source

    @property
    def has_soft_bounce(self) -> bool:
        """Whether it counts as bounced since a soft bounce, at first."""
        bounced, hard = self.times[_BOUNCED], self.times[_HARD_BOUNCED]
        return bounced is not None and (hard is None or bounced < hard)

    def note_soft_bounce(self, at: datetime) -> None:
        """It came back softly then, and was not delivered since."""
        known = self.times[_BOUNCED]
        self.times[_BOUNCED] = at if known is None else min(known, at)

    def forget_unsubscribe(self) -> None:
        """The person has unsubscribed before, with another step or with none."""
        self.times[_UNSUBSCRIBED] = None

    def may_be_corrected(self, at: datetime, source: SentSource) -> bool:
        """Whether it would be sent at another moment if `source` said `at`."""
        at, rank, known_rank = self._bounded(at), _SOURCE_RANKS[source], _SOURCE_RANKS[self.sent_source]
        return self.sent_at is None or rank > known_rank or (rank == known_rank and at < self.sent_at)

    def _bounded(self, at: datetime) -> datetime:
        return at if self.claimed_at is None else max(at, self.claimed_at)

    def become(self, other: "Action") -> None:
        """Take over all that events change."""
        self.provider, self.provider_message_id = other.provider, other.provider_message_id
        self.times, self.sent_source, self.delivery_told_at = other.times, other.sent_source, other.delivery_told_at
        self.open_count, self.click_count = other.open_count, other.click_count

    def before_events(self) -> "Action":
        """The same step, of which no event is known."""
        blank = Action(self.instance_id, self.enrollment_id, self.step_number, self.channel, self.a_b_variant)
        blank.claimed_at = self.claimed_at
        return blank

    def subtract(self, explained: "Action") -> None:
        """Keep only what `explained` does not know."""
        for index, time in enumerate(explained.times):
            if self.times[index] == time and (index != _SENT or self.sent_source is explained.sent_source):
                self.times[index] = None
        if self.times[_SENT] is None:
            self.sent_source = None
        if self.delivery_told_at == explained.delivery_told_at:
            self.delivery_told_at = None
        self.open_count = max(0, self.open_count - explained.open_count)
        self.click_count = max(0, self.click_count - explained.click_count)


class ActionState(NamedTuple):
    """All of an action that events can change."""

    times: list[datetime | None]
    open_count: int
    click_count: int
    provider: str | None
    provider_message_id: str | None
    sent_source: SentSource | None
    delivery_told_at: datetime | None
    sent_to: str | None


Contribution: TypeAlias = tuple[CounterKey, list[int]]
"""What one action adds to one row of counters, in the order of COUNTERS."""


def contribution(action: Action, state: ActionState | None = None) -> Contribution | None:
    """What the action adds to its counters, or added while it was in that `state`; None while nothing has happened to
    it.

    The cohort is the day the step was sent, so an earlier `sent` that arrives late moves the whole action to its day.
    """
    times, opens, clicks = (state or (action.times, action.open_count, action.click_count))[:3]
    start = times[_SENT] or times[_FAILED]
    if start is None:
        return None
    day = start.astimezone(UTC).date()
    key = CounterKey(action.instance_id, action.step_number, action.channel, action.a_b_variant or "", day)
    return key, [*[time is not None for time in times], opens, clicks]


@dataclass(slots=True)
class Deltas:
    """Changes to counters, by key, in the order of COUNTERS."""

    by_key: dict[CounterKey, list[int]] = field(default_factory=dict[CounterKey, list[int]])

    def change(self, before: Contribution | None, after: Contribution | None) -> None:
        """An action that contributed `before` contributes `after`."""
        if before is not None and after is not None and before[0] == after[0]:
            before, after = None, (after[0], [now - then for now, then in zip(after[1], before[1], strict=True)])
        for entry, sign in ((before, -1), (after, 1)):
            if entry is not None:
                sums = self.by_key.setdefault(entry[0], [0] * len(COUNTERS))
                for index, count in enumerate(entry[1]):
                    if count:
                        sums[index] += sign * count

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
    delay_from: datetime | None = None
    """The moment from which the delay of the next step counts: the end of the last step, or the start."""
    zone: str | None = None
    """The time zone in which the sending window is read for this person; None where it is the campaign's for all."""
    unsubscribed_at: datetime | None = None
    """When the person first asked for no more of this campaign."""
    inferred_until: datetime | None = None
    """The latest moment of an event whose step nobody named. What is told of an earlier one may change that step."""
    pause_reason: str | None = None
    """Why the server paused it; None where a person did, and once it is paused no more."""

    @property
    def is_open(self) -> bool:
        return self.status not in _TERMINAL

    @property
    def taker(self) -> Taker:
        return Taker(self.instance_id, self.contact_id, self.a_b_variant)

    def advance(self, action: Action, plan: Plan) -> None:
        """Take note that `action` was sent: its step is done, and the next one is due after its delay, or none is left.

        A late message about an earlier step moves nothing; one about the current step may correct the moment.
        """
        if action.sent_at is not None and action.step_number >= self.current_step:
            self.pass_step(action.step_number, action.sent_at, plan)

    def pass_step(self, step_number: int, at: datetime, plan: Plan) -> None:
        """The step is behind this enrollment since `at`: the next one is due after its delay, or none is left. Nothing
        moves where a later step is behind it already."""
        if step_number < self.current_step:
            return
        self.current_step, self.delay_from = step_number, at
        upcoming = next_step(plan.steps, step_number, self.taker)
        if upcoming is None:
            self.stop(_FINISH)
        elif self.is_open:
            self.next_action_at = due_at(at, upcoming)

    def hand_out(self, step_number: int, until: datetime) -> None:
        """The step is its holder's until then. Steps with lower numbers are behind the enrollment from now on, so that
        one that is added or switched on meanwhile is never sent after it."""
        self.current_step = max(self.current_step, step_number - 1)
        self.next_action_at = until

    def pause(self, reason: str | None = None) -> None:
        """Hold it back until somebody resumes it."""
        self.status = move_enrollment(self.status, EnrollmentCommand.PAUSE)
        self.pause_reason = reason

    def follow(self, before: Mapping[int, datetime | None], actions: Mapping[int, Action], plan: Plan) -> None:
        """Take note of all that is known to be sent by now, where it may be less than before.

        before: step -> when it was sent, as far as was known.

        What was behind it stays behind it, and what has ended stays ended: a step that turns out not to be sent may
        have been handed out or passed by hand meanwhile, and only a person opens an enrollment again.
        """
        last = max([self.current_step, *(number for number, action in actions.items() if action.is_passed)])
        at = actions[last].sent_at if last in actions else None
        is_news = last > self.current_step or at != before.get(last)
        self.current_step = last
        if at is not None and is_news:
            self.pass_step(last, at, plan)

    def stop(self, stop: Stop) -> None:
        """End the enrollment. What has ended already changes only by a reason of a higher rank."""
        known = -1 if self.stop_reason is None else STOP_RANKS[self.stop_reason]
        if self.is_open or STOP_RANKS[stop.reason] > known:
            self.status = ENDS[stop.command]
            self.stop_reason = stop.reason
            self.next_action_at = None


def stepless_unsubscribe(enrollment: Enrollment, actions: Iterable[Action]) -> Contribution | None:
    """What the enrollment adds to the counters of step 0: its unsubscribe, if it belongs to no step."""
    at = enrollment.unsubscribed_at
    if at is None or any(action.unsubscribed_at is not None for action in actions):
        return None
    variant = enrollment.a_b_variant or ""
    key = CounterKey(enrollment.instance_id, 0, Channel.EMAIL, variant, at.astimezone(UTC).date())
    return key, [counter == Milestone.UNSUBSCRIBED for counter in COUNTERS]
