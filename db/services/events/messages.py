"""Messages of enrollments in addition to those of their actions: a step may have been sent in several, and one may
belong to no step. Each leads to its enrollment; its step follows from the events (db.domain.history)."""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.postgres.json import rows_parameter
from db.services.state.enrollment_rows import Key

_KEEP = text("""
    INSERT INTO campaign_messages (instance_id, enrollment_id, provider_message_id, provider)
    SELECT instance_id, enrollment_id, provider_message_id, provider
    FROM jsonb_populate_recordset(NULL::campaign_messages, CAST(:rows AS jsonb))
    ON CONFLICT (instance_id, enrollment_id, provider_message_id) DO NOTHING
""")


def keep(session: Session, *, messages: Mapping[tuple[Key, str], str | None]) -> None:
    """Stores that these messages belong to these enrollments: (enrollment, message) -> its provider. The caller has
    locked the enrollments."""
    if messages:
        session.execute(_KEEP, rows_parameter(list(_rows(messages))))


def _rows(messages: Mapping[tuple[Key, str], str | None]) -> Iterable[dict[str, Any]]:
    for (owner, message), provider in messages.items():
        yield {**owner._asdict(), "provider_message_id": message, "provider": provider}
