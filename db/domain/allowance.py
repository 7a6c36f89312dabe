"""What is left of the limits that campaigns and their accounts are under, and what is taken of it.

Pure: a claim takes of a budget that is locked in the database, and a look or a forecast of a copy.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, TypeAlias
from uuid import UUID

from db.domain.holds import Hold, Places
from db.domain.scheduling import Plan
from db.domain.sending import Day, quarter_of
from db.domain.states import Channel


class Account(NamedTuple):
    """An account that campaigns send from."""

    channel: Channel
    account: str


Owner: TypeAlias = UUID | Account
"""Whose limits: a campaign's or an account's."""


class Place(NamedTuple):
    """What a claim took at a moment: a place of its campaign, and one of the account that it sends from. It is kept
    when the lease runs out, for the step may have been sent; so the same step goes out again without another."""

    at: datetime
    account: str | None


@dataclass(frozen=True, slots=True)
class Allowance:
    """What an owner has left of its day, limit by limit; nothing to tell where no limit is set."""

    day: Day
    places: list[Places] = field(default_factory=list[Places])


class Left(NamedTuple):
    """What was free of each limit at some moment, and what had been taken."""

    free: Mapping[Owner, list[int]]
    taken: Counter[Owner]
    given_back: Counter[tuple[Owner, datetime]]


@dataclass(slots=True)
class Budget:
    """The allowances of some campaigns and of the accounts that they send from. Each send takes a place of both.

    taken: how many places of each owner; those that went out again on theirs are there with none.
    given_back: (owner, quarter of an hour) -> places of then that were taken anew.
    """

    plans: Mapping[UUID, Plan]
    now: datetime
    allowances: Mapping[Owner, Allowance] = field(default_factory=dict[Owner, Allowance])
    taken: Counter[Owner] = field(default_factory=Counter[Owner])
    given_back: Counter[tuple[Owner, datetime]] = field(default_factory=Counter[tuple[Owner, datetime]])

    def account(self, instance_id: UUID, channel: Channel) -> str | None:
        """The account that the campaign sends from on that channel, if it names one."""
        sender = self.plans[instance_id].sending.senders.get(channel)
        return sender.account if sender else None

    def free(self, instance_id: UUID, channel: Channel, *, again: bool = False) -> int | None:
        """How many more of that campaign may go out on that channel now; None: any number. `again`: of those that have
        their places of the day."""
        left = (each.free for each in self._places(instance_id, channel) if not (again and each.is_of_day))
        return min(left, default=None)

    def limits(self, instance_id: UUID, channel: Channel, *, again: bool = False) -> list[Hold]:
        """Every limit that stands in the way of one more; `again` as in `free`."""
        every = self._places(instance_id, channel)
        return [each.hold for each in every if each.free == 0 and not (again and each.is_of_day)]

    def limits_for(self, instance_id: UUID, channel: Channel, place: Place | None) -> list[Hold]:
        """Every limit that stands in the way of a step that has `place`, or none."""
        return [
            each.hold
            for owner in self._owners(instance_id, channel)
            for each in self.allowances[owner].places
            if each.free == 0 and not (each.is_of_day and self._keeps(owner, instance_id, channel, place))
        ]

    def kept_since(self, instance_id: UUID, channel: Channel, wanted: int) -> datetime | None:
        """Since when a place must have been taken to count for a step of that channel in each day of which fewer than
        `wanted` are left; None where there is no such day."""
        allowances = [self.allowances[owner] for owner in self._owners(instance_id, channel)]
        starts = [
            each.day.start for each in allowances if any(left.is_of_day and left.free < wanted for left in each.places)
        ]
        return max(starts, default=None)

    def spares(self, instance_id: UUID, channel: Channel, place: Place | None) -> bool:
        """Whether a step with that place leaves one of a daily limit to another."""
        return any(
            each.is_of_day
            for owner in self._owners(instance_id, channel)
            if self._keeps(owner, instance_id, channel, place)
            for each in self.allowances[owner].places
        )

    def take(self, instance_id: UUID, channel: Channel, place: Place | None = None) -> Place | Hold:
        """Take what a step needs that has `place`, or none: the place on which it goes out. Or what stands in the way.

        Where it is a new day for one owner and not for the other, both are taken anew, so that a place has one moment.
        """
        hold = next(iter(self.limits_for(instance_id, channel, place)), None)
        if hold is not None:
            return hold
        owners = self._owners(instance_id, channel)
        keeping = [owner for owner in owners if self._keeps(owner, instance_id, channel, place)]
        for owner in owners:
            for each in self.allowances[owner].places:
                each.free -= 0 if each.is_of_day and owner in keeping else 1
        if place is not None and len(keeping) == len(owners):
            for owner in owners:
                self.taken[owner] += 0  # it counts no more than before, and a gap begins anew
            return place
        for owner in owners:
            self.taken[owner] += 1
            if place is not None and owner in keeping:
                self.given_back[owner, quarter_of(place.at)] += 1
        return Place(self.now, self.account(instance_id, channel))

    def copy_of_what_is_left(self) -> Left:
        """For `restore`, where what is taken next may have to be put back."""
        free = {owner: [each.free for each in allowance.places] for owner, allowance in self.allowances.items()}
        return Left(free, self.taken.copy(), self.given_back.copy())

    def restore(self, left: Left) -> None:
        """What was taken since then was not."""
        for owner, allowance in self.allowances.items():
            for each, free in zip(allowance.places, left.free[owner], strict=True):
                each.free = free
        self.taken, self.given_back = left.taken.copy(), left.given_back.copy()

    def _keeps(self, owner: Owner, instance_id: UUID, channel: Channel, place: Place | None) -> bool:
        """Whether that place is one of the day of the owner that is now."""
        if place is None or place.account != self.account(instance_id, channel):
            return False
        return place.at >= self.allowances[owner].day.start

    def _places(self, instance_id: UUID, channel: Channel) -> Iterable[Places]:
        return (each for owner in self._owners(instance_id, channel) for each in self.allowances[owner].places)

    def _owners(self, instance_id: UUID, channel: Channel) -> list[Owner]:
        account = self.account(instance_id, channel)
        owners: list[Owner] = [instance_id] if account is None else [instance_id, Account(channel, account)]
        return [owner for owner in owners if owner in self.allowances]
