"""Drafts: the words of steps, and what a person says to them."""

from typing import TYPE_CHECKING, Annotated
from uuid import UUID

from pydantic import Field

from db.domain.access import Scope
from db.domain.drafts import DraftStatus, DraftVerdict, RejectThen
from db.domain.field_limits import BODY_MAX, DRAFTS_MAX, PAGE_DEFAULT, REJECT_REASON_MAX, SUBJECT_MAX
from db.services.consent import decisions, drafts
from db.services.consent.decisions import Given
from db.services.enrollments import rejecting
from mcp_server.calls import toolsets
from mcp_server.calls.call import Call
from mcp_server.schemas.base import Cursor, Limit, Line, Prose
from mcp_server.schemas.drafts import ApprovalIn, ApproveAnswer, DecidedOut, DraftAnswer, DraftList, DraftOut
from mcp_server.schemas.templates import StepNumber

if TYPE_CHECKING:
    from db.models import ActionDraft


@toolsets.consent.write("Draft an action")
def draft_action(
    call: Call,
    enrollment_id: UUID,
    body: Annotated[Prose, Field(min_length=1, max_length=BODY_MAX)],
    step_number: StepNumber | None = None,
    subject: Annotated[Line | None, Field(min_length=1, max_length=SUBJECT_MAX)] = None,
) -> DraftAnswer:
    """Write a step (the next) for one person; it goes out as written. Where approval is required, a person approves it
    first."""
    draft = drafts.write(
        call.session,
        enrollment_id=enrollment_id,
        step_number=step_number,
        subject=subject,
        body=body,
        now=call.now,
        public_url=call.app.settings.public_base,
    )
    return DraftAnswer(draft=_shown(call, draft))


@toolsets.consent.read("List drafts")
def list_drafts(
    call: Call,
    campaign_id: UUID | None = None,
    status: DraftStatus = DraftStatus.WAITING,
    limit: Limit = PAGE_DEFAULT,
    cursor: Cursor = None,
) -> DraftList:
    """List drafts and their words, newest first."""
    page = drafts.list_(call.session, campaign_id=campaign_id, status=status, limit=limit, cursor=cursor)
    shown = drafts.show(call.session, drafts=page.rows)
    return DraftList(drafts=[DraftOut.of(draft) for draft in shown], next_cursor=page.next_cursor)


@toolsets.consent.write("Approve drafts", scope=Scope.APPROVE, idempotent=True)
def approve_drafts(
    call: Call, drafts: Annotated[list[ApprovalIn], Field(min_length=1, max_length=DRAFTS_MAX)]
) -> ApproveAnswer:
    """Approve drafts: they go out. A person decides."""
    decided = decisions.approve(
        call.session,
        given=[Given(draft.draft_id, draft.fingerprint) for draft in drafts],
        by=call.invocation.caller.name,
        now=call.now,
        public_url=call.app.settings.public_base,
    )
    approved = sum(one.verdict is DraftVerdict.APPROVED for one in decided)
    results = [DecidedOut.of(one) for one in decided]
    return ApproveAnswer(approved=approved, refused=len(decided) - approved, results=results)


@toolsets.consent.write("Reject a draft", scope=Scope.APPROVE)
def reject_draft(
    call: Call,
    draft_id: UUID,
    reason: Annotated[Prose, Field(min_length=1, max_length=REJECT_REASON_MAX)],
    then: RejectThen,
) -> DraftAnswer:
    """Reject a draft: it does not go out. A person decides."""
    draft = rejecting.reject(
        call.session, draft_id=draft_id, reason=reason, then=then, by=call.invocation.caller.name, now=call.now
    )
    return DraftAnswer(draft=_shown(call, draft))


def _shown(call: Call, draft: "ActionDraft") -> DraftOut:
    (shown,) = drafts.show(call.session, drafts=[draft])
    return DraftOut.of(shown)
