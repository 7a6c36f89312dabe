"""The counters of campaign_metrics and campaign_enrollment_totals.

Rows are locked in key order, so that writers queue up instead of deadlocking, and they are the last rows that a
transaction locks, so that they are held for little more than the commit.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.funnel import Deltas
from db.domain.metrics import COUNTERS
from db.domain.states import EnrollmentStatus
from db.postgres.json import rows_parameter

StatusChanges: TypeAlias = Mapping[tuple[UUID, EnrollmentStatus], int]
"""(campaign, status) -> how many enrollments more (or, negative, fewer) are in it now."""


class _CounterTable:
    """Adds to the counters of one table. A key without a row gets one.

    An upsert would be one statement, but a CHECK such as delivered <= sent is tested on the proposed row alone, and
    a change of {delivered: 1} is a fine change and an impossible row.
    """

    def __init__(self, table: str, key: Mapping[str, str], counters: Sequence[str]) -> None:
        columns = ", ".join([f"{name} {kind}" for name, kind in key.items()] + [f"{name} int" for name in counters])
        keys = ", ".join(key)
        given = f"jsonb_to_recordset(CAST(:rows AS jsonb)) AS d({columns})"
        self._add = text(f"""
            WITH locked AS MATERIALIZED (
                SELECT d.* FROM {table} m JOIN {given} USING ({keys}) ORDER BY {keys} FOR NO KEY UPDATE OF m
            )
            UPDATE {table} m SET {", ".join(f"{name} = m.{name} + d.{name}" for name in counters)}
            FROM locked d WHERE {" AND ".join(f"m.{name} = d.{name}" for name in key)}
            RETURNING {", ".join(f"m.{name}" for name in key)}
        """)
        self._create = text(
            f"INSERT INTO {table} ({keys}) SELECT {keys} FROM {given} ORDER BY {keys} ON CONFLICT DO NOTHING"
        )
        self._key = tuple(key)

    def add(self, session: Session, rows: list[dict[str, Any]]) -> None:
        if not rows:
            return
        found = set(session.execute(self._add, rows_parameter(rows)))
        missing = [row for row in rows if tuple(row[name] for name in self._key) not in found]
        if missing:
            session.execute(self._create, rows_parameter(missing))
            session.execute(self._add, rows_parameter(missing))


_METRICS = _CounterTable(
    "campaign_metrics",
    {"instance_id": "uuid", "step_number": "int", "channel": "text", "a_b_variant": "text", "cohort_day": "date"},
    COUNTERS,
)
_STATUSES = _CounterTable("campaign_enrollment_totals", {"instance_id": "uuid", "status": "text"}, ("total",))


def add_metrics(session: Session, deltas: Deltas) -> None:
    """Add the changes of a batch to campaign_metrics."""
    _METRICS.add(
        session, [{**key._asdict(), **dict(zip(COUNTERS, counts, strict=True))} for key, counts in deltas.rows()]
    )


def add_statuses(session: Session, changes: StatusChanges) -> None:
    """Keep campaign_enrollment_totals in step with enrollments that were made or have changed their status."""
    rows = [
        {"instance_id": instance_id, "status": str(status), "total": change}
        for (instance_id, status), change in sorted(changes.items())
        if change
    ]
    _STATUSES.add(session, rows)
