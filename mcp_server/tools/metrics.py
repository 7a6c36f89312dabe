"""Reports."""

from datetime import UTC, date, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import PydanticCustomError

from db.domain.metrics import GroupBy
from db.services.reports import metrics
from mcp_server.calls import toolsets
from mcp_server.calls.call import Call
from mcp_server.schemas.base import Day, Moment, check_range
from mcp_server.schemas.faults import DAY, MOMENT
from mcp_server.schemas.metrics import MetricsAnswer


def _day_or_moment(value: Any, validate: ValidatorFunctionWrapHandler) -> date | datetime | None:  # noqa: ANN401
    try:
        return validate(value)
    except ValidationError as error:
        for line in error.errors():
            if line["type"] == "years":
                raise PydanticCustomError("years", "{rule}", {"rule": line["msg"]}) from None
        raise PydanticCustomError("day", f"{DAY}, or {MOMENT.removeprefix('must be ')}") from None


WhichDay = Annotated[Day | Moment | None, WrapValidator(_day_or_moment), Field(description="Such as 2026-11-02")]


@toolsets.metrics.read("Get the metrics of a campaign")
def get_metrics(
    call: Call, campaign_id: UUID, group_by: GroupBy = GroupBy.TOTAL, since: WhichDay = None, until: WhichDay = None
) -> MetricsAnswer:
    """Count the results of a campaign's steps, with rates (shares from 0 to 1).

    Where totals are of both channels, rates are null, and channels has them. Counts are unique per person and step, and
    belong to the day (UTC) on which the step was sent, which since and until choose. variant adds each rate's 95 %
    interval, and compares two variants.
    """
    first, last = _day(since), _day(until)
    check_range(first, last)
    report = metrics.report(
        call.session, campaign_id=campaign_id, group_by=group_by, since=first, until=last, now=call.now
    )
    return MetricsAnswer.of(campaign_id, report, group_by=group_by)


def _day(value: date | datetime | None) -> date | None:
    return value.astimezone(UTC).date() if isinstance(value, datetime) else value
