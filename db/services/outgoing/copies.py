"""Copies of sent mails in the folder Sent: which have still to be made."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.states import MessageStatus
from db.postgres.json import rows_parameter
from db.postgres.results import named
from db.services.mail.leases import HeldLease
from db.services.outgoing.queue import hold


class Unfiled(NamedTuple):
    """A mail that was sent, and of which no copy is known. raw: compressed by zlib; None if its words were deleted."""

    message_id: UUID
    internet_message_id: str
    raw: bytes | None


_UNFILED = text(f"""
    SELECT m.id, m.internet_message_id, b.raw
    FROM messages m LEFT JOIN message_bodies b ON b.message_id = m.id
    WHERE m.mailbox_id = :mailbox AND m.status = '{MessageStatus.SENT}' AND m.filed_at IS NULL
      AND m.id NOT IN (SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid))
    ORDER BY m.id LIMIT :limit
""").columns(*named("id", "internet_message_id", "raw"))
_FILED = text(f"""
    UPDATE messages SET filed_at = :now, updated_at = now()
    WHERE id = ANY (ARRAY(SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid)))
      AND status = '{MessageStatus.SENT}' AND filed_at IS NULL
""")
_LEAVE_OUT = text(f"""
    UPDATE messages SET filed_at = :now, updated_at = now()
    WHERE mailbox_id = :mailbox AND status = '{MessageStatus.SENT}' AND filed_at IS NULL
""")


def unfiled(session: Session, *, mailbox_id: UUID, limit: int, without: Collection[UUID] = ()) -> Sequence[Unfiled]:
    """Returns the first mails of a mailbox that were sent and of which no copy is known, but for those of `without`."""
    given = {"mailbox": mailbox_id, "limit": limit, **rows_parameter(sorted(without))}
    return [Unfiled(*row) for row in session.execute(_UNFILED, given)]


def note_filed(session: Session, *, lease: HeldLease, message_ids: Collection[UUID], now: datetime) -> None:
    """Notes that there is a copy of these mails, or that there can't be one. LeaseLost if another process sends from
    the mailbox."""
    hold(session, lease)
    session.execute(_FILED, {**rows_parameter(sorted(message_ids)), "now": now})


def leave_out(session: Session, *, lease: HeldLease, now: datetime) -> None:
    """Notes that no copies are made of what a mailbox has sent until now. LeaseLost as in note_filed."""
    hold(session, lease)
    session.execute(_LEAVE_OUT, {"mailbox": lease.mailbox_id, "now": now})
