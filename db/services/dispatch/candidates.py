"""Candidates: due enrollments with their next step, and what holds each of them back."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from db.domain import holds
from db.domain.allowance import Allowances, Reservation
from db.domain.enrollment import Enrollment
from db.domain.errors import InvalidInput
from db.domain.holds import Hold, HoldReason
from db.domain.scheduling import Plan, Step
from db.domain.states import ActionStatus
from db.models import Contact
from db.postgres import faults
from db.postgres.json import rows_parameter
from db.services.campaigns.step_texts import Text, Texts
from db.services.people import suppressions
from db.services.state import enrollment_rows
from db.services.texts.liquid import BrokenText, MissingVariable


@dataclass(frozen=True, slots=True)
class Candidate:
    """An enrollment with its next step and, in order, the holds on it apart from its campaign's limits.

    reservation: the one that the last claim of the step made.
    is_broken: the text can't be rendered for anybody.
    """

    enrollment: Enrollment
    contact: Contact
    holds: list[Hold]
    step: Step | None = None
    text: Text | None = None
    reservation: Reservation | None = None
    is_broken: bool = False

    def has_reservation(self, allowances: Allowances) -> bool:
        """Returns whether its reservation spares a daily limit one send."""
        if self.step is None:
            return False
        return allowances.has_reservation(self.enrollment.instance_id, self.step.channel, self.reservation)

    def take(self, allowances: Allowances) -> Reservation | Hold | None:
        """Reserves what its step needs under the limits, or returns the hold. None: there is no step."""
        if self.step is None:
            return None
        return allowances.take(self.enrollment.instance_id, self.step.channel, self.reservation)


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
    contact_ids = list({enrollment.contact_id for enrollment in enrollments})
    people = {contact.id: contact for contact in session.scalars(select(Contact).where(Contact.id.in_(contact_ids)))}
    refused = suppressions.of_contacts(session, contact_ids=contact_ids, now=now)
    concerned = {enrollment.instance_id: plans[enrollment.instance_id] for enrollment in enrollments}
    texts = Texts.of_campaigns(session, concerned, public_url)
    steps = {enrollment.id: texts.next_step(enrollment) for enrollment in enrollments}
    leases, done = _actions(session, enrollments, steps)
    found: list[Candidate] = []
    for enrollment in enrollments:
        contact, step = people[enrollment.contact_id], steps[enrollment.id]
        lease_until, reservation = leases.get(enrollment.id, (None, None))
        held = holds.of_enrollment(enrollment, lease_until, now)
        if enrollment.contact_id in refused:
            held.append(Hold(HoldReason.SUPPRESSED, f"The person is suppressed ({refused[enrollment.contact_id]})."))
        sending = plans[enrollment.instance_id].sending
        if sending.follows_contact:
            held += holds.of_window(sending, enrollment.zone, now)
        if step is None:
            held.append(Hold(HoldReason.NO_STEP_LEFT, "No active step is left for this person."))
            found.append(Candidate(enrollment, contact, held))
            continue
        if enrollment.is_open:
            held += holds.of_address(step.channel, contact.email)
            held += _of_done_step(enrollment, step) if enrollment.id in done else []
        text_, problem, is_broken = _render(texts, enrollment, step, contact)
        found.append(Candidate(enrollment, contact, [*held, *problem], step, text_, reservation, is_broken))
    return found


def _of_done_step(enrollment: Enrollment, step: Step) -> list[Hold]:
    """Returns the hold on a step that was sent and is next all the same, which no report causes."""
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
) -> tuple[dict[UUID, tuple[datetime, Reservation | None]], set[UUID]]:
    """Returns (enrollment -> the end of the lease on a step of it, and its reservation; the enrollments whose next step
    was sent). next_action_at alone does not tell, since an event that corrects the time of the step before moves it;
    and the claimed step may have been taken out of use since."""
    rows = [
        {
            "instance_id": enrollment.instance_id,
            "enrollment_id": enrollment.id,
            "step_number": step.step_number if (step := steps[enrollment.id]) is not None else None,
            "passed": enrollment.current_step,
        }
        for enrollment in enrollments
    ]
    leases: dict[UUID, tuple[datetime, Reservation | None]] = {}
    done = set[UUID]()
    for enrollment_id, status, until, at, account in session.execute(_ACTIONS, rows_parameter(rows)) if rows else ():
        if status == ActionStatus.SENT:
            done.add(enrollment_id)
        else:
            leases[enrollment_id] = until, None if at is None else Reservation(at, account)
    return leases, done
