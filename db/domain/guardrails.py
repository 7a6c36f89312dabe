"""Guardrails: how many mails may come back, and how many readers may complain, before the server pauses a campaign or a
mailbox by itself. Pure; `db.services.mail.guardrails` counts.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from math import ceil
from typing import Final, NamedTuple

from db.domain.holds import HoldReason

LOOK_BACK: Final = timedelta(days=7)
"""What happened before that counts no more, nor what happened before a person resumed."""


class Floor(NamedTuple):
    """As many mails must have been sent, and as many events must have happened, before a share says anything."""

    sent: int
    events: int


BOUNCES: Final = Floor(sent=50, events=3)
COMPLAINTS: Final = Floor(sent=500, events=2)


@dataclass(frozen=True, slots=True)
class Guardrails:
    """The shares of mails, from 0 to 1, that pause a campaign or a mailbox. 0 switches one off."""

    bounce_rate: float = 0.05
    complaint_rate: float = 0.001

    @property
    def are_off(self) -> bool:
        """Returns whether neither pauses anything."""
        return not (self.bounce_rate or self.complaint_rate)


class Counted(NamedTuple):
    """The mails of a campaign or a mailbox that were sent, came back, and were complained of."""

    sent: int
    bounced: int
    complained: int


def since(now: datetime, resumed_at: datetime | None) -> datetime:
    """Returns from when on events count; resumed_at: when a person let it go on after a guardrail had paused it."""
    return max(now - LOOK_BACK, resumed_at) if resumed_at is not None else now - LOOK_BACK


def mails_per_event(rate: float) -> int:
    """Returns how many mails to one event are enough to tell that the share is kept; 0 for a guardrail that is off."""
    return ceil(1 / Fraction(str(rate))) if rate else 0


def of_campaign(counted: Counted, guardrails: Guardrails, *, since: datetime) -> str | None:
    """Returns why a campaign is paused, and what to do; None if it keeps the guardrails."""
    broken = _broken(counted, guardrails, since)
    return broken and (
        f"{HoldReason.GUARDRAIL}: {broken}. The campaign is paused. list_events shows whose mails they are: leave out "
        "people like these. start_campaign resumes, and counts from then on; update_settings changes the guardrail."
    )


def of_mailbox(counted: Counted, guardrails: Guardrails, *, since: datetime) -> str | None:
    """Returns why a mailbox is paused, and what to do; None if it keeps the guardrails."""
    broken = _broken(counted, guardrails, since)
    return broken and (
        f"{HoldReason.GUARDRAIL}: {broken}. The mailbox is paused. check_mailbox shows how its domain stands, and "
        "get_metrics grouped by mailbox which campaign it is. update_mailbox with status active resumes, and counts "
        "from then on; update_settings changes the guardrail."
    )


def is_guardrail(reason: str | None) -> bool:
    """Returns whether something is paused because it broke a guardrail."""
    return (reason or "").startswith(f"{HoldReason.GUARDRAIL}:")


def _broken(counted: Counted, guardrails: Guardrails, since: datetime) -> str | None:
    sent, bounced, complained = counted
    if _reaches(bounced, sent, guardrails.bounce_rate, BOUNCES):
        return _told(f"{bounced:,} of {sent:,} mails came back", bounced / sent, guardrails.bounce_rate, since)
    if _reaches(complained, sent, guardrails.complaint_rate, COMPLAINTS):
        what = f"the readers of {complained:,} of {sent:,} mails complained"
        return _told(what, complained / sent, guardrails.complaint_rate, since)
    return None


def _reaches(events: int, sent: int, rate: float, floor: Floor) -> bool:
    is_enough = events >= floor.events and sent >= floor.sent
    return bool(rate) and is_enough and events >= Fraction(str(rate)) * sent


def _told(what: str, share: float, rate: float, since: datetime) -> str:
    begin = f"{since.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    return f"{what} since {begin} ({_percent(share)}; {_percent(rate)} pauses)"


def _percent(share: float) -> str:
    return f"{share * 100:.3g} %"
