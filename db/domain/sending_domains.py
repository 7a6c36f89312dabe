"""The domains that mailboxes send from, and whether anything tells receivers that their mail is genuine. Pure."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

HELD_AFTER: Final = timedelta(hours=72)
"""As long a domain may be without SPF, DMARC and a signed mail before its mail is held."""
LOOK_EACH: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class SendingDomain:
    """What was seen of a domain. looked_at: the last look, also if no resolver answered. absent_since, absent_until:
    the first and the last look that found neither an SPF nor a DMARC record, with no other answer in between.
    signed_at: when a mail from it was seen whose DKIM signature held.
    """

    domain: str
    looked_at: datetime | None = None
    absent_since: datetime | None = None
    absent_until: datetime | None = None
    signed_at: datetime | None = None

    def seen(self, *, is_absent: bool | None, is_signed: bool, now: datetime) -> "SendingDomain":
        """Returns what is known after a look. is_absent: None where the resolver gave no answer, which says nothing."""
        signed_at = now if is_signed else self.signed_at
        if is_absent is None:
            return replace(self, looked_at=now, signed_at=signed_at)
        since = (self.absent_since or now) if is_absent else None
        return SendingDomain(self.domain, now, since, now if is_absent else None, signed_at)

    def is_to_be_looked_at(self, now: datetime) -> bool:
        """Returns whether the last look is an hour ago."""
        return self.looked_at is None or not now - LOOK_EACH < self.looked_at <= now

    @property
    def holds_from(self) -> datetime | None:
        """Returns from when on its mail is held, if a look finds nothing else by then; None where nothing is wrong."""
        if self.absent_since is None or self.signed_at is not None:
            return None
        return self.absent_since + HELD_AFTER

    @property
    def is_held(self) -> bool:
        """Returns whether its mail is held."""
        return self.holds_from is not None and self.absent_until is not None and self.absent_until >= self.holds_from


def domain_of(address: str) -> str:
    """Returns the domain of a mailbox's address."""
    return address.rpartition("@")[2]
