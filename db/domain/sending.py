"""When and how much a campaign sends: its calendar, its limits, and those of the accounts it sends from.

Pure functions of a campaign's settings. A day is a day on the wall calendar of a time zone: the campaign's for its own
limits, and for those of an account the account's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from hashlib import blake2b
from typing import Any
from zoneinfo import ZoneInfo

from db.domain.drafts import Approval
from db.domain.states import Channel
from db.domain.windows import HORIZON_DAYS, Calendar, Window, local_day, next_open

ALWAYS_OPEN = Calendar()
WORKSPACE_ZONE = "UTC"
"""The time zone of an account that names none."""
QUARTER = timedelta(minutes=15)
"""What is handed out is counted by quarters of an hour: the days of every zone are made of whole ones, so the counts
hold in whatever zone they are asked for."""
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class SentBy(StrEnum):
    """Who sends the emails of a campaign that names mailboxes. AGENT: whoever claims them, and reports what became of
    them."""

    SERVER = "server"
    AGENT = "agent"


@dataclass(frozen=True, slots=True)
class Limits:
    """At most `daily` sends a day and `hourly` an hour of the clock (None: any number), and `gap` from one to the
    next."""

    daily: int | None = None
    gap: timedelta = timedelta(0)
    hourly: int | None = None

    @property
    def are_set(self) -> bool:
        return self.daily is not None or self.hourly is not None or self.gap > timedelta(0)

    def tightened(self, other: "Limits") -> "Limits":
        """Returns both at once: the smaller numbers and the longer gap."""
        return Limits(_smaller(self.daily, other.daily), max(self.gap, other.gap), _smaller(self.hourly, other.hourly))


def _smaller(*numbers: int | None) -> int | None:
    return min((number for number in numbers if number is not None), default=None)


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
class Span:
    """A day or an hour of a time zone: from its start to its end, which is no more of it."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Usage:
    """What was handed out under some limits: how many since their day began and since their hour began, when the last,
    and which one of its own day that was, counted from 1."""

    used: int = 0
    last_at: datetime | None = None
    in_hour: int = 0
    place: int = 0


@dataclass(frozen=True, slots=True)
class Pace:
    """The limits of a campaign (account: None) or of an account, and the time zone of its days and hours.

    is_mailbox: the account is a mailbox: its gap varies from one mail to the next.
    """

    limits: Limits
    zone: str = "UTC"
    account: str | None = None
    is_mailbox: bool = False

    @property
    def who(self) -> str:
        """Returns how holds name it."""
        kind = "mailbox" if self.is_mailbox else "account"
        return f"The {kind} {self.account}" if self.account else "The campaign"

    def gap_after(self, last_at: datetime, place: int) -> timedelta:
        """Returns the gap after what went out at `last_at`, `place` of its day. Each look at a mailbox finds the same:
        whole seconds from 1.0 to 1.5 times its least gap, drawn from a hash of mailbox, day and place."""
        seconds = int(self.limits.gap.total_seconds())
        if not self.is_mailbox or seconds == 0:
            return self.limits.gap
        name = f"{self.account}/{local_day(last_at, zone(self.zone))}/{place}"
        drawn = int.from_bytes(blake2b(name.encode(), digest_size=8).digest())
        return timedelta(seconds=seconds + drawn % (seconds // 2 + 1))


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
    mailboxes: tuple[str, ...] = ()
    """The addresses of the mailboxes that its emails are sent from."""
    sent_by: SentBy = SentBy.SERVER
    include_overdue: bool = False
    """The server sends even what was long due when it began to send: see `scheduling.overdue_before`."""
    approval: Approval = Approval.NONE

    def is_sent_by_server(self, channel: Channel) -> bool:
        """Returns whether the server itself sends the steps of that channel, so that no agent may claim them."""
        return channel is Channel.EMAIL and bool(self.mailboxes) and self.sent_by is SentBy.SERVER

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

    def day(self, now: datetime) -> Span:
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
        """By limits of its own, or by those of an account or a mailbox that it sends from."""
        return self.limits.are_set or self.ramp_up is not None or bool(self.senders) or bool(self.mailboxes)


ANYTIME = Sending()


@lru_cache(maxsize=1024)
def zone(name: str) -> ZoneInfo:
    """Returns the zone of an IANA name. What the tools take in is checked; for any other name this is UTC."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return ZoneInfo("UTC")


def day_of(now: datetime, name: str) -> Span:
    """Returns the day of `now` in the zone of that name."""
    place = zone(name)
    today = local_day(now, place)
    start, end = (datetime.combine(day, time(), place) for day in (today, today + timedelta(days=1)))
    return Span(start.astimezone(UTC), end.astimezone(UTC))


def hour_of(now: datetime, name: str) -> Span:
    """Returns the hour of the clock in which `now` lies in the zone of that name."""
    wall = now.astimezone(zone(name))
    start = now - timedelta(minutes=wall.minute, seconds=wall.second, microseconds=wall.microsecond)
    return Span(start.astimezone(UTC), start.astimezone(UTC) + timedelta(hours=1))


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
        mailboxes=tuple(settings.get("mailboxes", ())),
        sent_by=SentBy(settings.get("sent_by", SentBy.SERVER)),
        include_overdue=settings.get("include_overdue", False),
        approval=Approval(settings.get("approval", Approval.NONE)),
    )


def _window(given: Mapping[str, Any]) -> Window:
    days = frozenset(WEEKDAYS.index(day) for day in given["days"])
    closes = None if given["end"] == "24:00" else time.fromisoformat(given["end"])
    return Window(days, time.fromisoformat(given["start"]), closes)


def _limits(given: Mapping[str, Any]) -> Limits:
    gap = timedelta(seconds=given.get("min_gap_seconds") or 0)
    return Limits(given.get("daily_limit"), gap, given.get("hourly_limit"))
