"""Counts what campaigns and their accounts have used of their limits, and computes their allowances.

Everything that is handed out is counted, with or without a limit, so that a limit that is set later knows what went out
before. A claim under a limit locks the limit's owner first, so that no two claims pass it at once; no other claim
waits.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import TypeAlias
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from db.domain import campaign_settings
from db.domain.action import Action
from db.domain.allowance import Account, Allowances, DayAllowances, Owner, of_limits
from db.domain.scheduling import Plan
from db.domain.sending import WORKSPACE_ZONE, Day, Limits, Sender, Usage, day_of, of_settings, quarter_of
from db.domain.states import CampaignStatus
from db.models import CampaignInstance
from db.postgres.json import rows_parameter, to_text

UsageKey: TypeAlias = tuple[Owner, datetime]
"""The owner of a count, and its quarter of an hour."""

KEPT = timedelta(days=3)
"""How long counts are kept: longer than any day in any zone, and any gap."""


def allowances_for(session: Session, *, plans: Mapping[UUID, Plan], now: datetime, lock: bool) -> Allowances:
    """Returns what is left of the limits of these campaigns. `lock` keeps it true until the transaction ends."""
    limits = _limits(session, plans, now)
    usages = _usages(session, {owner: day for owner, (limit, day) in limits.items() if limit.are_set}, now, lock=lock)
    allowances = {
        owner: DayAllowances(
            day,
            of_limits(
                limit, usages.get(owner, Usage()), day, now, owner.account if isinstance(owner, Account) else None
            ),
        )
        for owner, (limit, day) in limits.items()
    }
    return Allowances(plans, now, allowances)


def _limits(session: Session, plans: Mapping[UUID, Plan], now: datetime) -> dict[Owner, tuple[Limits, Day]]:
    """Returns the limits of each owner, and its day."""
    limits: dict[Owner, tuple[Limits, Day]] = {
        instance_id: (plan.sending.limits_on(plan.sending.today(now)), plan.sending.day(now))
        for instance_id, plan in plans.items()
    }
    wanted = {
        Account(channel, sender.account) for plan in plans.values() for channel, sender in plan.sending.senders.items()
    }
    known = accounts(session) if wanted else {}
    for account in wanted:
        sender = known.get(account, Sender(account.account))
        limits[account] = (sender.limits, day_of(now, sender.zone or WORKSPACE_ZONE))
    return limits


def accounts(session: Session) -> dict[Account, Sender]:
    """Returns every account that an active or a paused campaign names, with the tightest of its limits, and the zone
    from the oldest campaign that gives it one."""
    statement = (
        select(CampaignInstance.settings)
        .where(
            CampaignInstance.status.in_((CampaignStatus.ACTIVE, CampaignStatus.PAUSED)),
            CampaignInstance.settings.has_key("senders"),
        )
        .order_by(CampaignInstance.id)
    )
    found: dict[Account, Sender] = {}
    for settings in session.scalars(statement):
        if campaign_settings.problem(settings) is not None:
            continue
        for channel, sender in of_settings(settings).senders.items():
            account = Account(channel, sender.account)
            found[account] = found[account].shared(sender) if account in found else sender
    return found


# Ordered by the number alone, so that all who lock several lock them in one order.
_LOCK = text("""
    SELECT pg_advisory_xact_lock(number)
    FROM (
        SELECT DISTINCT hashtextextended(name, 0) AS number
        FROM jsonb_array_elements_text(CAST(:rows AS jsonb)) AS names(name) ORDER BY number
    ) numbers
""")
_READ = text("""
    SELECT u.n, greatest(0, sum(CASE WHEN m.quarter >= u.since THEN m.used ELSE 0 END))::int, max(m.last_at)
    FROM jsonb_to_recordset(CAST(:rows AS jsonb))
        AS u(n int, instance_id uuid, channel text, account text, since timestamptz)
    CROSS JOIN LATERAL (
        SELECT quarter, used, last_at FROM campaign_usage WHERE instance_id = u.instance_id AND quarter > :kept
        UNION ALL
        SELECT quarter, used, last_at FROM sender_usage
        WHERE channel = u.channel AND account = u.account AND quarter > :kept
    ) m
    GROUP BY u.n
""")


def _usages(session: Session, days: Mapping[Owner, Day], now: datetime, *, lock: bool) -> dict[Owner, Usage]:
    """Returns what each owner has used of its day."""
    if not days:
        return {}
    if lock:
        session.execute(_LOCK, rows_parameter(["/".join(map(str, _key(owner).values())) for owner in days]))
    rows = [{"n": number, **_key(owner), "since": day.start} for number, (owner, day) in enumerate(days.items())]
    owners = list(days)
    found = session.execute(_READ, {**rows_parameter(rows), "kept": now - KEPT})
    return {owners[number]: Usage(used, last_at) for number, used, last_at in found}


# Each connection adds to a row of its own, so that counting never waits; those who must know what is left hold the lock
# above. A release subtracts from the connection's own row too, wherever it was added: only the sum has a meaning.
_COUNT = text("""
    WITH campaigns AS (
        INSERT INTO campaign_usage (instance_id, quarter, backend, used, last_at)
        SELECT instance_id, CAST(:quarter AS timestamptz), pg_backend_pid(), taken, CAST(:now AS timestamptz)
        FROM jsonb_to_recordset(CAST(:campaigns AS jsonb)) AS u(instance_id uuid, taken int) ORDER BY instance_id
        ON CONFLICT (instance_id, quarter, backend) DO UPDATE
        SET used = campaign_usage.used + excluded.used, last_at = greatest(campaign_usage.last_at, excluded.last_at)
        RETURNING 1
    ), accounts AS (
        INSERT INTO sender_usage (channel, account, quarter, backend, used, last_at)
        SELECT channel, account, CAST(:quarter AS timestamptz), pg_backend_pid(), taken, CAST(:now AS timestamptz)
        FROM jsonb_to_recordset(CAST(:accounts AS jsonb)) AS u(channel text, account text, taken int)
        ORDER BY channel, account
        ON CONFLICT (channel, account, quarter, backend) DO UPDATE
        SET used = sender_usage.used + excluded.used, last_at = greatest(sender_usage.last_at, excluded.last_at)
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM campaigns), (SELECT count(*) FROM accounts)
""")


def save(session: Session, taken: Allowances) -> None:
    """Counts what was reserved and released."""
    if not taken.taken:
        return
    release(session, reservations=taken.released)
    values = {"quarter": quarter_of(taken.now), "now": taken.now}
    session.execute(
        _COUNT,
        {
            **values,
            "campaigns": _rows(taken, (owner for owner in taken.taken if isinstance(owner, UUID))),
            "accounts": _rows(taken, (owner for owner in taken.taken if isinstance(owner, Account))),
        },
    )


def _rows(taken: Allowances, owners: Iterable[Owner]) -> str:
    return to_text([{**_key(owner), "taken": taken.taken[owner]} for owner in owners])


# A quarter whose counts were deleted is left alone. The gap still counts from the last hand-out.
_RELEASE = text("""
    WITH given AS MATERIALIZED (
        SELECT instance_id, channel, account, quarter, reservations FROM jsonb_to_recordset(CAST(:rows AS jsonb))
            AS g(instance_id uuid, channel text, account text, quarter timestamptz, reservations int)
    ), campaigns AS (
        INSERT INTO campaign_usage (instance_id, quarter, backend, used, last_at)
        SELECT u.instance_id, u.quarter, pg_backend_pid(), -g.reservations, max(u.last_at)
        FROM given g JOIN campaign_usage u ON u.instance_id = g.instance_id AND u.quarter = g.quarter
        GROUP BY u.instance_id, u.quarter, g.reservations
        ON CONFLICT (instance_id, quarter, backend) DO UPDATE SET used = campaign_usage.used + excluded.used
        RETURNING 1
    ), accounts AS (
        INSERT INTO sender_usage (channel, account, quarter, backend, used, last_at)
        SELECT u.channel, u.account, u.quarter, pg_backend_pid(), -g.reservations, max(u.last_at)
        FROM given g JOIN sender_usage u ON u.channel = g.channel AND u.account = g.account AND u.quarter = g.quarter
        GROUP BY u.channel, u.account, u.quarter, g.reservations
        ON CONFLICT (channel, account, quarter, backend) DO UPDATE SET used = sender_usage.used + excluded.used
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM campaigns), (SELECT count(*) FROM accounts)
""")


def usage_keys(action: Action) -> list[UsageKey]:
    """Returns where the reservation of the last claim of a step is counted: for the campaign, and for the account."""
    if action.reserved_at is None:
        return []
    quarter = quarter_of(action.reserved_at)
    account = [] if action.sender is None else [(Account(action.channel, action.sender), quarter)]
    return [(action.instance_id, quarter), *account]


def release(session: Session, *, reservations: Mapping[UsageKey, int]) -> None:
    """Frees that many reservations; a negative number takes back those of steps that were sent after all."""
    rows = [
        {**_key(owner), "quarter": quarter, "reservations": count}
        for (owner, quarter), count in reservations.items()
        if count
    ]
    if rows:
        session.execute(_RELEASE, rows_parameter(rows))


_FORGET = text("""
    WITH campaigns AS (
        DELETE FROM campaign_usage WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM campaign_usage WHERE quarter < :before LIMIT :chunk FOR UPDATE SKIP LOCKED)) RETURNING 1
    ), accounts AS (
        DELETE FROM sender_usage WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM sender_usage WHERE quarter < :before LIMIT :chunk FOR UPDATE SKIP LOCKED)) RETURNING 1
    )
    SELECT (SELECT count(*) FROM campaigns) + (SELECT count(*) FROM accounts)
""")


def forget_some(session: Session, *, before: datetime, limit: int) -> int:
    """Deletes counts from before then, up to `limit` of each kind. Returns how many."""
    return session.scalars(_FORGET, {"before": before, "chunk": limit}).one()


def _key(owner: Owner) -> dict[str, object]:
    return {"instance_id": owner} if isinstance(owner, UUID) else owner._asdict()
