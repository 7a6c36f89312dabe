"""The due streams: all enrollments of one wait for the same channel, mailbox, limits and window."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.enrollment import Enrollment
from db.domain.scheduling import Plan
from db.domain.states import Channel
from db.domain.streams import NOBODY, DueStream, Partition
from db.models.campaigns import PARTITION_MAILBOX, PARTITION_ZONE
from db.postgres.json import rows_parameter

# Steps from one partition to the next by the index, however many people are in each. Few are behind a pause that ends
# by itself.
_PARTITIONS = """
    WITH RECURSIVE asked AS MATERIALIZED (
        SELECT campaign, mailbox FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS c(campaign uuid, mailbox uuid)
    ), waiting AS (
        SELECT a.campaign, a.mailbox AS asked, p.mailbox, p.zone
        FROM asked a CROSS JOIN LATERAL (
            SELECT {mailbox} AS mailbox, {zone} AS zone FROM campaign_enrollments
            WHERE instance_id = a.campaign AND status = 'active' AND next_action_at IS NOT NULL {first}
            ORDER BY {mailbox}, {zone} LIMIT 1
        ) p
        UNION ALL
        SELECT w.campaign, w.asked, p.mailbox, p.zone
        FROM waiting w CROSS JOIN LATERAL (
            SELECT {mailbox} AS mailbox, {zone} AS zone FROM campaign_enrollments
            WHERE instance_id = w.campaign AND status = 'active' AND next_action_at IS NOT NULL AND {next}
            ORDER BY {mailbox}, {zone} LIMIT 1
        ) p
    )
    SELECT campaign, mailbox, zone FROM waiting
    UNION
    SELECT e.instance_id, {mailbox}, {zone}
    FROM asked a JOIN campaign_enrollments e ON e.instance_id = a.campaign {first}
    WHERE paused_until IS NOT NULL AND next_action_at IS NOT NULL
"""
_NAMES = {"mailbox": PARTITION_MAILBOX, "zone": PARTITION_ZONE}
_ALL_PARTITIONS = text(
    _PARTITIONS.format(**_NAMES, first="", next=f"({PARTITION_MAILBOX}, {PARTITION_ZONE}) > (w.mailbox, w.zone)")
)
_OF_MAILBOX = text(
    _PARTITIONS.format(
        **_NAMES,
        first=f"AND {PARTITION_MAILBOX} = a.mailbox",
        next=f"{PARTITION_MAILBOX} = w.asked AND {PARTITION_ZONE} > w.zone",
    )
)


def _partitions(
    session: Session, campaigns: Collection[UUID], mailboxes: Sequence[UUID | None] = ()
) -> dict[UUID, list[Partition]]:
    """Returns campaign -> the partitions in which somebody waits: those of all mailboxes, or of these."""
    found: dict[UUID, list[Partition]] = {campaign_id: [] for campaign_id in campaigns}
    asked = [mailbox_id or NOBODY for mailbox_id in mailboxes] or [None]
    rows = [{"campaign": campaign_id, "mailbox": mailbox} for campaign_id in campaigns for mailbox in asked]
    if rows:
        statement = _OF_MAILBOX if mailboxes else _ALL_PARTITIONS
        for campaign_id, mailbox, zone in session.execute(statement, rows_parameter(rows)):
            found[campaign_id].append(Partition(None if mailbox == NOBODY else mailbox, zone or None))
    return found


def of_agents(session: Session, *, plans: Mapping[UUID, Plan], channel: Channel | None) -> list[DueStream]:
    """Returns the streams of some campaigns, apart from the steps that the server sends itself."""
    wanted = {campaign_id: _for_agents(plan, channel) for campaign_id, plan in plans.items()}
    return _in_partitions(session, plans, wanted)


def _for_agents(plan: Plan, channel: Channel | None) -> list[Channel]:
    """Returns the channels whose steps agents claim, or that one of them."""
    asked = _channels(plan) if channel is None else {channel}.intersection(_channels(plan))
    return [asked_channel for asked_channel in asked if not plan.sending.is_sent_by_server(asked_channel)]


def of_campaign(session: Session, *, campaign_id: UUID, plan: Plan, now: datetime) -> list[DueStream]:
    """Returns all streams of a campaign."""
    found = _in_partitions(session, {campaign_id: plan}, {campaign_id: _channels(plan)})
    before = plan.overdue_before(now)
    return [replace(stream, due_from=before) if stream.is_sent_by_server(plan) else stream for stream in found]


def _in_partitions(
    session: Session, plans: Mapping[UUID, Plan], wanted: Mapping[UUID, Collection[Channel]]
) -> list[DueStream]:
    """Returns the streams of some campaigns that have these channels, in each partition in which somebody waits. A
    campaign has partitions where mailboxes or time zones of people matter."""
    in_partitions = [
        campaign_id
        for campaign_id, plan in plans.items()
        if plan.sending.follows_contact or (plan.sending.mailboxes and Channel.EMAIL in wanted[campaign_id])
    ]
    partitions = _partitions(session, in_partitions)
    return [
        replace(stream, partition=partition)
        for campaign_id, plan in plans.items()
        for stream in _streams(campaign_id, plan, wanted[campaign_id])
        for partition in partitions.get(campaign_id, [None])
    ]


def of_mailbox(
    session: Session, *, plans: Mapping[UUID, Plan], mailbox_id: UUID, address: str, now: datetime
) -> list[DueStream]:
    """Returns the streams of the emails that the server sends from a mailbox: to its people, and to those who have no
    mailbox yet in campaigns that name it."""
    sent = {id_: plan for id_, plan in plans.items() if plan.sending.is_sent_by_server(Channel.EMAIL)}
    return [
        replace(stream, partition=partition, due_from=sent[campaign_id].overdue_before(now))
        for campaign_id, partitions in _partitions(session, sent, [mailbox_id, None]).items()
        for partition in partitions
        if partition.mailbox_id is not None or address in sent[campaign_id].sending.mailboxes
        for stream in _streams(campaign_id, sent[campaign_id], [Channel.EMAIL])
    ]


def _channels(plan: Plan) -> tuple[Channel, ...]:
    return tuple(sorted({step.channel for step in plan.steps}))


def _streams(campaign_id: UUID, plan: Plan, wanted: Collection[Channel]) -> list[DueStream]:
    """Returns the streams of a campaign in one partition: one for each channel that is wanted if others are not or if
    channels have accounts of their own, otherwise one. If every step was taken out of use, one stream remains to finish
    those who waited."""
    channels = _channels(plan)
    numbers = sorted({step.step_number for step in plan.steps})
    if not numbers or (set(wanted) == set(channels) and not plan.sending.senders and not plan.sending.mailboxes):
        return [DueStream(campaign_id, channels)]
    channel_of = {step.step_number: step.channel for step in plan.steps}
    found: list[DueStream] = []
    for channel in wanted:
        next_after: list[int] = []
        for before, number in zip([0, *numbers], numbers, strict=False):
            if channel_of[number] is channel:
                # Steps taken out of use leave gaps. An enrollment in a gap takes the next step too.
                next_after.extend(range(before, number))
        # Enrollments that have no step left, because the later ones were taken out of use, finish in the last stream.
        finished_from = numbers[-1] if channel_of[numbers[-1]] is channel else None
        found.append(DueStream(campaign_id, (channel,), next_after=tuple(next_after), finished_from=finished_from))
    return found


def finder(streams: Sequence[DueStream]) -> Callable[[Enrollment], DueStream]:
    """Returns a function from an enrollment that was read from the streams to its stream."""
    by_step = {
        (stream.campaign_id, stream.partition, current_step): stream
        for stream in streams
        for current_step in stream.next_after or ()
    }
    rest = {(stream.campaign_id, stream.partition): stream for stream in streams if stream.is_for_the_rest}
    in_partitions = {stream.campaign_id for stream in streams if stream.partition is not None}

    def find(enrollment: Enrollment) -> DueStream:
        campaign_id = enrollment.campaign_id
        partition = Partition(enrollment.mailbox_id, enrollment.zone) if campaign_id in in_partitions else None
        return by_step.get((campaign_id, partition, enrollment.current_step)) or rest[campaign_id, partition]

    return find
