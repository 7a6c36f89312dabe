"""Reports. They read counters alone, so their time does not grow with the number of events or enrollments."""

from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from db.domain.metrics import COUNTERS, GroupBy, rates
from db.domain.states import EnrollmentStatus
from db.models import CampaignMetrics, EnrollmentTotal
from db.services import campaigns

_COLUMN_OF: dict[GroupBy, InstrumentedAttribute[Any]] = {
    GroupBy.STEP: CampaignMetrics.step_number,
    GroupBy.VARIANT: CampaignMetrics.a_b_variant,
    GroupBy.CHANNEL: CampaignMetrics.channel,
    GroupBy.DAY: CampaignMetrics.cohort_day,
}


@dataclass(frozen=True, slots=True)
class Group:
    """Counts and rates of one step, variant, channel or day. `key` is its name as text."""

    key: str
    totals: dict[str, int]

    @property
    def rates(self) -> dict[str, float | None]:
        return rates(self.totals)


@dataclass(frozen=True, slots=True)
class Report:
    """`enrollment_status` counts every enrollment of the campaign, whatever the days asked for."""

    enrollment_status: dict[EnrollmentStatus, int]
    total: Group
    groups: list[Group]


def report(session: Session, *, campaign_id: UUID, group_by: GroupBy, since: date | None, until: date | None) -> Report:
    """Counts of the steps sent on the days `since` to `until` (UTC, both included), with all that came of them."""
    campaigns.get(session, campaign_id=campaign_id)
    column = _COLUMN_OF.get(group_by)
    rows = session.execute(_sums(campaign_id, column, since, until)).all()
    groups = [Group(str(key), dict(zip(COUNTERS, counts, strict=True))) for key, *counts in rows]
    total = {counter: sum(group.totals[counter] for group in groups) for counter in COUNTERS}
    return Report(_statuses(session, campaign_id), Group("total", total), groups if column is not None else [])


def _sums(
    campaign_id: UUID, column: InstrumentedAttribute[Any] | None, since: date | None, until: date | None
) -> Select[Any]:
    key = column if column is not None else CampaignMetrics.instance_id
    sums = [func.sum(getattr(CampaignMetrics, counter)) for counter in COUNTERS]
    statement = select(key, *sums).where(CampaignMetrics.instance_id == campaign_id)
    if since is not None:
        statement = statement.where(CampaignMetrics.cohort_day >= since)
    if until is not None:
        statement = statement.where(CampaignMetrics.cohort_day <= until)
    return statement.group_by(key).order_by(key)


def _statuses(session: Session, campaign_id: UUID) -> dict[EnrollmentStatus, int]:
    rows = session.execute(
        select(EnrollmentTotal.status, EnrollmentTotal.total).where(EnrollmentTotal.instance_id == campaign_id)
    )
    counted = {row.status: row.total for row in rows}
    return {status: counted.get(status, 0) for status in EnrollmentStatus}
