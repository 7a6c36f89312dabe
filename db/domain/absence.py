"""Until when somebody who is away is not written to."""

from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Final

WITHOUT_A_DATE: Final = timedelta(days=7)
"""How long somebody is taken to be away who does not say until when."""
MOST: Final = timedelta(days=365)
"""A return that is further ahead is taken to be this far ahead."""


def end_of(began_at: datetime, until: date | None, zone: tzinfo, now: datetime) -> datetime:
    """Returns the end of an absence: the start of the day after the return on `until`, in the person's zone; without a
    date a week after it began."""
    latest = now.astimezone(zone).date() + MOST
    if until is None:
        return min(began_at + WITHOUT_A_DATE, _start_of_day_after(latest, zone))
    return _start_of_day_after(min(until, latest), zone)


def _start_of_day_after(day: date, zone: tzinfo) -> datetime:
    return datetime.combine(day + timedelta(days=1), datetime.min.time(), zone).astimezone(UTC)
