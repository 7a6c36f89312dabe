"""A copy of what campaigns, accounts and mailboxes have used of their limits, which a forecast goes on counting."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from db.domain.allowance import Allowances, DayAllowances, Owner, of_pace
from db.domain.pacing import Source
from db.domain.sending import Pace, Usage, day_of, hour_of

_START = timedelta(0)


@dataclass(slots=True)
class _Count:
    """What one owner has used of the day and of the hour that end then, and how many on the day of the last."""

    source: Source
    usage: Usage
    day_ends: datetime
    hour_ends: datetime
    left: DayAllowances | None = None
    valid_until: datetime | None = None


class Counts(Mapping[Owner, DayAllowances]):
    """The allowances of all owners at `now`, made when they are asked for."""

    def __init__(self, sources: Mapping[Owner, Source], usages: Mapping[Owner, Usage], now: datetime) -> None:
        self.now = now
        self._counts: dict[Owner, _Count] = {}
        for owner, source in sources.items():
            zone = source.fixed.zone
            ends = day_of(now, zone).end, hour_of(now, zone).end
            self._counts[owner] = _Count(source, usages.get(owner, Usage()), *ends)

    def __len__(self) -> int:
        return len(self._counts)

    def __iter__(self) -> Iterator[Owner]:
        return iter(self._counts)

    def __contains__(self, owner: object) -> bool:
        return owner in self._counts

    def __getitem__(self, owner: Owner) -> DayAllowances:
        count = self._counts[owner]
        if count.left is None or count.valid_until is None or self.now >= count.valid_until:
            pace = count.source.pace(self.now)
            self._turn(count, pace)
            count.left = of_pace(pace, count.usage, self.now)
            count.valid_until = min([count.hour_ends, count.day_ends, *_endings(count.left)])
        return count.left

    def _turn(self, count: _Count, pace: Pace) -> None:
        """Begins a new day or hour where the last one has ended."""
        usage = count.usage
        if self.now >= count.day_ends:
            count.day_ends = day_of(self.now, pace.zone).end
            usage = Usage(0, usage.last_at, 0, usage.place)
        if self.now >= count.hour_ends:
            count.hour_ends = hour_of(self.now, pace.zone).end
            usage = Usage(usage.used, usage.last_at, 0, usage.place)
        count.usage = usage

    def book(self, taken: Allowances) -> None:
        """Counts what a claim has taken at `now`, and what it has released of the present day and hour."""
        for owner, number in taken.taken.items():
            count = self._counts[owner]
            pace = count.source.pace(self.now)
            self._turn(count, pace)
            released = [(at, n) for (of, at), n in taken.released.items() if of == owner]
            day, hour = day_of(self.now, pace.zone).start, hour_of(self.now, pace.zone).start
            used = count.usage.used + number - sum(n for at, n in released if at >= day)
            in_hour = count.usage.in_hour + number - sum(n for at, n in released if at >= hour)
            count.usage = Usage(max(0, used), self.now, max(0, in_hour), max(0, used))
            count.source = count.source.begun(self.now)
            count.left = None

    def source(self, owner: Owner) -> Source:
        """Returns where the pace of an owner comes from."""
        return self._counts[owner].source


def _endings(left: DayAllowances) -> list[datetime]:
    """Returns when limits end that are no days or hours: gaps."""
    return [
        limit.hold.until
        for limit in left.limits
        if limit.since is None and limit.free == 0 and limit.hold.until is not None
    ]
