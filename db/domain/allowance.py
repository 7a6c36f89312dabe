"""What is left of the limits of campaigns and of their accounts, and the reservations that claims make under them.

Pure. A claim reserves from allowances that are locked in the database; a preview or a forecast works on a copy.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple, TypeAlias
from uuid import UUID

from db.domain.holds import Hold, HoldReason
from db.domain.scheduling import Plan
from db.domain.sending import Day, Limits, Usage, quarter_of
from db.domain.states import Channel


class Account(NamedTuple):
    """An account that campaigns send from."""

    channel: Channel
    account: str


Owner: TypeAlias = UUID | Account
"""Whose limit it is: a campaign's or an account's."""


class Reservation(NamedTuple):
    """What a claim reserved at one moment: one send of its campaign, and one of the account that it sends from.

    It outlives the lease, because the step may have been sent: the same step is handed out again without another one.
    """

    at: datetime
    account: str | None


@dataclass(slots=True)
class Allowance:
    """How many more sends one limit allows now, and the hold on everybody when it allows none.

    is_of_day: a step with a reservation of that day uses nothing more; otherwise each hand-out uses one.
    """

    free: int
    hold: Hold
    is_of_day: bool = False


def of_limits(limits: Limits, usage: Usage, day: Day, now: datetime, sender: str | None = None) -> list[Allowance]:
    """Returns what `limits` leave after `usage`: of the day, and of the gap. They are the campaign's, or those of the
    account `sender`."""
    who = f"The account {sender}" if sender else "The campaign"
    found: list[Allowance] = []
    if limits.daily is not None:
        left = max(0, limits.daily - usage.used)
        reason = HoldReason.SENDER_DAILY_LIMIT if sender else HoldReason.DAILY_LIMIT
        detail = f"{who} has reached its daily limit of {limits.daily}."
        found.append(Allowance(left, Hold(reason, detail, day.end), is_of_day=True))
    if limits.gap > timedelta(0):
        found.append(_of_gap(limits, usage, now, who, is_sender=sender is not None))
    return found


def _of_gap(limits: Limits, usage: Usage, now: datetime, who: str, *, is_sender: bool) -> Allowance:
    open_at = now if usage.last_at is None else max(now, usage.last_at + limits.gap)
    reason = HoldReason.SENDER_MIN_GAP if is_sender else HoldReason.MIN_GAP
    detail = f"{who} waits {limits.gap.total_seconds():g} s from one send to the next."
    return (
        Allowance(1, Hold(reason, detail, now + limits.gap))
        if open_at == now
        else Allowance(0, Hold(reason, detail, open_at))
    )


@dataclass(frozen=True, slots=True)
class DayAllowances:
    """The day of an owner, and one allowance for each limit that is set."""

    day: Day
    limits: list[Allowance] = field(default_factory=list[Allowance])


class Snapshot(NamedTuple):
    """What was free under each limit at some moment, and what had been reserved and released by then."""

    free: Mapping[Owner, list[int]]
    taken: Counter[Owner]
    released: Counter[tuple[Owner, datetime]]


@dataclass(slots=True)
class Allowances:
    """The allowances of some campaigns and of the accounts that they send from. Each send uses one of both.

    taken: how many sends of each owner were reserved. An owner has 0 if its steps only reused reservations.
    released: (owner, quarter of an hour) -> reservations of that quarter that were replaced by new ones.
    """

    plans: Mapping[UUID, Plan]
    now: datetime
    by_owner: Mapping[Owner, DayAllowances] = field(default_factory=dict[Owner, DayAllowances])
    taken: Counter[Owner] = field(default_factory=Counter[Owner])
    released: Counter[tuple[Owner, datetime]] = field(default_factory=Counter[tuple[Owner, datetime]])

    def account(self, instance_id: UUID, channel: Channel) -> str | None:
        """Returns the account that the campaign sends from on that channel, if it names one."""
        sender = self.plans[instance_id].sending.senders.get(channel)
        return sender.account if sender else None

    def free(self, instance_id: UUID, channel: Channel, *, with_reservation: bool = False) -> int | None:
        """Returns how many more steps of the campaign may go out on that channel now; None is any number.
        `with_reservation`: counts steps that have a reservation of the day, so daily limits don't apply."""
        limits = self._limits(instance_id, channel)
        return min((limit.free for limit in limits if not (with_reservation and limit.is_of_day)), default=None)

    def limits(self, instance_id: UUID, channel: Channel, *, with_reservation: bool = False) -> list[Hold]:
        """Returns every limit that allows no more; `with_reservation` as in `free`."""
        limits = self._limits(instance_id, channel)
        return [limit.hold for limit in limits if limit.free == 0 and not (with_reservation and limit.is_of_day)]

    def limits_for(self, instance_id: UUID, channel: Channel, reservation: Reservation | None) -> list[Hold]:
        """Returns every limit that holds back a step with that reservation, or with none."""
        return [
            limit.hold
            for owner in self._owners(instance_id, channel)
            for limit in self.by_owner[owner].limits
            if limit.free == 0 and not (limit.is_of_day and self._is_current(owner, instance_id, channel, reservation))
        ]

    def reservations_since(self, instance_id: UUID, channel: Channel, wanted: int) -> datetime | None:
        """Returns the moment from which a reservation counts for every day that allows fewer than `wanted` more sends
        on that channel; None if there is no such day."""
        days = [self.by_owner[owner] for owner in self._owners(instance_id, channel)]
        starts = [
            allowances.day.start
            for allowances in days
            if any(limit.is_of_day and limit.free < wanted for limit in allowances.limits)
        ]
        return max(starts, default=None)

    def has_reservation(self, instance_id: UUID, channel: Channel, reservation: Reservation | None) -> bool:
        """Returns whether that reservation spares a daily limit one send."""
        return any(
            limit.is_of_day
            for owner in self._owners(instance_id, channel)
            if self._is_current(owner, instance_id, channel, reservation)
            for limit in self.by_owner[owner].limits
        )

    def take(self, instance_id: UUID, channel: Channel, reservation: Reservation | None = None) -> Reservation | Hold:
        """Reserves one send for a step, and returns the reservation; or returns the hold, and reserves nothing.

        A current `reservation` is kept. If a new day has begun for one owner and not for the other, both are reserved
        anew, because a reservation has one moment.
        """
        hold = next(iter(self.limits_for(instance_id, channel, reservation)), None)
        if hold is not None:
            return hold
        owners = self._owners(instance_id, channel)
        current = [owner for owner in owners if self._is_current(owner, instance_id, channel, reservation)]
        for owner in owners:
            for limit in self.by_owner[owner].limits:
                limit.free -= 0 if limit.is_of_day and owner in current else 1
        if reservation is not None and len(current) == len(owners):
            for owner in owners:
                self.taken[owner] += 0  # counts nothing more, and starts the gap anew
            return reservation
        for owner in owners:
            self.taken[owner] += 1
            if reservation is not None and owner in current:
                self.released[owner, quarter_of(reservation.at)] += 1
        return Reservation(self.now, self.account(instance_id, channel))

    def snapshot(self) -> Snapshot:
        """Returns a copy for `restore`, to be made before reservations that may have to be undone."""
        free = {owner: [limit.free for limit in allowances.limits] for owner, allowances in self.by_owner.items()}
        return Snapshot(free, self.taken.copy(), self.released.copy())

    def restore(self, snapshot: Snapshot) -> None:
        """Undoes what was reserved since the snapshot."""
        for owner, allowances in self.by_owner.items():
            for limit, free in zip(allowances.limits, snapshot.free[owner], strict=True):
                limit.free = free
        self.taken, self.released = snapshot.taken.copy(), snapshot.released.copy()

    def _is_current(self, owner: Owner, instance_id: UUID, channel: Channel, reservation: Reservation | None) -> bool:
        """Returns whether the reservation was made on the owner's present day, for the present account."""
        if reservation is None or reservation.account != self.account(instance_id, channel):
            return False
        return reservation.at >= self.by_owner[owner].day.start

    def _limits(self, instance_id: UUID, channel: Channel) -> Iterable[Allowance]:
        return (limit for owner in self._owners(instance_id, channel) for limit in self.by_owner[owner].limits)

    def _owners(self, instance_id: UUID, channel: Channel) -> list[Owner]:
        account = self.account(instance_id, channel)
        owners: list[Owner] = [instance_id] if account is None else [instance_id, Account(channel, account)]
        return [owner for owner in owners if owner in self.by_owner]
