"""Opens enrollments that have ended again, at the next step that was never sent. What was done for them stays."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.enrollment import Enrollment
from db.domain.errors import Refused
from db.domain.scheduling import Plan, next_step
from db.domain.states import ActionStatus, CampaignStatus, EnrollmentStatus, StopReason
from db.postgres.json import rows_parameter
from db.services.people import suppressions
from db.services.state import enrollment_rows

# These say nothing of the person. Who has answered, or has an address that doesn't work, is reopened by name alone, so
# that a list that is enrolled twice writes to nobody who has answered.
_BY_ENROLLING = frozenset({StopReason.FINISHED, StopReason.MANUAL, StopReason.MOVED})

# A step that was sent or skipped lies behind, though events may know of it before its enrollment came so far.
_LAST_PASSED = text(f"""
    SELECT a.enrollment_id, max(a.step_number) FROM campaign_actions a
    WHERE a.enrollment_id = ANY (ARRAY(SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid)))
      AND a.instance_id = :campaign
      AND (a.sent_at IS NOT NULL OR a.status = '{ActionStatus.SKIPPED}')
    GROUP BY a.enrollment_id
""")
_LOCK = text(f"""
    SELECT {enrollment_rows.COLUMNS} FROM campaign_enrollments e
    WHERE e.instance_id = :campaign AND e.status = '{EnrollmentStatus.COMPLETED}'
      AND e.id = ANY (ARRAY(SELECT CAST(jsonb_array_elements_text(CAST(:rows AS jsonb)) AS uuid)))
    ORDER BY e.id FOR NO KEY UPDATE OF e
""")


def reopen_some(
    session: Session, *, campaign_id: UUID, enrollment_ids: Sequence[UUID], plan: Plan, now: datetime, is_draft: bool
) -> dict[UUID, str | None]:
    """Reopens those of these enrollments of a campaign that ended without an answer and have a step left. Returns the
    ended ones: enrollment -> why it stays as it is; None if it was reopened. The caller has locked the campaign."""
    values = {**rows_parameter(list(enrollment_ids)), "campaign": campaign_id}
    ended = [enrollment_rows.from_row(row) for row in session.execute(_LOCK, values)] if enrollment_ids else []
    if not ended:
        return {}
    before = enrollment_rows.snapshot(ended)
    passed = _last_passed(session, campaign_id, ended)
    told: dict[UUID, str | None] = {}
    for enrollment in ended:
        told[enrollment.id] = _by_enrolling(enrollment) or _reopen(
            enrollment, passed.get(enrollment.id, 0), plan, now, is_draft=is_draft
        )
    enrollment_rows.save(session, before=before, after=ended)
    return told


def reopen(session: Session, *, enrollment: Enrollment, status: CampaignStatus, plan: Plan, now: datetime) -> None:
    """Reopens one enrollment that has ended, which the caller saves, and has locked after its person. Refused if its
    campaign has ended, its person may not be written to, or no step is left."""
    if status in (CampaignStatus.COMPLETED, CampaignStatus.FAILED):
        raise Refused(
            f"The campaign is {status} for good. enroll_contacts takes the person into another campaign with the "
            "contact_id that get_enrollment shows."
        )
    key = enrollment.campaign_id, enrollment.contact_id
    held = suppressions.of_people_in(session, people=[key], now=now)
    if enrollment.is_erased or held:
        reason = "erased" if enrollment.is_erased else f"{held[key].state} ({held[key].reason})"
        raise Refused(f"The person is {reason}, and is not written to. list_suppressions shows why.")
    passed = _last_passed(session, enrollment.campaign_id, [enrollment])
    is_draft = status is CampaignStatus.DRAFT
    problem = _reopen(enrollment, passed.get(enrollment.id, 0), plan, now, is_draft=is_draft)
    if problem is not None:
        raise Refused(f"{problem} update_template adds one.")


def _by_enrolling(enrollment: Enrollment) -> str | None:
    """Returns why enrolling the person again does not reopen the enrollment; None if it does."""
    if enrollment.stop_reason in _BY_ENROLLING:
        return None
    return f"Ended: {enrollment.stop_reason}. update_enrollment with action resume goes on all the same."


def _reopen(enrollment: Enrollment, passed: int, plan: Plan, now: datetime, *, is_draft: bool) -> str | None:
    """Reopens it if a step is left. Returns why it can't be otherwise."""
    behind = max(enrollment.current_step, passed)
    upcoming = next_step(plan.steps, behind, enrollment.recipient)
    if upcoming is None:
        return "Every step was sent or passed."
    enrollment.reopen(behind, upcoming, now)
    if is_draft:
        # The start of the campaign gives it a moment, as all that wait in a draft.
        enrollment.status, enrollment.next_action_at = EnrollmentStatus.ENROLLED, None
    return None


def _last_passed(session: Session, campaign_id: UUID, enrollments: Sequence[Enrollment]) -> Mapping[UUID, int]:
    """Returns enrollment -> the greatest number of a step that was sent or skipped."""
    values = {**rows_parameter([enrollment.id for enrollment in enrollments]), "campaign": campaign_id}
    return dict(tuple(row) for row in session.execute(_LAST_PASSED, values))
