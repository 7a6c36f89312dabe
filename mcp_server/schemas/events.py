"""Events."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Self
from uuid import UUID

from pydantic import Field, model_validator

from db.domain import field_limits
from db.domain.errors import InvalidInput
from db.domain.events import EFFECTS, MOST_AHEAD, BounceType, EventType, EventVerdict, NewEvent
from db.domain.states import Channel, OrphanStatus
from mcp_server.schemas.base import (
    Answer,
    Given,
    Line,
    Maybe,
    MessageId,
    Moment,
    NextCursor,
    OpenObject,
    ProviderName,
    RowOut,
    to_the_second,
    untold,
)
from mcp_server.schemas.contacts import Email
from mcp_server.schemas.templates import StepNumber

if TYPE_CHECKING:
    from db.models import CampaignEvent, Contact, OrphanedEvent


class EventIn(Given):
    """Of the person named by enrollment_id, by provider_message_id, or by campaign_id and email"""

    event_type: EventType
    channel: Channel
    occurred_at: Annotated[Moment | None, Field(description="Default now")] = None
    enrollment_id: UUID | None = None
    provider_message_id: MessageId | None = None
    campaign_id: UUID | None = None
    email: Email | None = None
    step_number: StepNumber | None = None
    provider: ProviderName | None = None
    provider_event_id: Annotated[
        Line | None,
        Field(min_length=1, max_length=field_limits.PROVIDER_ID_MAX, description="Counts once"),
    ] = None
    metadata: Annotated[OpenObject, Field(description="bounce_type of a bounced: hard (default) or soft")] = {}

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.enrollment_id is None and self.provider_message_id is None and not (self.campaign_id and self.email):
            raise ValueError("give enrollment_id, provider_message_id, or campaign_id with email")
        expected = EFFECTS[self.event_type].channel
        if self.channel != expected:
            raise ValueError(f"{self.event_type} is an event of {expected}: channel must be {expected}")
        if self.event_type is EventType.BOUNCED and self.metadata.get("bounce_type", "hard") not in tuple(BounceType):
            raise ValueError("metadata.bounce_type must be hard or soft")
        return self

    def check_moment(self, now: datetime) -> None:
        """Raises InvalidInput if the moment is more than a day after `now`."""
        if self.occurred_at is not None and self.occurred_at > now + MOST_AHEAD:
            raise InvalidInput(
                f"occurred_at: {self.occurred_at:%Y-%m-%dT%H:%M:%SZ} is more than a day ahead of the server's clock, "
                f"{now:%Y-%m-%dT%H:%M:%SZ}. Give the moment at which it happened, or leave it out for now."
            )

    def to_event(self, now: datetime) -> NewEvent:
        return NewEvent(
            event_type=self.event_type,
            channel=self.channel,
            occurred_at=self.occurred_at or now,
            enrollment_id=self.enrollment_id,
            provider_message_id=self.provider_message_id,
            campaign_id=self.campaign_id,
            email=self.email,
            step_number=self.step_number,
            provider=self.provider,
            provider_event_id=self.provider_event_id,
            metadata=self.metadata,
        )


class RecordRow(RowOut):
    status: EventVerdict
    event_id: Maybe[UUID] = None


class RecordAnswer(Answer):
    """What became of each event of the call: recorded, duplicate, orphaned or invalid."""

    recorded: int
    duplicates: Annotated[int, untold]
    orphaned: Annotated[int, untold]
    invalid: Annotated[int, untold]
    results: list[RecordRow]


class EventOut(Answer):
    """In a list, email (or linkedin_url, where there is none) says whose it is."""

    id: Maybe[UUID] = None
    event_type: EventType
    channel: Maybe[Channel] = None
    occurred_at: datetime
    enrollment_id: UUID
    step_number: Maybe[int] = None
    email: Maybe[str] = None
    linkedin_url: Maybe[str] = None
    provider: Maybe[str] = None
    provider_event_id: Maybe[str] = None
    metadata: Maybe[dict[str, Any]] = None

    @classmethod
    def of(cls, row: "CampaignEvent") -> Self:
        return cls(
            id=row.id,
            event_type=EventType(row.event_type),
            channel=Channel(row.channel),
            occurred_at=row.occurred_at,
            enrollment_id=row.enrollment_id,
            step_number=row.step_number,
            provider=row.provider,
            provider_event_id=row.provider_event_id,
            metadata=row.details,
        )

    @classmethod
    def listed(cls, row: "CampaignEvent", person: "Contact | None", detail: str) -> Self:
        event = cls.of(row)
        if detail == "concise":
            event = cls(
                event_type=event.event_type,
                occurred_at=to_the_second(event.occurred_at),
                enrollment_id=event.enrollment_id,
                step_number=event.step_number,
            )
        if person is not None:
            event.email = person.email
            event.linkedin_url = person.linkedin_url if person.email is None else None
        return event


class EventList(Answer):
    events: list[EventOut]
    next_cursor: NextCursor = None


class OrphanOut(Answer):
    """An event that fits no enrollment yet, and what it would be matched by. In a concise list the ids of enrollments
    and campaigns stand in the reason alone."""

    id: Maybe[UUID] = None
    status: OrphanStatus
    reason: str
    event_type: EventType
    channel: Maybe[Channel] = None
    occurred_at: datetime
    created_at: Maybe[datetime] = None
    provider: Maybe[str] = None
    enrollment_id: Maybe[UUID] = None
    provider_message_id: Maybe[str] = None
    campaign_id: Maybe[UUID] = None
    email: Maybe[str] = None
    step_number: Maybe[int] = None
    provider_event_id: Maybe[str] = None
    metadata: Maybe[dict[str, Any]] = None

    @classmethod
    def of(cls, row: "OrphanedEvent", detail: str) -> Self:
        names = _CONCISE_ORPHAN if detail == "concise" else cls.model_fields.keys() - {"metadata"}
        answer = cls.model_validate({name: getattr(row, name) for name in names})
        if detail == "concise":
            answer.occurred_at = to_the_second(answer.occurred_at)
        else:
            answer.metadata = row.details
        return answer


_CONCISE_ORPHAN = (
    "status", "reason", "event_type", "occurred_at", "provider", "provider_message_id", "email", "step_number",
)  # fmt: skip


class OrphanList(Answer):
    orphans: list[OrphanOut]
    next_cursor: NextCursor = None
