"""Reads the stored events of enrollments, and writes those that db.domain.history has placed differently."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.action import Action
from db.domain.bots import RULE_KEY
from db.domain.events import EventType, NewEvent
from db.domain.history import Entry
from db.domain.states import Channel
from db.postgres.json import rows_parameter
from db.postgres.results import named
from db.services.state.enrollment_rows import Key, key_row

MOST: Final = 5_000
"""The number of events that are read of one enrollment, the latest. Earlier ones stay where they are. It bounds the
time of one event (about 30 microseconds for each that is read), far above what happens to one person in one
campaign."""

_TYPES = {str(kind): kind for kind in EventType}
_CHANNELS = {str(channel): channel for channel in Channel}

_READ = text(f"""
    SELECT e.enrollment_id, e.id, e.step_number, e.is_inferred, e.follows_message, e.event_type, e.channel,
           e.occurred_at, e.from_provider, e.provider, e.provider_event_id, e.provider_message_id,
           e.metadata ->> 'bounce_type', e.metadata ->> '{RULE_KEY}'
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS w(instance_id uuid, enrollment_id uuid)
    CROSS JOIN LATERAL (
        SELECT * FROM campaign_events WHERE instance_id = w.instance_id AND enrollment_id = w.enrollment_id
        ORDER BY occurred_at DESC LIMIT {MOST}
    ) e
""").columns(
    *named(
        "enrollment_id", "id", "step_number", "is_inferred", "follows_message", "event_type", "channel", "occurred_at",
        "from_provider", "provider", "provider_event_id", "provider_message_id", "bounce_type", "machine_rule",
    )
)  # fmt: skip


def read(session: Session, *, owners: Collection[Key]) -> Mapping[UUID, Sequence[Entry]]:
    """Returns enrollment -> its stored events. Their metadata is reduced to what decides how they count."""
    found: defaultdict[UUID, list[Entry]] = defaultdict(list)
    for enrollment_id, id_, step_number, is_inferred, follows_message, *told in session.execute(
        _READ, rows_parameter([key_row(owner) for owner in owners])
    ):
        found[enrollment_id].append(Entry(id_, _event(*told), step_number, is_inferred, follows_message))
    return found


def _event(
    event_type: str,
    channel: str,
    occurred_at: datetime,
    from_provider: bool,
    provider: str | None,
    provider_event_id: str | None,
    provider_message_id: str | None,
    bounce_type: str | None,
    rule: str | None,
) -> NewEvent:
    told = {"bounce_type": bounce_type, RULE_KEY: rule}
    return NewEvent(
        _TYPES[event_type],
        _CHANNELS[channel],
        occurred_at,
        provider_message_id=provider_message_id,
        provider=provider,
        provider_event_id=provider_event_id,
        metadata={key: value for key, value in told.items() if value is not None},
        from_provider=from_provider,
    )


_MOVE = text(f"""
    UPDATE campaign_events e
    SET step_number = n.step_number, is_inferred = n.is_inferred, follows_message = n.follows_message,
        event_type = n.event_type, metadata = (e.metadata - '{RULE_KEY}') || n.rule
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS n(
        instance_id uuid, id uuid, step_number int, is_inferred bool, follows_message bool, event_type text, rule jsonb
    )
    WHERE e.instance_id = n.instance_id AND e.id = n.id
""")


def move(session: Session, *, moved: Iterable[tuple[UUID, Entry]]) -> None:
    """Writes (campaign, event) pairs that are placed or labelled differently now."""
    rows = [
        {
            "instance_id": campaign_id,
            "id": entry.id,
            "step_number": entry.step_number,
            "is_inferred": entry.is_inferred,
            "follows_message": entry.follows_message,
            "event_type": entry.event.event_type,
            "rule": {key: value for key, value in entry.event.metadata.items() if key == RULE_KEY},
        }
        for campaign_id, entry in moved
    ]
    if rows:
        session.execute(_MOVE, rows_parameter(rows))


_DROP = text("""
    DELETE FROM campaign_actions a
    USING jsonb_to_recordset(CAST(:rows AS jsonb)) AS n(instance_id uuid, enrollment_id uuid, step_number int)
    WHERE a.enrollment_id = n.enrollment_id AND a.step_number = n.step_number AND a.instance_id = n.instance_id
      AND a.lease_token IS NULL AND a.error IS NULL
""")


def drop_actions(session: Session, *, actions: Iterable[Action]) -> None:
    """Deletes actions of which nothing is known any more, unless they are claimed."""
    rows = [
        {"instance_id": action.campaign_id, "enrollment_id": action.enrollment_id, "step_number": action.step_number}
        for action in actions
    ]
    if rows:
        session.execute(_DROP, rows_parameter(rows))
