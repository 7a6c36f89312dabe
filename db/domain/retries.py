"""When a mail is tried again that its mail server did not take yet."""

from datetime import datetime, timedelta
from typing import Final

PAUSES: Final = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 60))
"""The pauses after the first attempts. The last of them holds from then on."""
GIVEN_UP_AFTER: Final = timedelta(hours=72)
KEPT_TRYING: Final = "deferred_for_72_hours"
"""The rule of a mail that was given up."""


def next_attempt(
    attempts: int,
    *,
    since: datetime,
    now: datetime,
    retry_seconds: float | None = None,
    at_least: timedelta = timedelta(0),
) -> datetime | None:
    """Returns when a mail is tried again after `attempts` earlier ones in vain, the first of them at `since`; None if
    it is given up. retry_seconds: the pause instead of those that are usual. at_least: the shortest of those."""
    if now - since >= GIVEN_UP_AFTER:
        return None
    usual = max(PAUSES[min(attempts, len(PAUSES) - 1)], at_least)
    return now + (usual if retry_seconds is None else timedelta(seconds=retry_seconds))
