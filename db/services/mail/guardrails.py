"""Counts what came back of the mails of campaigns and mailboxes, and pauses those that break a guardrail."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import TextClause, TextualSelect, text
from sqlalchemy.orm import Session

from db.domain import guardrails as rules
from db.domain.access import AuditEntry
from db.domain.field_limits import MAILBOX_PROBLEM_MAX, PAUSE_REASON_MAX
from db.domain.guardrails import BOUNCES, COMPLAINTS, Counted, Guardrails
from db.domain.mailboxes import MailboxStatus
from db.domain.states import CampaignStatus, Channel
from db.postgres.json import rows_parameter
from db.postgres.results import named
from db.services.ops import audit, settings as workspace
from db.services.state.harm import Harmed


@dataclass(frozen=True, slots=True)
class _Owner:
    """A campaign, or a mailbox by its address; resumed_at: when a person let it go on after a guardrail."""

    id: UUID
    account: str | None
    resumed_at: datetime | None


_MAILBOXES = text(f"""
    SELECT id, address, guarded_since FROM mailboxes
    WHERE status <> '{MailboxStatus.PAUSED}' AND (CAST(:rows AS jsonb) IS NULL
          OR address = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST(:rows AS jsonb)))))
    ORDER BY id
""").columns(*named("id", "address", "guarded_since"))
_CAMPAIGNS = text(f"""
    SELECT id, NULL::text, guarded_since FROM campaign_instances
    WHERE status = '{CampaignStatus.ACTIVE}' AND (CAST(:rows AS jsonb) IS NULL
          OR id = ANY (ARRAY(SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid))))
    ORDER BY id
""").columns(*named("id", "address", "guarded_since"))

# Sends are counted only where enough has happened, and only as far as they can matter: more keep the guardrail anyway.
_COUNTS = f"""
    SELECT w.id, s.count, b.count, c.count
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS w(id uuid, account text, since timestamptz)
    CROSS JOIN LATERAL (
        SELECT count(*)::int AS count FROM campaign_actions
        WHERE {{of_owner}} AND channel = '{Channel.EMAIL}' AND bounced_at > w.since
    ) b
    CROSS JOIN LATERAL (
        SELECT count(*)::int AS count FROM campaign_actions
        WHERE {{of_owner}} AND channel = '{Channel.EMAIL}' AND complained_at > w.since
    ) c
    CROSS JOIN LATERAL (
        SELECT count(*)::int AS count FROM (
            SELECT FROM campaign_actions WHERE {{of_owner}} AND channel = '{Channel.EMAIL}' AND sent_at > w.since
            LIMIT CASE WHEN b.count >= :bounces OR c.count >= :complaints THEN greatest(
                CAST(:least AS bigint), CAST(:per_bounce AS bigint) * b.count, CAST(:per_complaint AS bigint) * c.count
            ) + 1 ELSE 0 END
        ) sent
    ) s
"""
_OF_CAMPAIGNS = text(_COUNTS.format(of_owner="instance_id = w.id"))
_OF_MAILBOXES = text(_COUNTS.format(of_owner="sender = w.account"))

# Where a person has let it go on since the counts were read, they count no more.
_IS_AS_READ = "guarded_since IS NOT DISTINCT FROM CAST(:resumed_at AS timestamptz)"
_PAUSE_MAILBOX = text(f"""
    UPDATE mailboxes SET status = '{MailboxStatus.PAUSED}', problem = :reason, problem_at = :now, updated_at = now()
    WHERE id = :id AND status <> '{MailboxStatus.PAUSED}' AND {_IS_AS_READ} RETURNING id
""")
_PAUSE_CAMPAIGN = text(f"""
    UPDATE campaign_instances
    SET status = '{CampaignStatus.PAUSED}', paused_at = :now, pause_reason = :reason, updated_at = now()
    WHERE id = :id AND status = '{CampaignStatus.ACTIVE}' AND {_IS_AS_READ} RETURNING id
""")


def check(session: Session, *, harmed: Iterable[Harmed], now: datetime) -> int:
    """Pauses the campaigns and mailboxes of these mails that break a guardrail. Returns how many."""
    concerned = set(harmed)
    campaigns = {one.campaign_id for one in concerned}
    return _check(session, campaigns, {one.account for one in concerned if one.account is not None}, now)


def check_all(session: Session, *, now: datetime) -> int:
    """Pauses all campaigns and mailboxes that break a guardrail. Returns how many."""
    return _check(session, None, None, now)


def _check(
    session: Session, campaigns: Collection[UUID] | None, accounts: Collection[str] | None, now: datetime
) -> int:
    """Looks at those that are not paused; None for all of them. Mailboxes are locked before campaigns."""
    kept = workspace.get(session).guardrails
    if kept.are_off:
        return 0
    paused = _check_mailboxes(session, accounts, kept, now)
    return paused + _check_campaigns(session, campaigns, kept, now)


def _check_mailboxes(session: Session, accounts: Collection[str] | None, kept: Guardrails, now: datetime) -> int:
    owners = _owners(session, _MAILBOXES, accounts)
    counts = _counts(session, _OF_MAILBOXES, owners, kept, now)
    paused = 0
    for owner in owners:
        reason = rules.of_mailbox(counts[owner.id], kept, since=rules.since(now, owner.resumed_at))
        if reason is not None and _pause(session, _PAUSE_MAILBOX, owner, reason[:MAILBOX_PROBLEM_MAX], now):
            entry = AuditEntry.of_server("update_mailbox", {"mailbox": [str(owner.id)]}, now)
            audit.write(session, entries=[entry])
            paused += 1
    return paused


def _check_campaigns(session: Session, campaigns: Collection[UUID] | None, kept: Guardrails, now: datetime) -> int:
    owners = _owners(session, _CAMPAIGNS, campaigns)
    counts = _counts(session, _OF_CAMPAIGNS, owners, kept, now)
    paused = 0
    for owner in owners:
        reason = rules.of_campaign(counts[owner.id], kept, since=rules.since(now, owner.resumed_at))
        if reason is not None and _pause(session, _PAUSE_CAMPAIGN, owner, reason[:PAUSE_REASON_MAX], now):
            entry = AuditEntry.of_server("pause_campaign", {"campaign": [str(owner.id)]}, now)
            audit.write(session, entries=[entry])
            paused += 1
    return paused


def _owners(
    session: Session, statement: TextualSelect, wanted: Collection[UUID] | Collection[str] | None
) -> Sequence[_Owner]:
    asked = {"rows": None} if wanted is None else rows_parameter(sorted(str(one) for one in wanted))
    return [_Owner(*row) for row in session.execute(statement, asked)]


def _counts(
    session: Session, statement: TextClause, owners: Iterable[_Owner], kept: Guardrails, now: datetime
) -> dict[UUID, Counted]:
    rows = [{"id": owner.id, "account": owner.account, "since": rules.since(now, owner.resumed_at)} for owner in owners]
    if not rows:
        return {}
    values = {
        **rows_parameter(rows),
        "per_bounce": rules.mails_per_event(kept.bounce_rate),
        "per_complaint": rules.mails_per_event(kept.complaint_rate),
        "bounces": BOUNCES.events,
        "complaints": COMPLAINTS.events,
        "least": max(BOUNCES.sent, COMPLAINTS.sent),
    }
    return {id_: Counted(*counts) for id_, *counts in session.execute(statement, values)}


def _pause(session: Session, statement: TextClause, owner: _Owner, reason: str, now: datetime) -> bool:
    values = {"id": owner.id, "reason": reason, "resumed_at": owner.resumed_at, "now": now}
    return session.scalar(statement, values) is not None
