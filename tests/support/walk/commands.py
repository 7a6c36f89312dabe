"""The commands of a random walk: each makes work of a few small numbers, or None where there is nothing to do it to."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from hashlib import sha256
from typing import Any
from uuid import UUID

from db.domain.contacts import ContactFields, ContactRef, SuppressionTarget
from db.domain.errors import LeaseLost, SalesAutomationError
from db.domain.events import EFFECTS, EventType, EventVerdict, NewEvent
from db.domain.metrics import Milestone
from db.domain.states import ActionOutcome, EnrollmentAction, LinkedInStepType, SuppressionReason
from db.domain.templates import EmailStep, LinkedInStep
from db.domain.webhooks import NewDelivery, Normalised, StoredDelivery
from db.services.campaigns import campaigns, templates
from db.services.dispatch import actions, claims, explain
from db.services.enrollments import enrollments, moving
from db.services.erasure import erasure
from db.services.events import deliveries, events
from db.services.events.record import Outcome
from db.services.people import absences, suppressions
from tests.support.walk.machine import Command, Held, Walk, address

_CAMPAIGN_COMMANDS = (campaigns.start, campaigns.pause, campaigns.complete)


def pass_time(walk: Walk, hours: float) -> Command:
    """Nothing but later."""

    def learn(_: object) -> None:
        walk.now += timedelta(hours=hours)

    return Command("pass time", lambda session: session.connection(), learn)


def claim(walk: Walk, campaign: int | None, limit: int, lease_hours: int) -> Command:
    """Take what is due of one campaign, or of all."""
    wanted = None if campaign is None else walk.campaigns[campaign]
    now = walk.now
    due: list[UUID] = []
    work = partial(
        claims.claim,
        campaign_id=wanted,
        channel=None,
        limit=limit,
        lease_seconds=lease_hours * 3600,
        now=now,
    )

    def prepare() -> None:
        due.extend(_due(walk, wanted))

    def learn(answer: claims.Claim) -> None:
        handed = [action.enrollment.id for action in answer.actions]
        if not walk.is_crossed:
            assert set(handed) <= set(due), "somebody was handed a step of whom explain_due says that it is not due"
            assert len(handed) == min(limit, len(due)), f"{len(due)} are due, {limit} asked for, {len(handed)} handed"
        for action in answer.actions:
            _check_handed(walk, action)
            walk.held.append(
                Held(
                    action.enrollment.id,
                    action.step.step_number,
                    action.text.step_type,
                    action.action_id,
                    action.lease_token,
                    action.lease_until,
                )
            )

    return Command("claim", work, learn, prepare=prepare)


def _due(walk: Walk, campaign_id: UUID | None) -> list[UUID]:
    """Those of whom explain_due says so."""
    found: list[UUID] = []
    with walk.database.transaction("explain", read_only=True) as session:
        for id_, person in walk.before.enrollments.items():
            if person.status == "active" and campaign_id in (None, person.campaign_id):
                told = explain.enrollment(session, enrollment_id=id_, now=walk.now)
                found += [id_] if told.is_due else []
    return found


def _check_handed(walk: Walk, due: claims.DueAction) -> None:
    person = walk.before.enrollments.get(due.enrollment.id)
    if person is None:
        return  # enrolled by the command that crossed this one
    step = due.step.step_number
    assert not person.is_suppressed, "somebody who is suppressed was handed a step"
    assert person.status == "active" or walk.is_crossed, f"somebody who is {person.status} was handed a step"
    assert (due.enrollment.id, step) not in walk.sent_before, f"step {step} was handed out after it was sent"
    assert step > person.done, f"step {step} was handed out after step {person.done}"
    others = [action for action in walk.held if action.enrollment_id == due.enrollment.id and not action.is_reported]
    assert not any(other.lease_until > walk.now and other.step_number == step for other in others), (
        f"step {step} was handed out twice at once"
    )


def complete(walk: Walk, which: int, outcome: ActionOutcome, with_message: bool) -> Command | None:
    """Report a step that some client was handed, also after its lease or a second time."""
    if not walk.held:
        return None
    held = walk.held[-1 - which % len(walk.held)]
    was_reported = held.is_reported
    work = partial(
        actions.complete,
        action_id=held.action_id,
        lease_token=held.token,
        outcome=outcome,
        provider="mail" if with_message else None,
        provider_message_id=_message(held.enrollment_id, held.step_number) if with_message else None,
        error="no luck" if outcome is not ActionOutcome.SENT else None,
        now=walk.now,
    )

    def learn(answer: actions.Completed) -> None:
        held.is_reported = True
        if outcome is ActionOutcome.SENT:
            walk.sent.add((held.enrollment_id, held.step_number))
        if outcome is ActionOutcome.FAILED and not walk.is_crossed and not was_reported:
            current, is_sent = answer.enrollment["current_step"], answer.action["status"] == "sent"
            # Nothing waits for a step that somebody advanced past meanwhile.
            if held.step_number > current or (held.step_number == current and is_sent):
                assert answer.enrollment["status"] != "active", "a step has failed, and the enrollment goes on"
            assert answer.action["error"] == "no luck", "the error of a failed step was lost"

    def refused(error: SalesAutomationError) -> None:
        if outcome is ActionOutcome.SENT and not was_reported and not isinstance(error, LeaseLost):
            walk.sent.add((held.enrollment_id, held.step_number))
            held.is_reported = True

    return Command(f"complete {outcome}", work, learn, refused)


def _message(enrollment_id: UUID, step_number: int) -> str:
    return f"m-{enrollment_id}-{step_number}"


def new_event(
    walk: Walk,
    who: int,
    event_type: EventType,
    step: int | None,
    hours_ago: int,
    event_id: int | None,
    of_held: bool,
    by_message: bool,
) -> NewEvent:
    """An event of somebody, by their enrollment or (where a step is named) by the message: see walk_moves.About."""
    enrollment_id = walk.enrollment(who)
    if of_held and walk.held:
        held = walk.held[-1 - who % len(walk.held)]
        enrollment_id, step = held.enrollment_id, held.step_number
    message = _message(enrollment_id, step) if by_message and step is not None else None
    return NewEvent(
        event_type,
        EFFECTS[event_type].channel,
        walk.now - timedelta(hours=hours_ago),
        enrollment_id=None if message else enrollment_id,
        provider_message_id=message,
        step_number=None if message else step,
        provider="mail",
        provider_event_id=None if event_id is None else f"e-{event_id}",
        metadata={"bounce_type": "soft"} if event_type is EventType.BOUNCED and hours_ago else {},
    )


def record(walk: Walk, batch: list[NewEvent]) -> Command:
    """Events by hand."""
    return Command(
        f"record {', '.join(event.event_type for event in batch)}",
        partial(events.record_events, events=batch),
        partial(_learn_events, walk, batch),
    )


def webhook(walk: Walk, batch: list[NewEvent]) -> Command:
    """The same by a provider's request, stored and recorded."""
    now = walk.now
    body = "\n".join(f"{event}" for event in batch).encode()

    def work(session: Any) -> None:
        deliveries.store(session, deliveries=[NewDelivery("mail", body, sha256(body).digest(), now)])
        waiting = deliveries.next_waiting(session, limit=10)
        deliveries.record(session, deliveries=waiting, normalise=normalise, now=now)

    def normalise(_: StoredDelivery) -> Normalised:
        return Normalised(batch)

    return Command(f"webhook {', '.join(event.event_type for event in batch)}", work)


def _learn_events(walk: Walk, batch: list[NewEvent], outcomes: list[Outcome]) -> None:
    for each, outcome in zip(batch, outcomes, strict=True):
        milestone = EFFECTS[each.event_type].milestone
        is_known = each.enrollment_id is not None and each.step_number is not None
        if is_known and outcome.verdict is EventVerdict.RECORDED and milestone not in (None, Milestone.FAILED):
            assert each.enrollment_id is not None
            assert each.step_number is not None
            walk.sent.add((each.enrollment_id, each.step_number))


def update(walk: Walk, who: int, action: EnrollmentAction) -> Command:
    if action is EnrollmentAction.MOVE:
        other = walk.campaigns[who % len(walk.campaigns)]
        work = partial(moving.move, enrollment_id=walk.enrollment(who), campaign_id=other, now=walk.now)
        return Command("move person", work)
    work = partial(enrollments.update, enrollment_id=walk.enrollment(who), action=action, now=walk.now)
    return Command(str(action), work)


def pause_until(walk: Walk, who: int, hours: float) -> Command:
    """Pause somebody for so long."""
    until = walk.now + timedelta(hours=hours)
    action = EnrollmentAction.PAUSE
    work = partial(enrollments.update, enrollment_id=walk.enrollment(who), action=action, until=until, now=walk.now)
    return Command("pause until", work)


def away(walk: Walk, who: int, days: int | None) -> Command | None:
    """Somebody is away for so long; None takes it back."""
    person = walk.before.enrollments.get(walk.enrollment(who))
    if person is None:
        return None
    if days is None:
        return Command("back", partial(absences.end, contact_id=person.contact_id, now=walk.now))
    until = (walk.now + timedelta(days=days)).date()
    work = partial(absences.begin, contact_id=person.contact_id, began_at=walk.now, until=until, now=walk.now)
    return Command("away", work)


def move(walk: Walk, campaign: int, command: int) -> Command:
    """Start, pause or complete a campaign."""
    work = _CAMPAIGN_COMMANDS[command % len(_CAMPAIGN_COMMANDS)]
    return Command(f"{work.__name__} campaign", partial(work, campaign_id=walk.campaigns[campaign], now=walk.now))


def enroll(walk: Walk, campaign: int, people: list[int]) -> Command:
    refs = {n: ContactRef(None, ContactFields(email=address(person))) for n, person in enumerate(people)}
    work = partial(
        enrollments.enroll, campaign_id=walk.campaigns[campaign], people=refs, start_at=None, reopens=True, now=walk.now
    )
    return Command("enroll", work)


def suppress(walk: Walk, person: int, reason: SuppressionReason, hours: int | None) -> Command:
    ends: datetime | None = None if hours is None else walk.now + timedelta(hours=hours)
    work = partial(suppressions.suppress, email=address(person), reason=reason, source=None, expires_at=ends)
    return Command("suppress", work)


def suppress_domain(walk: Walk, person: int) -> Command:
    domain = address(person).partition("@")[2]
    work = partial(suppressions.suppress, domain=domain, reason=SuppressionReason.MANUAL, source=None)
    return Command("suppress domain", work)


def unsuppress(walk: Walk, person: int, is_domain: bool) -> Command:
    domain = address(person).partition("@")[2]
    target = SuppressionTarget(domain=domain) if is_domain else SuppressionTarget(email=address(person))
    return Command("unsuppress", partial(suppressions.unsuppress, target=target, has_new_consent=True))


def erase(walk: Walk, person: int) -> Command:
    target = SuppressionTarget(email=address(person))
    return Command("erase", partial(erasure.erase, target=target, now=walk.now))


def add_step(walk: Walk, number: int, delay: int) -> Command:
    return _edit(walk, [EmailStep(number, "More", f"Another step {number}", delay_hours=delay)])


def switch(walk: Walk, which: int) -> Command:
    """Take a step out of use, or back into it."""
    return _change(walk, which, lambda step: {"is_active": not step.is_active})


def delay(walk: Walk, which: int, hours: int) -> Command:
    return _change(walk, which, lambda _: {"delay_hours": hours})


def _change(walk: Walk, which: int, new: Callable[[EmailStep | LinkedInStep], dict[str, Any]]) -> Command:
    steps = list(walk.steps.values())
    step = steps[which % len(steps)]
    values = {name: getattr(step, name) for name in type(step).__slots__} | new(step)
    return _edit(walk, [type(step)(**values)])


def split(walk: Walk, which: int) -> Command | None:
    """Make an email an A/B test, or one email again."""
    numbers = sorted({number for (number, _), step in walk.steps.items() if isinstance(step, EmailStep)})
    number = numbers[which % len(numbers)]
    whole = walk.steps.get((number, None))
    is_split = any(name is not None and step.is_active for (n, name), step in walk.steps.items() if n == number)
    made = [
        EmailStep(number, f"{number}", "The text of it", whole.delay_hours if whole else 0, name, is_active=is_active)
        for name, is_active in ((None, is_split), ("A", not is_split), ("B", not is_split))
    ]
    return _edit(walk, made)


def change_type(walk: Walk, type_: LinkedInStepType) -> Command:
    step = walk.steps[3, None]
    return _edit(walk, [LinkedInStep(3, type_, step_message(step), step.delay_hours, is_active=step.is_active)])


def step_message(step: EmailStep | LinkedInStep) -> str | None:
    return step.message if isinstance(step, LinkedInStep) else None


def _edit(walk: Walk, steps: list[EmailStep] | list[LinkedInStep] | list[EmailStep | LinkedInStep]) -> Command:
    work = partial(
        templates.update,
        template_id=walk.template_id,
        fields={},
        email_steps=[step for step in steps if isinstance(step, EmailStep)],
        linkedin_steps=[step for step in steps if isinstance(step, LinkedInStep)],
    )

    def learn(_: object) -> None:
        for step in steps:
            walk.steps[step.step_number, step.a_b_variant if isinstance(step, EmailStep) else None] = step

    return Command("update template", work, learn)
