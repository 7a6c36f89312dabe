"""Reports. They read counters alone, so their time does not grow with the number of events or enrollments; but for the
comparison of two variants, which counts people, and reads what was sent to those of the test, and for the report by
mailbox, which reads what was sent on the days that are asked for."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func, select, text
from sqlalchemy.orm import InstrumentedAttribute, Session

from db.domain.comparison import PRIMARY_RATE, Comparison, compare
from db.domain.intervals import Interval
from db.domain.metrics import COUNTERS, MILESTONES, GroupBy, intervals, rates
from db.domain.states import CampaignStatus, Channel, EnrollmentStatus
from db.models import CampaignEnrollment, CampaignInstance, CampaignMetrics, EnrollmentTotal
from db.models.campaigns import MILESTONE_COLUMNS
from db.services.campaigns import campaigns, plans
from db.services.state import recount

_COLUMN_OF: dict[GroupBy, InstrumentedAttribute[Any]] = {
    GroupBy.STEP: CampaignMetrics.step_number,
    GroupBy.VARIANT: CampaignMetrics.a_b_variant,
    GroupBy.CHANNEL: CampaignMetrics.channel,
    GroupBy.DAY: CampaignMetrics.cohort_day,
}


@dataclass(frozen=True, slots=True)
class Group:
    """Counts and rates of one step, variant, channel, day or mailbox. `key` is its name as text.

    channel: that of all steps in it that were sent; None where they are of several, or there are none.
    of_no_step: how many of the unsubscribes came before a step was sent to their person. They are in no rate.
    channels: the same of each channel, where there are several.
    """

    key: str
    totals: dict[str, int]
    channel: Channel | None = None
    of_no_step: int = 0
    channels: "Sequence[Group]" = ()

    @property
    def rates(self) -> dict[str, float | None]:
        return rates(self._of_steps, self.channel)

    @property
    def intervals(self) -> dict[str, Interval | None]:
        return intervals(self._of_steps, self.channel)

    @property
    def _of_steps(self) -> dict[str, int]:
        return {**self.totals, "unsubscribed": self.totals["unsubscribed"] - self.of_no_step}


def _group(key: str, parts: Sequence[Group]) -> Group:
    """Returns the sum of groups of one channel each."""
    totals = {counter: sum(part.totals[counter] for part in parts) for counter in COUNTERS}
    of_no_step = sum(part.of_no_step for part in parts)
    by_channel: defaultdict[Channel, list[Group]] = defaultdict(list)
    for part in parts:
        if part.channel is not None and (part.totals["sent"] or not any(other.totals["sent"] for other in parts)):
            by_channel[part.channel].append(part)
    if len(by_channel) < 2:
        return Group(key, totals, next(iter(by_channel), None), of_no_step)
    return Group(key, totals, None, of_no_step, [_group(channel, of) for channel, of in sorted(by_channel.items())])


@dataclass(frozen=True, slots=True)
class Report:
    """`enrollment_status` counts every enrollment of the campaign, whatever the days asked for.

    comparison: where groups are variants, and there are two.
    """

    enrollment_status: dict[EnrollmentStatus, int]
    total: Group
    groups: list[Group]
    comparison: Comparison | None = None


def report(
    session: Session,
    *,
    campaign_id: UUID,
    group_by: GroupBy,
    since: date | None,
    until: date | None,
    now: datetime | None = None,
) -> Report:
    """Counts of the steps sent on the days `since` to `until` (UTC, both included), with all that came of them. Whose
    pause was over at `now` is not counted as paused."""
    campaign = campaigns.get(session, campaign_id=campaign_id)
    column = _COLUMN_OF.get(group_by)
    parts = _parts(session, column, _on_days(campaign_id, since, until))
    groups = [] if column is None else [_group(str(key), of) for key, of in parts.items()]
    if group_by is GroupBy.MAILBOX:
        groups = _by_mailbox(session, campaign_id, since, until)
    comparison = _compare(session, campaign, since, until) if group_by is GroupBy.VARIANT else None
    statuses = _statuses(session, campaign_id)
    if now is not None:
        ended = _ended_pauses(session, campaign_id, now)
        after = EnrollmentStatus.ENROLLED if campaign.status == CampaignStatus.DRAFT else EnrollmentStatus.ACTIVE
        statuses[after] += ended
        statuses[EnrollmentStatus.PAUSED] -= ended
    return Report(statuses, _group("total", [part for of in parts.values() for part in of]), groups, comparison)


def totals(session: Session, *, campaign_ids: Collection[UUID]) -> dict[UUID, Group]:
    """Returns what came of all steps of each campaign; one of which nothing was sent is missing."""
    parts = _parts(session, None, [CampaignMetrics.campaign_id.in_(campaign_ids)])
    return {id_: _group(str(id_), of) for id_, of in parts.items()}


def _parts(
    session: Session, column: InstrumentedAttribute[Any] | None, conditions: Sequence[ColumnElement[bool]]
) -> dict[Any, list[Group]]:
    """Returns value of the column, or campaign -> what was counted for it, a group for each channel."""
    key = column if column is not None else CampaignMetrics.campaign_id
    sums = [func.sum(getattr(CampaignMetrics, counter)) for counter in COUNTERS]
    early = func.sum(CampaignMetrics.unsubscribed).filter(CampaignMetrics.step_number == 0)
    statement = select(key, CampaignMetrics.channel, func.coalesce(early, 0), *sums).where(*conditions)
    parts: defaultdict[Any, list[Group]] = defaultdict(list)
    rows = session.execute(statement.group_by(key, CampaignMetrics.channel).order_by(key, CampaignMetrics.channel))
    for value, channel, of_no_step, *counts in (tuple(row) for row in rows):
        # What moved away, as to an earlier day, leaves a row of zeros behind.
        if any(counts):
            totals = dict(zip(COUNTERS, counts, strict=True))
            parts[value].append(Group(str(value), totals, Channel(channel), of_no_step))
    return parts


def _on_days(campaign_id: UUID, since: date | None, until: date | None) -> list[ColumnElement[bool]]:
    conditions = [CampaignMetrics.campaign_id == campaign_id]
    if since is not None:
        conditions.append(CampaignMetrics.cohort_day >= since)
    if until is not None:
        conditions.append(CampaignMetrics.cohort_day <= until)
    return conditions


_ON_DAYS = """
    {moment} >= coalesce(CAST(:since AS date)::timestamp AT TIME ZONE 'UTC', '-infinity')
    AND {moment} < coalesce((CAST(:until AS date) + 1)::timestamp AT TIME ZONE 'UTC', 'infinity')
"""
"""The condition that a moment is on the days. An index finds those of few days."""
_EMAILS = f"SELECT * FROM campaign_actions WHERE instance_id = :campaign AND channel = '{Channel.EMAIL}'"
_OF_MAILBOXES = text(f"""
    SELECT coalesce(sender, ''), {recount.COUNTS} FROM (
        {_EMAILS} AND {_ON_DAYS.format(moment="sent_at")}
        UNION ALL
        {_EMAILS} AND sent_at IS NULL AND {_ON_DAYS.format(moment="failed_at")}
    ) emails
    GROUP BY 1 ORDER BY 1
""")


def _by_mailbox(session: Session, campaign_id: UUID, since: date | None, until: date | None) -> list[Group]:
    """Returns the emails by the address or account that they were handed out for; its name is empty where there is
    none."""
    rows = session.execute(_OF_MAILBOXES, {"campaign": campaign_id, "since": since, "until": until})
    return [Group(key, dict(zip(COUNTERS, counts, strict=True)), Channel.EMAIL) for key, *counts in rows]


def _compare(session: Session, campaign: CampaignInstance, since: date | None, until: date | None) -> Comparison | None:
    """Returns the comparison of the two variants of the steps that were sent, or of all steps before the first is; None
    where there are fewer or more, or no step has both."""
    known = _sent_by_step(session, campaign.id, since, until)
    sent = {number: variants for number, variants in known.items() if any(variants.values())} or known
    names = sorted({name for variants in sent.values() for name in variants})
    common = min((number for number, variants in sent.items() if len(variants) == len(names)), default=None)
    if len(names) != 2 or common is None:
        return None
    values = {"campaign": campaign.id, "template": campaign.template_id, "names": names, "common": common}
    counted = {
        variant: counts for variant, *counts in session.execute(_PEOPLE, {**values, "since": since, "until": until})
    }
    nobody = [0] * (len(MILESTONES) + 1)
    sample = {name: counted.get(name, nobody)[-1] for name in names}
    people = {
        name: {str(milestone): count for milestone, count in zip(MILESTONES, counted.get(name, nobody), strict=False)}
        for name in names
    }
    primary = campaign.settings.get("primary_rate") or PRIMARY_RATE
    return compare((names[0], names[1]), people, sample, primary=primary)


# Only people whose variant was drawn when both were there can be compared: whoever had one before the other was added
# keeps it. A person's own variant is drawn at enrolment, and that of a step which has other names when it is claimed.
_PEOPLE = text(f"""
    WITH test AS MATERIALIZED (
        SELECT max(began) AS began FROM (
            SELECT min(created_at) AS began FROM email_sequences
            WHERE template_id = :template AND a_b_variant = ANY (:names) GROUP BY a_b_variant
        ) variants
    ), people AS (
        SELECT a.a_b_variant AS variant, bool_or(a.step_number = :common) AS is_sample,
               {", ".join(f"bool_or(a.{column} IS NOT NULL) AS {column}" for column in MILESTONE_COLUMNS)}
        FROM campaign_actions a
        JOIN campaign_enrollments e ON e.instance_id = a.instance_id AND e.id = a.enrollment_id
        CROSS JOIN test
        WHERE a.instance_id = :campaign AND a.channel = '{Channel.EMAIL}' AND a.a_b_variant = ANY (:names)
          AND {_ON_DAYS.format(moment="a.sent_at")}
          AND (CASE WHEN e.a_b_variant = a.a_b_variant THEN e.created_at ELSE a.created_at END) >= test.began
        GROUP BY a.enrollment_id, a.a_b_variant
    )
    SELECT variant, {", ".join(f"count(*) FILTER (WHERE {column})" for column in MILESTONE_COLUMNS)},
           count(*) FILTER (WHERE is_sample)
    FROM people GROUP BY variant
""")


def _sent_by_step(
    session: Session, campaign_id: UUID, since: date | None, until: date | None
) -> dict[int, dict[str, int]]:
    """Returns how many people each variant was sent to, by step; 0 for what the template knows and nobody was sent."""
    sent: defaultdict[int, dict[str, int]] = defaultdict(dict)
    for step in plans.of_campaign(session, campaign_id=campaign_id).steps:
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
        select(EnrollmentTotal.status, EnrollmentTotal.total).where(EnrollmentTotal.campaign_id == campaign_id)
    )
    counted = {row.status: row.total for row in rows}
    return {status: counted.get(status, 0) for status in EnrollmentStatus}


def _ended_pauses(session: Session, campaign_id: UUID, now: datetime) -> int:
    """Returns how many are paused in the table whose pause was over at `now`."""
    is_over = CampaignEnrollment.paused_until.is_not(None) & (CampaignEnrollment.paused_until <= now)
    statement = select(func.count()).where(CampaignEnrollment.campaign_id == campaign_id, is_over)
    return session.scalars(statement).one()
