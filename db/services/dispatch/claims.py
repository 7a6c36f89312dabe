"""Due steps are handed out under a lease.

A claim moves the enrollment's next_action_at to the end of the lease. So the worker's index knows of leases without
looking at actions, and a step whose holder died is due again by itself. The unique key of campaign_actions and the
lock on the enrollment make a step sent at most once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeAlias
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from db.domain import holds
from db.domain.action import Action
from db.domain.allowance import Budget, Place
from db.domain.counting import Deltas, contribution
from db.domain.enrollment import Enrollment
from db.domain.errors import NotFound, Refused
from db.domain.events import EFFECTS, EventType, Stop
from db.domain.field_limits import PAUSE_REASON_MAX
from db.domain.holds import Hold, HoldReason
from db.domain.ids import new_id
from db.domain.scheduling import Plan, Step
from db.domain.states import (
    ActionStatus,
    CampaignStatus,
    Channel,
    EnrollmentCommand,
    StopReason,
)
from db.models import Contact
from db.postgres import faults
from db.postgres.json import to_text
from db.postgres.results import named
from db.services.campaigns import campaigns, plans
from db.services.campaigns.step_texts import Text
from db.services.dispatch import due_queue
from db.services.dispatch.due_queue import Candidate
from db.services.dispatch.due_streams import Lane, finder, of_campaigns
from db.services.state import allowances, counters, enrollment_rows
from db.services.texts import unsubscribe_links


@dataclass(frozen=True, slots=True)
class DueAction:
    """A step for one person, rendered and leased to whoever claimed it."""

    action_id: UUID
    lease_token: UUID
    lease_until: datetime
    enrollment: Enrollment
    contact: Contact
    step: Step
    text: Text
    sender: str | None = None
    reserved_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """What was handed out, and when the next step falls due if nothing else is due now."""

    actions: list[DueAction]
    next_due_at: datetime | None


Settle: TypeAlias = Callable[[Session, Sequence[Enrollment]], list[DueAction]]

# Each round settles at least one enrollment for good, so this many without a step to hand out is a queue of people who
# may not be written to; the caller comes back for the rest.
_ROUNDS = 20


def claim(
    session: Session,
    *,
    campaign_id: UUID | None,
    channel: Channel | None,
    limit: int,
    lease_seconds: int,
    now: datetime,
    public_url: str | None = None,
) -> Claim:
    """Hand out up to `limit` due steps of active campaigns, the one due longest first, for `lease_seconds`.

    Whoever must not be written to is stopped instead, and whoever's text lacks a variable, is empty or too long is
    paused, with the reason in the action's `error`. `public_url`: see Texts.of_campaigns.
    """
    running = _running(session, campaign_id)
    unreadable = {id_: plan.problem for id_, plan in running.items() if plan.problem is not None}
    running = {id_: plan for id_, plan in running.items() if id_ not in unreadable}
    held = {id_: holds.of_campaign(CampaignStatus.ACTIVE, plan.sending, now) for id_, plan in running.items()}
    every_lane = of_campaigns(session, plans=running, channel=channel)
    open_now = [
        lane for lane in every_lane if not held[lane.instance_id] and not lane.window(running[lane.instance_id], now)
    ]
    lanes = _due_lanes(session, open_now, running, now)
    concerned = {lane.instance_id: running[lane.instance_id] for lane in lanes}
    budget = allowances.budget(session, plans=concerned, now=now, lock=True)
    until = now + timedelta(seconds=lease_seconds)
    claimed: list[DueAction] = []
    stuck = set[UUID]()
    if lanes and public_url is not None:
        unsubscribe_links.make_key(session)
    for _ in range(_ROUNDS):
        lanes = [lane for lane in lanes if lane.instance_id not in unreadable]
        settle = partial(
            _settle, lanes=lanes, budget=budget, until=until, now=now, public_url=public_url, unreadable=unreadable
        )
        wanted = limit - len(claimed) + len(stuck)
        front = due_queue.front(session, lanes=lanes, budget=budget, limit=wanted, now=now, take=True)
        found = [each for each in front if each.id not in stuck]
        if not found:
            break
        claimed += _settle_sound(session, found, budget, settle, stuck)
        if len(claimed) == limit:
            break
    allowances.save(session, budget)
    campaigns.pause_unreadable(session, reasons=unreadable, now=now)
    if claimed:
        return Claim(claimed, None)
    return Claim([], _next_due(session, every_lane, held, running, now))


def _running(session: Session, campaign_id: UUID | None) -> dict[UUID, Plan]:
    """The plans of the active campaigns, or of the one that is asked for."""
    if campaign_id is None:
        return plans.of_active(session)
    found = plans.with_status(session, instance_id=campaign_id)
    if found is None:
        raise NotFound("campaign", campaign_id)
    status, plan = found
    if status in (CampaignStatus.COMPLETED, CampaignStatus.FAILED):
        raise Refused(f"This campaign is {status} for good, so nothing of it is due. {holds.ANEW}")
    if status is not CampaignStatus.ACTIVE:
        raise Refused(f"This campaign is {status}, so nothing of it is due. start_campaign makes it active.")
    return {campaign_id: plan}


def _due_lanes(session: Session, lanes: Sequence[Lane], running: Mapping[UUID, Plan], now: datetime) -> Sequence[Lane]:
    """Those of the lanes that have something due, where limits are to be locked: nobody waits for the limits of a
    campaign that has nothing to hand out."""
    if not any(running[lane.instance_id].sending.may_be_limited for lane in lanes):
        return lanes
    return [lane for lane, moment in due_queue.earliest(session, lanes=lanes).items() if moment <= now]


def _settle_sound(
    session: Session, found: Sequence[Enrollment], budget: Budget, settle: Settle, stuck: set[UUID]
) -> list[DueAction]:
    """`settle` all of `found` at once; where that fails for some of them, the others alone. Those are paused, or added
    to `stuck` where even that fails."""
    before, left = enrollment_rows.snapshot(found), budget.copy_of_what_is_left()
    try:
        with session.begin_nested():
            return settle(session, found)
    except Exception as error:
        if not faults.is_of_a_row(error):
            raise
        enrollment_rows.restore(before, found)
        budget.restore(left)
        if len(found) == 1:
            stuck.update(_pause_faulty(session, found[0], error))
            return []
    middle = len(found) // 2
    return [
        *_settle_sound(session, found[:middle], budget, settle, stuck),
        *_settle_sound(session, found[middle:], budget, settle, stuck),
    ]


def _pause_faulty(session: Session, enrollment: Enrollment, error: Exception) -> list[UUID]:
    """Pause whom nothing can be handed out for, with the reason. Its id where the row takes no change at all."""
    concerned = enrollment_rows.ids(enrollment)
    before = enrollment_rows.snapshot([enrollment])
    fault = faults.note("a step can't be handed out", error, **concerned)
    enrollment.pause(holds.of_fault(fault, "The step can't be handed out.").detail)
    try:
        with session.begin_nested():
            enrollment_rows.save(session, before=before, after=[enrollment])
    except DBAPIError as refusal:
        if not faults.is_of_a_row(refusal):
            raise
        faults.note("an enrollment can't be paused", refusal, **concerned)
        return [enrollment.id]
    return []


def _settle(
    session: Session,
    found: Sequence[Enrollment],
    *,
    lanes: Sequence[Lane],
    budget: Budget,
    until: datetime,
    now: datetime,
    public_url: str | None,
    unreadable: dict[UUID, str],
) -> list[DueAction]:
    """Hand out of `found` what nothing holds back; the others are ended, paused or moved as their first hold says."""
    before = enrollment_rows.snapshot(found)
    handed: list[DueAction] = []
    blocked: list[dict[str, Any]] = []
    candidates = due_queue.examine(session, enrollments=found, plans=budget.plans, now=now, public_url=public_url)
    reach = _reach(candidates, lanes, budget)
    for position, each in enumerate(candidates):
        enrollment, step, text_ = each.enrollment, each.step, each.text
        if each.is_broken and each.holds[0].reason is HoldReason.INVALID_TEXT:
            unreadable[enrollment.instance_id] = each.holds[0].detail  # and nobody of it is at fault
        elif each.holds:
            blocked += _hold(each)
        elif position > reach:
            continue  # the next round finds it again, behind those who stand before it
        elif step is not None and text_ is not None and isinstance(place := each.take(budget), Place):
            enrollment.hand_out(step.step_number, until)
            due = DueAction(new_id(), uuid4(), until, enrollment, each.contact, step, text_, place.account, place.at)
            handed.append(due)
    ids = _write(
        session, [*(_claimed_row(due, now) for due in handed), *blocked], enrollment_rows.changes(before, found)
    )
    return [replace(due, action_id=ids[due.enrollment.id]) for due in handed]


def _reach(candidates: Sequence[Candidate], lanes: Sequence[Lane], budget: Budget) -> int:
    """The last position at which a place may be given. No more of a lane was read than there are places for: where one
    of these is held back, or has a place, another of the lane may stand before those of other lanes who share them."""
    spare = {each.enrollment.id for each in candidates if each.holds or each.spares(budget)}
    if not spare:
        return len(candidates)
    lane_of = finder(lanes, budget.plans)
    last: dict[Lane, int] = {}
    held = set[Lane]()
    for position, each in enumerate(candidates):
        lane = lane_of(each.enrollment)
        last[lane] = position
        if each.enrollment.id in spare and lane.free(budget):
            held.add(lane)
    return min((last[lane] for lane in held), default=len(candidates))


def _hold(candidate: Candidate) -> list[dict[str, Any]]:
    """Do to an enrollment what its first hold asks for; the action to write with it, if any."""
    enrollment, hold = candidate.enrollment, candidate.holds[0]
    if hold.reason is HoldReason.SUPPRESSED:
        enrollment.stop(Stop(EnrollmentCommand.UNSUBSCRIBE, StopReason.SUPPRESSED))
    elif hold.reason is HoldReason.NO_STEP_LEFT:
        enrollment.stop(Stop(EnrollmentCommand.COMPLETE, StopReason.FINISHED))
    elif hold.until is not None:
        enrollment.next_action_at = hold.until
    elif hold.reason is HoldReason.INTERNAL_FAULT:
        enrollment.pause(hold.detail)
    elif candidate.step is not None:
        enrollment.pause(hold.detail[:PAUSE_REASON_MAX])
        return [_action_row(enrollment, candidate.step, new_id(), ActionStatus.FAILED, error=hold.detail)]
    return []


def _next_due(
    session: Session,
    lanes: Sequence[Lane],
    held: Mapping[UUID, Sequence[Hold]],
    running: Mapping[UUID, Plan],
    now: datetime,
) -> datetime | None:
    """When the first step of these lanes can be handed out, as far as it depends on time alone."""
    moments: list[datetime] = []
    # Also the limits of those that have nothing due or are closed now, which the claim had no need to lock.
    budget = allowances.budget(session, plans=running, now=now, lock=False)
    for lane, waits in due_queue.waits(session, lanes=lanes, budget=budget, now=now).items():
        obstacles = [*held[lane.instance_id], *waits]
        moment = holds.can_move_at(obstacles, running[lane.instance_id].sending, lane.zone, now)
        if moment is not None:
            moments.append(moment)
    return min(moments, default=None)


_WRITE = text(f"""
    WITH actions AS (
        INSERT INTO campaign_actions (instance_id, id, enrollment_id, step_number, channel, a_b_variant, status,
                                      lease_token, lease_until, error, sender, sent_to, reserved_at, claimed_at,
                                      linkedin_type)
        SELECT instance_id, id, enrollment_id, step_number, channel, a_b_variant, status, lease_token, lease_until,
               error, sender, sent_to, reserved_at, claimed_at, linkedin_type
        FROM jsonb_populate_recordset(NULL::campaign_actions, CAST(:actions AS jsonb))
        ON CONFLICT (enrollment_id, step_number, instance_id) DO UPDATE
        SET status = excluded.status, lease_token = excluded.lease_token, lease_until = excluded.lease_until,
            error = excluded.error, reported = NULL, sender = excluded.sender, sent_to = excluded.sent_to,
            reserved_at = excluded.reserved_at, linkedin_type = excluded.linkedin_type,
            updated_at = excluded.updated_at,
            claimed_at = coalesce(campaign_actions.claimed_at, excluded.claimed_at),
            a_b_variant = CASE WHEN campaign_actions.failed_at IS NULL THEN excluded.a_b_variant
                          ELSE campaign_actions.a_b_variant END
        RETURNING enrollment_id, id, a_b_variant, failed_at
    ), enrollments AS ({enrollment_rows.WRITING} RETURNING 1)
    SELECT enrollment_id, id, a_b_variant, failed_at FROM actions
""").columns(*named("enrollment_id", "id", "a_b_variant", "failed_at"))
_CHANGE_VARIANT = text("""
    UPDATE campaign_actions SET a_b_variant = :variant, updated_at = now() WHERE instance_id = :campaign AND id = :id
""")


def _write(session: Session, actions: Sequence[dict[str, Any]], changed: enrollment_rows.Changes) -> dict[UUID, UUID]:
    """enrollment -> its action. A step that was sent is behind its enrollment, so it can't be among these."""
    if not (actions or changed.rows):
        return {}
    values = {"actions": to_text(actions), "enrollments": to_text(changed.rows)}
    given = {row["enrollment_id"]: row for row in actions}
    ids: dict[UUID, UUID] = {}
    deltas = Deltas()
    for enrollment_id, id_, variant, failed_at in session.execute(_WRITE, values).all():
        ids[enrollment_id] = id_
        row = given[enrollment_id]
        if variant != row["a_b_variant"]:
            _count_as(deltas, row, variant, failed_at)
            values = {"variant": row["a_b_variant"], "campaign": row["instance_id"], "id": id_}
            session.execute(_CHANGE_VARIANT, values)
    counters.METRICS.add(session, counters.metrics_rows(deltas))
    counters.add_statuses(session, changed.moves)
    return ids


def _count_as(deltas: Deltas, row: Mapping[str, Any], variant: str | None, failed_at: datetime) -> None:
    """The step failed in `variant`, and counted there. In another variant it is another step, and so is its failure."""
    action = Action(row["instance_id"], row["enrollment_id"], row["step_number"], row["channel"], variant)
    action.apply(EFFECTS[EventType.FAILED], failed_at)
    before = contribution(action)
    action.a_b_variant = row["a_b_variant"]
    deltas.change(before, contribution(action))


def _claimed_row(due: DueAction, now: datetime) -> dict[str, Any]:
    return {
        **_action_row(due.enrollment, due.step, due.action_id, ActionStatus.CLAIMED),
        "linkedin_type": due.text.step_type if due.step.channel is Channel.LINKEDIN else None,
        "lease_token": due.lease_token,
        "lease_until": due.lease_until,
        "claimed_at": now,
        "sender": due.sender,
        "sent_to": due.contact.email if due.step.channel is Channel.EMAIL else due.contact.linkedin_url,
        "reserved_at": due.reserved_at,
    }


def _action_row(
    enrollment: Enrollment, step: Step, id_: UUID, status: ActionStatus, *, error: str | None = None
) -> dict[str, Any]:
    return {
        "instance_id": enrollment.instance_id,
        "id": id_,
        "enrollment_id": enrollment.id,
        "step_number": step.step_number,
        "channel": step.channel,
        "a_b_variant": step.a_b_variant,
        "status": status,
        "error": error,
    }
