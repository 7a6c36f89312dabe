"""The steps whose mails this server sends: locked with their enrollments, given back, and held back."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain import holds
from db.domain.enrollment import Enrollment
from db.domain.holds import HoldReason
from db.domain.states import ActionStatus, EnrollmentCommand, EnrollmentStatus, move_enrollment
from db.postgres.json import rows_parameter
from db.postgres.results import named
from db.services.mail import threads
from db.services.state import enrollment_rows


def lock(session: Session, *, enrollment_ids: Iterable[UUID]) -> list[Enrollment]:
    """Returns these enrollments, locked."""
    ids = set(enrollment_ids)
    return enrollment_rows.lock_some(session, enrollment_ids=ids) if ids else []


_OF_ACTIONS = text("""
    SELECT enrollment_id FROM campaign_actions
    WHERE id = ANY (ARRAY(SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid)))
""")
_END = text(f"""
    WITH before AS MATERIALIZED (
        SELECT instance_id, id, enrollment_id, lease_until FROM campaign_actions
        WHERE id = ANY (ARRAY(SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid)))
          AND status = '{ActionStatus.CLAIMED}' AND lease_until > :now
        ORDER BY instance_id, id FOR NO KEY UPDATE
    )
    UPDATE campaign_actions a SET lease_until = :now, updated_at = now()
    FROM before b WHERE a.instance_id = b.instance_id AND a.id = b.id
    RETURNING b.enrollment_id, b.lease_until
""").columns(*named("enrollment_id", "lease_until"))


def give_back(session: Session, *, action_ids: Sequence[UUID], now: datetime, due_at: datetime | None = None) -> int:
    """Ends the leases of claimed steps, which are due again then, or at once. An enrollment that somebody has moved,
    paused or ended since its claim keeps what it has. Returns how many leases ended."""
    if not action_ids:
        return 0
    actions = rows_parameter(sorted(action_ids))
    found = lock(session, enrollment_ids=session.scalars(_OF_ACTIONS, actions).all())
    before = enrollment_rows.snapshot(found)
    leases = dict(tuple(row) for row in session.execute(_END, {**actions, "now": now}))
    for enrollment in found:
        is_untouched = enrollment.next_action_at == leases.get(enrollment.id)
        if is_untouched and enrollment.next_action_at is not None:
            enrollment.next_action_at = due_at or now
        elif due_at is not None and enrollment.next_action_at is not None:
            enrollment.next_action_at = max(enrollment.next_action_at, due_at)
    enrollment_rows.save(session, before=before, after=found)
    return len(leases)


def lose(session: Session, *, enrollments: Collection[Enrollment], lost: Mapping[UUID, UUID], now: datetime) -> None:
    """Holds the enrollments of mails of which nobody knows whether they went out, and puts the mails into threads: a
    person finds them there. enrollments: locked. lost: enrollment -> the action of the mail."""
    concerned = [enrollment for enrollment in enrollments if enrollment.id in lost]
    before = enrollment_rows.snapshot(concerned)
    for enrollment in concerned:
        enrollment.end_wait()  # an approval would let it go on all the same
        if enrollment.status is EnrollmentStatus.ACTIVE:
            enrollment.pause(holds.of_unknown_delivery().detail)
    enrollment_rows.save(session, before=before, after=concerned)
    actions = rows_parameter(sorted(lost.values()))
    session.execute(_END, {**actions, "now": now})
    threads.join_steps(session, action_ids=lost.values())


def is_held(enrollment: Enrollment) -> bool:
    """Returns whether an enrollment is paused because nobody knows whether its last mail went out."""
    is_paused = enrollment.status is EnrollmentStatus.PAUSED and enrollment.paused_until is None
    return is_paused and (enrollment.pause_reason or "").startswith(HoldReason.DELIVERY_UNKNOWN)


def go_on(session: Session, *, enrollment_ids: Iterable[UUID], due_at: datetime | None = None) -> None:
    """Lets enrollments go on that were held for a mail of which it is known by now what became of it. due_at: when
    their step is due, if it is to be sent again."""
    found = lock(session, enrollment_ids=enrollment_ids)
    before = enrollment_rows.snapshot(found)
    for enrollment in found:
        if is_held(enrollment):
            enrollment.status = move_enrollment(enrollment.status, EnrollmentCommand.RESUME)
            enrollment.pause_reason = None
            if due_at is not None:
                enrollment.next_action_at = due_at
    enrollment_rows.save(session, before=before, after=found)
