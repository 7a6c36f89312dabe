"""Why something is not handed out now, and when it can be: the rules of the queue, told instead of acted on."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain import holds
from db.domain.allowance import Budget, Place
from db.domain.enrollment import Enrollment
from db.domain.errors import NotFound
from db.domain.field_limits import DAILY_LIMIT_MAX
from db.domain.holds import Hold, HoldReason
from db.domain.scheduling import Plan, Step, next_step
from db.domain.states import CampaignStatus
from db.postgres import faults
from db.services.campaigns import campaigns, plans
from db.services.dispatch import due_queue, due_streams
from db.services.dispatch.due_queue import Candidate, Standing
from db.services.dispatch.due_streams import Lane
from db.services.state import allowances, enrollment_rows

# How many of the queue are looked at in one go.
_CHUNK = 200
# How many are looked at in all where nothing can be handed out: to fill in the texts of more takes too long.
_LOOKED_AT_MAX = 10_000
# More than any limit lets out.
_ANY = DAILY_LIMIT_MAX + 1


@dataclass(frozen=True, slots=True)
class Explanation:
    """What holds something back, in the order in which it is looked at. Nothing does: it is due.

    next_at: the next moment at which it can move, None if that takes a person or there is nothing to move.
    """

    holds: list[Hold]
    next_at: datetime | None
    step: Step | None = None

    @property
    def is_due(self) -> bool:
        return not self.holds


_ONE = text(f"SELECT {enrollment_rows.COLUMNS} FROM campaign_enrollments e WHERE e.id = :id")


def enrollment(session: Session, *, enrollment_id: UUID, now: datetime, public_url: str | None = None) -> Explanation:
    """What holds the next step of one enrollment back. Due if and only if a claim of its campaign, of as many as
    are due, would take it."""
    row = session.execute(_ONE, {"id": enrollment_id}).one_or_none()
    if row is None:
        raise NotFound("enrollment", enrollment_id)
    one = enrollment_rows.from_row(row)
    status, running, problems = _campaign(session, one.instance_id)
    sending = running[one.instance_id].sending
    try:
        (candidate,) = due_queue.examine(session, enrollments=[one], plans=running, now=now, public_url=public_url)
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


# Nobody tells more of them apart, and to count them takes time.
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
    """How many of its campaign stand before an enrollment in the queue; _POSITION_MAX for that many or more."""
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
    """What leaves no place for the candidate: a limit that is reached, or that those who stand before it reach."""
    one = candidate.enrollment
    budget = allowances.budget(session, plans=running, now=now, lock=False)
    reached = budget.limits_for(one.instance_id, step.channel, candidate.place)
    if reached or candidate.holds or budget.free(one.instance_id, step.channel) is None:
        return reached
    for able in _those_before(session, one, budget, now):
        for each in due_queue.examine(session, enrollments=able, plans=running, now=now, public_url=public_url):
            if not each.holds and isinstance(each.take(budget), Place):
                reached = budget.limits_for(one.instance_id, step.channel, candidate.place)
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
    """Those of its campaign who stand before an enrollment in the queue, from `after` on."""
    values = {
        "campaign": before.instance_id,
        "due": before.next_action_at,
        "id": before.id,
        "after_due": after.next_action_at if after else None,
        "after_id": after.id if after else before.id,
        "limit": limit,
    }
    return [enrollment_rows.from_row(row) for row in session.execute(_LINE, values)]


def _those_before(session: Session, one: Enrollment, budget: Budget, now: datetime) -> Iterator[list[Enrollment]]:
    """Those who stand before `one` and may take something of the limits before it, as a claim would give it to them.
    Who finds no place on a channel of their own takes none on another."""
    every_lane = due_streams.of_campaigns(session, plans=budget.plans, channel=None)
    again = due_queue.again(session, lanes=every_lane, budget=budget, limit=None, now=now, take=False, wanted=_ANY)
    if all(lane.free(budget) == 0 for lane in every_lane):
        yield [each for each in again if due_queue.standing(each) < due_queue.standing(one)]
        return
    have_places = {each.id for each in again}
    after: Enrollment | None = None
    while True:
        line = _line(session, before=one, after=after, limit=_CHUNK)
        yield [each for each in line if each.id in have_places or _may_take(each, budget)]
        if len(line) < _CHUNK:
            return
        after = line[-1]


def _may_take(each: Enrollment, budget: Budget) -> bool:
    """Whether a place is left that the next step of `each` could take; where none is, nobody need look at its text."""
    step = next_step(budget.plans[each.instance_id].steps, each.current_step, each.taker)
    return step is not None and not budget.limits(each.instance_id, step.channel)


def campaign(session: Session, *, campaign_id: UUID, now: datetime, public_url: str | None = None) -> Explanation:
    """What holds a whole campaign back, and when the first of its steps can be handed out: of those who wait, what
    holds back whoever can be written to soonest."""
    status, running, problems = _campaign(session, campaign_id)
    plan = running[campaign_id]
    found = [*holds.of_campaign(status, plan.sending, now), *problems]
    budget = allowances.budget(session, plans=running, now=now, lock=False)
    every_lane = due_streams.of_campaigns(session, plans=running, channel=None)
    waits = due_queue.waits(session, lanes=every_lane, budget=budget, now=now)
    if not waits:
        who = "Nobody in the campaign waits for a step. list_enrollments with status paused shows who is held back."
        nobody = Hold(HoldReason.NOBODY_WAITS, who)
        return Explanation(found or [nobody], None)
    moments = {lane: holds.can_move_at([*found, *each], plan.sending, lane.zone, now) for lane, each in waits.items()}
    ready = [lane for lane, each in waits.items() if not each]
    if ready:
        found += [] if found else _front(session, ready, budget, now, public_url)
        return Explanation(found, holds.can_move_at(found, plan.sending, ready[0].zone, now))
    # Where no moment is known, the campaign itself waits for somebody.
    soonest = min(waits, key=lambda lane: moments[lane] or now)
    found += _leased(session, soonest, waits[soonest], plan, now)
    return Explanation(found, moments[soonest])


def _leased(session: Session, lane: Lane, waits: list[Hold], plan: Plan, now: datetime) -> list[Hold]:
    """`waits` of the lane, in which what looks like a delay is told as the lease that it may be."""
    delay = next((hold for hold in waits if hold.reason is HoldReason.STEP_DELAY), None)
    if delay is None or delay.until is None:
        return waits
    running = {lane.instance_id: plan}
    first = due_queue.front(session, lanes=[lane], budget=Budget(running, now), limit=1, now=delay.until, take=False)
    for each in due_queue.examine(session, enrollments=first, plans=running, now=now):
        for hold in each.holds:
            if hold.reason is HoldReason.LEASE_HELD and hold.until is not None and hold.until >= delay.until:
                return [hold, *(other for other in waits if other is not delay)]
    return waits


def _front(session: Session, lanes: list[Lane], budget: Budget, now: datetime, public_url: str | None) -> list[Hold]:
    """What holds back the first of those who are due; nothing, if one of them can be handed out."""
    held: list[Hold] = []
    after: Standing | None = None
    for _ in range(0, _LOOKED_AT_MAX, _CHUNK):
        found = due_queue.front(session, lanes=lanes, budget=budget, limit=_CHUNK, now=now, take=False, after=after)
        examined = due_queue.examine(session, enrollments=found, plans=budget.plans, now=now, public_url=public_url)
        if any(not each.holds for each in examined):
            return []
        held = held or (examined[0].holds if examined else [])
        if len(found) < _CHUNK:
            return held
        after = due_queue.standing(found[-1])
    so_far = f"The first {_LOOKED_AT_MAX:,} who are due are all held back, and those behind were not looked at."
    return [replace(held[0], detail=f"{held[0].detail} {so_far}"), *held[1:]]


def _campaign(session: Session, campaign_id: UUID) -> tuple[CampaignStatus, dict[UUID, Plan], list[Hold]]:
    """Its status and plan, and why the server can't work on it."""
    found = campaigns.get(session, campaign_id=campaign_id)
    running = plans.of_campaigns(session, instance_ids=[campaign_id])
    problem = running[campaign_id].problem or found.pause_reason
    return CampaignStatus(found.status), running, holds.of_problem(problem)
