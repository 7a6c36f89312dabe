"""When and how much a campaign sends: its calendar, its limits, and those of the accounts it sends from.

Pure functions of a campaign's settings. A day is a day on the wall calendar of a time zone: the campaign's for its own
limits, and for those of an account the account's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from db.domain.states import Channel
from db.domain.windows import HORIZON_DAYS, Calendar, Window, local_day, next_open

ALWAYS_OPEN = Calendar()
WORKSPACE_ZONE = "UTC"
"""The time zone of an account that names none."""
QUARTER = timedelta(minutes=15)
"""What is handed out is counted by quarters of an hour: the days of every zone are made of whole ones, so the counts
hold in whatever zone they are asked for."""
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True)
class Limits:
    """At most `daily` sends a day (None: any number), and `gap` from one to the next."""

    daily: int | None = None
    gap: timedelta = timedelta(0)

    @property
    def are_set(self) -> bool:
        return self.daily is not None or self.gap > timedelta(0)

    def tightened(self, other: "Limits") -> "Limits":
        """Returns both at once: the smaller number and the longer gap."""
        numbers = [limits.daily for limits in (self, other) if limits.daily is not None]
        return Limits(min(numbers, default=None), max(self.gap, other.gap))


@dataclass(frozen=True, slots=True)
class RampUp:
    """`start` sends on the first day, `increase` more on each day after it."""

    start: int
    increase: int

    def limit(self, days_since_start: int) -> int:
        return self.start + self.increase * max(0, days_since_start)


@dataclass(frozen=True, slots=True)
class Sender:
    """An account that a campaign sends from on one channel. Campaigns may share it, and its limits and its zone with
    it."""

    account: str
    limits: Limits = Limits()
    zone: str | None = None
    """The time zone of its days, where the campaign names one."""

    def shared(self, other: "Sender") -> "Sender":
        """Returns the account as two campaigns name it, this one first: the tightest limits hold, and the first
        zone."""
        return Sender(self.account, self.limits.tightened(other.limits), self.zone or other.zone)


@dataclass(frozen=True, slots=True)
class Day:
    """A day of a time zone: from its midnight to the next, which is no more of it."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Usage:
    """What was handed out under some limits: how many since their day began, and when the last."""

    used: int = 0
    last_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Sending:
    """The rules of one campaign."""

    zone: str = "UTC"
    calendar: Calendar = ALWAYS_OPEN
    follows_contact: bool = False
    """The calendar is read in the time zone of each person, where that is known."""
    limits: Limits = Limits()
    ramp_up: RampUp | None = None
    started_at: datetime | None = None
    senders: Mapping[Channel, Sender] = field(default_factory=dict[Channel, Sender])

    def zone_of(self, contact_zone: str | None) -> str | None:
        """Returns the name of the zone that an enrollment has of its own; None where the campaign's holds for
        everybody."""
        return (contact_zone or self.zone) if self.follows_contact else None

    def opening(self, moment: datetime, own_zone: str | None = None) -> datetime | None:
        """Returns the first moment at or after `moment` at which the calendar is open, in UTC; None for never. It is
        read in `own_zone`, that of an enrollment, or in the campaign's."""
        if self.calendar == ALWAYS_OPEN:
            return moment
        return next_open(moment, self.calendar, zone(own_zone or self.zone))

    @property
    def never_opens(self) -> str:
        """What is said if `opening` finds nothing."""
        if self.calendar.window is not None and self.calendar.window.never_opens:
            return "The sending window never opens."
        return f"The sending window does not open within {HORIZON_DAYS} days."

    def today(self, now: datetime) -> date:
        return local_day(now, zone(self.zone))

    def day(self, now: datetime) -> Day:
        """Returns the day of `now` in the campaign's zone."""
        return day_of(now, self.zone)

    def limits_on(self, day: date) -> Limits:
        """Returns the campaign's own limits on that day: the ramp-up holds while it is the smaller number."""
        if self.ramp_up is None or self.started_at is None:
            return self.limits
        days = (day - local_day(self.started_at, zone(self.zone))).days
        return self.limits.tightened(Limits(self.ramp_up.limit(days)))

    @property
    def may_be_limited(self) -> bool:
        """By limits of its own, or by those of an account that it sends from."""
        return self.limits.are_set or self.ramp_up is not None or bool(self.senders)


ANYTIME = Sending()


@lru_cache(maxsize=1024)
def zone(name: str) -> ZoneInfo:
    """Returns the zone of an IANA name. What the tools take in is checked; for any other name this is UTC."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return ZoneInfo("UTC")


def day_of(now: datetime, name: str) -> Day:
    """Returns the day of `now` in the zone of that name."""
    place = zone(name)
    today = local_day(now, place)
    start, end = (datetime.combine(day, time(), place) for day in (today, today + timedelta(days=1)))
    return Day(start.astimezone(UTC), end.astimezone(UTC))


def quarter_of(moment: datetime) -> datetime:
    """Returns the start of the quarter of an hour in which `moment` lies, in UTC."""
    return datetime.fromtimestamp(moment.timestamp() // QUARTER.total_seconds() * QUARTER.total_seconds(), UTC)


def of_settings(settings: Mapping[str, Any], started_at: datetime | None = None) -> Sending:
    """Returns the rules in a campaign's settings, as mcp_server.schemas.campaigns.CampaignSettings writes them."""
    window, ramp_up = settings.get("sending_window"), settings.get("ramp_up")
    return Sending(
        zone=settings.get("timezone") or "UTC",
        calendar=Calendar(
            _window(window) if window else None,
            frozenset(date.fromisoformat(day) for day in settings.get("holidays", ())),
        ),
        follows_contact=settings.get("use_contact_timezone", False),
        limits=_limits(settings),
        ramp_up=RampUp(ramp_up["start"], ramp_up["increase"]) if ramp_up else None,
        started_at=started_at,
        senders={
            Channel(channel): Sender(sender["account"], _limits(sender), sender.get("timezone"))
            for channel, sender in settings.get("senders", {}).items()
        },
    )


def _window(given: Mapping[str, Any]) -> Window:
    days = frozenset(WEEKDAYS.index(day) for day in given["days"])
    closes = None if given["end"] == "24:00" else time.fromisoformat(given["end"])
    return Window(days, time.fromisoformat(given["start"]), closes)


def _limits(given: Mapping[str, Any]) -> Limits:
    return Limits(given.get("daily_limit"), timedelta(seconds=given.get("min_gap_seconds") or 0))
