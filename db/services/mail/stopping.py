"""The switch that stops all sending, in every server, until somebody turns it on again."""

from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.mailboxes import LeaseRole
from db.domain.states import MessageStatus

_STOP = text("""
    INSERT INTO settings (id, sending_stopped_at) VALUES (1, :now)
    ON CONFLICT (id) DO UPDATE
    SET sending_stopped_at = coalesce(settings.sending_stopped_at, excluded.sending_stopped_at),
        updated_at = excluded.updated_at
""")
_START = text("""
    UPDATE settings SET sending_stopped_at = NULL, updated_at = now() WHERE sending_stopped_at IS NOT NULL
""")
STOPPED_AT: Final = "(SELECT sending_stopped_at FROM settings)"
"""Since when all sending is stopped."""
_STOPPED_AT = text(f"SELECT {STOPPED_AT}")
_UNDER_WAY = text(f"""
    SELECT count(*) FROM mailbox_leases l
    JOIN messages m ON m.mailbox_id = l.mailbox_id AND m.status = '{MessageStatus.SENDING}'
    WHERE l.role = '{LeaseRole.SENDER}' AND l.expires_at > now()
""")
_AWAIT = text(f"""
    SELECT mailbox_id FROM mailbox_leases WHERE role = '{LeaseRole.SENDER}' ORDER BY mailbox_id FOR UPDATE
""")


def stop(session: Session, *, now: datetime) -> None:
    """Stops all sending. What was stopped before stays so, since then. Once this is committed, await_begun ends when no
    mail can begin any more."""
    session.execute(_STOP, {"now": now})


def await_begun(session: Session) -> None:
    """Waits for transactions in which a mail begins, in a transaction after that of `stop`: each of them holds the
    lease of its mailbox and may have looked before sending was stopped. Later ones see that it is."""
    session.execute(_AWAIT)


def under_way(session: Session) -> int:
    """Returns how many mails have begun, and their mail servers have not answered yet."""
    return session.scalar(_UNDER_WAY) or 0


def start(session: Session) -> None:
    """Lets servers send again."""
    session.execute(_START)


def stopped_at(session: Session) -> datetime | None:
    """Returns since when all sending is stopped; None if it is not."""
    return session.scalar(_STOPPED_AT)
