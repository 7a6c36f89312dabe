"""Events of known enrollments, and the quarantine of events that arrived before their enrollment."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, false, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from db.domain import field_limits
from db.domain.events import EventType
from db.domain.states import Channel, OrphanStatus
from db.models.base import Base, Created, is_object, length, of_enrollment, one_of, primary_key, within


def _details() -> Any:
    # the declarative base uses the name `metadata`
    return mapped_column("metadata", JSONB, server_default="{}")


class CampaignEvent(Created, Base):
    __tablename__ = "campaign_events"
    __table_args__ = (
        one_of("event_type", EventType),
        one_of("channel", Channel),
        within("step_number", 1, field_limits.STEP_NUMBER_MAX),
        length("provider", 1, field_limits.PROVIDER_MAX),
        length("provider_event_id", 1, field_limits.PROVIDER_ID_MAX),
        length("provider_message_id", 1, field_limits.PROVIDER_ID_MAX),
        is_object("metadata"),
        of_enrollment(),
    )

    campaign_id: Mapped[UUID] = mapped_column("instance_id", primary_key=True)
    id: Mapped[UUID] = primary_key()
    enrollment_id: Mapped[UUID]
    event_type: Mapped[str]
    channel: Mapped[str]
    step_number: Mapped[int | None]
    occurred_at: Mapped[datetime]
    provider: Mapped[str | None]
    provider_event_id: Mapped[str | None]
    details: Mapped[dict[str, Any]] = _details()
    provider_message_id: Mapped[str | None]
    # True if the event named no step. The step then follows from what was sent before, and changes when more of that
    # becomes known.
    is_inferred: Mapped[bool] = mapped_column(server_default=false(), default=False)
    # True if the event gives no step number. Its step is the lowest that events name for its message, and changes when
    # one names a lower step.
    follows_message: Mapped[bool] = mapped_column(server_default=false(), default=False)
    from_provider: Mapped[bool] = mapped_column(server_default=false(), default=False)


# An event of a provider counts once, whatever campaign it names. NULLS NOT DISTINCT gives events without a provider an
# identity, too.
Index(
    "uq_campaign_events_provider_event",
    CampaignEvent.provider_event_id,
    CampaignEvent.provider,
    unique=True,
    postgresql_where=CampaignEvent.provider_event_id.is_not(None),
    postgresql_nulls_not_distinct=True,
)
Index(
    "ix_campaign_events_type_occurred",
    CampaignEvent.campaign_id,
    CampaignEvent.event_type,
    CampaignEvent.occurred_at,
)
Index("ix_campaign_events_occurred", CampaignEvent.campaign_id, CampaignEvent.occurred_at, CampaignEvent.id)
Index(
    "ix_campaign_events_enrollment_occurred",
    CampaignEvent.campaign_id,
    CampaignEvent.enrollment_id,
    CampaignEvent.occurred_at,
)


class CampaignMessage(Created, Base):
    """A message of an enrollment that no action holds: the second message of a step, or one without a step."""

    __tablename__ = "campaign_messages"
    __table_args__ = (
        length("provider_message_id", 1, field_limits.PROVIDER_ID_MAX),
        length("provider", 1, field_limits.PROVIDER_MAX),
        of_enrollment(),
    )

    campaign_id: Mapped[UUID] = mapped_column("instance_id", primary_key=True)
    enrollment_id: Mapped[UUID] = mapped_column(primary_key=True)
    provider_message_id: Mapped[str] = mapped_column(primary_key=True)
    provider: Mapped[str | None]


# It finds the enrollment without its campaign.
Index("ix_campaign_messages_provider_message_id", CampaignMessage.provider_message_id)


class OrphanedEvent(Created, Base):
    __tablename__ = "orphaned_events"
    __table_args__ = (
        one_of("status", OrphanStatus),
        one_of("event_type", EventType),
        one_of("channel", Channel),
        within("step_number", 1, field_limits.STEP_NUMBER_MAX),
        length("reason", 1, 500),
        length("email", 3, field_limits.EMAIL_MAX),
        length("provider_message_id", 1, field_limits.PROVIDER_ID_MAX),
        length("provider", 1, field_limits.PROVIDER_MAX),
        length("provider_event_id", 1, field_limits.PROVIDER_ID_MAX),
        is_object("metadata"),
        CheckConstraint(
            "enrollment_id IS NOT NULL OR provider_message_id IS NOT NULL"
            " OR (campaign_id IS NOT NULL AND email IS NOT NULL)",
            name="reference",
        ),
    )

    id: Mapped[UUID] = primary_key()
    status: Mapped[str] = mapped_column(server_default="waiting", default="waiting")
    expired_at: Mapped[datetime | None]
    reason: Mapped[str]
    event_type: Mapped[str]
    channel: Mapped[str]
    occurred_at: Mapped[datetime]
    enrollment_id: Mapped[UUID | None]
    provider_message_id: Mapped[str | None]
    campaign_id: Mapped[UUID | None]
    email: Mapped[str | None]
    step_number: Mapped[int | None]
    provider: Mapped[str | None]
    provider_event_id: Mapped[str | None]
    details: Mapped[dict[str, Any]] = _details()
    from_provider: Mapped[bool] = mapped_column(server_default=false(), default=False)


Index(
    "uq_orphaned_events_provider_event",
    OrphanedEvent.provider,
    OrphanedEvent.provider_event_id,
    unique=True,
    postgresql_where=OrphanedEvent.provider_event_id.is_not(None),
    postgresql_nulls_not_distinct=True,
)
Index("ix_orphaned_events_waiting", OrphanedEvent.created_at, postgresql_where=OrphanedEvent.status == "waiting")
Index(
    "ix_orphaned_events_expired",
    func.coalesce(OrphanedEvent.expired_at, OrphanedEvent.created_at),
    postgresql_where=OrphanedEvent.status == "expired",
)
# An event that waits for an enrollment by its id came before the server gave that id; it is matched with all other
# waiting events.
for _name, _columns in (
    ("provider_message_id", (OrphanedEvent.provider_message_id,)),
    ("campaign_email", (OrphanedEvent.campaign_id, OrphanedEvent.email)),
):
    Index(
        f"ix_orphaned_events_{_name}",
        *_columns,
        postgresql_where=(OrphanedEvent.status == "waiting") & _columns[0].is_not(None),
    )
