"""The queue of due steps: in which order they stand, and what holds each of them back.

claim_due_actions takes from it and explain_due looks at it; what may be handed out is decided here for both.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from operator import attrgetter
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from db.domain import holds
from db.domain.errors import InvalidInput
from db.domain.funnel import Enrollment
from db.domain.holds import Hold, HoldReason
from db.domain.scheduling import Plan, Step
from db.domain.states import ActionStatus, Channel
from db.models import Contact
from db.postgres import faults
from db.postgres.json import rows_parameter
from db.services import enrollment_state, suppressions
from db.services.pacing import Budget, Place
from db.services.rendering import BrokenText, MissingVariable
from db.services.step_texts import Text, Texts


@dataclass(frozen=True, slots=True)
class Lane:
    """The queue of one campaign, or of the part of it that goes out on one channel next, or in one time zone.

    zone: that in which the window of those in it is read; None where it is the campaign's.
    stages: the values of current_step after which a step of the channel comes; None where all channels are meant.
    beyond: the value of current_step from which no step is left, in the lane of the last step.
    """

    instance_id: UUID
    channels: tuple[Channel, ...]
    zone: str | None = None
    stages: tuple[int, ...] | None = None
    beyond: int | None = None

    @property
    def is_for_the_rest(self) -> bool:
        """Whether those are in it who stand at no stage of any lane of the campaign."""
        return self.stages is None or self.beyond is not None

    def free(self, budget: Budget, *, again: bool = False) -> int | None:
        """How many of it may go out now; None: any number. `again`: of those that have their place of the day."""
        left = [budget.free(self.instance_id, channel, again=again) for channel in self.channels]
        return None if None in left else max((each for each in left if each is not None), default=None)

    def limits(self, budget: Budget, *, again: bool = False) -> list[Hold]:
        """The limits that stand in the way of all of it; `again` as in `free`. Where it has several channels, no
        accounts are named, and what holds for one of them holds for all."""
        return budget.holds(self.instance_id, self.channels[0], again=again) if self.channels else []

    def window(self, plan: Plan, now: datetime) -> list[Hold]:
        """The closed window of those who have a time zone of their own."""
        return [] if self.zone is None else holds.of_window(plan.sending, self.zone, now)


# From one zone to the next by the index, however many people there are in each.
_ZONES = text("""
    WITH RECURSIVE waiting AS (
        SELECT CAST(c.campaign AS uuid) AS campaign, (
            SELECT zone FROM campaign_enrollments
            WHERE instance_id = CAST(c.campaign AS uuid)
              AND status = 'active' AND next_action_at IS NOT NULL AND zone IS NOT NULL
            ORDER BY zone LIMIT 1
        ) AS zone
        FROM jsonb_array_elements_text(CAST(:rows AS jsonb)) AS c(campaign)
        UNION ALL
        SELECT w.campaign, (
            SELECT zone FROM campaign_enrollments
            WHERE instance_id = w.campaign
              AND status = 'active' AND next_action_at IS NOT NULL AND zone IS NOT NULL AND zone > w.zone
            ORDER BY zone LIMIT 1
        )
        FROM waiting w WHERE w.zone IS NOT NULL
    )
    SELECT campaign, zone FROM waiting WHERE zone IS NOT NULL
""")


def lanes(session: Session, *, plans: Mapping[UUID, Plan], channel: Channel | None) -> list[Lane]:
    """The lanes of some campaigns. Those whose window opens in each person's own zone have one for each zone in which
    somebody waits."""
    following = [instance_id for instance_id, plan in plans.items() if plan.sending.follows_contact]
    zones: dict[UUID, list[str]] = {instance_id: [] for instance_id in following}
    if following:
        for instance_id, zone in session.execute(_ZONES, rows_parameter(following)):
            zones[instance_id].append(zone)
    return [
        replace(lane, zone=zone)
        for instance_id, plan in plans.items()
        for lane in _lanes(instance_id, plan, channel)
        for zone in zones.get(instance_id, [None])
    ]


def _lanes(instance_id: UUID, plan: Plan, channel: Channel | None) -> list[Lane]:
    """The lanes of a campaign in one zone: one, unless a channel is asked for or the channels have accounts of their
    own. One as well where every step was taken out of use, and nothing is left but to finish those who waited."""
    channels = tuple(sorted({step.channel for step in plan.steps}))
    numbers = sorted({step.step_number for step in plan.steps})
    if not numbers or (channel is None and not plan.sending.senders):
        return [Lane(instance_id, channels)]
    channel_of = {step.step_number: step.channel for step in plan.steps}
    found: list[Lane] = []
    for each in channels if channel is None else (channel,):
        stages: list[int] = []
        for before, number in zip([0, *numbers], numbers, strict=False):
            if channel_of[number] is each:
                # Steps taken out of use leave gaps: whoever stands in one takes the next step as well.
                stages.extend(range(before, number))
        # Whoever has no step left, those to come having been taken out of use, is finished with those of the last.
        beyond = numbers[-1] if channel_of[numbers[-1]] is each else None
        found.append(Lane(instance_id, (each,), stages=tuple(stages), beyond=beyond))
    return found


_QUEUE = f"""
    SELECT {enrollment_state.COLUMNS}
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS l(campaign uuid, zone text, stages int[], beyond int, places int)
    JOIN campaign_instances i ON i.id = l.campaign {{running}}
    CROSS JOIN LATERAL (
        SELECT * FROM campaign_enrollments
        WHERE instance_id = l.campaign AND status = 'active' AND next_action_at IS NOT NULL AND next_action_at <= :now
          {{of_zone}} AND (l.stages IS NULL OR current_step = ANY (l.stages) OR current_step >= l.beyond)
        ORDER BY next_action_at, id LIMIT l.places {{lock}}
    ) e
    ORDER BY e.next_action_at, e.id LIMIT :limit {{lock_campaign}}
"""
_OF_ZONE = "AND zone IS NOT NULL AND zone = l.zone"
_LOOKING = {"running": "", "lock": "", "lock_campaign": ""}
# The lock on the campaign makes a pause wait until those who are taking steps have them, so none is handed out after
# it. Nothing here waits for anybody: what somebody else holds is passed over.
_TAKING = {
    "running": "AND i.status = 'active'",
    "lock": "FOR NO KEY UPDATE SKIP LOCKED",
    "lock_campaign": "FOR SHARE OF i SKIP LOCKED",
}
# By whether the lanes are those of a zone, since each kind has its index.
_LOOK = {
    False: text(_QUEUE.format(of_zone="", **_LOOKING)).columns(*enrollment_state.NAMES),
    True: text(_QUEUE.format(of_zone=_OF_ZONE, **_LOOKING)).columns(*enrollment_state.NAMES),
}
_TAKE = {
    False: text(_QUEUE.format(of_zone="", **_TAKING)).columns(*enrollment_state.NAMES),
    True: text(_QUEUE.format(of_zone=_OF_ZONE, **_TAKING)).columns(*enrollment_state.NAMES),
}


def front(
    session: Session, *, lanes: Sequence[Lane], budget: Budget, limit: int, now: datetime, take: bool
) -> list[Enrollment]:
    """The first `limit` enrollments of the lanes whose step is due, the one due longest first. Of a lane without places
    they are those that have one.

    `take` locks them, and no more of a lane than there are places for, so that others can have the rest.
    """
    full = [lane for lane in lanes if lane.free(budget) == 0 and lane.free(budget, again=True) != 0]
    found = again(session, lanes=full, budget=budget, limit=limit, now=now, take=take)
    sources = 1 if full else 0
    for has_zone in (False, True):
        rows = [
            {
                "campaign": lane.instance_id,
                "zone": lane.zone,
                "stages": lane.stages,
                "beyond": lane.beyond,
                "places": min(free, limit) if take and free is not None else limit,
            }
            for lane in lanes
            if (lane.zone is not None) == has_zone and (free := lane.free(budget)) != 0
        ]
        if rows:
            values = {**rows_parameter(rows), "now": now, "limit": limit}
            statement = (_TAKE if take else _LOOK)[has_zone]
            found += [enrollment_state.from_row(row) for row in session.execute(statement, values)]
            sources += 1
    return sorted(found, key=standing)[:limit] if sources > 1 else found


# Places are few, and those who are due many: the moment is written so that the index of these can't be read for it.
_DUE_AGAIN = "greatest(a.lease_until, coalesce(e.next_action_at, 'infinity'))"
_OF_PLACES = f"""
    FROM jsonb_to_recordset(CAST(:rows AS jsonb))
        AS l(lane int, campaign uuid, zone text, stages int[], steps int[], day date, account text)
    JOIN campaign_instances i ON i.id = l.campaign
    CROSS JOIN LATERAL (
        SELECT * FROM campaign_actions
        WHERE instance_id = l.campaign AND status = 'claimed' AND reserved_on = l.day OFFSET 0
    ) a
    JOIN campaign_enrollments e ON e.instance_id = a.instance_id AND e.id = a.enrollment_id
    WHERE a.sender IS NOT DISTINCT FROM l.account AND e.status = 'active' AND {_DUE_AGAIN} < 'infinity'
      AND (l.zone IS NULL OR e.zone = l.zone) AND (l.stages IS NULL OR e.current_step = ANY (l.stages))
      AND a.step_number = (SELECT min(number) FROM unnest(l.steps) AS number WHERE number > e.current_step)
"""
_AGAIN = f"""
    SELECT {enrollment_state.COLUMNS} {_OF_PLACES} AND {_DUE_AGAIN} <= :now {{running}}
    ORDER BY e.next_action_at, e.id LIMIT :limit {{lock}}
"""
_LOOK_AGAIN = text(_AGAIN.format(running="", lock="")).columns(*enrollment_state.NAMES)
_TAKE_AGAIN = text(
    _AGAIN.format(
        running="AND i.status = 'active'",
        lock="FOR NO KEY UPDATE OF e SKIP LOCKED FOR SHARE OF i SKIP LOCKED",
    )
).columns(*enrollment_state.NAMES)
_NEXT_AGAIN = text(f"SELECT l.lane, min({_DUE_AGAIN}) {_OF_PLACES} GROUP BY l.lane")


def again(
    session: Session, *, lanes: Sequence[Lane], budget: Budget, limit: int | None, now: datetime, take: bool
) -> list[Enrollment]:
    """The first `limit` of the lanes whose lease ran out and who keep their place of today, the one due longest first.
    `take` locks them."""
    rows = _rows_of_places(lanes, budget)
    if not rows:
        return []
    values = {**rows_parameter(rows), "now": now, "limit": limit}
    return [enrollment_state.from_row(row) for row in session.execute(_TAKE_AGAIN if take else _LOOK_AGAIN, values)]


def _rows_of_places(lanes: Sequence[Lane], budget: Budget) -> list[dict[str, object]]:
    """The lanes, by their number, in which an earlier place can count."""
    return [
        {
            "lane": number,
            "campaign": lane.instance_id,
            "zone": lane.zone,
            "stages": lane.stages,
            "steps": sorted({step.step_number for step in budget.plans[lane.instance_id].steps}),
            **place._asdict(),
        }
        for number, lane in enumerate(lanes)
        if lane.channels and (place := budget.kept(lane.instance_id, lane.channels[0])) is not None
    ]


standing: Callable[[Enrollment], tuple[datetime, UUID]] = attrgetter("next_action_at", "id")
"""Where a due enrollment stands in the queue."""


_LINE = text(f"""
    SELECT {enrollment_state.COLUMNS} FROM campaign_enrollments e
    WHERE instance_id = :campaign AND status = 'active' AND next_action_at IS NOT NULL
      AND (next_action_at, id) < (:due, :id)
      AND (CAST(:after_due AS timestamptz) IS NULL OR (next_action_at, id) > (:after_due, :after_id))
    ORDER BY next_action_at, id LIMIT :limit
""")


def line(session: Session, *, before: Enrollment, after: Enrollment | None, limit: int) -> list[Enrollment]:
    """Those of its campaign who stand before an enrollment in the queue, from `after` on."""
    values = {
        "campaign": before.instance_id,
        "due": before.next_action_at,
        "id": before.id,
        "after_due": after.next_action_at if after else None,
        "after_id": after.id if after else before.id,
        "limit": limit,
    }
    return [enrollment_state.from_row(row) for row in session.execute(_LINE, values)]


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

    def has_place(self, budget: Budget) -> bool:
        """Whether it takes no place of today, since it has one."""
        return self.step is not None and budget.has_place(self.enrollment.instance_id, self.step.channel, self.place)

    def take(self, budget: Budget) -> Hold | None:
        """Take what its step needs of the limits, or say what stands in the way."""
        if self.step is None:
            return None
        return budget.take(self.enrollment.instance_id, self.step.channel, again=self.has_place(budget))


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
    concerned = enrollment_state.ids(enrollment)
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
    SELECT a.enrollment_id, a.status, a.lease_until, a.reserved_on, a.sender
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS w(instance_id uuid, enrollment_id uuid, step_number int)
    CROSS JOIN LATERAL (
        SELECT * FROM campaign_actions
        WHERE enrollment_id = w.enrollment_id AND step_number = w.step_number AND instance_id = w.instance_id
        OFFSET 0
    ) a
    WHERE a.status = 'sent' OR (a.status = 'claimed' AND a.lease_until IS NOT NULL)
""")


def _actions(
    session: Session, enrollments: Iterable[Enrollment], steps: Mapping[UUID, Step | None]
) -> tuple[dict[UUID, tuple[datetime, Place | None]], set[UUID]]:
    """(enrollment -> until when its next step is claimed, and on which place; enrollments whose next step was sent). An
    event that corrects the moment of the step before moves next_action_at, so that alone does not tell."""
    rows = [
        {"instance_id": each.instance_id, "enrollment_id": each.id, "step_number": step.step_number}
        for each in enrollments
        if (step := steps[each.id]) is not None
    ]
    leases: dict[UUID, tuple[datetime, Place | None]] = {}
    done = set[UUID]()
    for enrollment_id, status, until, day, account in session.execute(_ACTIONS, rows_parameter(rows)) if rows else ():
        if status == ActionStatus.SENT:
            done.add(enrollment_id)
        else:
            leases[enrollment_id] = until, None if day is None else Place(day, account)
    return leases, done
