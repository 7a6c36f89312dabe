"""The paces of campaigns, of their accounts and of mailboxes: which limits hold on which day. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from db.domain.allowance import Account, Owner
from db.domain.pools import PoolMailbox, Pools
from db.domain.scheduling import Plan
from db.domain.sending import WORKSPACE_ZONE, Pace, Sender, Sending
from db.domain.states import Channel


@dataclass(frozen=True, slots=True)
class Source:
    """Where the pace of an owner comes from. ramped: the rules whose ramp-up holds; has_begun: it began when they say,
    and not with the next send. shared: the limits of an account that is a mailbox too."""

    ramped: Sending | None
    fixed: Pace
    shared: tuple[Sender, ...] = ()
    has_begun: bool = True

    def pace(self, now: datetime) -> Pace:
        """Returns the pace on the day of `now`."""
        if self.ramped is None:
            return self.fixed
        ramped = self.ramped if self.has_begun else replace(self.ramped, started_at=now)
        limits = ramped.limits_on(ramped.today(now))
        for sender in self.shared:
            limits = limits.tightened(sender.limits)
        return replace(self.fixed, limits=limits)

    def begun(self, at: datetime) -> "Source":
        """Returns it after a send at that moment, with which its ramp-up begins."""
        if self.has_begun or self.ramped is None:
            return self
        return replace(self, ramped=replace(self.ramped, started_at=at), has_begun=True)

    def has_ramp_up(self, now: datetime) -> bool:
        """Returns whether it is the ramp-up that limits the day of `now`."""
        if self.ramped is None or self.ramped.ramp_up is None:
            return False
        without = replace(self, ramped=replace(self.ramped, ramp_up=None)).pace(now).limits.daily
        daily = self.pace(now).limits.daily
        return daily is not None and (without is None or daily < without)


def of_campaign(sending: Sending) -> Source:
    """Returns the pace of a campaign's own limits."""
    return Source(sending, Pace(sending.limits, sending.zone))


def of_account(account: Account, sender: Sender) -> Source:
    """Returns the pace of an account, as all campaigns that name it share it."""
    return Source(None, Pace(sender.limits, sender.zone or WORKSPACE_ZONE, account.account))


def of_mailbox(mailbox: PoolMailbox, known: Mapping[Account, Sender]) -> Source:
    """Returns the pace of a mailbox. Its ramp-up begins with its first mail. One that campaigns name as an account
    keeps to the limits of both."""
    shared = tuple(
        sender
        for account, sender in known.items()
        if account.channel is Channel.EMAIL and account.account.strip().lower() == mailbox.address
    )
    pace = Pace(mailbox.pace.limits, mailbox.pace.zone, mailbox.address, is_mailbox=True)
    ramped = replace(mailbox.pace, started_at=mailbox.since)
    return Source(ramped, pace, shared, has_begun=mailbox.since is not None)


def accounts_of(plans: Iterable[Plan]) -> set[Account]:
    """Returns the accounts that campaigns name."""
    return {Account(channel, sender.account) for plan in plans for channel, sender in plan.sending.senders.items()}


def sources(plans: Mapping[UUID, Plan], pools: Pools, known: Mapping[Account, Sender]) -> dict[Owner, Source]:
    """Returns the pace of each campaign, of the accounts that they name, and of the mailboxes. `known`: the limits of
    accounts. An account that is a mailbox has the pace of both."""
    found: dict[Owner, Source] = {id_: of_campaign(plan.sending) for id_, plan in plans.items()}
    for account in accounts_of(plans.values()):
        found[account] = of_account(account, known.get(account, Sender(account.account)))
    for mailbox in pools.mailboxes.values():
        found[Account(Channel.EMAIL, mailbox.address)] = of_mailbox(mailbox, known)
    return found
