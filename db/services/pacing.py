"""The limits of campaigns and of the accounts they send from: what is left of them, and what was taken.

Campaigns and accounts without limits have no rows, and nobody waits for them.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import NamedTuple, TypeAlias
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from db.domain import campaign_settings
from db.domain.holds import Hold, Places, places
from db.domain.scheduling import Plan
from db.domain.sending import Limits, Usage, of_settings
from db.domain.states import CampaignStatus, Channel
from db.models import CampaignInstance
from db.postgres.json import rows_parameter


class Account(NamedTuple):
    """An account that campaigns send from."""

    channel: Channel
    account: str


Owner: TypeAlias = UUID | Account
"""Whose limits: a campaign's or an account's."""


class Place(NamedTuple):
    """What a claim took of a day, and on which account. It is kept when the lease runs out, for the step may have been
    sent; so the same step goes out again without another."""

    day: date
    account: str | None


class Left(NamedTuple):
    """What was free of each limit at some moment, and what had been taken."""

    free: Mapping[Owner, list[int]]
    taken: Counter[Owner]


@dataclass(slots=True)
class Budget:
    """What is left of every limit that some campaigns are under. Each send takes a place of its campaign and one of its
    account.

    counted: the day whose sends each owner counts, where it has counted any.
    """

    plans: Mapping[UUID, Plan]
    now: datetime
    places: dict[Owner, list[Places]] = field(default_factory=dict[Owner, list[Places]])
    counted: dict[Owner, date] = field(default_factory=dict[Owner, date])
    taken: Counter[Owner] = field(default_factory=Counter[Owner])

    def account(self, instance_id: UUID, channel: Channel) -> str | None:
        """The account that the campaign sends from on that channel, if it names one."""
        sender = self.plans[instance_id].sending.senders.get(channel)
        return sender.account if sender else None

    def free(self, instance_id: UUID, channel: Channel, *, again: bool = False) -> int | None:
        """How many more of that campaign may go out on that channel now; None: any number. `again`: of those that have
        their place of the day."""
        return min((each.free for each in self._of(instance_id, channel, again)), default=None)

    def holds(self, instance_id: UUID, channel: Channel, *, again: bool = False) -> list[Hold]:
        """Every limit that stands in the way of one more; `again` as in `free`."""
        return [each.hold for each in self._of(instance_id, channel, again) if each.free == 0]

    def hold(self, instance_id: UUID, channel: Channel, *, again: bool = False) -> Hold | None:
        """The first of them, or None."""
        return next(iter(self.holds(instance_id, channel, again=again)), None)

    def day(self, instance_id: UUID, channel: Channel) -> date | None:
        """The day on which a place is taken; None where no limit holds."""
        return self.plans[instance_id].sending.today(self.now) if self._owners(instance_id, channel) else None

    def kept(self, instance_id: UUID, channel: Channel) -> Place | None:
        """The place with which a step of that campaign and channel goes out again; None where none would do."""
        day = self.day(instance_id, channel)
        if day is None or any(self.counted.get(owner) != day for owner in self._owners(instance_id, channel)):
            return None
        return Place(day, self.account(instance_id, channel))

    def has_place(self, instance_id: UUID, channel: Channel, place: Place | None) -> bool:
        """Whether that place, which an earlier claim of the step took, still counts for it."""
        return place is not None and place == self.kept(instance_id, channel)

    def take(self, instance_id: UUID, channel: Channel, *, again: bool = False) -> Hold | None:
        """Take a place, or say what stands in the way; `again` as in `free`."""
        hold = self.hold(instance_id, channel, again=again)
        if hold is None:
            for each in self._of(instance_id, channel, again):
                each.free -= 1
            for owner in self._owners(instance_id, channel):
                self.taken[owner] += 0 if again else 1  # who takes none has a row as well: the gap begins anew
        return hold

    def copy_of_what_is_left(self) -> "Left":
        """For `restore`, where what is taken next may have to be put back."""
        return Left({owner: [each.free for each in limits] for owner, limits in self.places.items()}, self.taken.copy())

    def restore(self, left: "Left") -> None:
        """What was taken since then was not."""
        for owner, limits in self.places.items():
            for each, free in zip(limits, left.free[owner], strict=True):
                each.free = free
        self.taken = left.taken.copy()

    def _of(self, instance_id: UUID, channel: Channel, again: bool) -> list[Places]:
        every = [each for owner in self._owners(instance_id, channel) for each in self.places[owner]]
        return [each for each in every if not (again and each.is_of_day)]

    def _owners(self, instance_id: UUID, channel: Channel) -> list[Owner]:
        account = self.account(instance_id, channel)
        owners: list[Owner] = [instance_id] if account is None else [instance_id, Account(channel, account)]
        return [owner for owner in owners if owner in self.places]


def budget(session: Session, *, plans: Mapping[UUID, Plan], now: datetime, lock: bool) -> Budget:
    """What is left of the limits that these campaigns are under. `lock` keeps it true until the transaction ends."""
    limits = _limits(session, plans, now)
    usages = _usages(session, {owner: plan.sending.today(now) for owner, (plan, _) in limits.items()}, lock=lock)
    left = {
        owner: places(
            plan.sending, limit, usages.get(owner, Usage()), now, owner.account if isinstance(owner, Account) else None
        )
        for owner, (plan, limit) in limits.items()
    }
    return Budget(plans, now, left, {owner: usage.day for owner, usage in usages.items() if usage.day and usage.used})


def _limits(session: Session, plans: Mapping[UUID, Plan], now: datetime) -> dict[Owner, tuple[Plan, Limits]]:
    limits: dict[Owner, tuple[Plan, Limits]] = {
        instance_id: (plan, plan.sending.limits_on(plan.sending.today(now)))
        for instance_id, plan in plans.items()
        if plan.sending.is_limited
    }
    accounts = {
        Account(channel, sender.account): plan
        for plan in plans.values()
        for channel, sender in plan.sending.senders.items()
    }
    if accounts:
        for account, limit in _of_accounts(session).items():
            if account in accounts and limit.are_set:
                limits[account] = (accounts[account], limit)
    return limits


def _of_accounts(session: Session) -> dict[Account, Limits]:
    """The limits of every account that an active campaign names: where several name it, the tightest."""
    statement = select(CampaignInstance.settings).where(
        CampaignInstance.status == CampaignStatus.ACTIVE, CampaignInstance.settings.has_key("senders")
    )
    found: dict[Account, Limits] = {}
    for settings in session.scalars(statement):
        if campaign_settings.problem(settings) is not None:
            continue
        for channel, sender in of_settings(settings).senders.items():
            account = Account(channel, sender.account)
            found[account] = sender.limits.tightened(found.get(account, Limits()))
    return found


_MAKE = {
    "campaign": text("""
        INSERT INTO campaign_usage (instance_id, day)
        SELECT instance_id, day FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS u(instance_id uuid, day date)
        ORDER BY instance_id ON CONFLICT DO NOTHING
    """),
    "account": text("""
        INSERT INTO sender_usage (channel, account, day)
        SELECT channel, account, day
        FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS u(channel text, account text, day date)
        ORDER BY channel, account ON CONFLICT DO NOTHING
    """),
}
_OF_CAMPAIGNS = """
    SELECT m.instance_id, NULL, m.day, m.used, m.last_at FROM campaign_usage m
    JOIN jsonb_to_recordset(CAST(:rows AS jsonb)) AS u(instance_id uuid) USING (instance_id)
    ORDER BY m.instance_id
"""
_OF_ACCOUNTS = """
    SELECT m.channel, m.account, m.day, m.used, m.last_at FROM sender_usage m
    JOIN jsonb_to_recordset(CAST(:rows AS jsonb)) AS u(channel text, account text) USING (channel, account)
    ORDER BY m.channel, m.account
"""
_READ = {"campaign": text(_OF_CAMPAIGNS), "account": text(_OF_ACCOUNTS)}
_LOCK = {
    "campaign": text(f"{_OF_CAMPAIGNS} FOR NO KEY UPDATE OF m"),
    "account": text(f"{_OF_ACCOUNTS} FOR NO KEY UPDATE OF m"),
}


def _usages(session: Session, days: Mapping[Owner, date], *, lock: bool) -> dict[Owner, Usage]:
    """What each owner has used. Locked campaigns first, then accounts, each in key order."""
    usages: dict[Owner, Usage] = {}
    for kind, owners in _by_kind(days).items():
        parameter = rows_parameter([{**_key(owner), "day": days[owner]} for owner in owners])
        if lock:
            session.execute(_MAKE[kind], parameter)
        for first, account, *usage in session.execute((_LOCK if lock else _READ)[kind], parameter):
            usages[first if account is None else Account(Channel(first), account)] = Usage(*usage)
    return usages


_TAKE = {
    "campaign": text("""
        UPDATE campaign_usage m SET
            used = CASE WHEN m.day >= u.day THEN m.used ELSE 0 END + u.taken, day = greatest(m.day, u.day),
            last_at = :now, updated_at = now()
        FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS u(instance_id uuid, day date, taken int)
        WHERE m.instance_id = u.instance_id
    """),
    "account": text("""
        UPDATE sender_usage m SET
            used = CASE WHEN m.day >= u.day THEN m.used ELSE 0 END + u.taken, day = greatest(m.day, u.day),
            last_at = :now, updated_at = now()
        FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS u(channel text, account text, day date, taken int)
        WHERE m.channel = u.channel AND m.account = u.account
    """),
}


def save(session: Session, taken: Budget, *, now: datetime) -> None:
    """Write what was taken of a locked budget."""
    days = {owner: _plan(taken, owner).sending.today(now) for owner in taken.taken}
    for kind, owners in _by_kind(taken.taken).items():
        rows = [{**_key(owner), "day": days[owner], "taken": taken.taken[owner]} for owner in owners]
        session.execute(_TAKE[kind], {**rows_parameter(rows), "now": now})


def _plan(budget: Budget, owner: Owner) -> Plan:
    if isinstance(owner, UUID):
        return budget.plans[owner]
    senders = (plan for plan in budget.plans.values() if plan.sending.senders.get(owner.channel))
    return next(plan for plan in senders if plan.sending.senders[owner.channel].account == owner.account)


# The campaign is asked for first, so it is locked first, as in a claim: what nobody asks for is done last.
_GIVE_BACK = text("""
    WITH campaign AS (
        UPDATE campaign_usage SET used = used - 1, updated_at = now()
        WHERE instance_id = :campaign AND day = :day AND used > 0 RETURNING 1
    ), sender AS (
        UPDATE sender_usage SET used = used - 1, updated_at = now()
        WHERE channel = :channel AND account = :account AND day = :day AND used > 0 RETURNING 1
    )
    SELECT (SELECT count(*) FROM campaign), (SELECT count(*) FROM sender)
""")


def give_back(
    session: Session, *, instance_id: UUID, channel: Channel, account: str | None, reserved_on: date | None
) -> None:
    """Nothing was sent: the place that was taken on `reserved_on` is free again, if that day is not over."""
    if reserved_on is not None:
        values = {"campaign": instance_id, "channel": channel, "account": account, "day": reserved_on}
        session.execute(_GIVE_BACK, values)


def _by_kind(owners: Iterable[Owner]) -> dict[str, Collection[Owner]]:
    kinds: dict[str, list[Owner]] = {"campaign": [], "account": []}
    for owner in owners:
        kinds["campaign" if isinstance(owner, UUID) else "account"].append(owner)
    return {kind: each for kind, each in kinds.items() if each}


def _key(owner: Owner) -> dict[str, object]:
    return {"instance_id": owner} if isinstance(owner, UUID) else owner._asdict()
