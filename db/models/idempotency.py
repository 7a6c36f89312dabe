"""Answers to writes, so that a repeated call gets the same answer."""

from typing import Any

from sqlalchemy import Index
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from db.domain import field_limits
from db.models.base import Base, Created, is_object, length


class IdempotencyKey(Created, Base):
    __tablename__ = "idempotency_keys"
    __table_args__ = (length("key", 1, field_limits.IDEMPOTENCY_KEY_MAX), is_object("response"))

    key: Mapped[str] = mapped_column(primary_key=True)
    tool: Mapped[str]
    request_hash: Mapped[str]
    response: Mapped[dict[str, Any] | None] = mapped_column(JSONB)


# Old keys are deleted.
Index("ix_idempotency_keys_created_at", IdempotencyKey.created_at)
