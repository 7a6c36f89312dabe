"""Candidates: due enrollments with their next step, and what holds each of them back."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from db.domain import holds
from db.domain.allowance import Allowances, Reservation
from db.domain.conditions import Facts, is_met
from db.domain.drafts import UNASKED, Consent, Literal
from db.domain.enrollment import Enrollment
from db.domain.errors import InvalidInput
from db.domain.holds import Hold, HoldReason
from db.domain.pools import Route
from db.domain.scheduling import Plan, Step, due_at, waits_until
from db.domain.states import ActionStatus, Channel, MessageDirection, MessageStatus
from db.models import Contact
from db.postgres import faults
from db.postgres.json import rows_parameter
from db.services.campaigns.step_texts import Text, Texts
from db.services.consent import asked as asked_of
from db.services.consent.drafting import Undecided
from db.services.dispatch import facts
from db.services.people import suppressions
from db.services.state import conversation_rows, enrollment_rows, message_rows
from db.services.state.conversation_rows import Busy
from db.services.state.draft_rows import Draft
from db.services.state.message_rows import SentStep
from db.services.texts.liquid import BrokenText, MissingVariable


@dataclass(frozen=True, slots=True)
class Candidate:
    """An enrollment with its next step and, in order, the holds on it apart from its campaign's limits.

    reservation: the one that the last claim of the step made.
    is_broken: the text can't be rendered for anybody.
    consent: what is asked of the text, and what was given. draft: the words of the step that may go out; is_literal:
    they were written for the person, and the text is made of them.
    skipped: why the step is skipped, since its condition is false, if nothing else holds it.
    busy_since: when the step was due, if it has waited for another campaign of the person before.
    """

    enrollment: Enrollment
    contact: Contact
    holds: list[Hold]
    step: Step | None = None
    text: Text | None = None
    reservation: Reservation | None = None
    is_broken: bool = False
    consent: Consent = UNASKED
    draft: Draft | None = None
    is_literal: bool = False
    skipped: str | None = None
    busy_since: datetime | None = None

    @property
    def undecided(self) -> Undecided | None:
        """Returns the step if nobody has approved its words, which could go out otherwise."""
        if self.step is None or self.text is None or self.consent.is_given:
            return None
        return Undecided(self.enrollment, self.contact, self.step, self.text, self.draft, self.is_literal)

    @property
    def route(self) -> Route | None:
        """Returns how its step goes out; None if there is no step."""
        enrollment = self.enrollment
        return None if self.step is None else Route(enrollment.campaign_id, self.step.channel, enrollment.mailbox_id)

    @property
    def is_conditional(self) -> bool:
        """Returns whether nothing but a condition that is false holds its step."""
        waits = bool(self.holds) and self.holds[0].reason is HoldReason.CONDITION_WAITS
        return waits or self.skipped is not None

    @property
    def is_busy(self) -> bool:
        """Returns whether another campaign of the person comes first, and nothing else does."""
        return bool(self.holds) and self.holds[0].reason is HoldReason.CONTACT_BUSY

    @property
    def has_its_turn(self) -> bool:
        """Returns whether what holds its step is looked at in its turn in the due queue, and not before."""
        return self.is_conditional or self.is_busy

    def has_reservation(self, allowances: Allowances) -> bool:
        """Returns whether its reservation spares a daily limit one send."""
        return self.route is not None and allowances.has_reservation(self.route, self.reservation)

    def is_limited(self, allowances: Allowances) -> bool:
        """Returns whether a limit keeps its step back now."""
        return self.route is None or bool(allowances.limits_for(self.route, self.reservation))

    def take(self, allowances: Allowances) -> Reservation | Hold | None:
        """Reserves what its step needs under the limits, or returns the hold. None: there is no step."""
        return None if self.route is None else allowances.take(self.route, self.reservation)


def examine(
    session: Session,
    *,
    enrollments: Sequence[Enrollment],
    plans: Mapping[UUID, Plan],
    now: datetime,
    public_url: str | None = None,
) -> list[Candidate]:
    """Returns a candidate for each enrollment, in the order given. `public_url`: see Texts.of_campaigns."""
    if not enrollments:
        return []
    for enrollment in enrollments:
        enrollment.end_pause(now)
    contact_ids = list({enrollment.contact_id for enrollment in enrollments})
    people = {contact.id: contact for contact in session.scalars(select(Contact).where(Contact.id.in_(contact_ids)))}
    pairs = {(enrollment.campaign_id, enrollment.contact_id) for enrollment in enrollments}
    refused = suppressions.of_people_in(session, people=pairs, now=now)
    concerned = {enrollment.campaign_id: plans[enrollment.campaign_id] for enrollment in enrollments}
    texts = Texts.of_campaigns(session, concerned, public_url)
    steps = {enrollment.id: texts.next_step(enrollment) for enrollment in enrollments}
    leases, done, mails = _actions(session, enrollments, steps)
    open_ = [enrollment for enrollment in enrollments if enrollment.is_open and steps[enrollment.id] is not None]
    busy = conversation_rows.busy(session, enrollments=open_, now=now)
    free = [enrollment for enrollment in enrollments if enrollment.id not in busy]
    sent = _sent(session, free, steps)
    upcoming = [(enrollment, step) for enrollment in free if (step := steps[enrollment.id]) is not None]
    asked = asked_of.read(session, texts=texts, steps=upcoming)
    known = facts.read(
        session, enrollments=[enrollment for enrollment, step in upcoming if step.condition is not None], people=people
    )
    found: list[Candidate] = []
    for enrollment in enrollments:
        contact, step = people[enrollment.contact_id], steps[enrollment.id]
        lease_until, reservation = leases.get(enrollment.id, (None, None))
        held = holds.of_enrollment(enrollment, lease_until, now)
        refusal = refused.get((enrollment.campaign_id, enrollment.contact_id))
        if refusal is not None:
            held.append(Hold(HoldReason.SUPPRESSED, f"The person is {refusal.state} ({refusal.reason})."))
        if step is not None:  # who is at the end finishes while they are away
            held += holds.of_absence(contact.absent_until, now)
        sending = plans[enrollment.campaign_id].sending
        held += holds.of_window(sending, enrollment.zone, now) if sending.follows_contact else []
        if step is None:
            held.append(Hold(HoldReason.NO_STEP_LEFT, "No active step is left for this person."))
            found.append(Candidate(enrollment, contact, held))
            continue
        early = _without_text(enrollment, contact, step, held, busy.get(enrollment.id), known, now)
        if early is not None:
            found.append(early)
            continue
        if enrollment.is_open:
            held = holds.with_mail(held, holds.of_mail(*mails.get(enrollment.id, (None, None)), now))
            held += holds.of_address(step.channel, contact.email)
            held += _of_done_step(enrollment, step) if enrollment.id in done else []
        words = asked.literal(enrollment, step)
        text_, problem, is_broken = _render(texts, enrollment, step, contact, sent.get(enrollment.id, ()), words)
        consent = UNASKED if text_ is None else asked.consent(enrollment, contact, step, text_)
        if not consent.is_given and all(hold.reason is not HoldReason.WAITING_FOR_APPROVAL for hold in held):
            problem.append(holds.of_approval(step.step_number))
        found.append(
            Candidate(
                enrollment,
                contact,
                [*held, *problem],
                step,
                text_,
                reservation,
                is_broken,
                consent,
                asked.draft(enrollment, step),
                words is not None,
            )
        )
    return found


def after_skips(
    session: Session,
    *,
    candidates: Sequence[Candidate],
    plans: Mapping[UUID, Plan],
    now: datetime,
    public_url: str | None = None,
) -> list[Candidate]:
    """Returns the candidates as a claim finds them once it has skipped the steps whose conditions are false. Nothing is
    written, but their enrollments are behind these steps."""
    found = {candidate.enrollment.id: candidate for candidate in candidates}
    reasons: defaultdict[UUID, list[str]] = defaultdict(list)
    while skipped := [candidate for candidate in found.values() if candidate.skipped is not None]:
        for candidate in skipped:
            enrollment = candidate.enrollment
            assert candidate.step is not None, "it is skipped"
            reasons[enrollment.id].append(candidate.skipped or "")
            enrollment.pass_step(candidate.step.step_number, now, plans[enrollment.campaign_id])
            ended = Hold(HoldReason.NO_STEP_LEFT, "No other step is left for this person.")
            found[enrollment.id] = Candidate(enrollment, candidate.contact, [ended])
        left = [candidate.enrollment for candidate in skipped if candidate.enrollment.is_open]
        again = examine(session, enrollments=left, plans=plans, now=now, public_url=public_url)
        found |= {candidate.enrollment.id: candidate for candidate in again}
    return [_explained(candidate, reasons[candidate.enrollment.id]) for candidate in found.values()]


def _explained(candidate: Candidate, reasons: Sequence[str]) -> Candidate:
    """Returns the candidate with what was skipped before told in its first hold."""
    if not (reasons and candidate.holds):
        return candidate
    first, *others = candidate.holds
    return replace(candidate, holds=[replace(first, detail=" ".join([*reasons, first.detail])), *others])


def _without_text(
    enrollment: Enrollment,
    contact: Contact,
    step: Step,
    held: Sequence[Hold],
    busy: Busy | None,
    known: Mapping[UUID, Facts],
    now: datetime,
) -> Candidate | None:
    """Returns the candidate of a step whose text is not asked for, since its person is busy or its condition false."""
    if busy is not None:  # many may wait for long, and are looked at again
        return Candidate(enrollment, contact, _with_busy(held, busy), step, busy_since=busy.since)
    return _of_false(enrollment, contact, step, held, now) if _is_false(enrollment, step, known) else None


def _with_busy(held: Sequence[Hold], busy: Busy) -> list[Hold]:
    """Returns the holds on a step whose person gets nothing of its campaign now."""
    if busy.campaign_id is not None:
        hold = holds.of_conversation(busy.campaign or "", busy.campaign_id, busy.until)
    else:
        assert busy.touches is not None, "it is one or the other"
        assert busy.until is not None, "a week ends"
        hold = holds.of_touches(busy.touches, busy.until)
    return holds.with_busy(held, hold, has_waited=busy.since is not None)


def _is_false(enrollment: Enrollment, step: Step, known: Mapping[UUID, Facts]) -> bool:
    """Returns whether the condition of the step is false. A step that was handed out before has met it."""
    if step.condition is None or not enrollment.is_open:
        return False
    return step.step_number not in known[enrollment.id].begun and not is_met(step.condition, known[enrollment.id])


def _of_false(enrollment: Enrollment, contact: Contact, step: Step, held: Sequence[Hold], now: datetime) -> Candidate:
    """Returns the candidate of a step whose condition is false: once it is due it waits, or is skipped."""
    until = waits_until(enrollment.delay_from, step)
    if until is not None and now < until and enrollment.delay_from is not None:
        is_due = due_at(enrollment.delay_from, step) <= now
        waiting = holds.with_condition(held, holds.of_condition(step, until)) if is_due else list(held)
        return Candidate(enrollment, contact, waiting, step)
    assert step.condition is not None, "it is false"
    why = f"Step {step.step_number} is skipped, since its condition is false: {step.condition.told}."
    return Candidate(enrollment, contact, list(held), step, skipped=None if held else why)


def _of_done_step(enrollment: Enrollment, step: Step) -> list[Hold]:
    """Returns the hold on a step that was sent and is next all the same, which no report causes."""
    concerned = enrollment_rows.ids(enrollment)
    fault = faults.note("a step that was sent is next again", step=step.step_number, **concerned)
    return [holds.of_fault(fault, f"Step {step.step_number} comes next, and was sent before.")]


def _sent(
    session: Session, enrollments: Iterable[Enrollment], steps: Mapping[UUID, Step | None]
) -> Mapping[UUID, Sequence[SentStep]]:
    """Returns enrollment -> the mails before its next step, if that is an email and not the first step of all."""
    return message_rows.sent_before(
        session,
        steps=[
            (enrollment.campaign_id, enrollment.id, step.step_number)
            for enrollment in enrollments
            if enrollment.current_step > 0
            and (step := steps[enrollment.id]) is not None
            and step.channel is Channel.EMAIL
        ],
    )


def _render(
    texts: Texts,
    enrollment: Enrollment,
    step: Step,
    contact: Contact,
    sent: Sequence[SentStep],
    words: Literal | None,
) -> tuple[Text | None, list[Hold], bool]:
    try:
        rendered = texts.render(enrollment.recipient, enrollment.id, step, contact, sent, enrollment.mailbox_id, words)
    except MissingVariable as error:
        return None, [Hold(HoldReason.MISSING_VARIABLE, str(error))], False
    except InvalidInput as error:
        return None, [Hold(HoldReason.INVALID_TEXT, str(error))], isinstance(error, BrokenText)
    except Exception as error:  # noqa: BLE001  whatever it is, it holds up one person and no other
        fault = faults.note("a text can't be rendered", error, enrollment=str(enrollment.id), step=step.step_number)
        return None, [holds.of_fault(fault, f"The text of step {step.step_number} can't be rendered.")], False
    return rendered, [], False


_ACTIONS = text(f"""
    SELECT a.enrollment_id, a.status, a.lease_until, CASE WHEN a.step_number = w.step_number THEN a.reserved_at END,
           a.sender, m.status, m.next_attempt_at
    FROM jsonb_to_recordset(CAST(:rows AS jsonb))
        AS w(instance_id uuid, enrollment_id uuid, step_number int, passed int)
    CROSS JOIN LATERAL (
        SELECT * FROM campaign_actions
        WHERE enrollment_id = w.enrollment_id AND step_number > w.passed AND instance_id = w.instance_id
        OFFSET 0
    ) a
    LEFT JOIN messages m ON m.action_id = a.id AND m.direction = '{MessageDirection.OUT}'
    WHERE (a.status = 'sent' AND a.step_number = w.step_number) OR (a.status = 'claimed' AND a.lease_until IS NOT NULL)
    ORDER BY a.step_number IS NOT DISTINCT FROM w.step_number
""")


def _actions(
    session: Session, enrollments: Iterable[Enrollment], steps: Mapping[UUID, Step | None]
) -> tuple[
    dict[UUID, tuple[datetime, Reservation | None]],
    set[UUID],
    dict[UUID, tuple[MessageStatus | None, datetime | None]],
]:
    """Returns (enrollment -> the end of the lease on a step of it, and its reservation; the enrollments whose next step
    was sent; enrollment -> what became of the claimed mail, and when it is tried again). next_action_at alone does not
    tell, since an event that corrects the time of the step before moves it; and the claimed step may have been taken
    out of use since."""
    rows = [
        {
            "instance_id": enrollment.campaign_id,
            "enrollment_id": enrollment.id,
            "step_number": step.step_number if (step := steps[enrollment.id]) is not None else None,
            "passed": enrollment.current_step,
        }
        for enrollment in enrollments
    ]
    leases: dict[UUID, tuple[datetime, Reservation | None]] = {}
    done = set[UUID]()
    mails: dict[UUID, tuple[MessageStatus | None, datetime | None]] = {}
    for enrollment_id, status, until, at, account, mail, again_at in (
        session.execute(_ACTIONS, rows_parameter(rows)) if rows else ()
    ):
        if status == ActionStatus.SENT:
            done.add(enrollment_id)
        else:
            leases[enrollment_id] = until, None if at is None else Reservation(at, account)
            if mail is not None:
                mails[enrollment_id] = MessageStatus(mail), again_at
    return leases, done, mails
