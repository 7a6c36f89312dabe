"""Reports. They read counters alone, so their time does not grow with the number of events or enrollments."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from db.domain.comparison import Comparison, compare
from db.domain.intervals import Interval
from db.domain.metrics import COUNTERS, GroupBy, intervals, rates
from db.domain.states import EnrollmentStatus
from db.models import CampaignMetrics, EnrollmentTotal
from db.services import campaigns, plans

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

    @property
    def intervals(self) -> dict[str, Interval | None]:
        return intervals(self.totals)


@dataclass(frozen=True, slots=True)
class Report:
    """`enrollment_status` counts every enrollment of the campaign, whatever the days asked for.

    comparison: where groups are variants, and there are two.
    """

    enrollment_status: dict[EnrollmentStatus, int]
    total: Group
    groups: list[Group]
    comparison: Comparison | None = None


def report(session: Session, *, campaign_id: UUID, group_by: GroupBy, since: date | None, until: date | None) -> Report:
    """Counts of the steps sent on the days `since` to `until` (UTC, both included), with all that came of them."""
    campaigns.get(session, campaign_id=campaign_id)
    column = _COLUMN_OF.get(group_by)
    rows = session.execute(_sums(campaign_id, column, since, until)).all()
    groups = [Group(str(key), dict(zip(COUNTERS, counts, strict=True))) for key, *counts in rows]
    total = {counter: sum(group.totals[counter] for group in groups) for counter in COUNTERS}
    comparison = _compare(session, campaign_id, groups, since, until) if group_by is GroupBy.VARIANT else None
    statuses = _statuses(session, campaign_id)
    return Report(statuses, Group("total", total), groups if column is not None else [], comparison)


def totals(session: Session, *, campaign_ids: Collection[UUID]) -> dict[UUID, Group]:
    """What came of all steps of each campaign; one of which nothing was sent is missing."""
    sums = [func.sum(getattr(CampaignMetrics, counter)) for counter in COUNTERS]
    statement = select(CampaignMetrics.instance_id, *sums).where(CampaignMetrics.instance_id.in_(campaign_ids))
    rows = session.execute(statement.group_by(CampaignMetrics.instance_id))
    return {id_: Group(str(id_), dict(zip(COUNTERS, counts, strict=True))) for id_, *counts in rows}


def _sums(
    campaign_id: UUID, column: InstrumentedAttribute[Any] | None, since: date | None, until: date | None
) -> Select[Any]:
    key = column if column is not None else CampaignMetrics.instance_id
    sums = [func.sum(getattr(CampaignMetrics, counter)) for counter in COUNTERS]
    return select(key, *sums).where(*_on_days(campaign_id, since, until)).group_by(key).order_by(key)


def _on_days(campaign_id: UUID, since: date | None, until: date | None) -> list[ColumnElement[bool]]:
    conditions = [CampaignMetrics.instance_id == campaign_id]
    if since is not None:
        conditions.append(CampaignMetrics.cohort_day >= since)
    if until is not None:
        conditions.append(CampaignMetrics.cohort_day <= until)
    return conditions


def _compare(
    session: Session, campaign_id: UUID, groups: list[Group], since: date | None, until: date | None
) -> Comparison | None:
    """The comparison of the two variants of the steps that were sent, or of all steps before the first is; None where
    there are fewer or more, or no step has both."""
    known = _sent_by_step(session, campaign_id, since, until)
    sent = {number: variants for number, variants in known.items() if any(variants.values())} or known
    names = sorted({name for variants in sent.values() for name in variants})
    common = min((number for number, variants in sent.items() if len(variants) == len(names)), default=None)
    if len(names) != 2 or common is None:
        return None
    totals = {name: dict.fromkeys(COUNTERS, 0) for name in names} | {group.key: group.totals for group in groups}
    return compare((names[0], names[1]), totals, sent[common])


def _sent_by_step(
    session: Session, campaign_id: UUID, since: date | None, until: date | None
) -> dict[int, dict[str, int]]:
    """How many people each variant was sent to, by step; 0 for what the template knows and nobody was sent.

    The sample of a comparison. To count the enrollments of each variant would take as long as they are many, while
    the counters are few; and people who were enrolled but never sent to are in no rate.
    """
    sent: defaultdict[int, dict[str, int]] = defaultdict(dict)
    for step in plans.of_campaign(session, instance_id=campaign_id).steps:
        if step.a_b_variant is not None:
            sent[step.step_number][step.a_b_variant] = 0
    counted = session.execute(
        select(CampaignMetrics.step_number, CampaignMetrics.a_b_variant, func.sum(CampaignMetrics.sent))
        .where(*_on_days(campaign_id, since, until))
        .where(CampaignMetrics.step_number > 0, CampaignMetrics.a_b_variant != "")
        .group_by(CampaignMetrics.step_number, CampaignMetrics.a_b_variant)
    )
    for number, variant, count in counted:
        sent[number][variant] = count
    return sent


def _statuses(session: Session, campaign_id: UUID) -> dict[EnrollmentStatus, int]:
    rows = session.execute(
        select(EnrollmentTotal.status, EnrollmentTotal.total).where(EnrollmentTotal.instance_id == campaign_id)
    )
    counted = {row.status: row.total for row in rows}
    return {status: counted.get(status, 0) for status in EnrollmentStatus}
