"""The overview of all campaigns: what comes next, and what happened last.

The tables are keyed by campaign, so each campaign is asked for its few rows, by its own index, and the rows are merged.
The time depends on how many campaigns are read, which is bounded, and not on how much they hold.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from db.domain.events import EventType
from db.domain.states import Channel
from db.models.campaigns import IN_QUEUE
from db.services.campaigns import campaigns
from db.services.paging import Page, decode_cursor, encode_cursor

MOST_CAMPAIGNS = 500
"""So many campaigns are read, the newest."""
MOST_COUNTED = 1_000
"""Due steps are counted up to here."""

_WHO = """
    nullif(concat_ws(' ', nullif(c.first_name, ''), nullif(c.last_name, '')), '') AS name,
    coalesce(c.email, c.linkedin_url) AS address
"""


@dataclass(frozen=True, slots=True)
class Waiting:
    """An enrollment that waits: its next step is due, or will be. A row of _WAITING."""

    enrollment_id: UUID
    campaign_id: UUID
    campaign_name: str
    name: str | None
    address: str | None
    current_step: int
    a_b_variant: str | None
    next_action_at: datetime


_CHOSEN = """
    chosen AS MATERIALIZED (
        SELECT id, name FROM campaign_instances
        WHERE status = 'active' AND (CAST(:campaign AS uuid) IS NULL OR id = CAST(:campaign AS uuid))
        ORDER BY id DESC LIMIT :campaigns
    )
"""
_NEXT = "instance_id = i.id AND (next_action_at, id) > (:after_due, :after_id)"
_SHOWN = "instance_id, id, contact_id, current_step, a_b_variant, next_action_at"
_IN_LINE = IN_QUEUE.format(condition=_NEXT, limit=":limit", columns=_SHOWN)
_WAITING = text(f"""
    WITH {_CHOSEN}, line AS MATERIALIZED (
        SELECT n.*, i.name AS campaign_name FROM chosen i
        CROSS JOIN LATERAL {_IN_LINE} n
        ORDER BY n.next_action_at, n.id LIMIT :limit
    )
    SELECT l.id, l.instance_id, l.campaign_name, {_WHO}, l.current_step, l.a_b_variant, l.next_action_at
    FROM line l JOIN contacts c ON c.id = l.contact_id ORDER BY l.next_action_at, l.id
""")
_FIRST = [datetime.fromisoformat("1970-01-01T00:00:00+00:00"), UUID(int=0)]


def waiting(session: Session, *, campaign_id: UUID | None, limit: int, cursor: str | None) -> Page[Waiting]:
    """Returns who waits in one active campaign, or in all of them, in the order of the due queue."""
    if campaign_id is not None:
        campaigns.get(session, campaign_id=campaign_id)
    due, id_ = _FIRST if cursor is None else decode_cursor(cursor, "waiting", (datetime, UUID))
    values = {"campaign": campaign_id, "campaigns": MOST_CAMPAIGNS, "after_due": due, "after_id": id_}
    rows = session.execute(_WAITING, {**values, "limit": limit + 1}).all()
    shown = [Waiting(*row) for row in rows[:limit]]
    last = shown[-1] if len(rows) > limit else None
    return Page(shown, encode_cursor("waiting", [last.next_action_at, last.enrollment_id]) if last else None)


# Ordered, because otherwise the planner reads the table from its start for the limit, past all that is not due.
_IS_DUE = "instance_id = i.id AND next_action_at <= :now"
_DUE = IN_QUEUE.format(condition=_IS_DUE, limit=":most", columns="next_action_at, id")
_COUNT = text(f"""
    WITH {_CHOSEN}
    SELECT count(*) FROM (
        SELECT 1 FROM chosen i
        CROSS JOIN LATERAL {_DUE} n LIMIT :most
    ) due
""")


def count_due(session: Session, *, campaign_id: UUID | None, now: datetime) -> int:
    """Returns how many steps are past their due time, whatever holds them; MOST_COUNTED + 1 if more than
    MOST_COUNTED."""
    values = {"campaign": campaign_id, "campaigns": MOST_CAMPAIGNS, "now": now, "most": MOST_COUNTED + 1}
    return session.execute(_COUNT, values).scalar_one()


@dataclass(frozen=True, slots=True)
class Happened:
    """An event with its campaign and its person."""

    id: UUID
    campaign_id: UUID
    campaign_name: str
    enrollment_id: UUID
    name: str | None
    address: str | None
    event_type: EventType
    channel: Channel
    step_number: int | None
    occurred_at: datetime


_LATEST = text(f"""
    WITH chosen AS MATERIALIZED (
        SELECT id, name FROM campaign_instances WHERE CAST(:campaign AS uuid) IS NULL OR id = CAST(:campaign AS uuid)
        ORDER BY id DESC LIMIT :campaigns
    ), latest AS MATERIALIZED (
        SELECT e.*, i.name AS campaign_name FROM chosen i CROSS JOIN LATERAL (
            SELECT e.instance_id, e.id, e.enrollment_id, e.event_type, e.channel, e.step_number, e.occurred_at
            FROM campaign_events e WHERE e.instance_id = i.id AND e.id > :after AND e.id < :before
            ORDER BY e.id DESC LIMIT :limit
        ) e ORDER BY e.id DESC LIMIT :limit
    )
    SELECT l.instance_id AS campaign_id, l.*, {_WHO} FROM latest l
    JOIN campaign_enrollments n ON n.instance_id = l.instance_id AND n.id = l.enrollment_id
    JOIN contacts c ON c.id = n.contact_id ORDER BY l.id DESC
""")


def latest(
    session: Session,
    *,
    campaign_id: UUID | None = None,
    after: UUID | None = None,
    before: UUID | None = None,
    limit: int,
) -> Sequence[Happened]:
    """Returns the events that came in last, of one campaign or of all, with ids between `after` and `before`, newest
    first.

    An event gets its id before it is committed, so a caller that polls must look some seconds back each time.
    """
    values = {
        "campaign": campaign_id,
        "campaigns": MOST_CAMPAIGNS,
        "after": after or UUID(int=0),
        "before": before or UUID(int=2**128 - 1),
        "limit": limit,
    }
    return [_happened(row) for row in session.execute(_LATEST, values)]


def _happened(row: Row[Any]) -> Happened:
    return Happened(
        row.id,
        row.campaign_id,
        row.campaign_name,
        row.enrollment_id,
        row.name,
        row.address,
        EventType(row.event_type),
        Channel(row.channel),
        row.step_number,
        row.occurred_at,
    )
