"""The due streams: all enrollments of one wait for the same channel, limits and window."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain import holds
from db.domain.allowance import Allowances
from db.domain.enrollment import Enrollment
from db.domain.holds import Hold
from db.domain.scheduling import Plan
from db.domain.states import Channel
from db.postgres.json import rows_parameter


@dataclass(frozen=True, slots=True)
class DueStream:
    """The due enrollments of one campaign, or those of them whose next step is on one channel, or in one time zone.

    zone: the time zone in which their window is read; None for the campaign's.
    next_after: the values of current_step after which a step of the channel comes; None for all channels.
    finished_from: the value of current_step from which no step is left. Only the stream of the last step has it.
    """

    instance_id: UUID
    channels: tuple[Channel, ...]
    zone: str | None = None
    next_after: tuple[int, ...] | None = None
    finished_from: int | None = None

    @property
    def is_for_the_rest(self) -> bool:
        """Returns whether it takes the enrollments whose current_step is in no `next_after` of the campaign."""
        return self.next_after is None or self.finished_from is not None

    def free(self, allowances: Allowances, *, with_reservation: bool = False) -> int | None:
        """Returns how many of its steps may go out now; None is any number. `with_reservation`: counts steps that have
        a reservation of the day."""
        left = [
            allowances.free(self.instance_id, channel, with_reservation=with_reservation) for channel in self.channels
        ]
        return None if None in left else max((free for free in left if free is not None), default=None)

    def limits(self, allowances: Allowances, *, with_reservation: bool = False) -> list[Hold]:
        """Returns the limits that hold back all of it; `with_reservation` as in `free`. If it has several channels, the
        campaign names no accounts, so the limits of one channel are those of all."""
        if not self.channels:
            return []
        return allowances.limits(self.instance_id, self.channels[0], with_reservation=with_reservation)

    def window(self, plan: Plan, now: datetime) -> list[Hold]:
        """Returns the hold of the closed window, if the stream has a time zone of its own."""
        return [] if self.zone is None else holds.of_window(plan.sending, self.zone, now)


# Steps from one zone to the next by the index, however many people are in each.
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


def of_campaigns(session: Session, *, plans: Mapping[UUID, Plan], channel: Channel | None) -> list[DueStream]:
    """Returns the streams of some campaigns. A campaign whose window is read in each person's own zone has one for each
    zone in which somebody waits."""
    following = [instance_id for instance_id, plan in plans.items() if plan.sending.follows_contact]
    zones: dict[UUID, list[str]] = {instance_id: [] for instance_id in following}
    if following:
        for instance_id, zone in session.execute(_ZONES, rows_parameter(following)):
            zones[instance_id].append(zone)
    return [
        replace(stream, zone=zone)
        for instance_id, plan in plans.items()
        for stream in _streams(instance_id, plan, channel)
        for zone in zones.get(instance_id, [None])
    ]


def _streams(instance_id: UUID, plan: Plan, channel: Channel | None) -> list[DueStream]:
    """Returns the streams of a campaign in one zone: one for each channel if a channel is asked for or channels have
    accounts of their own, otherwise one. If every step was taken out of use, one stream remains to finish those who
    waited."""
    channels = tuple(sorted({step.channel for step in plan.steps}))
    numbers = sorted({step.step_number for step in plan.steps})
    if not numbers or (channel is None and not plan.sending.senders):
        return [DueStream(instance_id, channels)]
    channel_of = {step.step_number: step.channel for step in plan.steps}
    found: list[DueStream] = []
    for wanted in channels if channel is None else (channel,):
        next_after: list[int] = []
        for before, number in zip([0, *numbers], numbers, strict=False):
            if channel_of[number] is wanted:
                # Steps taken out of use leave gaps. An enrollment in a gap takes the next step too.
                next_after.extend(range(before, number))
        # Enrollments that have no step left, because the later ones were taken out of use, finish in the last stream.
        finished_from = numbers[-1] if channel_of[numbers[-1]] is wanted else None
        found.append(DueStream(instance_id, (wanted,), next_after=tuple(next_after), finished_from=finished_from))
    return found


def finder(streams: Sequence[DueStream], plans: Mapping[UUID, Plan]) -> Callable[[Enrollment], DueStream]:
    """Returns a function from an enrollment that was read from the streams to its stream."""
    by_step = {
        (stream.instance_id, stream.zone, current_step): stream
        for stream in streams
        for current_step in stream.next_after or ()
    }
    rest = {(stream.instance_id, stream.zone): stream for stream in streams if stream.is_for_the_rest}

    def find(enrollment: Enrollment) -> DueStream:
        campaign_id = enrollment.instance_id
        zone = enrollment.zone if plans[campaign_id].sending.follows_contact else None
        return by_step.get((campaign_id, zone, enrollment.current_step)) or rest[campaign_id, zone]

    return find
