"""Steps as tests claim and report them."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Result, text

from db.domain.states import ActionOutcome
from db.postgres.database import Database
from db.services.dispatch import actions, claims
from db.services.dispatch.actions import Completed
from db.services.dispatch.claims import DueAction
from tests.support.campaigns import NOW


def claim(database: Database, campaign_id: UUID, *, hours: float = 0, limit: int = 10) -> list[DueAction]:
    return database.run(
        "claim",
        lambda session: claims.claim(
            session,
            campaign_id=campaign_id,
            channel=None,
            limit=limit,
            lease_seconds=300,
            now=NOW + timedelta(hours=hours),
        ),
    ).actions


def report(database: Database, due: DueAction, outcome: ActionOutcome, *, hours: float = 0) -> Completed:
    return database.run(
        "complete",
        lambda session: actions.complete(
            session,
            action_id=due.action_id,
            lease_token=due.lease_token,
            outcome=outcome,
            provider="mail",
            provider_message_id=f"m-{due.action_id}" if outcome is ActionOutcome.SENT else None,
            error="mailbox full" if outcome is ActionOutcome.FAILED else None,
            now=NOW + timedelta(hours=hours),
        ),
    )


def run_sql(database: Database, statement: str, **values: object) -> Result[Any]:
    """What somebody does by hand, past all that the program knows."""
    with database.transaction("by hand") as session:
        return session.execute(text(statement), values)
