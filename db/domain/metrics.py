"""What is counted and what is derived from it, declared as data.

A milestone is something that happens to an action (one step, one person) at most once; a counter is how many actions
reached it. Totals count every occurrence. Rates are declared once, here; every report, view and document reads them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from db.domain.intervals import Interval, wilson
from db.domain.states import Channel


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
    MAILBOX = "mailbox"


class Better(StrEnum):
    """Which of two values of a rate a campaign would rather have."""

    HIGHER = "higher"
    LOWER = "lower"


@dataclass(frozen=True, slots=True)
class Rate:
    """numerator / denominator of two counters of the steps of one channel."""

    slug: str
    numerator: str
    denominators: Mapping[Channel, str]
    """What is divided by, for each channel that has the rate."""
    meaning: str
    did: str
    """What a person did who counts in the numerator, after "people"."""
    better: Better = Better.HIGHER

    @property
    def denominator(self) -> str:
        """That of email, or of LinkedIn where email has no such rate."""
        return next(iter(self.denominators.values()))

    def counts(self, totals: Mapping[str, int], channel: Channel | None) -> tuple[int, int] | None:
        """Returns (numerator, denominator) of `totals` (counter -> count), which are of the steps of that channel.

        None where the channel has no such rate; where there is nothing to divide by; and where more happened than is
        known of what it is a share of, as when people unsubscribe from mails that nobody reported as delivered.
        """
        whole = self.denominators.get(channel) if channel is not None else None
        if whole is None or not totals[whole] or totals[self.numerator] > totals[whole]:
            return None
        return totals[self.numerator], totals[whole]


def _of_email(denominator: str) -> Mapping[Channel, str]:
    return MappingProxyType({Channel.EMAIL: denominator})


RATES: tuple[Rate, ...] = (
    Rate("delivery_rate", "delivered", _of_email("sent"), "share of sent emails that arrived", "got one"),
    Rate("open_rate", "opened", _of_email("delivered"), "share of delivered emails that were opened", "opened one"),
    Rate("click_rate", "clicked", _of_email("delivered"), "share of delivered emails that were clicked", "clicked"),
    Rate("click_through_rate", "clicked", _of_email("opened"), "share of opened emails that were clicked", "clicked"),
    Rate(
        "reply_rate",
        "replied",
        MappingProxyType({Channel.EMAIL: "delivered", Channel.LINKEDIN: "sent"}),
        "share of delivered emails, or of sent LinkedIn steps, that were answered",
        "answered",
    ),
    Rate("bounce_rate", "bounced", _of_email("sent"), "share of sent emails that bounced", "bounced", Better.LOWER),
    Rate(
        "unsubscribe_rate",
        "unsubscribed",
        _of_email("delivered"),
        "share of delivered emails that led to an unsubscribe",
        "unsubscribed",
        Better.LOWER,
    ),
    Rate(
        "acceptance_rate",
        "accepted",
        MappingProxyType({Channel.LINKEDIN: "sent"}),
        "share of sent LinkedIn steps that led to a connection",
        "accepted",
    ),
)


def rates(totals: Mapping[str, int], channel: Channel | None) -> dict[str, float | None]:
    """Returns every rate over `totals` (counter -> count), by slug, rounded to six digits; null where Rate.counts is
    None. `channel`: that of all steps in `totals`; None where they are of several, which gives no rate."""
    shares = {rate.slug: rate.counts(totals, channel) for rate in RATES}
    return {slug: None if share is None else round(share[0] / share[1], 6) for slug, share in shares.items()}


def intervals(totals: Mapping[str, int], channel: Channel | None) -> dict[str, Interval | None]:
    """Returns the 95 % interval (Wilson) of every rate over `totals`, by slug, rounded to six digits; null where the
    rate is. It takes every step sent for a trial of its own."""
    shares = {rate.slug: rate.counts(totals, channel) for rate in RATES}
    return {slug: None if share is None else _rounded(wilson(*share)) for slug, share in shares.items()}


def _rounded(interval: Interval | None) -> Interval | None:
    return (round(interval[0], 6), round(interval[1], 6)) if interval is not None else None
