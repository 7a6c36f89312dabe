"""The queue of due steps: in which order they stand, and what holds each of them back.

claim_due_actions takes from it and explain_due looks at it; what may be handed out is decided here for both.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import TypeAlias
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from db.domain import holds
from db.domain.allowance import Budget, Place
from db.domain.enrollment import Enrollment
from db.domain.errors import InvalidInput
from db.domain.holds import Hold, HoldReason
from db.domain.scheduling import Plan, Step
from db.domain.states import ActionStatus
from db.models import Contact
from db.postgres import faults
from db.postgres.json import rows_parameter
from db.services.campaigns.step_texts import Text, Texts
from db.services.dispatch.due_streams import Lane, finder
from db.services.people import suppressions
from db.services.state import enrollment_rows
from db.services.texts.liquid import BrokenText, MissingVariable

_QUEUE = f"""
    SELECT {enrollment_rows.COLUMNS}
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS l(
        campaign uuid, changed_at timestamptz, zone text, stages int[], beyond int, places int)
    JOIN campaign_instances i ON i.id = l.campaign {{running}}
    CROSS JOIN LATERAL (
        SELECT * FROM campaign_enrollments
        WHERE instance_id = l.campaign AND status = 'active' AND next_action_at IS NOT NULL AND next_action_at <= :now
          {{of_zone}} {{after}}
          AND (l.stages IS NULL OR current_step = ANY (l.stages) OR current_step >= l.beyond)
        ORDER BY next_action_at, id LIMIT l.places {{lock}}
    ) e
    ORDER BY e.next_action_at, e.id LIMIT :limit {{lock_campaign}}
"""
_OF_ZONE = "AND zone IS NOT NULL AND zone = l.zone"
_AFTER = "AND (next_action_at, id) > (CAST(:after_due AS timestamptz), CAST(:after_id AS uuid))"
_LOOKING = {"running": "", "after": _AFTER, "lock": "", "lock_campaign": ""}
# The lock on the campaign makes a pause or a change of its steps wait until those who are taking steps have them, so
# none is handed out after it by what was read before it: whoever comes too late for that finds nothing. Nothing here
# waits for anybody: what somebody else holds is passed over.
_RUNNING = "AND i.status = 'active' AND i.updated_at = l.changed_at"
_TAKING = {
    "running": _RUNNING,
    "after": "",
    "lock": "FOR NO KEY UPDATE SKIP LOCKED",
    "lock_campaign": "FOR SHARE OF i SKIP LOCKED",
}
# By whether the lanes are those of a zone, since each kind has its index.
_LOOK = {
    False: text(_QUEUE.format(of_zone="", **_LOOKING)).columns(*enrollment_rows.NAMES),
    True: text(_QUEUE.format(of_zone=_OF_ZONE, **_LOOKING)).columns(*enrollment_rows.NAMES),
}
_TAKE = {
    False: text(_QUEUE.format(of_zone="", **_TAKING)).columns(*enrollment_rows.NAMES),
    True: text(_QUEUE.format(of_zone=_OF_ZONE, **_TAKING)).columns(*enrollment_rows.NAMES),
}


def front(
    session: Session,
    *,
    lanes: Sequence[Lane],
    budget: Budget,
    limit: int,
    now: datetime,
    take: bool,
    after: "Standing | None" = None,
) -> list[Enrollment]:
    """The first `limit` enrollments of the lanes whose step is due, the one due longest first. Of a lane without places
    they are those that have one.

    `take` locks them, and no more of a lane than there are places for, so that others can have the rest. A look begins
    behind `after`.
    """
    read = _read(session, lanes, budget, limit, now, take=take, after=after)
    full = [lane for lane in lanes if lane.free(budget) == 0 and lane.free(budget, again=True) != 0]
    kept = again(session, lanes=full, budget=budget, limit=None if after else limit, now=now, take=take)
    read += [each for each in kept if after is None or standing(each) > after]
    first = sorted(read, key=standing)[:limit]
    if take:
        last = _last_before_the_lost(session, lanes, first, budget, limit, now)
        first = [each for each in first if last is None or standing(each) <= last]
    return first


def _last_before_the_lost(
    session: Session, lanes: Sequence[Lane], found: Sequence[Enrollment], budget: Budget, limit: int, now: datetime
) -> "Standing | None":
    """Where the last stands behind whom a lost step that has its place was left out: of its lane no more was read than
    there are places for. Those of other lanes who stand behind it wait for the next round."""
    short = [lane for lane in lanes if 0 < (lane.free(budget) or 0) < limit]
    lost = again(session, lanes=short, budget=budget, limit=limit, now=now, take=False, wanted=limit)
    known = {each.id for each in found}
    lane_of = finder(lanes, budget.plans)
    concerned = {lane_of(each) for each in lost if each.id not in known}
    last = {lane_of(each): standing(each) for each in found}
    return min((last[lane] for lane in concerned if lane in last), default=None)


def _read(
    session: Session,
    lanes: Sequence[Lane],
    budget: Budget,
    limit: int,
    now: datetime,
    *,
    take: bool,
    after: "Standing | None",
) -> list[Enrollment]:
    """The first of the lanes that have places."""
    found: list[Enrollment] = []
    begin = {} if take else dict(zip(("after_due", "after_id"), after or _BEFORE_ALL, strict=True))
    for has_zone in (False, True):
        rows = [
            {
                "campaign": lane.instance_id,
                "changed_at": budget.plans[lane.instance_id].changed_at,
                "zone": lane.zone,
                "stages": lane.stages,
                "beyond": lane.beyond,
                "places": min(free, limit) if take and free is not None else limit,
            }
            for lane in lanes
            if (lane.zone is not None) == has_zone and (free := lane.free(budget)) != 0
        ]
        if rows:
            values = {**rows_parameter(rows), **begin, "now": now, "limit": limit}
            statement = (_TAKE if take else _LOOK)[has_zone]
            found += [enrollment_rows.from_row(row) for row in session.execute(statement, values)]
    return found


# Places are few, and those who are due many: the moment is written so that the index of these can't be read for it.
_DUE_AGAIN = "greatest(a.lease_until, coalesce(e.next_action_at, 'infinity'))"
_OF_PLACES = f"""
    FROM jsonb_to_recordset(CAST(:rows AS jsonb))
        AS l(lane int, campaign uuid, changed_at timestamptz, zone text, stages int[], steps int[], since timestamptz,
             account text)
    JOIN campaign_instances i ON i.id = l.campaign
    CROSS JOIN LATERAL (
        SELECT * FROM campaign_actions
        WHERE instance_id = l.campaign AND status = 'claimed' AND reserved_at >= l.since OFFSET 0
    ) a
    JOIN campaign_enrollments e ON e.instance_id = a.instance_id AND e.id = a.enrollment_id
    WHERE a.sender IS NOT DISTINCT FROM l.account AND e.status = 'active' AND {_DUE_AGAIN} < 'infinity'
      AND (l.zone IS NULL OR e.zone = l.zone) AND (l.stages IS NULL OR e.current_step = ANY (l.stages))
      AND a.step_number = (SELECT min(number) FROM unnest(l.steps) AS number WHERE number > e.current_step)
"""
_AGAIN = f"""
    SELECT {enrollment_rows.COLUMNS} {_OF_PLACES} AND {_DUE_AGAIN} <= :now {{running}}
    ORDER BY e.next_action_at, e.id LIMIT :limit {{lock}}
"""
_LOOK_AGAIN = text(_AGAIN.format(running="", lock="")).columns(*enrollment_rows.NAMES)
_TAKE_AGAIN = text(
    _AGAIN.format(
        running=_RUNNING,
        lock="FOR NO KEY UPDATE OF e SKIP LOCKED FOR SHARE OF i SKIP LOCKED",
    )
).columns(*enrollment_rows.NAMES)
_NEXT_AGAIN = text(f"SELECT l.lane, min({_DUE_AGAIN}) {_OF_PLACES} GROUP BY l.lane")


def again(
    session: Session,
    *,
    lanes: Sequence[Lane],
    budget: Budget,
    limit: int | None,
    now: datetime,
    take: bool,
    wanted: int = 1,
) -> list[Enrollment]:
    """The first `limit` of the lanes whose lease ran out and who keep their place in each day that has fewer than
    `wanted` left, the one due longest first. `take` locks them."""
    rows = _rows_of_places(lanes, budget, wanted)
    if not rows:
        return []
    values = {**rows_parameter(rows), "now": now, "limit": limit}
    return [enrollment_rows.from_row(row) for row in session.execute(_TAKE_AGAIN if take else _LOOK_AGAIN, values)]


def _rows_of_places(lanes: Sequence[Lane], budget: Budget, wanted: int = 1) -> list[dict[str, object]]:
    """The lanes, by their number, in which an earlier place can count."""
    return [
        {
            "lane": number,
            "campaign": lane.instance_id,
            "changed_at": budget.plans[lane.instance_id].changed_at,
            "zone": lane.zone,
            "stages": lane.stages,
            "steps": sorted({step.step_number for step in budget.plans[lane.instance_id].steps}),
            "since": since,
            "account": budget.account(lane.instance_id, lane.channels[0]),
        }
        for number, lane in enumerate(lanes)
        if lane.channels and (since := budget.kept_since(lane.instance_id, lane.channels[0], wanted)) is not None
    ]


_BEFORE_ALL = ("-infinity", UUID(int=0))
Standing: TypeAlias = tuple[datetime, UUID]
standing: Callable[[Enrollment], Standing] = attrgetter("next_action_at", "id")
"""Where a due enrollment stands in the queue."""


_EARLIEST = """
    SELECT l.lane, min(e.next_action_at)
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS l(lane int, campaign uuid, zone text, stages int[], beyond int)
    CROSS JOIN LATERAL (
        SELECT next_action_at FROM campaign_enrollments
        WHERE instance_id = l.campaign AND status = 'active' AND next_action_at IS NOT NULL
          {of_zone} AND (l.stages IS NULL OR current_step = ANY (l.stages) OR current_step >= l.beyond)
        ORDER BY next_action_at, id LIMIT 1
    ) e
    GROUP BY l.lane
"""
_FIRST = {False: text(_EARLIEST.format(of_zone="")), True: text(_EARLIEST.format(of_zone=_OF_ZONE))}


def earliest(session: Session, *, lanes: Sequence[Lane]) -> dict[Lane, datetime]:
    """When the first enrollment of each lane is due, be it past or to come; lanes without one are left out."""
    found: dict[Lane, datetime] = {}
    for has_zone in (False, True):
        rows = [
            {
                "lane": number,
                "campaign": lane.instance_id,
                "zone": lane.zone,
                "stages": lane.stages,
                "beyond": lane.beyond,
            }
            for number, lane in enumerate(lanes)
            if (lane.zone is not None) == has_zone
        ]
        if rows:
            found |= {lanes[number]: due for number, due in session.execute(_FIRST[has_zone], rows_parameter(rows))}
    return found


def waits(session: Session, *, lanes: Sequence[Lane], budget: Budget, now: datetime) -> dict[Lane, list[Hold]]:
    """What the first that can be handed out of each lane waits for, apart from what holds its whole campaign back.
    Lanes in which nobody waits are left out."""
    found: dict[Lane, list[Hold]] = {}
    for lane, due in earliest(session, lanes=lanes).items():
        window = lane.window(budget.plans[lane.instance_id], now)
        found[lane] = [*window, *holds.not_before(due, now), *lane.limits(budget)]
    full = [lane for lane in found if lane.free(budget) == 0]
    rows = _rows_of_places(full, budget)
    next_again: dict[int, datetime] = (
        dict(tuple(row) for row in session.execute(_NEXT_AGAIN, rows_parameter(rows))) if rows else {}
    )
    for number, due in next_again.items():
        lane = full[number]
        window = lane.window(budget.plans[lane.instance_id], now)
        expiry = [holds.until_expiry(limit, due) for limit in lane.limits(budget)[:1] if due > now]
        those = [*window, *expiry, *lane.limits(budget, again=True)]
        found[lane] = min(found[lane], those, key=lambda each: holds.latest(each, now))
    return found


@dataclass(frozen=True, slots=True)
class Candidate:
    """An enrollment with the step that comes next, and in order what holds it back apart from its campaign's limits.

    place: what the last claim of the step took of them.
    is_broken: the text can be filled in for nobody.
    """

    enrollment: Enrollment
    contact: Contact
    holds: list[Hold]
    step: Step | None = None
    text: Text | None = None
    place: Place | None = None
    is_broken: bool = False

    def spares(self, budget: Budget) -> bool:
        """Whether it leaves a place of today to another, since it has one."""
        return self.step is not None and budget.spares(self.enrollment.instance_id, self.step.channel, self.place)

    def take(self, budget: Budget) -> Place | Hold | None:
        """Take what its step needs of the limits, or say what stands in the way."""
        if self.step is None:
            return None
        return budget.take(self.enrollment.instance_id, self.step.channel, self.place)


def examine(
    session: Session,
    *,
    enrollments: Sequence[Enrollment],
    plans: Mapping[UUID, Plan],
    now: datetime,
    public_url: str | None = None,
) -> list[Candidate]:
    """Each enrollment with what comes next for it, in the order given. `public_url`: see Texts.of_campaigns."""
    if not enrollments:
        return []
    contact_ids = list({each.contact_id for each in enrollments})
    people = {contact.id: contact for contact in session.scalars(select(Contact).where(Contact.id.in_(contact_ids)))}
    refused = suppressions.of_contacts(session, contact_ids=contact_ids, now=now)
    concerned = {each.instance_id: plans[each.instance_id] for each in enrollments}
    texts = Texts.of_campaigns(session, concerned, public_url)
    steps = {each.id: texts.next_step(each) for each in enrollments}
    leases, done = _actions(session, enrollments, steps)
    found: list[Candidate] = []
    for each in enrollments:
        contact, step = people[each.contact_id], steps[each.id]
        lease_until, place = leases.get(each.id, (None, None))
        held = holds.of_enrollment(each, lease_until, now)
        if each.contact_id in refused:
            held.append(Hold(HoldReason.SUPPRESSED, f"The person is suppressed ({refused[each.contact_id]})."))
        sending = plans[each.instance_id].sending
        if sending.follows_contact:
            held += holds.of_window(sending, each.zone, now)
        if step is None:
            held.append(Hold(HoldReason.NO_STEP_LEFT, "No active step is left for this person."))
            found.append(Candidate(each, contact, held))
            continue
        if each.is_open:
            held += holds.of_address(step.channel, contact.email)
            held += _of_done_step(each, step) if each.id in done else []
        text_, problem, is_broken = _render(texts, each, step, contact)
        found.append(Candidate(each, contact, [*held, *problem], step, text_, place, is_broken))
    return found


def _of_done_step(enrollment: Enrollment, step: Step) -> list[Hold]:
    """The step was sent, and yet it stands before the enrollment, which no report does."""
    concerned = enrollment_rows.ids(enrollment)
    fault = faults.note("a step that was sent is next again", step=step.step_number, **concerned)
    return [holds.of_fault(fault, f"Step {step.step_number} comes next, and was sent before.")]


def _render(texts: Texts, enrollment: Enrollment, step: Step, contact: Contact) -> tuple[Text | None, list[Hold], bool]:
    try:
        return texts.render(enrollment.instance_id, enrollment.id, step, contact), [], False
    except MissingVariable as error:
        return None, [Hold(HoldReason.MISSING_VARIABLE, str(error))], False
    except InvalidInput as error:
        return None, [Hold(HoldReason.INVALID_TEXT, str(error))], isinstance(error, BrokenText)
    except Exception as error:  # noqa: BLE001  whatever it is, it holds up one person and no other
        fault = faults.note("a text can't be rendered", error, enrollment=str(enrollment.id), step=step.step_number)
        return None, [holds.of_fault(fault, f"The text of step {step.step_number} can't be rendered.")], False


_ACTIONS = text("""
    SELECT a.enrollment_id, a.status, a.lease_until, CASE WHEN a.step_number = w.step_number THEN a.reserved_at END,
           a.sender
    FROM jsonb_to_recordset(CAST(:rows AS jsonb))
        AS w(instance_id uuid, enrollment_id uuid, step_number int, passed int)
    CROSS JOIN LATERAL (
        SELECT * FROM campaign_actions
        WHERE enrollment_id = w.enrollment_id AND step_number > w.passed AND instance_id = w.instance_id
        OFFSET 0
    ) a
    WHERE (a.status = 'sent' AND a.step_number = w.step_number) OR (a.status = 'claimed' AND a.lease_until IS NOT NULL)
    ORDER BY a.step_number IS NOT DISTINCT FROM w.step_number
""")


def _actions(
    session: Session, enrollments: Iterable[Enrollment], steps: Mapping[UUID, Step | None]
) -> tuple[dict[UUID, tuple[datetime, Place | None]], set[UUID]]:
    """(enrollment -> until when a step of it is claimed, and on which place; enrollments whose next step was sent). An
    event that corrects the moment of the step before moves next_action_at, so that alone does not tell; and the step
    that is claimed may be out of use since."""
    rows = [
        {
            "instance_id": each.instance_id,
            "enrollment_id": each.id,
            "step_number": step.step_number if (step := steps[each.id]) is not None else None,
            "passed": each.current_step,
        }
        for each in enrollments
    ]
    leases: dict[UUID, tuple[datetime, Place | None]] = {}
    done = set[UUID]()
    for enrollment_id, status, until, at, account in session.execute(_ACTIONS, rows_parameter(rows)) if rows else ():
        if status == ActionStatus.SENT:
            done.add(enrollment_id)
        else:
            leases[enrollment_id] = until, None if at is None else Place(at, account)
    return leases, done
