"""Explains why something is not handed out now, and when it can be, by the rules that the claim follows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain import holds, streams as streams_of
from db.domain.allowance import Allowances, Reservation
from db.domain.drafts import WAITING_FOR_APPROVAL
from db.domain.enrollment import Enrollment
from db.domain.errors import NotFound
from db.domain.field_limits import DAILY_LIMIT_MAX
from db.domain.holds import Hold, HoldReason
from db.domain.mailboxes import LeaseRole
from db.domain.pools import Pools, Route
from db.domain.scheduling import Plan, Step, next_step
from db.domain.sending import Sending
from db.domain.states import CampaignStatus, EnrollmentStatus
from db.domain.streams import DueStream
from db.models.campaigns import IN_QUEUE
from db.postgres import faults
from db.services.campaigns import campaigns, plans
from db.services.dispatch import due_queue, due_streams, limits
from db.services.dispatch.candidates import Candidate, after_skips, examine
from db.services.dispatch.due_queue import QueuePosition
from db.services.mail import leases, pools
from db.services.state import enrollment_rows

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
    status, running, problems = _campaign(session, one.campaign_id)
    sending = running[one.campaign_id].sending
    try:
        (candidate,) = examine(session, enrollments=[one], plans=running, now=now, public_url=public_url)
    except Exception as error:
        if not faults.is_of_a_row(error):
            raise
        fault = faults.note("a step can't be examined", error, enrollment=str(enrollment_id))
        return Explanation([holds.of_fault(fault, "The step can't be handed out.")], None)
    found = [*holds.of_campaign(status, sending, now), *problems]
    streams, allowances = _look(session, running, one.campaign_id, now)
    if not found and _is_skipped(session, candidate, streams, allowances, public_url):
        (candidate,) = after_skips(session, candidates=[candidate], plans=running, now=now, public_url=public_url)
    found += candidate.holds
    if not one.is_open or candidate.step is None or candidate.route is None:
        return Explanation(found, None, candidate.step)
    found += _closed(candidate, candidate.route, allowances)
    reached = _limits(session, candidate, candidate.route, streams, allowances, public_url)
    if reached:
        before = _how_many_before(session, one)
        found += [limit.behind(before) for limit in reached]
    calendars = streams_of.calendars(allowances, candidate.route, one.campaign_id, one.zone)
    next_at = holds.can_move_at(found, calendars, now)
    if sending.is_sent_by_server(candidate.step.channel):
        return _by_server(session, found, next_at, one.mailbox_id, sending, candidate.step)
    return Explanation(found, next_at, candidate.step)


def _is_skipped(
    session: Session,
    candidate: Candidate,
    streams: Sequence[DueStream],
    allowances: Allowances,
    public_url: str | None,
) -> bool:
    """Returns whether a claim would come to the candidate now, and skip its step."""
    if candidate.skipped is None or candidate.route is None or _closed(candidate, candidate.route, allowances):
        return False
    before = allowances.snapshot()
    reached = _limits(session, candidate, candidate.route, streams, allowances, public_url)
    allowances.restore(before)
    return not reached


def _look(
    session: Session, running: Mapping[UUID, Plan], campaign_id: UUID, now: datetime
) -> tuple[list[DueStream], Allowances]:
    """Returns all streams of a campaign, and what is left of their limits."""
    streams = due_streams.of_campaign(session, campaign_id=campaign_id, plan=running[campaign_id], now=now)
    known = limits.pools_of(session, plans=running, streams=streams)
    return streams, limits.of_streams(session, plans=running, streams=streams, known=known, now=now, lock=False)


def _by_server(
    session: Session,
    found: list[Hold],
    next_at: datetime | None,
    mailbox_id: UUID | None,
    sending: Sending,
    step: Step | None = None,
) -> Explanation:
    """Returns the explanation of a step that the server sends; `next_at`: when, if somebody runs it."""
    pool = pools.addresses(session, mailbox_id=mailbox_id, named=sending.mailboxes)
    senders = {id_ for id_, role in leases.holders(session) if role is LeaseRole.SENDER}
    is_running = not senders.isdisjoint(pool)
    mailbox = pool.get(mailbox_id) if mailbox_id is not None else None
    server = holds.of_server(mailbox, next_at, is_running=is_running)
    return Explanation([*found, server], next_at if is_running else None, step)


# Larger numbers help nobody, and counting takes time.
_POSITION_MAX = 10_000

_IN_FRONT = "instance_id = :campaign AND (next_action_at, id) < (:due, :id)"
_ALL_BEFORE = IN_QUEUE.format(condition=_IN_FRONT, limit=":most", columns="next_action_at, id")
_BEFORE = text(f"SELECT count(*) FROM {_ALL_BEFORE} before")


def _how_many_before(session: Session, enrollment: Enrollment) -> int:
    """Returns how many enrollments of its campaign come before this one in the due queue, at most _POSITION_MAX."""
    values = {"campaign": enrollment.campaign_id, "due": enrollment.next_action_at, "id": enrollment.id}
    return session.scalar(_BEFORE, {**values, "most": _POSITION_MAX}) or 0


def _limits(
    session: Session,
    candidate: Candidate,
    route: Route,
    streams: Sequence[DueStream],
    allowances: Allowances,
    public_url: str | None,
) -> list[Hold]:
    """Returns the limits that hold back the candidate: reached already, or reached by those who come before it."""
    one, now, plans_ = candidate.enrollment, allowances.now, allowances.plans
    reached = allowances.limits_for(route, candidate.reservation)
    is_held = candidate.holds or _closed(candidate, route, allowances)
    if reached or is_held or allowances.free(route) is None:
        return reached
    for able in _those_before(session, one, streams, allowances):
        for earlier in examine(session, enrollments=able, plans=plans_, now=now, public_url=public_url):
            if _is_able(earlier, allowances) and isinstance(earlier.take(allowances), Reservation):
                reached = allowances.limits_for(route, candidate.reservation)
                if reached:
                    return reached
    return []


def _is_able(candidate: Candidate, allowances: Allowances) -> bool:
    """Returns whether nothing but limits may hold back the step of the candidate."""
    if candidate.holds or candidate.skipped is not None or candidate.route is None:
        return False
    return not _closed(candidate, candidate.route, allowances)


def _closed(candidate: Candidate, route: Route, allowances: Allowances) -> list[Hold]:
    """Returns the holds on an overdue email, and on the mailboxes from which the step may go out."""
    sending = allowances.plans[route.campaign_id].sending
    return [*_overdue(candidate, allowances), *allowances.pools.holds(sending, route, allowances.now)]


def _overdue(candidate: Candidate, allowances: Allowances) -> list[Hold]:
    """Returns the hold on an overdue email."""
    enrollment, plan = candidate.enrollment, allowances.plans[candidate.enrollment.campaign_id]
    if candidate.step is None or not plan.sending.is_sent_by_server(candidate.step.channel):
        return []
    return holds.of_overdue(enrollment.next_action_at, plan.overdue_before(allowances.now))


_BEHIND = "(CAST(:after_due AS timestamptz) IS NULL OR (next_action_at, id) > (:after_due, :after_id))"
_FIRST_BEFORE = IN_QUEUE.format(condition=f"{_IN_FRONT} AND {_BEHIND}", limit=":limit", columns="*")
_LINE = text(f"""
    SELECT {enrollment_rows.COLUMNS} FROM {_FIRST_BEFORE} e
    ORDER BY next_action_at, id
""")


def _line(session: Session, *, before: Enrollment, after: Enrollment | None, limit: int) -> list[Enrollment]:
    """Returns the enrollments of its campaign that come before this one in the due queue, from `after` on."""
    values = {
        "campaign": before.campaign_id,
        "due": before.next_action_at,
        "id": before.id,
        "after_due": after.next_action_at if after else None,
        "after_id": after.id if after else before.id,
        "limit": limit,
    }
    return [enrollment_rows.from_row(row) for row in session.execute(_LINE, values)]


def _those_before(
    session: Session, one: Enrollment, streams: Sequence[DueStream], allowances: Allowances
) -> Iterator[list[Enrollment]]:
    """Yields the enrollments that come before `one` and may use up its limits first, in the order of a claim. An
    enrollment whose own channel or mailbox has no allowance uses none of another's."""
    reserved = due_queue.with_reservation(
        session, streams=streams, allowances=allowances, limit=None, now=allowances.now, take=False, wanted=_ANY
    )
    if all(stream.free(allowances) == 0 for stream in streams):
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
    step = next_step(allowances.plans[one.campaign_id].steps, one.current_step, one.recipient)
    return step is not None and not allowances.limits(Route(one.campaign_id, step.channel, one.mailbox_id))


_NOBODY = Hold(
    HoldReason.NOBODY_WAITS,
    "Nobody in the campaign waits for a step. list_enrollments with status paused shows who is held back.",
)


def campaign(session: Session, *, campaign_id: UUID, now: datetime, public_url: str | None = None) -> Explanation:
    """Returns what holds back a whole campaign, and when the first of its steps can be handed out. The holds are those
    on the enrollment that can be written to soonest. That nobody waits, or only for approvals, comes first, where the
    campaign goes on."""
    status, running, problems = _campaign(session, campaign_id)
    plan = running[campaign_id]
    found = [*holds.of_campaign(status, plan.sending, now), *problems]
    all_streams, allowances = _look(session, running, campaign_id, now)
    waits = due_queue.waits(session, streams=all_streams, allowances=allowances, now=now)
    if not waits and (overdue := _all_overdue(session, all_streams, plan, now)):
        return Explanation([*found, *overdue], None)
    if not waits:
        is_under_way = status in (CampaignStatus.ACTIVE, CampaignStatus.PAUSED) and not problems
        return Explanation([_nobody(session, campaign_id), *found] if is_under_way or not found else found, None)
    moments = {
        stream: holds.can_move_at([*found, *held], stream.calendars(allowances), now) for stream, held in waits.items()
    }
    ready = [stream for stream, held in waits.items() if not held]
    ready = [stream for stream in ready if not stream.is_sent_by_server(plan)] or ready
    # If no moment is known, the campaign itself waits for a person.
    first = ready[0] if ready else min(waits, key=lambda stream: moments[stream] or now)
    if ready:
        found += [] if found else _front(session, ready, allowances, now, public_url)
    else:
        found += _leased(session, first, waits[first], plan, allowances.pools, now)
    next_at = holds.can_move_at(found, first.calendars(allowances), now) if ready else moments[first]
    if first.is_sent_by_server(plan):
        return _by_server(
            session, found, next_at, first.partition.mailbox_id if first.partition else None, plan.sending
        )
    return Explanation(found, next_at)


_WAITING_MOST = 10_000
_HOW_MANY_WAIT = text(f"""
    SELECT count(*) FROM (
        SELECT 1 FROM campaign_enrollments
        WHERE instance_id = :campaign AND status = '{EnrollmentStatus.PAUSED}'
          AND pause_reason LIKE '{WAITING_FOR_APPROVAL}%'
        LIMIT {_WAITING_MOST}
    ) waiting
""")


def _nobody(session: Session, campaign_id: UUID) -> Hold:
    """Returns the hold on a campaign in which nobody waits for a step, or only for an approval of one."""
    people = session.scalars(_HOW_MANY_WAIT, {"campaign": campaign_id}).one()
    return holds.of_approvals(people, _WAITING_MOST) if people else _NOBODY


def _all_overdue(session: Session, streams: Sequence[DueStream], plan: Plan, now: datetime) -> list[Hold]:
    """Returns the hold on the overdue emails of a campaign in which nobody else waits."""
    every = [replace(stream, due_from=None) for stream in streams]
    first = min(due_queue.earliest(session, streams=every).values(), default=None)
    return holds.of_overdue(first, plan.overdue_before(now))


def _leased(
    session: Session, stream: DueStream, waits: list[Hold], plan: Plan, known: Pools, now: datetime
) -> list[Hold]:
    """Returns `waits` of the stream, with a step delay replaced by the lease or the other campaign if it is one."""
    delay = next((hold for hold in waits if hold.reason is HoldReason.STEP_DELAY), None)
    if delay is None or delay.until is None:
        return waits
    running = {stream.campaign_id: plan}
    unlimited = Allowances(running, now, pools=known)
    first = due_queue.front(session, streams=[stream], allowances=unlimited, limit=1, now=delay.until, take=False)
    for candidate in examine(session, enrollments=first, plans=running, now=now):
        if candidate.is_busy:
            return [candidate.holds[0], *(other for other in waits if other is not delay)]
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
        last = due_queue.queue_position(found[-1]) if found else after
        examined = examine(session, enrollments=found, plans=allowances.plans, now=now, public_url=public_url)
        examined = after_skips(session, candidates=examined, plans=allowances.plans, now=now, public_url=public_url)
        if any(not candidate.holds for candidate in examined):
            return []
        held = held or (examined[0].holds if examined else [])
        if len(found) < _CHUNK:
            return held
        after = last
    so_far = f"The first {_LOOKED_AT_MAX:,} who are due are all held back, and those behind were not looked at."
    return [replace(held[0], detail=f"{held[0].detail} {so_far}"), *held[1:]]


def _campaign(session: Session, campaign_id: UUID) -> tuple[CampaignStatus, dict[UUID, Plan], list[Hold]]:
    """Returns its status, its plan, and the problem for which the server can't work on it."""
    found = campaigns.get(session, campaign_id=campaign_id)
    running = plans.of_campaigns(session, campaign_ids=[campaign_id])
    problem = running[campaign_id].problem or found.pause_reason
    return CampaignStatus(found.status), running, holds.of_problem(problem)
