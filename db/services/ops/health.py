"""What the database itself can tell of how the system is."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.states import OrphanStatus


@dataclass(frozen=True, slots=True)
class Stored:
    """orphans: events that wait for their enrollment. unreadable: campaigns that the server has paused -> why; no more
    than the first of them."""

    orphans: int
    unreadable: Mapping[str, str]


_SHOWN = 20
_UNREADABLE = text("""
    SELECT id, pause_reason FROM campaign_instances WHERE status = 'paused' AND pause_reason IS NOT NULL
    ORDER BY id LIMIT :shown
""")
_WAITING = text("SELECT count(*) FROM orphaned_events WHERE status = :status")


def look(session: Session) -> Stored:
    """The counts as they stand now."""
    unreadable = {str(id_): reason for id_, reason in session.execute(_UNREADABLE, {"shown": _SHOWN})}
    return Stored(unreadable=unreadable, orphans=session.scalar(_WAITING, {"status": OrphanStatus.WAITING.value}) or 0)
