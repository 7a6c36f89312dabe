"""Pools: the mailboxes of campaigns, what holds each of them, and how many people it writes to.

Pure. `db.services.mail.pools` reads them.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from db.domain import holds
from db.domain.holds import Hold, HoldReason
from db.domain.mailboxes import MailboxStatus
from db.domain.sending import Sending
from db.domain.sending_domains import SendingDomain
from db.domain.states import Channel

COUNTED_MOST: Final = 10_000
"""As many people who wait for a mailbox are counted at most."""


class Route(NamedTuple):
    """How a step goes out: for which campaign, on which channel, and from which mailbox, if its person has one."""

    campaign_id: UUID
    channel: Channel
    mailbox_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class PoolMailbox:
    """A mailbox that campaigns send from. pace: when and how much it sends, whatever the campaigns. problem: why it is
    failing, or why a guardrail has paused it."""

    id: UUID
    address: str
    pace: Sending
    smtp_host: str
    is_read: bool
    status: MailboxStatus = MailboxStatus.ACTIVE
    problem: str | None = None
    since: datetime | None = None
    """When it sent its first mail, on the first day of its ramp-up."""
    domain: SendingDomain | None = None
    """What was seen of the domain of its address; None if nobody has looked."""

    def days_for(self, mails: int, now: datetime) -> float:
        """Returns how many days it takes to send so many mails, by the limit of today; 0 where it has none."""
        sending = replace(self.pace, started_at=self.since or now)
        daily = sending.limits_on(sending.today(now)).daily
        return mails / daily if daily else 0.0

    def holds(self, now: datetime) -> list[Hold]:
        """Returns what holds everybody whom it writes to, apart from limits."""
        closed = [*self._of_domain(), *holds.of_window(self.pace, None, now, mailbox=self.address)]
        if self.status is MailboxStatus.PAUSED:
            detail = f"The mailbox {self.address} is paused. update_mailbox with status active resumes it."
            guardrail = [Hold(HoldReason.GUARDRAIL, self.problem)] if self.problem is not None else []
            return [Hold(HoldReason.MAILBOX_PAUSED, detail), *guardrail, *closed]
        if self.status is MailboxStatus.FAILING:
            detail = (
                f"The mailbox {self.address} is failing: {self.problem} Its people wait until a check succeeds; "
                "check_mailbox makes one."
            )
            return [Hold(HoldReason.MAILBOX_FAILING, detail), *closed]
        return closed

    def _of_domain(self) -> list[Hold]:
        if self.domain is None or not self.domain.is_held:
            return []
        detail = (
            f"The domain of {self.address} has had neither SPF nor DMARC for 72 hours, and no mail shows its DKIM "
            "signature, so receivers would take its mail for forged. check_mailbox says what to publish, and sees at "
            "once that it is there."
        )
        return [Hold(HoldReason.DOMAIN_UNAUTHENTICATED, detail)]


@dataclass(slots=True)
class Pools:
    """The mailboxes that some campaigns send from.

    mailboxes: by id, those that a campaign names or a person has. of_campaign: those that it names, in its order.
    people: (campaign, mailbox) -> how many people it writes to. waiting: campaign -> how many people are due who have
    no mailbox yet; at least one, where it is asked for. asking: the mailbox that asks for people, if not all do.
    """

    mailboxes: Mapping[UUID, PoolMailbox] = field(default_factory=dict[UUID, PoolMailbox])
    of_campaign: Mapping[UUID, Sequence[UUID]] = field(default_factory=dict[UUID, Sequence[UUID]])
    people: Counter[tuple[UUID, UUID]] = field(default_factory=Counter[tuple[UUID, UUID]])
    waiting: Counter[UUID] = field(default_factory=Counter[UUID])
    asking: UUID | None = None

    def counted_most(self, limit: int) -> int:
        """Returns how many who wait have to be counted, to know who gets the next `limit` of them."""
        pool = max((len(ids) for ids in self.of_campaign.values()), default=0)
        uneven = max(self.people.values(), default=0) - min(self.people.values(), default=0)
        return min(COUNTED_MOST, (limit + uneven + 1) * (pool + 1))

    @property
    def are_read(self) -> bool:
        """Whether the server reads any of them."""
        return any(mailbox.is_read for mailbox in self.mailboxes.values())

    def named(self, address: str) -> PoolMailbox | None:
        """Returns the mailbox with that address, in whatever case."""
        wanted = address.strip().lower()
        return next((mailbox for mailbox in self.mailboxes.values() if mailbox.address == wanted), None)

    def pool(self, campaign_id: UUID) -> list[PoolMailbox]:
        """Returns the mailboxes that a campaign names, in its order."""
        return [self.mailboxes[id_] for id_ in self.of_campaign.get(campaign_id, ()) if id_ in self.mailboxes]

    def possible(self, sending: Sending, route: Route) -> list[PoolMailbox]:
        """Returns the mailboxes that a step may go out from: that of its person, or those that its campaign names."""
        if route.channel is not Channel.EMAIL:
            return []
        if sending.mailboxes:
            own = self.mailboxes.get(route.mailbox_id) if route.mailbox_id is not None else None
            return self.pool(route.campaign_id) if own is None else [own]
        sender = sending.senders.get(Channel.EMAIL)
        mailbox = self.named(sender.account) if sender is not None else None
        return [] if mailbox is None else [mailbox]

    def holds(self, sending: Sending, route: Route, now: datetime) -> list[Hold]:
        """Returns what holds all mailboxes that a step may go out from: the holds that end first, apart from limits."""
        asking = [self.mailboxes[self.asking].holds(now)] if self.asking is not None else []
        held = asking or [mailbox.holds(now) for mailbox in self.possible(sending, route)]
        return min(held, key=ending, default=list[Hold]())

    def is_entitled(self, campaign_id: UUID, mailbox: PoolMailbox, able: Sequence[PoolMailbox]) -> bool:
        """Returns whether the mailbox gets one of those who wait, if each of them goes to the one of `able` with the
        fewest people. Whichever of them asks first, all get as many as that."""
        return self.before(campaign_id, mailbox, able) < max(1, self.waiting[campaign_id])

    def before(self, campaign_id: UUID, mailbox: PoolMailbox, able: Sequence[PoolMailbox]) -> int:
        """Returns how many people go to others of `able` before the mailbox gets one."""
        own, place = self.people[campaign_id, mailbox.id], able.index(mailbox)
        return sum(
            max(0, own - self.people[campaign_id, other.id] + (1 if number < place else 0))
            for number, other in enumerate(able)
            if other is not mailbox
        )

    def fewest(self, campaign_id: UUID, able: Sequence[PoolMailbox]) -> PoolMailbox:
        """Returns the one that writes to the fewest people of the campaign; the first of several."""
        return min(able, key=lambda mailbox: self.people[campaign_id, mailbox.id])

    def soonest(
        self, campaign_id: UUID, able: Sequence[PoolMailbox], mails: Mapping[UUID, int], ahead: timedelta, now: datetime
    ) -> PoolMailbox:
        """Returns the one with the fewest people of the campaign, of those that can send the mails that wait for them
        and one more within `ahead`; if none can, the one that is through with them first. mails: mailbox -> how many
        wait."""

        def rank(mailbox: PoolMailbox) -> tuple[float, int]:
            days = mailbox.days_for(mails.get(mailbox.id, 0) + 1, now)
            return max(days, ahead / timedelta(days=1)), self.people[campaign_id, mailbox.id]

        return min(able, key=rank)

    def assign(self, campaign_id: UUID, mailbox: PoolMailbox) -> None:
        """Notes that somebody who waited is written to from the mailbox."""
        self.people[campaign_id, mailbox.id] += 1
        self.waiting[campaign_id] -= 1


def ending(held: Sequence[Hold]) -> float:
    """Returns when holds have ended, as a timestamp to compare: never, where one needs a person."""
    if any(hold.until is None for hold in held):
        return float("inf")
    return max((hold.until.timestamp() for hold in held if hold.until is not None), default=float("-inf"))
