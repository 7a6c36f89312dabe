"""The statements of a work, and their plans for tables that are large."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, event, text
from sqlalchemy.orm import Session

from db.domain.contacts import ContactFields, ContactRef
from db.domain.events import EventType
from db.domain.states import (
    ActionOutcome,
)
from db.domain.templates import EmailStep
from db.postgres.database import Database
from db.services.dispatch import actions, claims
from db.services.enrollments import enrollments
from db.services.events import events
from db.services.people import contacts
from tests.support.campaigns import make_campaign

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
BIG = (
    "action_drafts",
    "campaign_events",
    "campaign_enrollments",
    "campaign_actions",
    "campaign_metrics",
    "campaign_enrollment_totals",
    "contacts",
    "messages",
    "orphaned_events",
    "suppressions",
    "threads",
    "webhook_deliveries",
)
Statement = tuple[str, Any]
# What a call does with the campaign and the enrollment of the scene.
Work = Callable[[Session, UUID, UUID], object]


def person(session: Session, campaign_id: UUID, name: str) -> UUID:
    ref = ContactRef(None, ContactFields(email=f"{name}@example.com"))
    answer = enrollments.enroll(session, campaign_id=campaign_id, people={0: ref}, start_at=None, now=NOW)[0]
    assert answer.enrollment_id is not None
    return answer.enrollment_id


def campaign(session: Session) -> UUID:
    steps = [EmailStep(1, "Hello", "Nice to meet you."), EmailStep(2, "Again", "Still there, I hope.", 24)]
    return make_campaign(session, email_steps=steps, start_at=NOW)


@contextmanager
def watched(connection: Connection) -> Generator[list[Statement]]:
    """The statements that run on the connection meanwhile."""
    seen: list[Statement] = []

    def note(_conn: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        seen.append((statement, parameters))

    event.listen(connection, "before_cursor_execute", note)
    yield seen
    event.remove(connection, "before_cursor_execute", note)


def forget_statistics(connection: Connection) -> None:
    """Tables and planner as they are on the first day: else what other tests left behind would choose the index."""
    connection.execute(text(f"TRUNCATE {', '.join(BIG)} CASCADE"))
    connection.execute(
        text("DELETE FROM pg_statistic WHERE starelid = ANY(CAST(:tables AS regclass[]))"), {"tables": list(BIG)}
    )


# Of a campaign without events one index is as good as another. So the planner is told that there are a million.
ONE_EVENT = text("""
    INSERT INTO campaign_events (instance_id, id, enrollment_id, event_type, channel, occurred_at)
    VALUES (:campaign, gen_random_uuid(), :enrollment, 'machine_opened', 'email', :now)
""")
MANY_EVENTS = text("UPDATE pg_class SET relpages = 1, reltuples = 1000000 WHERE oid = 'campaign_events'::regclass")


def plans(database: Database, work: Work) -> str:
    """The plans of all that `work` runs, made as for tables too large to be read from end to end."""
    with database.transaction("explain") as session:
        connection = session.connection()
        forget_statistics(connection)
        campaign_id = campaign(session)
        enrollment_id = person(session, campaign_id, "ada")
        connection.execute(ONE_EVENT, {"campaign": campaign_id, "enrollment": enrollment_id, "now": NOW})
        connection.execute(MANY_EVENTS)
        with watched(connection) as seen:
            work(session, campaign_id, enrollment_id)
        assert seen
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        found = [
            connection.exec_driver_sql(f"EXPLAIN {statement}", parameters).scalars().all()
            for statement, parameters in seen
            if statement.lstrip().startswith(("SELECT", "WITH", "INSERT", "UPDATE", "DELETE"))
        ]
        session.rollback()
    return "\n".join(line for plan in found for line in plan)


def list_events(
    *, of_enrollment: bool = False, event_type: EventType | None = None, since: datetime | None = None
) -> Work:
    return lambda session, campaign_id, enrollment_id: events.list_(
        session,
        campaign_id=campaign_id,
        enrollment_id=enrollment_id if of_enrollment else None,
        event_type=event_type,
        since=since,
        until=None,
        limit=50,
        cursor=None,
    )


def find(**filters: str) -> Work:
    given: dict[str, Any] = {"search": None, "email": None, "company": None, **filters}
    return lambda session, _campaign, _enrollment: contacts.find(session, limit=50, cursor=None, **given)


def claim_and_complete(session: Session, campaign_id: UUID, _enrollment_id: UUID) -> object:
    claim = claims.claim(session, campaign_id=campaign_id, channel=None, limit=1, lease_seconds=60, now=NOW)
    (due,) = claim.actions
    return actions.complete(
        session,
        action_id=due.action_id,
        lease_token=due.lease_token,
        outcome=ActionOutcome.SENT,
        provider="mail",
        provider_message_id="m-1",
        error=None,
        now=NOW,
    )
