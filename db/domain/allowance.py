"""What is left of the limits of campaigns and of their accounts, and the reservations that claims make under them.

Pure. A claim reserves from allowances that are locked in the database; a preview or a forecast works on a copy.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple, TypeAlias
from uuid import UUID

from db.domain import holds
from db.domain.holds import Hold, HoldReason
from db.domain.pools import PoolMailbox, Pools, Route, ending
from db.domain.scheduling import Plan
from db.domain.sending import Pace, Span, Usage, day_of, hour_of, quarter_of
from db.domain.states import Channel

_SOON = timedelta(seconds=5)


class Account(NamedTuple):
    """An account that campaigns send from. That of a mailbox has its address for a name."""

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

    since: when the day or the hour of the limit began: a step with a reservation of that time uses nothing more. None:
    each hand-out uses one.
    """

    free: int
    hold: Hold
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class DayAllowances:
    """The day of an owner, and one allowance for each limit that is set."""

    day: Span
    limits: list[Allowance] = field(default_factory=list[Allowance])


def of_pace(pace: Pace, usage: Usage, now: datetime) -> DayAllowances:
    """Returns what the limits of `pace` leave after `usage`: of the day, of the hour, and of the gap."""
    day, hour, limits = day_of(now, pace.zone), hour_of(now, pace.zone), pace.limits
    is_account = pace.account is not None
    found: list[Allowance] = []
    if limits.daily is not None:
        reason = HoldReason.SENDER_DAILY_LIMIT if is_account else HoldReason.DAILY_LIMIT
        detail = f"{pace.who} has reached its daily limit of {limits.daily}."
        found.append(Allowance(max(0, limits.daily - usage.used), Hold(reason, detail, day.end), day.start))
    if limits.hourly is not None:
        detail = f"{pace.who} has reached its hourly limit of {limits.hourly}."
        hold = Hold(HoldReason.SENDER_HOURLY_LIMIT, detail, hour.end)
        found.append(Allowance(max(0, limits.hourly - usage.in_hour), hold, hour.start))
    if limits.gap > timedelta(0):
        found.append(_of_gap(pace, usage, now))
    return DayAllowances(day, found)


def _of_gap(pace: Pace, usage: Usage, now: datetime) -> Allowance:
    gap = pace.gap_after(usage.last_at or now, usage.place)
    open_at = now if usage.last_at is None else max(now, usage.last_at + gap)
    reason = HoldReason.MIN_GAP if pace.account is None else HoldReason.SENDER_MIN_GAP
    if open_at > now:
        return Allowance(0, Hold(reason, _waits(pace, gap), open_at))
    following = pace.gap_after(now, usage.used + 1)
    return Allowance(1, Hold(reason, _waits(pace, following), now + following))


def _waits(pace: Pace, gap: timedelta) -> str:
    return f"{pace.who} waits {gap.total_seconds():g} s from one send to the next."


def _covers(reservation: Reservation | None, limit: Allowance, account: str | None) -> bool:
    """Returns whether the reservation was made in the day or hour of the limit, for that account."""
    if reservation is None or limit.since is None:
        return False
    return reservation.account == account and reservation.at >= limit.since


class Snapshot(NamedTuple):
    """What was free under each limit at some moment, what had been reserved and released by then, and who wrote to how
    many people."""

    free: Mapping[Owner, list[int]]
    taken: Counter[Owner]
    released: Counter[tuple[Owner, datetime]]
    people: Counter[tuple[UUID, UUID]]
    waiting: Counter[UUID]


@dataclass(slots=True)
class Allowances:
    """The allowances of some campaigns and of the accounts that they send from. Each send uses one of both.

    taken: how many sends of each owner were reserved. An owner has 0 if its steps only reused reservations.
    released: (owner, quarter of an hour) -> reservations of that quarter that were replaced by new ones.
    """

    plans: Mapping[UUID, Plan]
    now: datetime
    by_owner: Mapping[Owner, DayAllowances] = field(default_factory=dict[Owner, DayAllowances])
    pools: Pools = field(default_factory=Pools)
    taken: Counter[Owner] = field(default_factory=Counter[Owner])
    released: Counter[tuple[Owner, datetime]] = field(default_factory=Counter[tuple[Owner, datetime]])
    _next: dict[UUID, PoolMailbox | None] = field(
        default_factory=dict[UUID, PoolMailbox | None], init=False, repr=False
    )

    def mailbox(self, route: Route) -> PoolMailbox | None:
        """Returns the mailbox that a step goes out from: for a person who has none yet, the one that the next person
        gets. None if it goes out from no mailbox."""
        is_open = self._is_open(route)
        if is_open and route.campaign_id in self._next:
            return self._next[route.campaign_id]
        possible = self.pools.possible(self.plans[route.campaign_id].sending, route)
        if not is_open:
            return possible[0] if possible else None
        self._next[route.campaign_id] = self._choose(route.campaign_id, possible) if possible else None
        return self._next[route.campaign_id]

    def asking(self, route: Route) -> PoolMailbox | None:
        """Returns the mailbox that must be open for somebody to look at a step: the one that asks, if the person has
        none yet, else that of the step."""
        asking = self.pools.mailboxes.get(self.pools.asking) if self.pools.asking is not None else None
        return asking if asking is not None and self._is_open(route) else self.mailbox(route)

    def _is_open(self, route: Route) -> bool:
        """Returns whether the person gets a mailbox only now."""
        sending = self.plans[route.campaign_id].sending
        is_pooled = route.channel is Channel.EMAIL and bool(sending.mailboxes)
        return is_pooled and route.mailbox_id not in self.pools.mailboxes

    def _choose(self, campaign_id: UUID, pool: Sequence[PoolMailbox]) -> PoolMailbox:
        """Returns the mailbox that the next person gets: of those that may send today, the one with the fewest people.
        While that one waits for its gap, another one may go on as far as both get as many people in the end."""
        asking = next((mailbox for mailbox in pool if mailbox.id == self.pools.asking), None)
        able = [mailbox for mailbox in pool if not self._held(mailbox, is_gap_counted=False)]
        if asking is not None and asking not in able:
            return asking
        if not able:
            return min(pool, key=lambda mailbox: ending(self._held(mailbox)))
        ready = [mailbox for mailbox in able if not self._is_in_gap(mailbox)]
        first = asking or (self.pools.fewest(campaign_id, ready) if ready else None)
        if first is not None and self.pools.is_entitled(campaign_id, first, able):
            return first
        return self.pools.fewest(campaign_id, able)

    def _held(self, mailbox: PoolMailbox, *, is_gap_counted: bool = True) -> list[Hold]:
        """Returns what keeps a mailbox from sending anything now."""
        own = self.by_owner.get(Account(Channel.EMAIL, mailbox.address))
        limits = own.limits if own is not None else []
        full = [limit.hold for limit in limits if limit.free == 0 and (is_gap_counted or limit.since is not None)]
        return [*mailbox.holds(self.now), *full]

    def _is_in_gap(self, mailbox: PoolMailbox) -> bool:
        """Returns whether a mailbox that may send today has to wait after its last mail."""
        own = self.by_owner.get(Account(Channel.EMAIL, mailbox.address))
        return own is not None and any(limit.free == 0 for limit in own.limits if limit.since is None)

    def _is_for_another(self, route: Route) -> bool:
        """Returns whether the person gets another mailbox than the one that asks."""
        mailbox = self.mailbox(route) if self.pools.asking is not None and self._is_open(route) else None
        return mailbox is not None and mailbox.id != self.pools.asking

    def account(self, route: Route) -> str | None:
        """Returns the account that a step is sent from, if its campaign names one: a mailbox's by its address."""
        mailbox = self.mailbox(route)
        if mailbox is not None:
            return mailbox.address
        sender = self.plans[route.campaign_id].sending.senders.get(route.channel)
        return sender.account if sender else None

    def free(self, route: Route, *, with_reservation: bool = False) -> int | None:
        """Returns how many more steps may go out by that route now; None is any number. `with_reservation`: counts
        steps that have a reservation of the day and the hour, so that these limits don't apply."""
        if self._is_for_another(route):
            return 0
        left = self._free(self._owners(route), with_reservation=with_reservation)
        if left == 0 or self.pools.asking is not None or not self._is_open(route):
            return left
        campaign = self._free([route.campaign_id], with_reservation=with_reservation)
        each = [self._free_of(mailbox) for mailbox in self.pools.pool(route.campaign_id)]
        whole = None if None in each else sum(free for free in each if free is not None)
        return min((free for free in (campaign, whole) if free is not None), default=None)

    def _free(self, owners: Iterable[Owner], *, with_reservation: bool = False) -> int | None:
        limits = [limit for owner in owners if owner in self.by_owner for limit in self.by_owner[owner].limits]
        counted = [limit.free for limit in limits if not (with_reservation and limit.since is not None)]
        return min(counted, default=None)

    def _free_of(self, mailbox: PoolMailbox) -> int | None:
        """Returns how many more mails may go out from a mailbox now."""
        return 0 if self._held(mailbox) else self._free([Account(Channel.EMAIL, mailbox.address)])

    def limits(self, route: Route, *, with_reservation: bool = False) -> list[Hold]:
        """Returns every limit that allows no more; `with_reservation` as in `free`."""
        found = [
            limit.hold
            for limit in self._limits(route)
            if limit.free == 0 and not (with_reservation and limit.since is not None)
        ]
        return [*self._turn(route, found), *found]

    def _turn(self, route: Route, limits: Sequence[Hold]) -> list[Hold]:
        """Returns the hold on a person whom another mailbox than the one that asks takes next."""
        if not self._is_for_another(route):
            return []
        until = max(self.now + _SOON, holds.latest(limits, self.now))
        return [Hold(HoldReason.SENT_BY_SERVER, "Another mailbox takes the next person.", until)]

    def limits_for(self, route: Route, reservation: Reservation | None) -> list[Hold]:
        """Returns every limit that holds back a step with that reservation, or with none."""
        found = [
            limit.hold
            for owner in self._owners(route)
            for limit in self.by_owner[owner].limits
            if limit.free == 0 and not self._covers(reservation, limit, route)
        ]
        return [*self._turn(route, found), *found]

    def reservations_since(self, route: Route, wanted: int) -> datetime | None:
        """Returns the moment from which a reservation counts for every day and hour that allow fewer than `wanted` more
        sends; None if there is none."""
        starts = [limit.since for limit in self._limits(route) if limit.since is not None and limit.free < wanted]
        return max(starts, default=None)

    def has_reservation(self, route: Route, reservation: Reservation | None) -> bool:
        """Returns whether that reservation spares a limit of the day or the hour one send."""
        return any(self._covers(reservation, limit, route) for limit in self._limits(route))

    def take(self, route: Route, reservation: Reservation | None = None) -> Reservation | Hold:
        """Reserves one send for a step, and returns the reservation; or returns the hold, and reserves nothing. Whoever
        has no mailbox yet is counted as a person of `mailbox(route)`.

        A `reservation` that counts for the day and the hour of every limit is kept. If another day or hour has begun
        for one of them, all are reserved again, because a reservation has one moment.
        """
        hold = next(iter(self.limits_for(route, reservation)), None)
        if hold is not None:
            return hold
        taken = self._take(self._owners(route), self.account(route), reservation)
        self._assign(route)
        return taken

    def take_of_account(self, account: Account, reservation: Reservation | None = None) -> Reservation | Hold:
        """Reserves one send of an account alone, for a mail that is no step; `reservation` as in `take`."""
        limits = self.by_owner[account].limits
        full = (limit.hold for limit in limits if limit.free == 0 and not _covers(reservation, limit, account.account))
        hold = next(full, None)
        return self._take([account], account.account, reservation) if hold is None else hold

    def _take(self, owners: Sequence[Owner], account: str | None, reservation: Reservation | None) -> Reservation:
        limits = [limit for owner in owners for limit in self.by_owner[owner].limits]
        kept = reservation if self._is_kept(owners, account, reservation) else None
        for limit in limits:
            limit.free -= 0 if _covers(reservation, limit, account) else 1
        for owner in owners:
            self.taken[owner] += 0 if kept else 1  # 0 counts nothing more, and starts the gap again
            if kept is None and reservation is not None and self._is_of_day(owner, reservation, account):
                self.released[owner, quarter_of(reservation.at)] += 1
        return kept or Reservation(self.now, account)

    def _assign(self, route: Route) -> None:
        mailbox = self.mailbox(route) if self._is_open(route) else None
        if mailbox is not None:
            self.pools.assign(route.campaign_id, mailbox)
        self._next.clear()

    def snapshot(self) -> Snapshot:
        """Returns a copy for `restore`, to be made before reservations that may have to be undone."""
        free = {owner: [limit.free for limit in allowances.limits] for owner, allowances in self.by_owner.items()}
        return Snapshot(
            free, self.taken.copy(), self.released.copy(), self.pools.people.copy(), self.pools.waiting.copy()
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Undoes what was reserved since the snapshot."""
        for owner, allowances in self.by_owner.items():
            for limit, free in zip(allowances.limits, snapshot.free[owner], strict=True):
                limit.free = free
        self.taken, self.released = snapshot.taken.copy(), snapshot.released.copy()
        self.pools.people, self.pools.waiting = snapshot.people.copy(), snapshot.waiting.copy()
        self._next.clear()

    def _covers(self, reservation: Reservation | None, limit: Allowance, route: Route) -> bool:
        """Returns whether the reservation was made in the day or hour of the limit, for the present account."""
        return _covers(reservation, limit, self.account(route))

    def _is_of_day(self, owner: Owner, reservation: Reservation, account: str | None) -> bool:
        """Returns whether the reservation was made on the owner's present day, for the present account."""
        return reservation.account == account and reservation.at >= self.by_owner[owner].day.start

    def _is_kept(self, owners: Sequence[Owner], account: str | None, reservation: Reservation | None) -> bool:
        """Returns whether a mail goes out again with that reservation."""
        if reservation is None:
            return False
        is_of_days = all(self._is_of_day(owner, reservation, account) for owner in owners)
        limits = [limit for owner in owners for limit in self.by_owner[owner].limits]
        return is_of_days and all(_covers(reservation, limit, account) for limit in limits if limit.since is not None)

    def _limits(self, route: Route) -> Iterable[Allowance]:
        return (limit for owner in self._owners(route) for limit in self.by_owner[owner].limits)

    def _owners(self, route: Route) -> list[Owner]:
        account = self.account(route)
        owners: list[Owner] = [route.campaign_id]
        if account is not None:
            owners.append(Account(route.channel, account))
        return [owner for owner in owners if owner in self.by_owner]
