"""The due queue: the order of the due steps, and how long their streams wait.

claim_due_actions takes from it and explain_due reads it, so that both find the same.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import TypeAlias
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain import holds
from db.domain.allowance import Allowances
from db.domain.enrollment import Enrollment
from db.domain.holds import Hold
from db.domain.streams import NOBODY, DueStream
from db.models.campaigns import IN_QUEUE, PARTITION_MAILBOX, PARTITION_ZONE
from db.postgres.json import rows_parameter
from db.services.dispatch.due_streams import finder
from db.services.state import conversation_rows, enrollment_rows

_QUEUE = f"""
    SELECT {enrollment_rows.COLUMNS}
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS s(
        campaign uuid, changed_at timestamptz, mailbox uuid, zone text, due_from timestamptz, next_after int[],
        finished_from int, most int)
    JOIN campaign_instances i ON i.id = s.campaign {{running}}
    CROSS JOIN LATERAL {{first}} e
    ORDER BY e.next_action_at, e.id LIMIT :limit {{lock_campaign}}
"""
_OF_STREAM = """
    instance_id = s.campaign {of_partition}
    AND (s.next_after IS NULL OR current_step = ANY (s.next_after) OR current_step >= s.finished_from)
"""
_OF_PARTITION = f"AND {PARTITION_MAILBOX} = s.mailbox AND {PARTITION_ZONE} = s.zone AND next_action_at >= s.due_from"
_AFTER = "AND (next_action_at, id) > (CAST(:after_due AS timestamptz), CAST(:after_id AS uuid))"
_LOOKING = {
    "first": IN_QUEUE.format(
        condition=f"{_OF_STREAM} AND next_action_at <= :now {_AFTER}", limit="s.most", columns="*"
    ),
    "running": "",
    "lock_campaign": "",
}
# The lock on the campaign makes a pause or a change of its steps wait until running claims are done, so that no step is
# handed out after the change by a plan that was read before it. A claim that comes after the change finds nothing.
# Nothing here waits: rows that another transaction holds are skipped. The claim has ended the pauses that are over.
_RUNNING = "AND i.status = 'active' AND i.updated_at = s.changed_at"
_TAKING = {
    "first": f"""(
        SELECT * FROM campaign_enrollments
        WHERE status = 'active' AND next_action_at IS NOT NULL AND {_OF_STREAM} AND next_action_at <= :now
        ORDER BY next_action_at, id LIMIT s.most FOR NO KEY UPDATE SKIP LOCKED
    )""",
    "running": _RUNNING,
    "lock_campaign": "FOR SHARE OF i SKIP LOCKED",
}
# Keyed by whether the streams have a partition, because each kind has its index.
_LOOK = {
    False: text(_QUEUE.format(**_LOOKING).format(of_partition="")).columns(*enrollment_rows.NAMES),
    True: text(_QUEUE.format(**_LOOKING).format(of_partition=_OF_PARTITION)).columns(*enrollment_rows.NAMES),
}
_TAKE = {
    False: text(_QUEUE.format(**_TAKING).format(of_partition="")).columns(*enrollment_rows.NAMES),
    True: text(_QUEUE.format(**_TAKING).format(of_partition=_OF_PARTITION)).columns(*enrollment_rows.NAMES),
}


def front(
    session: Session,
    *,
    streams: Sequence[DueStream],
    allowances: Allowances,
    limit: int,
    now: datetime,
    take: bool,
    after: "QueuePosition | None" = None,
) -> list[Enrollment]:
    """Returns the first `limit` enrollments of the streams whose step is due, the one due longest first. A stream that
    is out of daily allowance contributes only enrollments that have a reservation.

    `take` locks them, and takes no more from a stream than its allowance, so that others can have the rest. Without
    `take`, reading begins after `after`.
    """
    read = _read(session, streams, allowances, limit, now, take=take, after=after)
    full = [
        stream
        for stream in streams
        if stream.free(allowances) == 0 and stream.free(allowances, with_reservation=True) != 0
    ]
    most = None if after else limit
    reserved = with_reservation(session, streams=full, allowances=allowances, limit=most, now=now, take=take)
    read += [enrollment for enrollment in reserved if after is None or queue_position(enrollment) > after]
    first = sorted(read, key=queue_position)[:limit]
    if take:
        last = _last_before_expired(session, streams, first, allowances, limit, now)
        first = [enrollment for enrollment in first if last is None or queue_position(enrollment) <= last]
    return first


def _last_before_expired(
    session: Session,
    streams: Sequence[DueStream],
    found: Sequence[Enrollment],
    allowances: Allowances,
    limit: int,
    now: datetime,
) -> "QueuePosition | None":
    """Returns the position of the last enrollment that may be taken now, or None for all of them.

    A stream is read up to its allowance, so a step with a reservation whose lease has expired may stand just behind
    what was read. Enrollments of other streams that stand behind it wait for the next round.
    """
    short = [stream for stream in streams if 0 < (stream.free(allowances) or 0) < limit]
    expired = with_reservation(
        session, streams=short, allowances=allowances, limit=limit, now=now, take=False, wanted=limit
    )
    known = {enrollment.id for enrollment in found}
    stream_of = finder(streams)
    concerned = {stream_of(enrollment) for enrollment in expired if enrollment.id not in known}
    last = {stream_of(enrollment): queue_position(enrollment) for enrollment in found}
    return min((last[stream] for stream in concerned if stream in last), default=None)


def _read(
    session: Session,
    streams: Sequence[DueStream],
    allowances: Allowances,
    limit: int,
    now: datetime,
    *,
    take: bool,
    after: "QueuePosition | None",
) -> list[Enrollment]:
    """Returns the first enrollments of the streams that have allowance left."""
    found: list[Enrollment] = []
    begin = {} if take else dict(zip(("after_due", "after_id"), after or _BEFORE_ALL, strict=True))
    for has_partition in (False, True):
        rows = [
            {
                "campaign": stream.campaign_id,
                "changed_at": allowances.plans[stream.campaign_id].changed_at,
                **_partition_row(stream),
                "next_after": stream.next_after,
                "finished_from": stream.finished_from,
                "most": min(free, limit) if take and free is not None else limit,
            }
            for stream in streams
            if (stream.partition is not None) == has_partition and (free := stream.free(allowances)) != 0
        ]
        if rows:
            values = {**rows_parameter(rows), **begin, "now": now, "limit": limit}
            statement = (_TAKE if take else _LOOK)[has_partition]
            found += [enrollment_rows.from_row(row) for row in session.execute(statement, values)]
    return found


# Reservations are few and due enrollments many, so this expression is written such that PostgreSQL can't choose the
# index of due enrollments for it.
_EXPIRED_AT = "greatest(a.lease_until, coalesce(e.next_action_at, 'infinity'))"
_OF_RESERVED = f"""
    FROM jsonb_to_recordset(CAST(:rows AS jsonb))
        AS s(stream int, campaign uuid, changed_at timestamptz, mailbox uuid, zone text, next_after int[], steps int[],
             since timestamptz, account text)
    JOIN campaign_instances i ON i.id = s.campaign
    CROSS JOIN LATERAL (
        SELECT * FROM campaign_actions
        WHERE instance_id = s.campaign AND status = 'claimed' AND reserved_at >= s.since OFFSET 0
    ) a
    JOIN campaign_enrollments e ON e.instance_id = a.instance_id AND e.id = a.enrollment_id
    WHERE a.sender IS NOT DISTINCT FROM s.account AND {{waits}} AND {_EXPIRED_AT} < 'infinity'
      AND (s.mailbox IS NULL OR (coalesce(e.mailbox_id, '{NOBODY}') = s.mailbox AND coalesce(e.zone, '') = s.zone))
      AND (s.next_after IS NULL OR e.current_step = ANY (s.next_after))
      AND a.step_number = (SELECT min(number) FROM unnest(s.steps) AS number WHERE number > e.current_step)
"""
_RESERVED = f"""
    SELECT {enrollment_rows.COLUMNS} {_OF_RESERVED} AND {_EXPIRED_AT} <= :now {{running}}
    ORDER BY e.next_action_at, e.id LIMIT :limit {{lock}}
"""
_WAITS = "(e.status = 'active' OR e.paused_until IS NOT NULL)"
_LOOK_RESERVED = text(_RESERVED.format(waits=_WAITS, running="", lock="")).columns(*enrollment_rows.NAMES)
_TAKE_RESERVED = text(
    _RESERVED.format(
        waits="e.status = 'active'",
        running=_RUNNING,
        lock="FOR NO KEY UPDATE OF e SKIP LOCKED FOR SHARE OF i SKIP LOCKED",
    )
).columns(*enrollment_rows.NAMES)
_NEXT_RESERVED = text(f"SELECT s.stream, min({_EXPIRED_AT}) {_OF_RESERVED} GROUP BY s.stream".format(waits=_WAITS))


def with_reservation(
    session: Session,
    *,
    streams: Sequence[DueStream],
    allowances: Allowances,
    limit: int | None,
    now: datetime,
    take: bool,
    wanted: int = 1,
) -> list[Enrollment]:
    """Returns the first `limit` enrollments of the streams whose lease has expired and whose reservation counts for
    every day that allows fewer than `wanted` more sends, the one due longest first. `take` locks them."""
    rows = _rows_of_reserved(streams, allowances, wanted)
    if not rows:
        return []
    values = {**rows_parameter(rows), "now": now, "limit": limit}
    statement = _TAKE_RESERVED if take else _LOOK_RESERVED
    return [enrollment_rows.from_row(row) for row in session.execute(statement, values)]


def _rows_of_reserved(streams: Sequence[DueStream], allowances: Allowances, wanted: int = 1) -> list[dict[str, object]]:
    """Returns a row for each stream in which an earlier reservation can count; `stream` is its index."""
    return [
        {
            "stream": number,
            "campaign": stream.campaign_id,
            "changed_at": allowances.plans[stream.campaign_id].changed_at,
            **_partition_row(stream),
            "next_after": stream.next_after,
            "steps": sorted({step.step_number for step in allowances.plans[stream.campaign_id].steps}),
            "since": since,
            "account": allowances.account(stream.route(stream.channels[0])),
        }
        for number, stream in enumerate(streams)
        if stream.channels
        and (since := allowances.reservations_since(stream.route(stream.channels[0]), wanted)) is not None
    ]


def _partition_row(stream: DueStream) -> Mapping[str, object]:
    return (
        {**stream.partition.to_row(), "due_from": stream.due_from or "-infinity"}
        if stream.partition is not None
        else {}
    )


_BEFORE_ALL = ("-infinity", UUID(int=0))
QueuePosition: TypeAlias = tuple[datetime, UUID]
queue_position: Callable[[Enrollment], QueuePosition] = attrgetter("next_action_at", "id")
"""The position of a due enrollment in the due queue."""


_FIRST_OF_STREAM = IN_QUEUE.format(condition=_OF_STREAM, limit="1", columns="next_action_at, id")
_EARLIEST = f"""
    SELECT s.stream, min(e.next_action_at)
    FROM jsonb_to_recordset(CAST(:rows AS jsonb))
        AS s(stream int, campaign uuid, mailbox uuid, zone text, due_from timestamptz, next_after int[],
             finished_from int)
    CROSS JOIN LATERAL {_FIRST_OF_STREAM} e
    GROUP BY s.stream
"""
_FIRST = {False: text(_EARLIEST.format(of_partition="")), True: text(_EARLIEST.format(of_partition=_OF_PARTITION))}


def earliest(session: Session, *, streams: Sequence[DueStream]) -> dict[DueStream, datetime]:
    """Returns when the first enrollment of each stream is due, in the past or the future. Empty streams are left
    out."""
    found: dict[DueStream, datetime] = {}
    for has_partition in (False, True):
        rows = [
            {
                "stream": number,
                "campaign": stream.campaign_id,
                **_partition_row(stream),
                "next_after": stream.next_after,
                "finished_from": stream.finished_from,
            }
            for number, stream in enumerate(streams)
            if (stream.partition is not None) == has_partition
        ]
        if rows:
            found |= {
                streams[number]: due for number, due in session.execute(_FIRST[has_partition], rows_parameter(rows))
            }
    return found


_COUNT = text(f"""
    SELECT s.campaign, sum(waiting.number)::int
    FROM jsonb_to_recordset(CAST(:rows AS jsonb))
        AS s(campaign uuid, mailbox uuid, zone text, due_from timestamptz, next_after int[])
    CROSS JOIN LATERAL (
        SELECT count(*) AS number FROM (
            SELECT 1 FROM campaign_enrollments e
            WHERE status = 'active' AND next_action_at IS NOT NULL AND instance_id = s.campaign {_OF_PARTITION}
              AND current_step = ANY (s.next_after) AND next_action_at <= :now
              AND (busy_since IS NULL OR NOT {conversation_rows.OF_ANOTHER})
            LIMIT :most
        ) first
    ) waiting
    GROUP BY s.campaign
""")


def count_due(session: Session, *, streams: Sequence[DueStream], now: datetime, most: int) -> Counter[UUID]:
    """Returns campaign -> how many people of these streams, which have partitions, are due; at most `most` of each. Who
    is only looked at again while another campaign writes to them is not counted."""
    rows = [
        {"campaign": stream.campaign_id, **_partition_row(stream), "next_after": stream.next_after}
        for stream in streams
    ]
    values = {**rows_parameter(rows), "now": now, "most": most}
    return Counter(dict(tuple(row) for row in session.execute(_COUNT, values)) if rows else {})


def waits(
    session: Session, *, streams: Sequence[DueStream], allowances: Allowances, now: datetime
) -> dict[DueStream, list[Hold]]:
    """Returns what holds back the first enrollment of each stream that can be handed out, apart from the holds on its
    whole campaign. Streams in which nobody waits are left out."""
    found: dict[DueStream, list[Hold]] = {}
    for stream, due in earliest(session, streams=streams).items():
        closed = stream.closed(allowances.plans[stream.campaign_id], allowances.pools, now)
        found[stream] = [*closed, *holds.not_before(due, now), *stream.limits(allowances)]
    full = [stream for stream in found if stream.free(allowances) == 0]
    rows = _rows_of_reserved(full, allowances)
    next_reserved: dict[int, datetime] = (
        dict(tuple(row) for row in session.execute(_NEXT_RESERVED, rows_parameter(rows))) if rows else {}
    )
    for number, due in next_reserved.items():
        stream = full[number]
        closed = stream.closed(allowances.plans[stream.campaign_id], allowances.pools, now)
        expiry = [holds.until_expiry(limit, due) for limit in stream.limits(allowances)[:1] if due > now]
        reserved = [*closed, *expiry, *stream.limits(allowances, with_reservation=True)]
        found[stream] = min(found[stream], reserved, key=lambda candidates: holds.latest(candidates, now))
    return found
