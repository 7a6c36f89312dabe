"""Steps as tests claim and report them."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Result, text

from db.domain.states import ActionOutcome
from db.postgres.database import Database
from db.services.dispatch import actions, claims
from db.services.dispatch.actions import Completed
from db.services.dispatch.claims import Claim, DueAction
from tests.support.campaigns import NOW

TAKES_STEPS = "changed_at timestamptz"
"""Stands in the statements by which a claim takes steps, and in none that it sends before them."""


def claim(database: Database, campaign_id: UUID, *, hours: float = 0, limit: int = 10) -> list[DueAction]:
    return claim_at(database, campaign_id, NOW + timedelta(hours=hours), limit=limit).actions


def claim_at(database: Database, campaign_id: UUID | None, now: datetime, *, limit: int = 100) -> Claim:
    return database.run(
        "claim",
        lambda session: claims.claim(
            session, campaign_id=campaign_id, channel=None, limit=limit, lease_seconds=300, now=now
        ),
    )


def claim_for(
    database: Database, mailbox_id: UUID, now: datetime = NOW, *, limit: int = 100, include_overdue: bool = False
) -> Claim:
    """What the server's sender of a mailbox gets."""
    return database.run(
        "claim",
        lambda session: claims.claim_for_mailbox(
            session,
            mailbox_id=mailbox_id,
            limit=limit,
            lease_seconds=300,
            now=now,
            include_overdue=include_overdue,
        ),
    )


def report(database: Database, due: DueAction, outcome: ActionOutcome, *, hours: float = 0) -> Completed:
    return report_at(
        database,
        due,
        outcome,
        NOW + timedelta(hours=hours),
        provider="mail",
        provider_message_id=f"m-{due.action_id}" if outcome is ActionOutcome.SENT else None,
        error="mailbox full" if outcome is ActionOutcome.FAILED else None,
    )


def report_at(
    database: Database,
    due: DueAction,
    outcome: ActionOutcome,
    now: datetime,
    *,
    provider: str | None = None,
    provider_message_id: str | None = None,
    error: str | None = None,
) -> Completed:
    return database.run(
        "complete",
        lambda session: actions.complete(
            session,
            action_id=due.action_id,
            lease_token=due.lease_token,
            outcome=outcome,
            provider=provider,
            provider_message_id=provider_message_id,
            error=error,
            now=now,
        ),
    )


def run_sql(database: Database, statement: str, **values: object) -> Result[Any]:
    """What somebody does by hand, past all that the program knows."""
    with database.transaction("by hand") as session:
        return session.execute(text(statement), values)
