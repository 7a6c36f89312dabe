"""Due streams: all enrollments of one wait for the same channel, mailbox, limits and window. Pure.

`db.services.dispatch.due_streams` finds those in which somebody waits.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from db.domain import holds
from db.domain.allowance import Allowances
from db.domain.holds import Hold, OwnCalendar
from db.domain.pools import Pools, Route
from db.domain.scheduling import Plan
from db.domain.states import Channel

NOBODY: Final = UUID(int=0)
"""Stands for the mailbox of those who have none yet, in the index of the partitions."""


class Partition(NamedTuple):
    """The enrollments of a campaign that one mailbox writes to (None: those who have none yet), in one time zone."""

    mailbox_id: UUID | None
    zone: str | None

    def to_row(self) -> dict[str, object]:
        """Returns it as the index of the partitions has it."""
        return {"mailbox": self.mailbox_id or NOBODY, "zone": self.zone or ""}


@dataclass(frozen=True, slots=True)
class DueStream:
    """The due enrollments of one campaign, or those of them whose next step is on one channel, or in one partition.

    partition: None for all of them.
    next_after: the values of current_step after which a step of the channel comes; None for all channels.
    finished_from: the value of current_step from which no step is left. Only the stream of the last step has it.
    due_from: what was due before then is overdue, and no part of it.
    """

    campaign_id: UUID
    channels: tuple[Channel, ...]
    partition: Partition | None = None
    next_after: tuple[int, ...] | None = None
    finished_from: int | None = None
    due_from: datetime | None = None

    @property
    def zone(self) -> str | None:
        """The time zone that its enrollments have of their own."""
        return self.partition.zone if self.partition is not None else None

    @property
    def is_for_the_rest(self) -> bool:
        """Returns whether it takes the enrollments whose current_step is in no `next_after` of the campaign."""
        return self.next_after is None or self.finished_from is not None

    def free(self, allowances: Allowances, *, with_reservation: bool = False) -> int | None:
        """Returns how many of its steps may go out now; None is any number. `with_reservation`: counts steps that have
        a reservation of the day."""
        left = [allowances.free(self.route(channel), with_reservation=with_reservation) for channel in self.channels]
        return None if None in left else max((free for free in left if free is not None), default=None)

    def limits(self, allowances: Allowances, *, with_reservation: bool = False) -> list[Hold]:
        """Returns the limits that hold back all of it; `with_reservation` as in `free`. If it has several channels, the
        campaign names no accounts, so the limits of one channel are those of all."""
        if not self.channels:
            return []
        return allowances.limits(self.route(self.channels[0]), with_reservation=with_reservation)

    def route(self, channel: Channel) -> Route:
        """Returns how its steps of a channel go out."""
        return Route(self.campaign_id, channel, self.partition.mailbox_id if self.partition is not None else None)

    def takes_new_people(self, plan: Plan) -> bool:
        """Returns whether its people get a mailbox with the next step."""
        is_new = self.partition is not None and self.partition.mailbox_id is None and self.next_after is not None
        return is_new and bool(plan.sending.mailboxes) and Channel.EMAIL in self.channels

    def is_sent_by_server(self, plan: Plan) -> bool:
        """Returns whether the server sends its steps, so that agents get none of them."""
        return any(plan.sending.is_sent_by_server(channel) for channel in self.channels)

    def closed(self, plan: Plan, pools: Pools, now: datetime) -> list[Hold]:
        """Returns what holds all of it apart from its campaign and limits: its window, if it is read in the time zone
        of the stream, and its mailbox."""
        window = holds.of_window(plan.sending, self.zone, now) if plan.sending.follows_contact else []
        held = [pools.holds(plan.sending, self.route(channel), now) for channel in self.channels[:1]]
        return [*window, *(hold for mailbox in held for hold in mailbox)]

    def calendars(self, allowances: Allowances) -> list[OwnCalendar]:
        """Returns those that must be open for its steps."""
        return calendars(
            allowances, self.route(self.channels[0]) if self.channels else None, self.campaign_id, self.zone
        )


def calendars(allowances: Allowances, route: Route | None, campaign_id: UUID, zone: str | None) -> list[OwnCalendar]:
    """Returns the calendars that must be open for a step of a campaign, `zone` being that of its person: that of
    the campaign, and that of the mailbox that asks for it or from which it goes out."""
    mailbox = allowances.asking(route) if route is not None else None
    own: OwnCalendar = (allowances.plans[campaign_id].sending, zone)
    return [own] if mailbox is None else [own, (mailbox.pace, None)]
