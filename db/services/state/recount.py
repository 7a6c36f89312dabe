"""Recounts counters from the rows that they are sums of.

Counters are changed by differences, so they miss what was written by hand in SQL. A difference that does not fit is
never a reason to refuse what it belongs to: the campaign is recounted in the same transaction instead.
"""

from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session

from db.domain.metrics import COUNTERS, MILESTONES, Milestone
from db.domain.states import EnrollmentStatus
from db.postgres import faults

_STATUSES = ", ".join(f"'{status}'" for status in EnrollmentStatus)
_COUNTED_STATUSES = """
    SELECT status, count(*)::int AS total FROM campaign_enrollments WHERE instance_id = :campaign GROUP BY status
"""
COUNTS = ", ".join(
    [f"count({milestone}_at)::int AS {milestone}" for milestone in MILESTONES]
    + ["sum(open_count)::int AS total_opens", "sum(click_count)::int AS total_clicks"]
)
"""The columns that count actions, in the order of COUNTERS: how many reached each milestone, and opens and clicks."""
# As step 0, the people who unsubscribed without a step.
_STEPLESS = ", ".join(f"{'count(*)::int' if name == Milestone.UNSUBSCRIBED else 0} AS {name}" for name in COUNTERS)
_COUNTED_METRICS = f"""
    SELECT step_number, channel, coalesce(a_b_variant, '') AS a_b_variant,
           (coalesce(sent_at, failed_at) AT TIME ZONE 'UTC')::date AS cohort_day, {COUNTS}
    FROM campaign_actions WHERE instance_id = :campaign AND coalesce(sent_at, failed_at) IS NOT NULL
    GROUP BY 1, 2, 3, 4
    UNION ALL
    SELECT 0, 'email', coalesce(a_b_variant, ''), (unsubscribed_at AT TIME ZONE 'UTC')::date, {_STEPLESS}
    FROM campaign_enrollments n
    WHERE instance_id = :campaign AND unsubscribed_at IS NOT NULL AND NOT EXISTS (
        SELECT FROM campaign_actions
        WHERE enrollment_id = n.id AND instance_id = n.instance_id AND unsubscribed_at IS NOT NULL)
    GROUP BY 1, 2, 3, 4
"""
_METRIC_KEY = "step_number, channel, a_b_variant, cohort_day"
_KEPT = ", ".join(f"m.{name}" for name in COUNTERS)
_RIGHT = ", ".join(f"coalesce(c.{name}, 0)" for name in COUNTERS)


class Recount(NamedTuple):
    """How one table is recounted. Its rows are made and locked before they are counted, by separate statements, so that
    the count sees all that earlier holders of the locks have written."""

    table: str
    make: TextClause
    lock: TextClause
    correct: TextClause
    is_wrong: TextClause


STATUSES = Recount(
    "campaign_enrollment_totals",
    text(f"""
        INSERT INTO campaign_enrollment_totals (instance_id, status)
        SELECT :campaign, status FROM unnest(ARRAY[{_STATUSES}]) AS status ORDER BY status ON CONFLICT DO NOTHING
    """),
    text("""
        SELECT count(*) FROM (
            SELECT FROM campaign_enrollment_totals WHERE instance_id = :campaign ORDER BY status FOR NO KEY UPDATE
        ) locked
    """),
    text(f"""
        UPDATE campaign_enrollment_totals m SET total = coalesce(c.total, 0)
        FROM campaign_enrollment_totals k LEFT JOIN ({_COUNTED_STATUSES}) c USING (status)
        WHERE k.instance_id = :campaign AND (m.instance_id, m.status) = (k.instance_id, k.status)
          AND m.total <> coalesce(c.total, 0)
    """),
    text(f"""
        SELECT EXISTS (
            SELECT FROM ({_COUNTED_STATUSES}) c
            FULL JOIN (SELECT * FROM campaign_enrollment_totals WHERE instance_id = :campaign) m USING (status)
            WHERE coalesce(m.total, 0) <> coalesce(c.total, 0))
    """),
)
METRICS = Recount(
    "campaign_metrics",
    text(f"""
        INSERT INTO campaign_metrics (instance_id, {_METRIC_KEY})
        SELECT :campaign, {_METRIC_KEY} FROM ({_COUNTED_METRICS}) c ORDER BY {_METRIC_KEY} ON CONFLICT DO NOTHING
    """),
    text(f"""
        SELECT count(*) FROM (
            SELECT FROM campaign_metrics WHERE instance_id = :campaign
            ORDER BY {_METRIC_KEY} FOR NO KEY UPDATE
        ) locked
    """),
    text(f"""
        UPDATE campaign_metrics m SET ({", ".join(COUNTERS)}) = ROW({_RIGHT})
        FROM campaign_metrics k LEFT JOIN ({_COUNTED_METRICS}) c USING ({_METRIC_KEY})
        WHERE k.instance_id = :campaign
          AND (m.instance_id, m.step_number, m.channel, m.a_b_variant, m.cohort_day)
            = (k.instance_id, k.step_number, k.channel, k.a_b_variant, k.cohort_day)
          AND ({_KEPT}) IS DISTINCT FROM ({_RIGHT})
    """),
    text(f"""
        SELECT EXISTS (
            SELECT FROM ({_COUNTED_METRICS}) c
            FULL JOIN (SELECT * FROM campaign_metrics WHERE instance_id = :campaign) m
            USING ({_METRIC_KEY})
            WHERE ({", ".join(f"coalesce(m.{name}, 0)" for name in COUNTERS)}) IS DISTINCT FROM ({_RIGHT}))
    """),
)


def recount(session: Session, kind: Recount, *, campaign_ids: Iterable[UUID]) -> None:
    """Sets these campaigns' counters to the sums of their rows, under lock, and logs which were wrong."""
    for campaign_id in sorted(set(campaign_ids)):
        values = {"campaign": campaign_id}
        session.execute(kind.make, values)
        session.execute(kind.lock, values)
        session.execute(kind.correct, values)
        faults.note("counters did not fit, and were recounted", None, campaign=str(campaign_id), table=kind.table)


# The numbers of rows are those that the counters tell: they may be wrong, but for this they do.
_NEXT = text("""
    WITH next AS MATERIALIZED (
        SELECT id, is_again FROM (
            SELECT id, id <= (SELECT recounted_to FROM settings) IS TRUE AS is_again FROM campaign_instances
        ) i ORDER BY is_again, id LIMIT :limit
    ), sized AS MATERIALIZED (
        SELECT id, is_again,
               (SELECT coalesce(sum(total), 0) FROM campaign_enrollment_totals WHERE instance_id = next.id)
               + (SELECT coalesce(sum(sent::bigint + failed), 0) FROM campaign_metrics WHERE instance_id = next.id)
               AS size
        FROM next
    )
    SELECT id FROM (
        SELECT id, is_again, sum(size) OVER (ORDER BY is_again, id) - size AS before FROM sized
    ) s WHERE before < :rows ORDER BY is_again, id
""")
_GO_ON = text("""
    INSERT INTO settings (id, recounted_to) VALUES (1, :id)
    ON CONFLICT (id) DO UPDATE SET recounted_to = excluded.recounted_to
""")


def turn(session: Session, *, limit: int, rows: int) -> list[UUID]:
    """Returns the campaigns whose turn it is to be checked: up to `limit`, and no more after so many rows of people and
    steps. The next call goes on after them, until all had their turn."""
    found = list(session.scalars(_NEXT, {"limit": limit, "rows": rows}))
    if found:
        session.execute(_GO_ON, {"id": found[-1]})
    return found


def mend(session: Session, *, campaign_id: UUID) -> bool:
    """Recounts a campaign if its counters are wrong. Returns whether they were. Locks nothing if they are right: one
    statement reads both at one moment."""
    wrong = [kind for kind in (METRICS, STATUSES) if session.scalar(kind.is_wrong, {"campaign": campaign_id})]
    for kind in wrong:
        recount(session, kind, campaign_ids=[campaign_id])
    return bool(wrong)
