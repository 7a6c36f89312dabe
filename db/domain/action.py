"""One step for one enrollment, and what events do to it. No input or output here."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from db.domain.events import IMPLIES, Effect
from db.domain.metrics import MILESTONES, Milestone, Total
from db.domain.states import (
    ActionOutcome,
    ActionStatus,
    Channel,
    SentSource,
)

_INDEX = {milestone: index for index, milestone in enumerate(MILESTONES)}
_SENT = _INDEX[Milestone.SENT]
_FAILED = _INDEX[Milestone.FAILED]
_REACHED = {
    milestone: tuple(_INDEX[reached] for reached in (milestone, *IMPLIES[milestone])) for milestone in MILESTONES
}
_BOUNCED = _INDEX[Milestone.BOUNCED]
_HARD_BOUNCED = _INDEX[Milestone.HARD_BOUNCED]
_CLICKED = _INDEX[Milestone.CLICKED]
_UNSUBSCRIBED = _INDEX[Milestone.UNSUBSCRIBED]
_SOURCE_RANKS = {None: -1, **{source: rank for rank, source in enumerate(SentSource)}}


@dataclass(slots=True)
class Action:
    """One step for one enrollment. `times` holds the first moment of each milestone, in the order of MILESTONES; that
    of being sent is the one of the best source."""

    campaign_id: UUID
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
    """How its holder reported it, whatever events tell of it."""
    sent_to: str | None = None
    """The address that it went to, or is to go to; None where nobody has said."""
    claimed_at: datetime | None = None
    """When it was first handed out: before that nobody has sent it, whatever events tell."""
    reserved_at: datetime | None = None
    """When its last claim reserved a send under the limits."""
    sender: str | None = None
    """The account of that reservation."""

    @property
    def sent_at(self) -> datetime | None:
        return self.times[_SENT]

    @property
    def failed_at(self) -> datetime | None:
        return self.times[_FAILED]

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
    def has_released(self) -> bool:
        """Whether the reservation of its claim is free again: neither the holder nor anybody else has sent the step."""
        is_unsent = self.reported in (ActionOutcome.FAILED, ActionOutcome.SKIPPED) and self.sent_at is None
        return is_unsent and self.reserved_at is not None

    @property
    def first_sign(self) -> datetime | None:
        """The first moment at which it was certainly sent; a later one may have been reported."""
        signs = [time for index, time in enumerate(self.times) if time is not None and index != _FAILED]
        return min(signs, default=None)

    def state(self) -> "ActionState":
        """Returns all that events can change in it, to find out later whether they did."""
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
        """Sets the milestone of `effect` and all that it implies to the earliest moment known. `source` says how it is
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
        """Notes that it was sent then, as far as `source` knows. A better source wins; of equal sources, the earlier
        moment."""
        if self.may_be_corrected(at, source):
            self.times[_SENT], self.sent_source = self._bounded(at), source

    @property
    def has_soft_bounce(self) -> bool:
        """Whether it counts as bounced since a soft bounce, at first."""
        bounced, hard = self.times[_BOUNCED], self.times[_HARD_BOUNCED]
        return bounced is not None and (hard is None or bounced < hard)

    def note_soft_bounce(self, at: datetime) -> None:
        """Notes a soft bounce at that moment, with no delivery since."""
        known = self.times[_BOUNCED]
        self.times[_BOUNCED] = at if known is None else min(known, at)

    def forget_unsubscribe(self) -> None:
        """Notes that the person unsubscribed before, with another step or with none."""
        self.times[_UNSUBSCRIBED] = None

    def may_be_corrected(self, at: datetime, source: SentSource) -> bool:
        """Returns whether its send time would change if `source` said `at`."""
        at, rank, known_rank = self._bounded(at), _SOURCE_RANKS[source], _SOURCE_RANKS[self.sent_source]
        return self.sent_at is None or rank > known_rank or (rank == known_rank and at < self.sent_at)

    def _bounded(self, at: datetime) -> datetime:
        return at if self.claimed_at is None else max(at, self.claimed_at)

    def become(self, other: "Action") -> None:
        """Takes over all that events change."""
        self.provider, self.provider_message_id = other.provider, other.provider_message_id
        self.times, self.sent_source, self.delivery_told_at = other.times, other.sent_source, other.delivery_told_at
        self.open_count, self.click_count = other.open_count, other.click_count

    def before_events(self) -> "Action":
        """Returns the same step as if no event were known of it."""
        blank = Action(self.campaign_id, self.enrollment_id, self.step_number, self.channel, self.a_b_variant)
        blank.claimed_at = self.claimed_at
        return blank

    def subtract(self, explained: "Action") -> None:
        """Keeps only what `explained` does not know."""
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
