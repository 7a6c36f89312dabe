"""When a campaign may send: days and hours on the wall clock of a time zone, less holidays.

A wall clock jumps, so an open moment is never found by arithmetic on wall time alone. Between two changes of a zone's
offset it is, though: `next_open` looks for the opening there, and starts again at the change if one comes first.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import takewhile

HORIZON_DAYS = 400
"""How far ahead `next_open` looks: past any pattern of weekdays and a year of holidays."""

PROBE = timedelta(days=3)
"""The distance at which offsets are compared. In the IANA data no two changes of a zone are nearer than 6.9 days, so
there is one between two probes or none."""

_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Window:
    """Hours that are open on some days of the week.

    days: Monday is 0.
    opens, closes: wall time without a zone; `closes` is exclusive, and None is midnight at the end of the day. Hours
    that end before they start run over midnight, and belong to the day on which they start.
    """

    days: frozenset[int]
    opens: time
    closes: time | None

    @property
    def never_opens(self) -> bool:
        """True where no moment of any week can lie inside."""
        return not self.days or self.opens == self.closes

    @property
    def is_overnight(self) -> bool:
        """Whether it closes on the day after it opened."""
        return self.closes is not None and self.closes < self.opens

    def closing(self, day: date) -> datetime:
        """Returns the wall time at which it closes that opened on `day`."""
        if self.closes is None:
            return _midnight(day + _DAY)
        return datetime.combine(day + _DAY if self.is_overnight else day, self.closes)


ALWAYS = Window(frozenset(range(7)), time.min, None)


@dataclass(frozen=True, slots=True)
class Calendar:
    """A window, or None for always, and the days (of the wall calendar) that are closed whatever the window says."""

    window: Window | None = None
    holidays: frozenset[date] = frozenset()


def is_open(moment: datetime, calendar: Calendar, zone: tzinfo) -> bool:
    """Returns whether `moment` (aware) lies in the window by the wall clock of `zone`, and on no holiday."""
    wall = moment.astimezone(zone).replace(tzinfo=None)
    return _next_on_wall(wall, calendar, wall.date()) == wall


def next_open(moment: datetime, calendar: Calendar, zone: tzinfo) -> datetime | None:
    """Returns the first open moment at or after `moment` (aware), in UTC.

    None where there is none up to HORIZON_DAYS days later: a window that never opens, or holidays without an end. An
    opening time that the wall clock skips opens at the skip; an hour that it repeats is open both times.
    """
    if calendar.window is not None and calendar.window.never_opens:
        return None
    start = moment.astimezone(UTC)
    end = start + timedelta(days=HORIZON_DAYS)
    while True:
        wall = start.astimezone(zone).replace(tzinfo=None)
        offset = wall - start.replace(tzinfo=None)
        opening = _next_on_wall(wall, calendar, (wall + (end - start)).date())
        # What it would be if the offset stayed as it is.
        found = start + (opening - wall) if opening is not None else None
        change = _change_of_offset(start, min(found or end, end), offset, zone)
        if change is None:
            return found if found is not None and found <= end else None
        start = change


def local_day(moment: datetime, zone: tzinfo) -> date:
    """Returns the day of `moment` (aware) on the wall calendar of `zone`."""
    return moment.astimezone(zone).date()


def _next_on_wall(wall: datetime, calendar: Calendar, last: date) -> datetime | None:
    """Returns the first open wall time at or after `wall`, on a clock that never jumps; None if there is none up to
    `last`."""
    window = calendar.window or ALWAYS
    first = wall.date() - _DAY if window.is_overnight else wall.date()
    for day in takewhile(lambda day: day <= last, _days_from(first)):
        if day.weekday() not in window.days or day in calendar.holidays:
            continue
        if wall < window.closing(day):
            return max(wall, datetime.combine(day, window.opens))
    return None


def _days_from(day: date) -> Iterator[date]:
    while True:
        yield day
        day += _DAY


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min)


def _change_of_offset(start: datetime, end: datetime, offset: timedelta, zone: tzinfo) -> datetime | None:
    """Returns the first moment after `start` and up to `end` at which `zone` leaves `offset`, to the second."""
    before = start
    while before < end:
        after = min(before + PROBE, end)
        if after.astimezone(zone).utcoffset() != offset:
            return _bisect(before, after, offset, zone)
        before = after
    return None


def _bisect(start: datetime, end: datetime, offset: timedelta, zone: tzinfo) -> datetime:
    """Returns the moment of the change of offset between the two: `start` has `offset`, `end` has another."""
    start = start.replace(microsecond=0)
    before, after = 0, (end - start) // _SECOND
    while after - before > 1:
        middle = (before + after) // 2
        if (start + timedelta(seconds=middle)).astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return start + timedelta(seconds=after)
