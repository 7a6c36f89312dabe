"""Reports."""

from typing import TYPE_CHECKING, Annotated, Self
from uuid import UUID

from pydantic import Field

from db.domain.metrics import GroupBy
from db.domain.states import Channel, EnrollmentStatus
from mcp_server.schemas.base import Answer, Maybe, untold

if TYPE_CHECKING:
    from db.services.reports.metrics import Group, Report

Totals = Annotated[dict[str, int], Field(description="Counter -> how many steps (total_* count every occurrence).")]
Rates = Annotated[
    dict[str, float | None],
    Field(description="Rate -> share; null without a denominator, and where both channels are in it: see channels."),
]
Intervals = Annotated[
    dict[str, tuple[float, float] | None],
    Field(description="Rate -> its 95 % interval (Wilson), low and high; by variant only."),
]


class MetricsGroup(Answer):
    key: str
    totals: Totals
    rates: Rates
    intervals: Maybe[Intervals] = None
    channel: Annotated[Maybe[Channel], Field(description="Of a step.")] = None

    @classmethod
    def of(cls, group: "Group", *, with_intervals: bool = False, with_channel: bool = False) -> Self:
        return cls(
            key=group.key,
            totals=group.totals,
            rates=group.rates,
            intervals=group.intervals if with_intervals else None,
            channel=group.channel if with_channel else None,
        )


class DifferenceOut(Answer):
    """A rate of the first variant less that of the second, by person, with its 95 % interval at one look (Newcombe)."""

    difference: float | None
    low: float | None
    high: float | None
    p_value: Annotated[float | None, Field(description="Chance of such a difference, at any of many looks.")]
    leader: Annotated[str | None, Field(description="The better variant; null while that is not decided.")]


class SampleRatioOut(Answer):
    counts: Annotated[dict[str, int], Field(description="Variant -> people sent the first step that both have.")]
    p_value: Annotated[float | None, Field(description="How likely chance splits this unevenly.")]
    mismatch: Annotated[bool, Field(description="p_value below 0.001: don't trust the comparison.")]


class ComparisonOut(Answer):
    """Two variants side by side, by person: who did something at least once."""

    variants: tuple[str, str]
    verdict: Annotated[str, Field(description="What may be concluded, in a sentence.")]
    people: Annotated[dict[str, dict[str, int]], Field(description="Variant -> counter -> people.")]
    primary_rate: str
    people_needed: Annotated[int | None, Field(description="More people until a verdict; null: can't be told.")]
    differences: dict[str, DifferenceOut]
    sample_ratio: SampleRatioOut
    note: Annotated[Maybe[str], Field(description="Why rates have no leader.")] = None


class MetricsAnswer(Answer):
    campaign_id: Annotated[UUID, untold]
    enrolled: Annotated[int, untold]
    enrollment_status: Annotated[dict[EnrollmentStatus, int], untold]
    totals: Totals
    rates: Rates
    channels: Annotated[
        Maybe[list[MetricsGroup]], Field(description="Where the totals are of both channels: each by itself."), untold
    ] = None
    groups: list[MetricsGroup]
    comparison: Annotated[Maybe[ComparisonOut], untold] = None

    @classmethod
    def of(cls, campaign_id: UUID, report: "Report", *, group_by: GroupBy = GroupBy.TOTAL) -> Self:
        return cls(
            campaign_id=campaign_id,
            enrolled=sum(report.enrollment_status.values()),
            enrollment_status=report.enrollment_status,
            totals=report.total.totals,
            rates=report.total.rates,
            channels=[MetricsGroup.of(channel) for channel in report.total.channels] or None,
            groups=[
                MetricsGroup.of(
                    group, with_intervals=group_by is GroupBy.VARIANT, with_channel=group_by is GroupBy.STEP
                )
                for group in report.groups
            ],
            comparison=ComparisonOut.model_validate(report.comparison) if report.comparison else None,
        )
