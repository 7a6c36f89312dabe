"""Enrollments, and what was done for them."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Self
from uuid import UUID

from pydantic import Field

from db.domain.overlap import OverlapKind
from db.domain.states import ActionStatus, Channel, EnrollmentStatus, MessageStatus, StopReason
from mcp_server.schemas.base import Answer, Maybe, NextCursor, RowOut, Second, Undo, Warnings, is_nothing, untold
from mcp_server.schemas.contacts import ContactOut
from mcp_server.schemas.events import EventOut

if TYPE_CHECKING:
    from db.models import CampaignAction, CampaignEnrollment, Contact
    from db.services.enrollments.enrollments import EnrollmentDetails
    from db.services.state.message_rows import Words


class EnrollRow(RowOut):
    status: str
    enrollment_id: Maybe[UUID] = None
    contact_id: Maybe[UUID] = None


class EnrollAnswer(Answer):
    """What became of each contact of the call: enrolled, reopened, already_enrolled, suppressed or invalid."""

    enrolled: int
    reopened: Annotated[int, Field(description="Who had ended here without an answer, and goes on."), untold]
    already_enrolled: Annotated[int, untold]
    suppressed: Annotated[int, untold]
    invalid: Annotated[int, untold]
    busy_elsewhere: Annotated[int, untold] = 0
    results: list[EnrollRow]
    warnings: Warnings = []
    undo: Undo = None


class OverlapOut(Answer):
    """Somebody who is in a campaign that goes on: the person of that index, or a colleague of theirs."""

    index: int
    kind: Annotated[OverlapKind, Field(description="Who is in it: the person, or a colleague of theirs.")]
    contact_id: UUID
    email: Maybe[str] = None
    campaign_id: UUID
    campaign: str
    enrollment_id: UUID
    current_step: int


class OverlapList(Answer):
    """The people of the call who are in other campaigns, and colleagues of theirs who are."""

    people: Annotated[int, untold]
    colleagues: Annotated[int, untold]
    overlaps: list[OverlapOut]


class ActionOut(Answer):
    """One step for one person: the first moment of each thing that happened to it."""

    id: UUID
    step_number: int
    channel: Channel
    status: ActionStatus
    a_b_variant: Maybe[str] = None
    provider: Maybe[str] = None
    provider_message_id: Maybe[str] = None
    error: Maybe[str] = None
    sent_to: Annotated[Maybe[str], Field(description="The email or profile that it went to.")] = None
    sent_at: Maybe[datetime] = None
    delivered_at: Maybe[datetime] = None
    opened_at: Maybe[datetime] = None
    clicked_at: Maybe[datetime] = None
    replied_at: Maybe[datetime] = None
    bounced_at: Maybe[datetime] = None
    hard_bounced_at: Maybe[datetime] = None
    unsubscribed_at: Maybe[datetime] = None
    complained_at: Maybe[datetime] = None
    accepted_at: Maybe[datetime] = None
    failed_at: Maybe[datetime] = None
    open_count: int
    click_count: int
    unapproved: Annotated[
        bool,
        Field(
            validation_alias="is_unapproved",
            exclude_if=is_nothing,
            description="It went out without the approval that the campaign asked for.",
        ),
    ] = False


class SaidOut(ActionOut):
    """A step with its words as they were handed out last. They are missing if it was never claimed, if its person was
    erased, and if it is older than retention_days."""

    subject: Annotated[Maybe[str], Field(description="As it was handed out.")] = None
    body: Annotated[Maybe[str], Field(description="As it was handed out.")] = None
    internet_message_id: Annotated[Maybe[str], Field(description="The Message-ID that the email went out with.")] = None
    message_id: Annotated[Maybe[UUID], Field(description="Of an email that this server sends.")] = None
    message_status: Annotated[Maybe[MessageStatus], Field(description="unknown waits for settle_message.")] = None


class EnrollmentOut(Answer):
    id: UUID
    campaign_id: UUID
    contact_id: UUID
    status: EnrollmentStatus
    current_step: int
    next_action_at: Maybe[datetime] = None
    a_b_variant: Maybe[str] = None
    stop_reason: Maybe[StopReason] = None
    pause_reason: Annotated[Maybe[str], Field(description="Why the server paused it, if a person did not.")] = None
    paused_until: Annotated[Maybe[datetime], Field(description="When the pause ends by itself.")] = None
    unsubscribed_at: Annotated[
        Maybe[datetime], Field(description="When the person first asked for no more of this campaign.")
    ] = None
    created_at: datetime
    updated_at: datetime


class EnrollmentDetail(EnrollmentOut):
    """An enrollment with the person, its actions, and its latest events (oldest first)."""

    contact: ContactOut
    actions: list[SaidOut]
    events: list[EventOut]

    @classmethod
    def of(
        cls,
        details: "EnrollmentDetails",
    ) -> Self:
        return cls(
            **EnrollmentOut.model_validate(details.enrollment).model_dump(),
            contact=ContactOut.model_validate(details.contact),
            actions=[_said(action, details.words.get(action.id)) for action in details.actions],
            events=[EventOut.of(event) for event in details.events],
        )


def _said(action: "CampaignAction", words: "Words | None") -> SaidOut:
    said = SaidOut.model_validate(action)
    if words is not None:
        said.subject, said.body, said.internet_message_id = words.subject, words.body, words.internet_message_id
        if words.status is not None:
            said.message_id, said.message_status = words.id, MessageStatus(words.status)
    return said


class EnrollmentLine(Answer):
    """An enrollment in a list. Concise, it tells the person by the email, or by profile and name where there is none;
    the person's id and fields come with detail=full, the campaign's id where there are several."""

    id: UUID
    campaign_id: Maybe[UUID] = None
    contact_id: Maybe[UUID] = None
    name: Maybe[str] = None
    email: Maybe[str] = None
    linkedin_url: Maybe[str] = None
    status: EnrollmentStatus
    current_step: int
    next_action_at: Maybe[Second] = None
    paused_until: Maybe[Second] = None
    stop_reason: Maybe[StopReason] = None
    a_b_variant: Maybe[str] = None
    contact: Maybe[ContactOut] = None

    @classmethod
    def of(
        cls, enrollment: "CampaignEnrollment", contact: "Contact", detail: str, *, names_campaign: bool = False
    ) -> Self:
        name = " ".join(filter(None, (contact.first_name, contact.last_name))) or None
        return cls(
            id=enrollment.id,
            campaign_id=enrollment.campaign_id if names_campaign else None,
            contact_id=enrollment.contact_id if detail == "full" else None,
            name=name if detail == "full" or contact.email is None else None,
            email=contact.email,
            linkedin_url=contact.linkedin_url if contact.email is None else None,
            status=EnrollmentStatus(enrollment.status),
            current_step=enrollment.current_step,
            next_action_at=enrollment.next_action_at,
            paused_until=enrollment.paused_until,
            stop_reason=StopReason(enrollment.stop_reason) if enrollment.stop_reason else None,
            a_b_variant=enrollment.a_b_variant,
            contact=ContactOut.of(contact, detail) if detail == "full" else None,
        )


class EnrollmentAnswer(Answer):
    enrollment: EnrollmentDetail
    undo: Undo = None


class EnrollmentList(Answer):
    enrollments: list[EnrollmentLine]
    next_cursor: NextCursor = None
