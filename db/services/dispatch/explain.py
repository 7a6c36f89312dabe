"""Explains why something is not handed out now, and when it can be, by the rules that the claim follows."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain import holds
from db.domain.allowance import Allowances, Reservation
from db.domain.enrollment import Enrollment
from db.domain.errors import NotFound
from db.domain.field_limits import DAILY_LIMIT_MAX
from db.domain.holds import Hold, HoldReason
from db.domain.scheduling import Plan, Step, next_step
from db.domain.states import CampaignStatus
from db.postgres import faults
from db.services.campaigns import campaigns, plans
from db.services.dispatch import due_queue, due_streams
from db.services.dispatch.candidates import Candidate, examine
from db.services.dispatch.due_queue import QueuePosition
from db.services.dispatch.due_streams import DueStream
from db.services.state import enrollment_rows, usage

# How many enrollments of the due queue are read at once.
_CHUNK = 200
# How many are examined in all if nothing can be handed out; rendering the texts of more takes too long.
_LOOKED_AT_MAX = 10_000
# More than any limit allows.
_ANY = DAILY_LIMIT_MAX + 1


@dataclass(frozen=True, slots=True)
class Explanation:
    """The holds on something, in the order in which they are checked. Without holds it is due.

    next_at: when it can go on; None if that takes a person or there is nothing to go on with.
    """

    holds: list[Hold]
    next_at: datetime | None
    step: Step | None = None

    @property
    def is_due(self) -> bool:
        return not self.holds


_ONE = text(f"SELECT {enrollment_rows.COLUMNS} FROM campaign_enrollments e WHERE e.id = :id")


def enrollment(session: Session, *, enrollment_id: UUID, now: datetime, public_url: str | None = None) -> Explanation:
    """Returns what holds back the next step of one enrollment. It is due if and only if a claim of its campaign would
    take it, given a limit as large as the number of due steps."""
    row = session.execute(_ONE, {"id": enrollment_id}).one_or_none()
    if row is None:
        raise NotFound("enrollment", enrollment_id)
    one = enrollment_rows.from_row(row)
    status, running, problems = _campaign(session, one.instance_id)
    sending = running[one.instance_id].sending
    try:
        (candidate,) = examine(session, enrollments=[one], plans=running, now=now, public_url=public_url)
    except Exception as error:
        if not faults.is_of_a_row(error):
            raise
        fault = faults.note("a step can't be examined", error, enrollment=str(enrollment_id))
        return Explanation([holds.of_fault(fault, "The step can't be handed out.")], None)
    found = [*holds.of_campaign(status, sending, now), *problems, *candidate.holds]
    if not one.is_open or candidate.step is None:
        return Explanation(found, None, candidate.step)
    limits = _limits(session, candidate, candidate.step, running, now, public_url)
    if limits:
        before = _how_many_before(session, one)
        found += [limit.behind(before) for limit in limits]
    return Explanation(found, holds.can_move_at(found, sending, one.zone, now), candidate.step)


# Larger numbers help nobody, and counting takes time.
_POSITION_MAX = 10_000

_BEFORE = text("""
    SELECT count(*) FROM (
        SELECT FROM campaign_enrollments
        WHERE instance_id = :campaign AND status = 'active' AND next_action_at IS NOT NULL
          AND (next_action_at, id) < (:due, :id)
        LIMIT :most
    ) before
""")


def _how_many_before(session: Session, enrollment: Enrollment) -> int:
    """Returns how many enrollments of its campaign come before this one in the due queue, at most _POSITION_MAX."""
    values = {"campaign": enrollment.instance_id, "due": enrollment.next_action_at, "id": enrollment.id}
    return session.scalar(_BEFORE, {**values, "most": _POSITION_MAX}) or 0


def _limits(
    session: Session,
    candidate: Candidate,
    step: Step,
    running: Mapping[UUID, Plan],
    now: datetime,
    public_url: str | None,
) -> list[Hold]:
    """Returns the limits that hold back the candidate: reached already, or reached by those who come before it."""
    one = candidate.enrollment
    allowances = usage.allowances_for(session, plans=running, now=now, lock=False)
    reached = allowances.limits_for(one.instance_id, step.channel, candidate.reservation)
    if reached or candidate.holds or allowances.free(one.instance_id, step.channel) is None:
        return reached
    for able in _those_before(session, one, allowances, now):
        for earlier in examine(session, enrollments=able, plans=running, now=now, public_url=public_url):
            if not earlier.holds and isinstance(earlier.take(allowances), Reservation):
                reached = allowances.limits_for(one.instance_id, step.channel, candidate.reservation)
                if reached:
                    return reached
    return []


_LINE = text(f"""
    SELECT {enrollment_rows.COLUMNS} FROM campaign_enrollments e
    WHERE instance_id = :campaign AND status = 'active' AND next_action_at IS NOT NULL
      AND (next_action_at, id) < (:due, :id)
      AND (CAST(:after_due AS timestamptz) IS NULL OR (next_action_at, id) > (:after_due, :after_id))
    ORDER BY next_action_at, id LIMIT :limit
""")


def _line(session: Session, *, before: Enrollment, after: Enrollment | None, limit: int) -> list[Enrollment]:
    """Returns the enrollments of its campaign that come before this one in the due queue, from `after` on."""
    values = {
        "campaign": before.instance_id,
        "due": before.next_action_at,
        "id": before.id,
        "after_due": after.next_action_at if after else None,
        "after_id": after.id if after else before.id,
        "limit": limit,
    }
    return [enrollment_rows.from_row(row) for row in session.execute(_LINE, values)]


def _those_before(
    session: Session, one: Enrollment, allowances: Allowances, now: datetime
) -> Iterator[list[Enrollment]]:
    """Yields the enrollments that come before `one` and may use up its limits first, in the order of a claim. An
    enrollment whose own channel has no allowance uses none of another's."""
    all_streams = due_streams.of_campaigns(session, plans=allowances.plans, channel=None)
    reserved = due_queue.with_reservation(
        session, streams=all_streams, allowances=allowances, limit=None, now=now, take=False, wanted=_ANY
    )
    if all(stream.free(allowances) == 0 for stream in all_streams):
        position = due_queue.queue_position(one)
        yield [enrollment for enrollment in reserved if due_queue.queue_position(enrollment) < position]
        return
    reserved_ids = {enrollment.id for enrollment in reserved}
    after: Enrollment | None = None
    while True:
        line = _line(session, before=one, after=after, limit=_CHUNK)
        yield [item for item in line if item.id in reserved_ids or _may_take(item, allowances)]
        if len(line) < _CHUNK:
            return
        after = line[-1]


def _may_take(one: Enrollment, allowances: Allowances) -> bool:
    """Returns whether the limits leave a send for its next step; if not, its text need not be rendered."""
    step = next_step(allowances.plans[one.instance_id].steps, one.current_step, one.recipient)
    return step is not None and not allowances.limits(one.instance_id, step.channel)


def campaign(session: Session, *, campaign_id: UUID, now: datetime, public_url: str | None = None) -> Explanation:
    """Returns what holds back a whole campaign, and when the first of its steps can be handed out. The holds are those
    on the enrollment that can be written to soonest."""
    status, running, problems = _campaign(session, campaign_id)
    plan = running[campaign_id]
    found = [*holds.of_campaign(status, plan.sending, now), *problems]
    allowances = usage.allowances_for(session, plans=running, now=now, lock=False)
    all_streams = due_streams.of_campaigns(session, plans=running, channel=None)
    waits = due_queue.waits(session, streams=all_streams, allowances=allowances, now=now)
    if not waits:
        who = "Nobody in the campaign waits for a step. list_enrollments with status paused shows who is held back."
        nobody = Hold(HoldReason.NOBODY_WAITS, who)
        return Explanation(found or [nobody], None)
    moments = {
        stream: holds.can_move_at([*found, *held], plan.sending, stream.zone, now) for stream, held in waits.items()
    }
    ready = [stream for stream, held in waits.items() if not held]
    if ready:
        found += [] if found else _front(session, ready, allowances, now, public_url)
        return Explanation(found, holds.can_move_at(found, plan.sending, ready[0].zone, now))
    # If no moment is known, the campaign itself waits for a person.
    soonest = min(waits, key=lambda stream: moments[stream] or now)
    found += _leased(session, soonest, waits[soonest], plan, now)
    return Explanation(found, moments[soonest])


def _leased(session: Session, stream: DueStream, waits: list[Hold], plan: Plan, now: datetime) -> list[Hold]:
    """Returns `waits` of the stream, with a step delay replaced by the lease if it is one."""
    delay = next((hold for hold in waits if hold.reason is HoldReason.STEP_DELAY), None)
    if delay is None or delay.until is None:
        return waits
    running = {stream.instance_id: plan}
    unlimited = Allowances(running, now)
    first = due_queue.front(session, streams=[stream], allowances=unlimited, limit=1, now=delay.until, take=False)
    for candidate in examine(session, enrollments=first, plans=running, now=now):
        for hold in candidate.holds:
            if hold.reason is HoldReason.LEASE_HELD and hold.until is not None and hold.until >= delay.until:
                return [hold, *(other for other in waits if other is not delay)]
    return waits


def _front(
    session: Session, streams: list[DueStream], allowances: Allowances, now: datetime, public_url: str | None
) -> list[Hold]:
    """Returns what holds back the first due enrollment; nothing if any due one can be handed out."""
    held: list[Hold] = []
    after: QueuePosition | None = None
    for _ in range(0, _LOOKED_AT_MAX, _CHUNK):
        found = due_queue.front(
            session, streams=streams, allowances=allowances, limit=_CHUNK, now=now, take=False, after=after
        )
        examined = examine(session, enrollments=found, plans=allowances.plans, now=now, public_url=public_url)
        if any(not candidate.holds for candidate in examined):
            return []
        held = held or (examined[0].holds if examined else [])
        if len(found) < _CHUNK:
            return held
        after = due_queue.queue_position(found[-1])
    so_far = f"The first {_LOOKED_AT_MAX:,} who are due are all held back, and those behind were not looked at."
    return [replace(held[0], detail=f"{held[0].detail} {so_far}"), *held[1:]]


def _campaign(session: Session, campaign_id: UUID) -> tuple[CampaignStatus, dict[UUID, Plan], list[Hold]]:
    """Returns its status, its plan, and the problem for which the server can't work on it."""
    found = campaigns.get(session, campaign_id=campaign_id)
    running = plans.of_campaigns(session, instance_ids=[campaign_id])
    problem = running[campaign_id].problem or found.pause_reason
    return CampaignStatus(found.status), running, holds.of_problem(problem)
