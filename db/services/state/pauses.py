"""Pauses that end by themselves. Once one is over, everybody takes its enrollment for active, and a claim or
maintenance writes that down."""

from collections import Counter
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.states import EnrollmentStatus
from db.postgres.results import named
from db.services.state import counters

# They are found by their index, in all campaigns: the planner takes any campaign that is newer than the statistics for
# a small one, and would read it from end to end. Nothing here waits: rows that another transaction holds are left to
# the next claim. The lock on the campaign keeps it from starting or ending meanwhile.
_END = text("""
    WITH found AS MATERIALIZED (
        SELECT instance_id, id FROM campaign_enrollments WHERE paused_until IS NOT NULL AND paused_until <= :now
    ), over AS MATERIALIZED (
        SELECT e.instance_id, e.id, CASE i.status WHEN 'draft' THEN 'enrolled' ELSE 'active' END AS status
        FROM found f
        JOIN campaign_enrollments e ON e.instance_id = f.instance_id AND e.id = f.id
        JOIN campaign_instances i ON i.id = e.instance_id
        WHERE e.paused_until <= :now AND (CAST(:campaign AS uuid) IS NULL OR f.instance_id = :campaign)
          AND (e.next_action_at IS NOT NULL OR i.status = 'draft')
        ORDER BY e.instance_id, e.id LIMIT :most FOR NO KEY UPDATE OF e SKIP LOCKED FOR SHARE OF i SKIP LOCKED
    ), ended AS (
        UPDATE campaign_enrollments e SET status = o.status, paused_until = NULL, updated_at = now()
        FROM over o WHERE e.instance_id = o.instance_id AND e.id = o.id
        RETURNING e.instance_id, e.status
    )
    SELECT instance_id, status, count(*) FROM ended GROUP BY 1, 2
""").columns(*named("campaign_id", "status", "total"))

# Far more than end between two claims, and far from statement_timeout. It is no `limit` for db.postgres.planning, which
# would take each claim for a batch, and let every connection plan all its statements again.
_MOST = 20_000


def end(
    session: Session, *, now: datetime, campaign_id: UUID | None = None, limit: int = _MOST
) -> Counter[tuple[UUID, EnrollmentStatus]]:
    """Makes those whose pause is over active again, or enrolled in a draft: in one campaign, or in all. Returns the
    changes of the totals by status, which the caller adds."""
    moves: Counter[tuple[UUID, EnrollmentStatus]] = Counter()
    values = {"now": now, "campaign": campaign_id, "most": limit}
    for ended_in, status, total in session.execute(_END, values):
        moves[ended_in, EnrollmentStatus(status)] += total
        moves[ended_in, EnrollmentStatus.PAUSED] -= total
    return moves


def end_some(session: Session, *, before: datetime, limit: int) -> int:
    """Does so for up to `limit` pauses that were over `before`, and adds the totals. Returns how many there were."""
    moves = end(session, now=before, limit=limit)
    counters.add_statuses(session, moves)
    return sum(total for total in moves.values() if total > 0)
