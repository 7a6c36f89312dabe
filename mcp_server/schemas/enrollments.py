"""Enrollments, and what was done for them."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Self
from uuid import UUID

from pydantic import Field

from db.domain.states import ActionStatus, Channel, EnrollmentStatus, StopReason
from mcp_server.schemas.base import Answer, Maybe, Second, Warnings
from mcp_server.schemas.contacts import ContactOut
from mcp_server.schemas.events import EventOut

if TYPE_CHECKING:
    from db.models import CampaignEnrollment, CampaignEvent, Contact


class EnrollRow(Answer):
    index: int
    status: str
    enrollment_id: Maybe[UUID] = None
    contact_id: Maybe[UUID] = None
    reason: Maybe[str] = None


class EnrollAnswer(Answer):
    """One row of `results` for each contact of the call: enrolled, already_enrolled, suppressed or invalid."""

    enrolled: int
    already_enrolled: int
    suppressed: int
    invalid: int
    results: list[EnrollRow]
    warnings: Warnings = []


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
    unsubscribed_at: Annotated[
        Maybe[datetime], Field(description="When the person first asked for no more of this campaign.")
    ] = None
    created_at: datetime
    updated_at: datetime


class EnrollmentDetail(EnrollmentOut):
    """An enrollment with the person, its actions, and its latest events (oldest first)."""

    contact: ContactOut
    actions: list[ActionOut]
    events: list[EventOut]

    @classmethod
    def of(
        cls,
        enrollment: "CampaignEnrollment",
        contact: "Contact",
        actions: Sequence[object],
        events: Sequence["CampaignEvent"],
    ) -> Self:
        return cls(
            **EnrollmentOut.model_validate(enrollment).model_dump(),
            contact=ContactOut.model_validate(contact),
            actions=[ActionOut.model_validate(action) for action in actions],
            events=[EventOut.of(event) for event in events],
        )


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
            campaign_id=enrollment.instance_id if names_campaign else None,
            contact_id=enrollment.contact_id if detail == "full" else None,
            name=name if detail == "full" or contact.email is None else None,
            email=contact.email,
            linkedin_url=contact.linkedin_url if contact.email is None else None,
            status=EnrollmentStatus(enrollment.status),
            current_step=enrollment.current_step,
            next_action_at=enrollment.next_action_at,
            stop_reason=StopReason(enrollment.stop_reason) if enrollment.stop_reason else None,
            a_b_variant=enrollment.a_b_variant,
            contact=ContactOut.of(contact, detail) if detail == "full" else None,
        )


class EnrollmentAnswer(Answer):
    enrollment: EnrollmentDetail


class EnrollmentList(Answer):
    enrollments: list[EnrollmentLine]
    next_cursor: Maybe[str] = None
