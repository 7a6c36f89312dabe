"""The requests of providers that were accepted, word for word, and what became of them."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from db.domain import field_limits
from db.domain.states import DeliveryStatus
from db.models.base import Base, Mutable, length, one_of, primary_key

EVENT_COUNTS = ("events_recorded", "events_duplicate", "events_orphaned", "events_invalid", "events_ignored")


def _count() -> Mapped[int]:
    return mapped_column(server_default="0", default=0)


class WebhookDelivery(Mutable, Base):
    """`delivery_id` is the provider's id of the request, if it gives one. `body` is NULL after it was deleted, because
    of its age or with the data of a person it mentions. `body_hash` (SHA-256) stays, so that a repeated request is
    recognised.
    """

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        one_of("status", DeliveryStatus),
        length("provider", 1, field_limits.PROVIDER_MAX),
        length("delivery_id", 1, field_limits.PROVIDER_ID_MAX),
        length("error", 1, field_limits.DELIVERY_ERROR_MAX),
        CheckConstraint(f"octet_length(body_hash) = {field_limits.HASH_BYTES}", name="body_hash_length"),
        CheckConstraint(f"octet_length(body) BETWEEN 1 AND {field_limits.WEBHOOK_BODY_MAX}", name="body_length"),
        CheckConstraint("status <> 'waiting' OR body IS NOT NULL", name="waiting_has_body"),
        CheckConstraint("status <> 'failed' OR error IS NOT NULL", name="failed_has_error"),
        CheckConstraint("status <> 'recorded' OR recorded_at IS NOT NULL", name="recorded_at"),
        CheckConstraint(f"least({', '.join(EVENT_COUNTS)}) >= 0", name="counts"),
    )

    id: Mapped[UUID] = primary_key()
    provider: Mapped[str]
    delivery_id: Mapped[str | None]
    received_at: Mapped[datetime]
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
    body_hash: Mapped[bytes] = mapped_column(LargeBinary)
    status: Mapped[str] = mapped_column(server_default="waiting", default="waiting")
    error: Mapped[str | None]
    events_recorded: Mapped[int] = _count()
    events_duplicate: Mapped[int] = _count()
    events_orphaned: Mapped[int] = _count()
    events_invalid: Mapped[int] = _count()
    events_ignored: Mapped[int] = _count()
    recorded_at: Mapped[datetime | None]


# A request counts once: its identity is the provider's id, or its body if there is no id.
Index(
    "uq_webhook_deliveries_delivery_id",
    WebhookDelivery.provider,
    WebhookDelivery.delivery_id,
    unique=True,
    postgresql_where=WebhookDelivery.delivery_id.is_not(None),
)
Index(
    "uq_webhook_deliveries_body_hash",
    WebhookDelivery.provider,
    WebhookDelivery.body_hash,
    unique=True,
    postgresql_where=WebhookDelivery.delivery_id.is_(None),
)
# The waiting requests in their order, and the few that failed or are held.
Index(
    "ix_webhook_deliveries_unrecorded",
    WebhookDelivery.status,
    WebhookDelivery.id,
    postgresql_where=WebhookDelivery.status != "recorded",
)
Index("ix_webhook_deliveries_provider_received", WebhookDelivery.provider, WebhookDelivery.received_at)
# Old bodies are deleted.
Index("ix_webhook_deliveries_kept", WebhookDelivery.received_at, postgresql_where=WebhookDelivery.body.is_not(None))
