"""What the database itself can tell of how the system is."""

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.states import OrphanStatus


@dataclass(frozen=True, slots=True)
class Stored:
    """orphans: events that wait for their enrollment."""

    orphans: int


_WAITING = text("SELECT count(*) FROM orphaned_events WHERE status = :status")


def look(session: Session) -> Stored:
    """The counts as they stand now."""
    return Stored(orphans=session.scalar(_WAITING, {"status": OrphanStatus.WAITING.value}) or 0)
