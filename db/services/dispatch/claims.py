"""Hands out due steps under a lease.

A claim moves the enrollment's next_action_at to the end of the lease. The index of due enrollments therefore covers
leases without reading actions, and a step whose holder died falls due again by itself. The unique key of
campaign_actions and the lock on the enrollment ensure that a step is handed out to one holder at a time.
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
from db.domain.allowance import Allowances, Reservation
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
from db.services.dispatch.candidates import Candidate, examine
from db.services.dispatch.due_streams import DueStream, finder, of_campaigns
from db.services.state import counters, enrollment_rows, usage
from db.services.texts import unsubscribe_links


@dataclass(frozen=True, slots=True)
class DueAction:
    """A step for one person, rendered, and leased to the caller."""

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
    """What was handed out; if nothing was, when the next step falls due."""

    actions: list[DueAction]
    next_due_at: datetime | None


Settle: TypeAlias = Callable[[Session, Sequence[Enrollment]], list[DueAction]]

# Each round settles at least one enrollment for good. This many rounds without a step to hand out mean a long run of
# people who may not be written to; the caller comes back for the rest.
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
    """Hands out up to `limit` due steps of active campaigns, the one due longest first, for `lease_seconds`.

    An enrollment whose person is suppressed is stopped instead. One whose text lacks a variable, is empty or too long
    is paused, with the reason in the action's `error`. `public_url`: see Texts.of_campaigns.
    """
    running = _running(session, campaign_id)
    unreadable = {id_: plan.problem for id_, plan in running.items() if plan.problem is not None}
    running = {id_: plan for id_, plan in running.items() if id_ not in unreadable}
    held = {id_: holds.of_campaign(CampaignStatus.ACTIVE, plan.sending, now) for id_, plan in running.items()}
    all_streams = of_campaigns(session, plans=running, channel=channel)
    open_now = [
        stream
        for stream in all_streams
        if not held[stream.instance_id] and not stream.window(running[stream.instance_id], now)
    ]
    streams = _streams_with_due(session, open_now, running, now)
    concerned = {stream.instance_id: running[stream.instance_id] for stream in streams}
    allowances = usage.allowances_for(session, plans=concerned, now=now, lock=True)
    until = now + timedelta(seconds=lease_seconds)
    claimed: list[DueAction] = []
    stuck = set[UUID]()
    if streams and public_url is not None:
        unsubscribe_links.make_key(session)
    for _ in range(_ROUNDS):
        streams = [stream for stream in streams if stream.instance_id not in unreadable]
        settle = partial(
            _settle,
            streams=streams,
            allowances=allowances,
            until=until,
            now=now,
            public_url=public_url,
            unreadable=unreadable,
        )
        wanted = limit - len(claimed) + len(stuck)
        front = due_queue.front(session, streams=streams, allowances=allowances, limit=wanted, now=now, take=True)
        found = [enrollment for enrollment in front if enrollment.id not in stuck]
        if not found:
            break
        claimed += _settle_sound(session, found, allowances, settle, stuck)
        if len(claimed) == limit:
            break
    usage.save(session, allowances)
    campaigns.pause_unreadable(session, reasons=unreadable, now=now)
    if claimed:
        return Claim(claimed, None)
    return Claim([], _next_due(session, all_streams, held, running, now))


def _running(session: Session, campaign_id: UUID | None) -> dict[UUID, Plan]:
    """Returns the plans of the active campaigns, or of the one that is asked for."""
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


def _streams_with_due(
    session: Session, streams: Sequence[DueStream], running: Mapping[UUID, Plan], now: datetime
) -> Sequence[DueStream]:
    """Returns the streams that have something due if limits must be locked, so that a claim does not wait for the
    limits of a campaign that has nothing to hand out; otherwise all of them."""
    if not any(running[stream.instance_id].sending.may_be_limited for stream in streams):
        return streams
    return [stream for stream, moment in due_queue.earliest(session, streams=streams).items() if moment <= now]


def _settle_sound(
    session: Session, found: Sequence[Enrollment], allowances: Allowances, settle: Settle, stuck: set[UUID]
) -> list[DueAction]:
    """Settles all of `found` at once. If that fails for some of them, settles the others without them; those are
    paused, or added to `stuck` if even that fails."""
    before, reserved = enrollment_rows.snapshot(found), allowances.snapshot()
    try:
        with session.begin_nested():
            return settle(session, found)
    except Exception as error:
        if not faults.is_of_a_row(error):
            raise
        enrollment_rows.restore(before, found)
        allowances.restore(reserved)
        if len(found) == 1:
            stuck.update(_pause_faulty(session, found[0], error))
            return []
    middle = len(found) // 2
    return [
        *_settle_sound(session, found[:middle], allowances, settle, stuck),
        *_settle_sound(session, found[middle:], allowances, settle, stuck),
    ]


def _pause_faulty(session: Session, enrollment: Enrollment, error: Exception) -> list[UUID]:
    """Pauses an enrollment that nothing can be handed out for, with the reason. Returns its id if the row can't be
    changed."""
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
    streams: Sequence[DueStream],
    allowances: Allowances,
    until: datetime,
    now: datetime,
    public_url: str | None,
    unreadable: dict[UUID, str],
) -> list[DueAction]:
    """Hands out the steps of `found` that nothing holds back; ends, pauses or moves the others as their first hold
    says."""
    before = enrollment_rows.snapshot(found)
    handed: list[DueAction] = []
    blocked: list[dict[str, Any]] = []
    candidates = examine(session, enrollments=found, plans=allowances.plans, now=now, public_url=public_url)
    cutoff = _fair_cutoff(candidates, streams, allowances)
    for position, candidate in enumerate(candidates):
        enrollment, step, text_ = candidate.enrollment, candidate.step, candidate.text
        if candidate.is_broken and candidate.holds[0].reason is HoldReason.INVALID_TEXT:
            unreadable[enrollment.instance_id] = candidate.holds[0].detail  # the campaign's fault, not the person's
        elif candidate.holds:
            blocked += _hold(candidate)
        elif position > cutoff:
            continue  # the next round finds it again, behind the enrollments that come before it
        elif (
            step is not None
            and text_ is not None
            and isinstance(reservation := candidate.take(allowances), Reservation)
        ):
            enrollment.hand_out(step.step_number, until)
            account, at = reservation.account, reservation.at
            due = DueAction(new_id(), uuid4(), until, enrollment, candidate.contact, step, text_, account, at)
            handed.append(due)
    ids = _write(
        session, [*(_claimed_row(due, now) for due in handed), *blocked], enrollment_rows.changes(before, found)
    )
    return [replace(due, action_id=ids[due.enrollment.id]) for due in handed]


def _fair_cutoff(candidates: Sequence[Candidate], streams: Sequence[DueStream], allowances: Allowances) -> int:
    """Returns the last position at which a step may be handed out in this round.

    A stream was read up to its allowance. If one of those read is held back, or has a reservation, it leaves allowance
    over; then the next of its stream may come before enrollments of other streams that share the same limits.
    """
    unused = {
        candidate.enrollment.id for candidate in candidates if candidate.holds or candidate.has_reservation(allowances)
    }
    if not unused:
        return len(candidates)
    stream_of = finder(streams, allowances.plans)
    last: dict[DueStream, int] = {}
    held = set[DueStream]()
    for position, candidate in enumerate(candidates):
        stream = stream_of(candidate.enrollment)
        last[stream] = position
        if candidate.enrollment.id in unused and stream.free(allowances):
            held.add(stream)
    return min((last[stream] for stream in held), default=len(candidates))


def _hold(candidate: Candidate) -> list[dict[str, Any]]:
    """Does what the first hold on an enrollment asks for. Returns the row of the action to write with it, if any."""
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
    streams: Sequence[DueStream],
    held: Mapping[UUID, Sequence[Hold]],
    running: Mapping[UUID, Plan],
    now: datetime,
) -> datetime | None:
    """Returns when the first step of these streams can be handed out, as far as that depends on time alone."""
    moments: list[datetime] = []
    # Includes the limits of streams that have nothing due or are closed now; the claim did not need to lock those.
    allowances = usage.allowances_for(session, plans=running, now=now, lock=False)
    for stream, waits in due_queue.waits(session, streams=streams, allowances=allowances, now=now).items():
        obstacles = [*held[stream.instance_id], *waits]
        moment = holds.can_move_at(obstacles, running[stream.instance_id].sending, stream.zone, now)
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
    """Writes the actions and the changed enrollments. Returns enrollment -> its action. A sent step can't be among
    these, since it lies behind its enrollment."""
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
    """Moves the counted failure of a step to the variant that it is handed out in now, in which it is another step."""
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
