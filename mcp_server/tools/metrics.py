"""Reports."""

from datetime import UTC, date, datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field

from db import services
from db.domain.metrics import GroupBy
from mcp_server.schemas.base import Moment
from mcp_server.schemas.metrics import MetricsAnswer, MetricsGroup
from mcp_server.toolset import Call
from mcp_server.toolsets import metrics

Day = Annotated[date | Moment | None, Field(description="A day such as 2026-11-02, or a moment (its day in UTC).")]


@metrics.read("Get the metrics of a campaign")
def get_metrics(
    call: Call, campaign_id: UUID, group_by: GroupBy = GroupBy.TOTAL, since: Day = None, until: Day = None
) -> MetricsAnswer:
    """Count what came of a campaign's steps: sent, delivered, opened, clicked, replied, bounced, and the rates.

    Counts are unique per person and step, and belong to the day on which the step was sent; since and until (both
    included, UTC) choose those days. group_by splits them by step, variant, channel or day. Rates are shares from 0
    to 1, and null while nothing is there to divide by.
    """
    report = services.metrics.report(
        call.session, campaign_id=campaign_id, group_by=group_by, since=_day(since), until=_day(until)
    )
    return MetricsAnswer(
        campaign_id=campaign_id,
        enrolled=sum(report.enrollment_status.values()),
        enrollment_status=report.enrollment_status,
        totals=report.total.totals,
        rates=report.total.rates,
        groups=[MetricsGroup(key=group.key, totals=group.totals, rates=group.rates) for group in report.groups],
    )


def _day(value: date | datetime | None) -> date | None:
    return value.astimezone(UTC).date() if isinstance(value, datetime) else value
