"""The counters of campaign_metrics and campaign_enrollment_totals.

A change that does not fit, because rows were written by hand in SQL, is no reason to refuse what it belongs to: the
campaign is recounted instead (db.services.state.recount).

Rows are locked in key order, so that writers queue up instead of deadlocking. They are the last rows that a transaction
locks, so that they are held for little more than the commit.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.counting import Deltas
from db.domain.metrics import COUNTERS
from db.domain.states import EnrollmentStatus
from db.postgres.json import rows_parameter
from db.services.state import recount

StatusChanges: TypeAlias = Mapping[tuple[UUID, EnrollmentStatus], int]
"""(campaign, status) -> how many enrollments more (or, negative, fewer) are in it now."""


class _CounterTable:
    """Adds to the counters of one table. A key without a row gets one.

    An upsert would be one statement, but a CHECK such as delivered <= sent is tested on the proposed row alone, and
    a change of {delivered: 1} is a fine change and an impossible row.
    """

    def __init__(
        self, table: str, key: Sequence[str], counters: Sequence[str], fits: str, recounted: recount.Recount
    ) -> None:
        keys = ", ".join(key)
        given = f"jsonb_populate_recordset(NULL::{table}, CAST(:{table} AS jsonb)) d"
        updating = f"""
            WITH locked AS MATERIALIZED (
                SELECT d.* FROM {table} m JOIN {given} USING ({keys}) ORDER BY {keys} FOR NO KEY UPDATE OF m
            )
            UPDATE {table} m SET {", ".join(f"{name} = m.{name} + d.{name}" for name in counters)}
            FROM locked d WHERE {" AND ".join(f"m.{name} = d.{name}" for name in key)}
        """
        returning = f"RETURNING {', '.join(f'm.{name}' for name in key)}"
        self.adding = f"{updating} {returning}"
        """Returns the statement that adds. It takes its rows from a parameter with the table's name, and returns their
        keys."""
        # Separate, because it would make the combined statement too long for the driver to cache.
        self._add = text(f"{updating} AND {fits} {returning}")
        self._create = text(
            f"INSERT INTO {table} ({keys}) SELECT {keys} FROM {given} ORDER BY {keys} ON CONFLICT DO NOTHING"
        )
        self._table = table
        self._key = key
        self._recounted = recounted

    def parameter(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        """Returns the parameter of `adding`."""
        return {self._table: rows_parameter(rows)["rows"]}

    def add(self, session: Session, rows: Sequence[Mapping[str, Any]]) -> None:
        if rows:
            self.add_missing(session, rows, session.execute(self._add, self.parameter(rows)))

    def add_missing(self, session: Session, rows: Sequence[Mapping[str, Any]], found: Iterable[Sequence[Any]]) -> None:
        """Makes the rows that were not among those `found`, and adds to them; recounts if that does not fit."""
        missing = self._others(rows, found)
        if not missing:
            return
        session.execute(self._create, self.parameter(missing))
        misfits = self._others(missing, session.execute(self._add, self.parameter(missing)))
        recount.recount(session, self._recounted, campaign_ids={row["instance_id"] for row in misfits})

    def _others(self, rows: Sequence[Mapping[str, Any]], found: Iterable[Sequence[Any]]) -> list[Mapping[str, Any]]:
        known = {tuple(map(str, key)) for key in found}
        return [row for row in rows if tuple(str(row[name]) for name in self._key) not in known]


# The rules of the two tables for a row: each counter with those that it must not exceed. All are bounded by 0 from
# below, and by the column's type from above.
_BOUNDS = {
    "delivered": "sent",
    "opened": "delivered",
    "clicked": "opened",
    "replied": "delivered",
    "bounced": "sent",
    "hard_bounced": "bounced",
}
_METRICS_FIT = " AND ".join(
    [f"(m.{counter}::bigint + d.{counter}) BETWEEN 0 AND 2147483647" for counter in COUNTERS]
    + [f"m.{counter}::bigint + d.{counter} <= m.{bound}::bigint + d.{bound}" for counter, bound in _BOUNDS.items()]
    + ["m.clicked::bigint + d.clicked <= m.total_clicks::bigint + d.total_clicks"]
)

_METRICS_KEY = ("instance_id", "step_number", "channel", "a_b_variant", "cohort_day")
_STATUSES_KEY = ("instance_id", "status")
METRICS = _CounterTable(
    "campaign_metrics",
    _METRICS_KEY,
    COUNTERS,
    _METRICS_FIT,
    recount.METRICS,
)
STATUSES = _CounterTable(
    "campaign_enrollment_totals",
    _STATUSES_KEY,
    ("total",),
    "(m.total::bigint + d.total) BETWEEN 0 AND 2147483647",
    recount.STATUSES,
)
# For statements that do more than add: the statement that adds, and its rows as one JSON array each.
ADDING_METRICS = METRICS.adding
ADDING_STATUSES = STATUSES.adding
METRICS_KEYS = f"jsonb_agg(jsonb_build_array({', '.join(_METRICS_KEY)}))"
STATUSES_KEYS = f"jsonb_agg(jsonb_build_array({', '.join(_STATUSES_KEY)}))"


def metrics_rows(deltas: Deltas) -> list[dict[str, Any]]:
    """Returns the changes of a batch, as rows to add to METRICS."""
    return [
        {**dict(zip(_METRICS_KEY, key, strict=True)), **dict(zip(COUNTERS, counts, strict=True))}
        for key, counts in deltas.rows()
    ]


def status_rows(changes: StatusChanges) -> list[dict[str, Any]]:
    """Changes of status, as rows to add to STATUSES."""
    return [
        {"instance_id": campaign_id, "status": str(status), "total": change}
        for (campaign_id, status), change in sorted(changes.items())
        if change
    ]


def add_statuses(session: Session, changes: StatusChanges) -> None:
    """Keeps campaign_enrollment_totals in step with enrollments that were made or whose status changed."""
    STATUSES.add(session, status_rows(changes))
