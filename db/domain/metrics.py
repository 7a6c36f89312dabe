"""What is counted and what is derived from it, declared as data.

A milestone is something that happens to an action (one step, one person) at most once; a counter is how many actions
reached it. Totals count every occurrence. Rates are declared once, here; every report, view and document reads them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from db.domain.intervals import Interval, wilson


class Milestone(StrEnum):
    """The value is the counter's column in campaign_metrics, and with `_at` the column in campaign_actions."""

    SENT = "sent"
    DELIVERED = "delivered"
    OPENED = "opened"
    CLICKED = "clicked"
    REPLIED = "replied"
    BOUNCED = "bounced"
    HARD_BOUNCED = "hard_bounced"
    UNSUBSCRIBED = "unsubscribed"
    COMPLAINED = "complained"
    ACCEPTED = "accepted"
    FAILED = "failed"


class Total(StrEnum):
    """Counts of every occurrence: one person who opens a mail three times adds three."""

    TOTAL_OPENS = "total_opens"
    TOTAL_CLICKS = "total_clicks"


MILESTONES: tuple[Milestone, ...] = tuple(Milestone)
COUNTERS: tuple[str, ...] = (*(str(milestone) for milestone in Milestone), *(str(total) for total in Total))

MEANINGS: Mapping[str, str] = {
    "sent": "steps sent, one per person and step",
    "delivered": "sent steps known to have arrived",
    "opened": "delivered steps opened by a person at least once",
    "clicked": "opened steps with at least one click by a person",
    "replied": "delivered steps that were answered",
    "bounced": "sent steps that came back, hard or soft, and were not delivered after all",
    "hard_bounced": "those of them that came back hard; the others did softly",
    "unsubscribed": "steps after which the person unsubscribed",
    "complained": "delivered steps reported as spam",
    "accepted": "LinkedIn invitations that were accepted",
    "failed": "steps that the provider rejected or failed to send",
    "total_opens": "every open, repeated ones included",
    "total_clicks": "every click, repeated ones included",
}


class GroupBy(StrEnum):
    """How a report is split."""

    TOTAL = "total"
    STEP = "step"
    VARIANT = "variant"
    CHANNEL = "channel"
    DAY = "day"


class Better(StrEnum):
    """Which of two values of a rate a campaign would rather have."""

    HIGHER = "higher"
    LOWER = "lower"


@dataclass(frozen=True, slots=True)
class Rate:
    """numerator / denominator of two counters; null, not 0, while the denominator is 0."""

    slug: str
    numerator: str
    denominator: str
    meaning: str
    did: str
    """What a person did who counts in the numerator, after "people"."""
    better: Better = Better.HIGHER

    def counts(self, totals: Mapping[str, int]) -> tuple[int, int]:
        """Returns (numerator, denominator) of `totals` (counter -> count)."""
        return totals[self.numerator], totals[self.denominator]


RATES: tuple[Rate, ...] = (
    Rate("delivery_rate", "delivered", "sent", "share of sent steps that arrived", "got one"),
    Rate("open_rate", "opened", "delivered", "share of delivered steps that were opened", "opened one"),
    Rate("click_rate", "clicked", "delivered", "share of delivered steps that were clicked", "clicked"),
    Rate("click_through_rate", "clicked", "opened", "share of opened steps that were clicked", "clicked"),
    Rate("reply_rate", "replied", "delivered", "share of delivered steps that were answered", "answered"),
    Rate("bounce_rate", "bounced", "sent", "share of sent steps that bounced", "bounced", Better.LOWER),
    Rate(
        "unsubscribe_rate",
        "unsubscribed",
        "delivered",
        "share of delivered steps that led to an unsubscribe",
        "unsubscribed",
        Better.LOWER,
    ),
    Rate("acceptance_rate", "accepted", "sent", "share of sent LinkedIn steps that led to a connection", "accepted"),
)


def rates(totals: Mapping[str, int]) -> dict[str, float | None]:
    """Returns every rate over `totals` (counter -> count), by slug, rounded to six digits."""
    return {
        rate.slug: round(totals[rate.numerator] / totals[rate.denominator], 6) if totals[rate.denominator] else None
        for rate in RATES
    }


def intervals(totals: Mapping[str, int]) -> dict[str, Interval | None]:
    """Returns the 95 % interval (Wilson) of every rate over `totals`, by slug, rounded to six digits.

    It takes every step sent for a trial of its own. Null where the rate is, and where an unsubscribe that belongs to
    no step makes more of them than were delivered.
    """
    return {rate.slug: _rounded(wilson(*rate.counts(totals))) for rate in RATES}


def _rounded(interval: Interval | None) -> Interval | None:
    return (round(interval[0], 6), round(interval[1], 6)) if interval is not None else None
