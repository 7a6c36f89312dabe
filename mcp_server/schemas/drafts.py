"""Drafts: the words of a step for one person, which a person approves."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field
from pydantic_core import PydanticCustomError

from db.domain.drafts import DraftSource, DraftStatus, DraftVerdict, RejectThen
from db.domain.states import Channel
from mcp_server.schemas.base import Answer, Given, Maybe, NextCursor, is_nothing, untold
from mcp_server.schemas.threads import MessageOut, ThreadContact, ThreadOut

if TYPE_CHECKING:
    from db.services.consent.decisions import Decided
    from db.services.consent.drafts import Shown


def _fingerprint(text: str) -> str:
    if len(text) != 64 or not set(text.lower()) <= set("0123456789abcdef"):
        raise PydanticCustomError("fingerprint", "must be the fingerprint of a draft, as list_drafts shows it")
    return text.lower()


Fingerprint = Annotated[str, AfterValidator(_fingerprint)]


class DraftOut(Answer):
    id: UUID
    status: DraftStatus
    fingerprint: Annotated[str, Field(description="Of all that an approval is of.")]
    campaign_id: UUID
    enrollment_id: UUID
    step_number: Annotated[Maybe[int], Field(description="Of a step.")] = None
    thread_id: Annotated[Maybe[UUID], Field(description="Of a reply.")] = None
    channel: Channel
    source: Annotated[DraftSource, Field(description="template: the step's own text; written: for this person.")]
    contact: ThreadContact
    mailbox: Annotated[Maybe[str], Field(description="The address that the email comes from.")] = None
    cc: Annotated[list[str], Field(exclude_if=is_nothing, description="Who gets a copy of a reply.")] = []
    subject: Maybe[str] = None
    body: Annotated[Maybe[str], Field(description="None once it was deleted for its age.")] = None
    signature: Annotated[Maybe[str], Field(description="What follows the body.")] = None
    lint: Annotated[list[str], Field(description="What a careful reader would notice.")]
    decided_by: Annotated[Maybe[str], Field(description="Who approved or rejected it.")] = None
    decided_at: Maybe[datetime] = None
    reason: Annotated[Maybe[str], Field(description="Why it was rejected.")] = None
    created_at: datetime

    @classmethod
    def of(cls, shown: "Shown") -> Self:
        draft = shown.draft
        return cls(
            id=draft.id,
            status=DraftStatus(draft.status),
            fingerprint=draft.fingerprint.hex(),
            campaign_id=draft.campaign_id,
            enrollment_id=draft.enrollment_id,
            step_number=draft.step_number,
            thread_id=draft.thread_id,
            channel=Channel(draft.channel),
            source=DraftSource(draft.source),
            contact=ThreadContact.of(shown.contact),
            mailbox=shown.mailbox,
            cc=draft.cc,
            subject=draft.subject,
            body=draft.body,
            signature=shown.signature,
            lint=shown.lint,
            decided_by=draft.decided_by,
            decided_at=draft.decided_at,
            reason=draft.reason,
            created_at=draft.created_at,
        )


class DraftAnswer(Answer):
    draft: DraftOut


class ReplyAnswer(Answer):
    """The message that is queued, or the draft that waits, and the thread."""

    message: Annotated[Maybe[MessageOut], untold] = None
    draft: Annotated[Maybe[DraftOut], untold] = None
    thread: Annotated[ThreadOut, untold]


class DraftList(Answer):
    drafts: list[DraftOut]
    next_cursor: NextCursor = None


class ApprovalIn(Given):
    """A draft, as list_drafts shows it"""

    draft_id: UUID
    fingerprint: Fingerprint


class Rejection(BaseModel):
    """What reject_draft is asked for, as a person is asked about it."""

    draft_id: UUID
    reason: str
    then: RejectThen


class DecidedOut(Answer):
    draft_id: UUID
    status: DraftVerdict
    reason: Annotated[Maybe[str], Field(exclude_if=is_nothing, description="Why it was refused.")] = None

    @classmethod
    def of(cls, decided: "Decided") -> Self:
        return cls(draft_id=decided.draft_id, status=decided.verdict, reason=decided.reason)


class ApproveAnswer(Answer):
    approved: Annotated[int, untold]
    refused: Annotated[int, untold]
    results: list[DecidedOut]
