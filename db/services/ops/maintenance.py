"""How much of what is reported finds nobody: the figure that tells of a webhook set up wrongly."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.ids import first_id

# Of a campaign; a share needs no more.
_COUNTED = 100_000
_MANY = 20
_UNUSUAL = 0.2

_SHARE = text("""
    SELECT
        (SELECT count(*) FROM orphaned_events WHERE status = 'waiting' AND created_at >= :since),
        (SELECT count(*) FROM campaign_instances i CROSS JOIN LATERAL (
            SELECT FROM campaign_events WHERE instance_id = i.id AND id >= :first LIMIT :most) e)
""")


@dataclass(frozen=True, slots=True)
class OrphanShare:
    """Of the events that came since some moment: how many still wait for their enrollment, and how many found it."""

    waiting: int
    recorded: int

    @property
    def is_unusual(self) -> bool:
        """More than a few, and more than every fifth."""
        return self.waiting >= _MANY and self.waiting > _UNUSUAL * (self.waiting + self.recorded)


def orphan_share(session: Session, *, since: datetime) -> OrphanShare:
    """What became of the events that came in since then."""
    values = {"since": since, "first": first_id(since), "most": _COUNTED}
    return OrphanShare(*session.execute(_SHARE, values).one())
