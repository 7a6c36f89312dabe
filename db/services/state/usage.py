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

from db.domain import campaign_settings, pacing
from db.domain.action import Action
from db.domain.allowance import Account, Allowances, Owner, of_pace
from db.domain.pools import Pools
from db.domain.scheduling import Plan
from db.domain.sending import Pace, Sender, Usage, day_of, hour_of, of_settings, quarter_of
from db.domain.states import CampaignStatus
from db.models import CampaignInstance
from db.postgres.json import rows_parameter, to_text

UsageKey: TypeAlias = tuple[Owner, datetime]
"""The owner of a count, and its quarter of an hour."""

KEPT = timedelta(days=3)
"""How long counts are kept: longer than any day in any zone, and any gap."""


def allowances_for(
    session: Session, *, plans: Mapping[UUID, Plan], pools: Pools, now: datetime, lock: bool
) -> Allowances:
    """Returns what is left of the limits of these campaigns and of the mailboxes of `pools`. `lock` keeps it true until
    the transaction ends, for the other mailboxes than the one that asks only roughly."""
    paces = {owner: source.pace(now) for owner, source in sources(session, plans=plans, pools=pools).items()}
    limited = {owner: pace for owner, pace in paces.items() if pace.limits.are_set}
    asking = pools.mailboxes[pools.asking] if pools.asking is not None else None
    if lock:
        _lock(
            session,
            (owner for owner, pace in limited.items() if asking is None or pace.account in (None, asking.address)),
        )
    used = usages(session, paces=limited, now=now)
    by_owner = {owner: of_pace(pace, used.get(owner, Usage()), now) for owner, pace in paces.items()}
    return Allowances(plans, now, by_owner, pools)


def sources(session: Session, *, plans: Mapping[UUID, Plan], pools: Pools) -> dict[Owner, pacing.Source]:
    """Returns the paces of these campaigns, of the accounts that they name, and of the mailboxes of `pools`."""
    known = accounts(session) if pools.mailboxes or pacing.accounts_of(plans.values()) else {}
    return pacing.sources(plans, pools, known)


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
# The sums of the day, of the hour, and of the days on which the last hand-out may lie that a gap counts from.
_READ = text("""
    SELECT u.n, max(m.last_at),
           greatest(0, sum(m.used) FILTER (WHERE m.quarter >= u.day))::int,
           greatest(0, sum(m.used) FILTER (WHERE m.quarter >= u.hour))::int,
           greatest(0, sum(m.used) FILTER (WHERE m.quarter >= u.eve AND m.quarter < u.day))::int,
           greatest(0, sum(m.used) FILTER (WHERE m.quarter >= u.before AND m.quarter < u.eve))::int
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS u(
        n int, instance_id uuid, channel text, account text, day timestamptz, hour timestamptz, eve timestamptz,
        before timestamptz)
    CROSS JOIN LATERAL (
        SELECT quarter, used, last_at FROM campaign_usage WHERE instance_id = u.instance_id AND quarter > :kept
        UNION ALL
        SELECT quarter, used, last_at FROM sender_usage
        WHERE channel = u.channel AND account = u.account AND quarter > :kept
    ) m
    GROUP BY u.n
""")


def _lock(session: Session, owners: Iterable[Owner]) -> None:
    names = ["/".join(map(str, _key(owner).values())) for owner in owners]
    if names:
        session.execute(_LOCK, rows_parameter(names))


def usages(session: Session, *, paces: Mapping[Owner, Pace], now: datetime) -> dict[Owner, Usage]:
    """Returns what each owner has used of its day and hour."""
    if not paces:
        return {}
    owners = list(paces)
    rows = [
        {
            "n": number,
            **_key(owner),
            "hour": hour_of(now, paces[owner].zone).start,
            **dict(zip(("day", "eve", "before"), _days(paces[owner], now), strict=True)),
        }
        for number, owner in enumerate(owners)
    ]
    found = session.execute(_READ, {**rows_parameter(rows), "kept": now - KEPT})
    used_by: dict[Owner, Usage] = {}
    for number, last_at, used, in_hour, *earlier in found:
        owner = owners[int(number)]
        places = zip(_days(paces[owner], now), (used, *earlier), strict=True)
        place = next((count for start, count in places if last_at >= start), 0)
        used_by[owner] = Usage(used, last_at, in_hour, place)
    return used_by


def _days(pace: Pace, now: datetime) -> tuple[datetime, datetime, datetime]:
    """Returns the starts of today, of yesterday, and of the day before: no gap is longer."""
    today = day_of(now, pace.zone).start
    eve = day_of(today - timedelta(hours=1), pace.zone).start
    return today, eve, day_of(eve - timedelta(hours=1), pace.zone).start


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
    return [(action.campaign_id, quarter), *account]


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
