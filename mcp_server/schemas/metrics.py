"""Reports."""

from typing import Annotated
from uuid import UUID

from pydantic import Field

from db.domain.states import EnrollmentStatus
from mcp_server.schemas.base import Answer

Totals = Annotated[dict[str, int], Field(description="Counter -> how many steps (total_* count every occurrence).")]
Rates = Annotated[dict[str, float | None], Field(description="Rate -> share; null while its denominator is 0.")]


class MetricsGroup(Answer):
    key: str
    totals: Totals
    rates: Rates


class MetricsAnswer(Answer):
    campaign_id: UUID
    enrolled: int
    enrollment_status: dict[EnrollmentStatus, int]
    totals: Totals
    rates: Rates
    groups: list[MetricsGroup]
