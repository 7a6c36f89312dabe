"""The rows of events."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.events import impersonal
from db.postgres.json import to_text
from db.postgres.results import named
from db.services.events.batches import BatchRow

INSERTING = """
    INSERT INTO campaign_events (instance_id, id, enrollment_id, event_type, channel, step_number, occurred_at,
                                 provider, provider_event_id, metadata, provider_message_id, is_inferred,
                                 follows_message, from_provider)
    SELECT instance_id, id, enrollment_id, event_type, channel, step_number, occurred_at, provider, provider_event_id,
           metadata, provider_message_id, COALESCE(is_inferred, false), COALESCE(follows_message, false),
           COALESCE(from_provider, false)
    FROM jsonb_populate_recordset(NULL::campaign_events, CAST(:events AS jsonb))
"""
"""The statement that inserts events, its parameter `events`."""
_INSERT_EVENTS = text(f"""
    {INSERTING}
    ON CONFLICT (provider, provider_event_id) WHERE provider_event_id IS NOT NULL DO NOTHING
    RETURNING id
""").columns(*named("id"))


def insert(session: Session, *, rows: Sequence[BatchRow]) -> set[UUID]:
    """Inserts the events. Returns the ids of the new ones; the unique index decides, within the batch and between
    processes."""
    return set(session.execute(_INSERT_EVENTS, {"events": to_text([values(row) for row in rows])}).scalars().all())


def values(row: BatchRow) -> dict[str, Any]:
    """Returns the row of an event, as INSERTING takes it."""
    event = row.event
    found = {
        "instance_id": row.enrollment.campaign_id,
        "id": row.id,
        "enrollment_id": row.enrollment.id,
        "event_type": event.event_type,
        "channel": event.channel,
        "step_number": row.step_number,
        "occurred_at": event.occurred_at,
        "provider": event.provider,
        "provider_event_id": event.provider_event_id,
        "metadata": impersonal(event.metadata) if row.enrollment.is_erased else event.metadata,
    }
    # Most events have none of these, and every key is written and read a thousand times.
    if event.provider_message_id is not None:
        found["provider_message_id"] = event.provider_message_id
    if row.is_inferred:
        found["is_inferred"] = True
    if row.follows_message:
        found["follows_message"] = True
    if event.from_provider:
        found["from_provider"] = True
    return found
