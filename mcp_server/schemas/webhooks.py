"""Requests of providers, and their results."""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Self
from uuid import UUID

from pydantic import Field

from db.domain.states import DeliveryStatus
from mcp_server.schemas.base import Answer, Maybe, NextCursor, ProviderName, Second, is_nothing, untold

if TYPE_CHECKING:
    from db.models import WebhookDelivery
    from db.services.events.deliveries import Body

Provider = Annotated[ProviderName | None, Field(description="Such as sendgrid")]
DeliveryIds = Annotated[list[UUID] | None, Field(min_length=1, max_length=1_000)]


Count = Annotated[int, Field(exclude_if=is_nothing)]


class DeliveryOut(Answer):
    """events_* count what became of its events, and are left out while they are 0. `body` is left out once it was
    deleted, and in concise lists."""

    id: UUID
    provider: str
    status: DeliveryStatus
    received_at: Second
    error: Maybe[str] = None
    events_recorded: Count
    events_duplicate: Count
    events_orphaned: Count
    events_invalid: Count
    events_ignored: Count
    recorded_at: Maybe[datetime] = None
    delivery_id: Maybe[str] = None
    body: Maybe[str] = None
    body_bytes: Annotated[Maybe[int], Field(description="Of a body that is cut here: how long it is.")] = None
    confirmation_url: Annotated[
        Maybe[str], Field(description="Of a held one: whoever opens it confirms the subscription of the topic.")
    ] = None

    @classmethod
    def of(
        cls, row: "WebhookDelivery", body: "Body | None", detail: str, confirmation_url: Callable[[bytes], str | None]
    ) -> Self:
        answer = cls.model_validate(
            {name: getattr(row, name) for name in cls.model_fields if name not in _FULL},
        )
        if detail == "full":
            answer.recorded_at = row.recorded_at
            answer.delivery_id = row.delivery_id
            if body is not None:
                answer.body = body.shown.decode("utf-8", "replace")
                answer.body_bytes = body.size if body.size > len(body.shown) else None
                if row.status == DeliveryStatus.HELD:
                    answer.confirmation_url = confirmation_url(body.shown)
        return answer


_FULL = frozenset({"recorded_at", "delivery_id", "body", "body_bytes", "confirmation_url"})


class DeliveryList(Answer):
    deliveries: list[DeliveryOut]
    next_cursor: NextCursor = None


_Count = Annotated[int, untold]


class ReplayAnswer(Answer):
    """`deliveries` were run again, of which `failed` hold nothing that can be recorded; the rest counts events."""

    deliveries: _Count
    failed: _Count
    recorded: _Count
    duplicates: _Count
    orphaned: _Count
    invalid: _Count
    ignored: _Count
    next_after: Maybe[UUID] = None
