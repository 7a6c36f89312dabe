"""What a forecast says: how many steps go out on each day from each mailbox, and which limit keeps others back."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from types import MappingProxyType
from typing import Final, NamedTuple
from uuid import UUID

from db.domain.holds import Hold, HoldReason
from db.domain.sending import day_of, zone
from db.domain.windows import local_day

RAMP_UP: Final = "ramp_up"
DAILY_LIMIT: Final = "daily_limit"
HOURLY_LIMIT: Final = "hourly_limit"
_WORDS: Final[Mapping[HoldReason, str]] = MappingProxyType(
    {
        HoldReason.DAILY_LIMIT: DAILY_LIMIT,
        HoldReason.SENDER_DAILY_LIMIT: DAILY_LIMIT,
        HoldReason.SENDER_HOURLY_LIMIT: HOURLY_LIMIT,
    }
)
# Of several limits that hold the same people, the one that lasts is told.
_RANKS: Final = (RAMP_UP, DAILY_LIMIT, HOURLY_LIMIT, HoldReason.SENDER_MIN_GAP, HoldReason.MIN_GAP)


class Day(NamedTuple):
    """One day of one mailbox, or of the steps that go out from none. binding_limit: what kept people waiting who were
    due; None if nobody was."""

    date: date
    mailbox: str | None
    planned: int
    binding_limit: str | None = None


@dataclass(frozen=True, slots=True)
class Forecast:
    """ends_on: the day on which the last step goes out, if that is found."""

    days: Sequence[Day]
    ends_on: date | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked: of one campaign or of all, of one mailbox (its address) or of all, and for how many days."""

    days: int
    campaign_id: UUID | None = None
    mailbox: str | None = None


class Sheet(NamedTuple):
    """Whose days are counted together: a mailbox, or what goes out from none, in a time zone."""

    mailbox: str | None
    zone: str

    def day(self, moment: datetime) -> date:
        return local_day(moment, zone(self.zone))


def word(limits: Iterable[Hold], *, is_ramped: bool) -> str | None:
    """Returns the word for the limit that lasts longest; None if none of them is a limit."""
    words = [_WORDS.get(limit.reason, str(limit.reason)) for limit in limits]
    if is_ramped:
        words = [RAMP_UP if name == DAILY_LIMIT else name for name in words]
    return min((name for name in words if name in _RANKS), key=_RANKS.index, default=None)


@dataclass(slots=True)
class Book:
    """What was counted so far. left: why people were left waiting, as of the last look."""

    wanted: Wanted
    now: datetime
    planned: Counter[tuple[Sheet, date]] = field(default_factory=Counter[tuple[Sheet, date]])
    reasons: dict[tuple[Sheet, date], str] = field(default_factory=dict[tuple[Sheet, date], str])
    last: date | None = None
    _left: dict[Sheet, str] = field(default_factory=dict[Sheet, str])

    def counts(self, campaign_id: UUID) -> bool:
        """Returns whether the campaign is asked about."""
        return self.wanted.campaign_id in (None, campaign_id)

    def is_shown(self, sheet: Sheet) -> bool:
        return self.wanted.mailbox in (None, sheet.mailbox)

    def end(self, sheet: Sheet) -> datetime:
        """Returns when the last day of a sheet ends."""
        moment = self.now
        for _ in range(self.wanted.days):
            moment = day_of(moment, sheet.zone).end
        return moment

    def send(self, sheet: Sheet, campaign_id: UUID, now: datetime) -> None:
        """Counts a step that goes out."""
        if self.counts(campaign_id) and self.is_shown(sheet):
            day = sheet.day(now)
            self.planned[sheet, day] += 1
            self.last = day if self.last is None else max(self.last, day)

    def leave(self, sheet: Sheet, reason: str | None) -> None:
        """Notes why people of the sheet wait who are due, or that nobody does."""
        if reason is None:
            self._left.pop(sheet, None)
        else:
            self._left[sheet] = reason

    def close(self, sheet: Sheet, end: datetime, otherwise: str | None) -> None:
        """Ends a day of a sheet, at whose end somebody waits who is due. otherwise: why, if no limit is known."""
        day = sheet.day(end - timedelta(microseconds=1))
        reason = self._left.pop(sheet, None)
        if reason is None and not self.planned[sheet, day]:
            reason = otherwise
        if reason is not None:
            self.reasons[sheet, day] = reason

    def told(self, sheets: Iterable[Sheet], *, is_over: bool) -> Forecast:
        """Returns the forecast. is_over: nobody who is asked about waits any more."""
        last = {sheet: sheet.day(self.end(sheet) - timedelta(microseconds=1)) for sheet in sheets}
        planned: Counter[tuple[date, str | None]] = Counter()
        reasons: dict[tuple[date, str | None], str] = {}
        for sheet, day in {*self.planned, *self.reasons}:
            if day > last[sheet] or not self.is_shown(sheet):
                continue
            planned[day, sheet.mailbox] += self.planned[sheet, day]
            if (sheet, day) in self.reasons:
                reasons[day, sheet.mailbox] = self.reasons[sheet, day]
        found = [
            Day(day, mailbox, planned[day, mailbox], reasons.get((day, mailbox)))
            for day, mailbox in sorted({*planned, *reasons}, key=lambda key: (key[0], key[1] or ""))
            if planned[day, mailbox] or (day, mailbox) in reasons
        ]
        return Forecast(found, self.last if is_over else None)
