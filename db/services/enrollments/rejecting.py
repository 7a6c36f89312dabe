"""A person rejects a draft: its step waits for other words, or is skipped."""

from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from db.domain.drafts import DraftCommand, DraftStatus, RejectThen, move_draft
from db.domain.enrollment import Enrollment
from db.domain.errors import NotFound, Refused
from db.domain.scheduling import next_step
from db.domain.states import EnrollmentAction, EnrollmentStatus
from db.models import ActionDraft
from db.services.campaigns import campaigns, plans
from db.services.consent import drafts, replies
from db.services.enrollments import enrollments
from db.services.state import enrollment_rows


def reject(session: Session, *, draft_id: UUID, reason: str, then: RejectThen, by: str, now: datetime) -> ActionDraft:
    """Rejects a draft that waits, or that is approved and not handed out, in the name of `by`. Its enrollment is paused
    with the reason, or passes the step; of a reply nothing follows. NotFound, InvalidTransition and Refused say why
    not."""
    draft = drafts.find(session, draft_ids=[draft_id]).get(draft_id)
    if draft is None:
        raise NotFound("draft", draft_id, hint="list_drafts shows them.")
    campaigns.lock_for_command(session, campaign_id=draft.campaign_id)
    enrollment = enrollment_rows.lock_one(session, enrollment_id=draft.enrollment_id)
    assert enrollment is not None, "a draft goes with its enrollment"
    session.refresh(draft)
    after = move_draft(DraftStatus(draft.status), DraftCommand.REJECT)
    if draft.step_number is None:
        replies.check_not_sent(session, draft=draft)
        session.refresh(draft)
    else:
        drafts.check_not_handed_out(session, enrollment=enrollment, step_number=draft.step_number, now=now)
    draft.status, draft.reason, draft.decided_at, draft.decided_by = after, reason, now, by
    session.flush()  # before statements that read it
    if draft.step_number is None:
        return draft
    if enrollment.is_open and then is RejectThen.PAUSE:
        _pause(session, enrollment, reason)
    elif enrollment.is_open:
        _skip(session, enrollment, draft, now)
    return draft


def _pause(session: Session, enrollment: Enrollment, reason: str) -> None:
    before = enrollment_rows.snapshot([enrollment])
    why = f"draft_rejected: {reason}"
    enrollment.end_wait()
    if enrollment.status is not EnrollmentStatus.PAUSED or enrollment.paused_until is not None:
        enrollment.pause(why)
    elif enrollment.pause_reason is None:
        enrollment.pause_reason = why
    enrollment_rows.save(session, before=before, after=[enrollment])


def _skip(session: Session, enrollment: Enrollment, draft: ActionDraft, now: datetime) -> None:
    plan = plans.of_campaign(session, campaign_id=enrollment.campaign_id)
    step = next_step(plan.steps, enrollment.current_step, enrollment.recipient)
    if step is None or step.step_number != draft.step_number:
        raise Refused(
            f"then: step {draft.step_number} is not the next one, so it can't be skipped yet. Give pause, or reject it "
            "when it comes next."
        )
    enrollments.update(session, enrollment_id=enrollment.id, action=EnrollmentAction.ADVANCE, now=now)
