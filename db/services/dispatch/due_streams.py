"""The lanes of the queue: whoever stands in one waits for the same channel, limits and window as the others in it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain import holds
from db.domain.allowance import Budget
from db.domain.enrollment import Enrollment
from db.domain.holds import Hold
from db.domain.scheduling import Plan
from db.domain.states import Channel
from db.postgres.json import rows_parameter


@dataclass(frozen=True, slots=True)
class Lane:
    """The queue of one campaign, or of the part of it that goes out on one channel next, or in one time zone.

    zone: that in which the window of those in it is read; None where it is the campaign's.
    stages: the values of current_step after which a step of the channel comes; None where all channels are meant.
    beyond: the value of current_step from which no step is left, in the lane of the last step.
    """

    instance_id: UUID
    channels: tuple[Channel, ...]
    zone: str | None = None
    stages: tuple[int, ...] | None = None
    beyond: int | None = None

    @property
    def is_for_the_rest(self) -> bool:
        """Whether those are in it who stand at no stage of any lane of the campaign."""
        return self.stages is None or self.beyond is not None

    def free(self, budget: Budget, *, again: bool = False) -> int | None:
        """How many of it may go out now; None: any number. `again`: of those that have their place of the day."""
        left = [budget.free(self.instance_id, channel, again=again) for channel in self.channels]
        return None if None in left else max((each for each in left if each is not None), default=None)

    def limits(self, budget: Budget, *, again: bool = False) -> list[Hold]:
        """The limits that stand in the way of all of it; `again` as in `free`. Where it has several channels, no
        accounts are named, and what holds for one of them holds for all."""
        return budget.limits(self.instance_id, self.channels[0], again=again) if self.channels else []

    def window(self, plan: Plan, now: datetime) -> list[Hold]:
        """The closed window of those who have a time zone of their own."""
        return [] if self.zone is None else holds.of_window(plan.sending, self.zone, now)


# From one zone to the next by the index, however many people there are in each.
_ZONES = text("""
    WITH RECURSIVE waiting AS (
        SELECT CAST(c.campaign AS uuid) AS campaign, (
            SELECT zone FROM campaign_enrollments
            WHERE instance_id = CAST(c.campaign AS uuid)
              AND status = 'active' AND next_action_at IS NOT NULL AND zone IS NOT NULL
            ORDER BY zone LIMIT 1
        ) AS zone
        FROM jsonb_array_elements_text(CAST(:rows AS jsonb)) AS c(campaign)
        UNION ALL
        SELECT w.campaign, (
            SELECT zone FROM campaign_enrollments
            WHERE instance_id = w.campaign
              AND status = 'active' AND next_action_at IS NOT NULL AND zone IS NOT NULL AND zone > w.zone
            ORDER BY zone LIMIT 1
        )
        FROM waiting w WHERE w.zone IS NOT NULL
    )
    SELECT campaign, zone FROM waiting WHERE zone IS NOT NULL
""")


def of_campaigns(session: Session, *, plans: Mapping[UUID, Plan], channel: Channel | None) -> list[Lane]:
    """The lanes of some campaigns. Those whose window opens in each person's own zone have one for each zone in which
    somebody waits."""
    following = [instance_id for instance_id, plan in plans.items() if plan.sending.follows_contact]
    zones: dict[UUID, list[str]] = {instance_id: [] for instance_id in following}
    if following:
        for instance_id, zone in session.execute(_ZONES, rows_parameter(following)):
            zones[instance_id].append(zone)
    return [
        replace(lane, zone=zone)
        for instance_id, plan in plans.items()
        for lane in _lanes(instance_id, plan, channel)
        for zone in zones.get(instance_id, [None])
    ]


def _lanes(instance_id: UUID, plan: Plan, channel: Channel | None) -> list[Lane]:
    """The lanes of a campaign in one zone: one, unless a channel is asked for or the channels have accounts of their
    own. One as well where every step was taken out of use, and nothing is left but to finish those who waited."""
    channels = tuple(sorted({step.channel for step in plan.steps}))
    numbers = sorted({step.step_number for step in plan.steps})
    if not numbers or (channel is None and not plan.sending.senders):
        return [Lane(instance_id, channels)]
    channel_of = {step.step_number: step.channel for step in plan.steps}
    found: list[Lane] = []
    for each in channels if channel is None else (channel,):
        stages: list[int] = []
        for before, number in zip([0, *numbers], numbers, strict=False):
            if channel_of[number] is each:
                # Steps taken out of use leave gaps: whoever stands in one takes the next step as well.
                stages.extend(range(before, number))
        # Whoever has no step left, those to come having been taken out of use, is finished with those of the last.
        beyond = numbers[-1] if channel_of[numbers[-1]] is each else None
        found.append(Lane(instance_id, (each,), stages=tuple(stages), beyond=beyond))
    return found


def finder(lanes: Sequence[Lane], plans: Mapping[UUID, Plan]) -> Callable[[Enrollment], Lane]:
    """What tells in which of the lanes an enrollment stands that was read from them."""
    by_stage = {(lane.instance_id, lane.zone, stage): lane for lane in lanes for stage in lane.stages or ()}
    rest = {(lane.instance_id, lane.zone): lane for lane in lanes if lane.is_for_the_rest}

    def find(enrollment: Enrollment) -> Lane:
        campaign_id = enrollment.instance_id
        zone = enrollment.zone if plans[campaign_id].sending.follows_contact else None
        return by_stage.get((campaign_id, zone, enrollment.current_step)) or rest[campaign_id, zone]

    return find
