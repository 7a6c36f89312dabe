"""How far each mailbox is: what was read and sent, what waits, and which process works on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.mailboxes import LeaseRole
from db.domain.states import MessageDirection, MessageStatus
from db.models import Mailbox
from db.postgres.json import rows_parameter
from db.postgres.results import named


@dataclass(frozen=True, slots=True)
class MailboxProgress:
    """recorded: mails that were read and concern somebody; pending: those that are kept and not judged yet. unrelated:
    mails that concern nobody. to_join: older mails that are still to be read. sent_today: in the mailbox's time zone.
    queued: mails that are claimed, or are tried again; unknown: those of which nobody knows whether they went out.
    reader and sender: the process that holds the lease, if one does."""

    last_read_at: datetime | None
    last_sent_at: datetime | None
    recorded: int
    unrelated: int
    pending: int
    to_join: int
    sent_today: int
    queued: int
    unknown: int
    reader: str | None
    sender: str | None

    @property
    def read(self) -> int:
        """All mails that were read, each once."""
        return self.recorded + self.unrelated + self.pending


# What agents were handed counts as sent: they report that to their steps, and not to a mailbox.
_WENT_OUT = f"""
    direction = '{MessageDirection.OUT}'
    AND (status IS NULL OR status IN ('{MessageStatus.SENT}', '{MessageStatus.RECORDED}'))
"""
# Each count by an index that holds little more than what is counted: a mailbox may have sent a million mails.
_PROGRESS = text(f"""
    SELECT b.id, f.last_read_at, m.last_sent_at, m.incoming - p.pending, u.unrelated, p.pending,
           coalesce(f.to_join, 0), m.sent_today, o.queued, o.unknown, r.holder, s.holder
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS b(id uuid, since timestamptz)
    CROSS JOIN LATERAL (
        SELECT max(last_read_at) AS last_read_at, sum(to_join) AS to_join FROM mailbox_folders WHERE mailbox_id = b.id
    ) f
    CROSS JOIN LATERAL (
        SELECT (SELECT occurred_at FROM messages WHERE mailbox_id = b.id AND {_WENT_OUT}
                ORDER BY occurred_at DESC LIMIT 1) AS last_sent_at,
               (SELECT count(*) FROM messages WHERE mailbox_id = b.id AND direction = '{MessageDirection.IN}')
                   AS incoming,
               (SELECT count(*) FROM messages WHERE mailbox_id = b.id AND {_WENT_OUT} AND occurred_at >= b.since)
                   AS sent_today
    ) m
    CROSS JOIN LATERAL (
        SELECT count(*) AS pending FROM messages WHERE mailbox_id = b.id AND status = '{MessageStatus.PENDING}'
    ) p
    CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE status = '{MessageStatus.QUEUED}') AS queued,
               count(*) FILTER (WHERE status = '{MessageStatus.UNKNOWN}') AS unknown
        FROM messages
        WHERE mailbox_id = b.id
          AND status IN ('{MessageStatus.QUEUED}', '{MessageStatus.SENDING}', '{MessageStatus.UNKNOWN}')
    ) o
    CROSS JOIN LATERAL (SELECT count(*) AS unrelated FROM unrelated_mails WHERE mailbox_id = b.id) u
    LEFT JOIN mailbox_leases r ON r.mailbox_id = b.id AND r.role = '{LeaseRole.READER}' AND r.expires_at > now()
    LEFT JOIN mailbox_leases s ON s.mailbox_id = b.id AND s.role = '{LeaseRole.SENDER}' AND s.expires_at > now()
""").columns(
    *named(
        "id", "last_read_at", "last_sent_at", "recorded", "unrelated", "pending", "to_join", "sent_today", "queued",
        "unknown", "reader", "sender",
    )
)  # fmt: skip


def of_mailboxes(session: Session, *, rows: Sequence[Mailbox], now: datetime) -> Mapping[UUID, MailboxProgress]:
    """Returns how far these mailboxes are, by id."""
    asked = [{"id": row.id, "since": _midnight(row, now)} for row in rows]
    found = session.execute(_PROGRESS, rows_parameter(asked)) if asked else ()
    return {id_: MailboxProgress(*fields) for id_, *fields in found}


def _midnight(row: Mailbox, now: datetime) -> datetime:
    """Returns the beginning of the mailbox's day."""
    zone = ZoneInfo(row.settings.get("timezone", "UTC"))
    return now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
