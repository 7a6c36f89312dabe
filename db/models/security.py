"""Who may call over HTTP, and who wrote what."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from db.domain import field_limits
from db.domain.access import RESERVED_ACTORS, AuditOutcome, Scope
from db.models.base import Base, Created, Mutable, is_object, length, one_of, primary_key

_SCOPES = ", ".join(f"'{scope}'" for scope in Scope)
_RESERVED = ", ".join(f"'{name}'" for name in RESERVED_ACTORS)


class AccessToken(Mutable, Base):
    """A bearer token. Only its hash is stored: nobody can guess a random token of 32 bytes from it."""

    __tablename__ = "access_tokens"
    __table_args__ = (
        length("name", 1, field_limits.TOKEN_NAME_MAX),
        CheckConstraint(f"name NOT IN ({_RESERVED})", name="name_not_reserved"),
        CheckConstraint(f"scopes <@ ARRAY[{_SCOPES}] AND cardinality(scopes) > 0", name="scopes"),
        CheckConstraint(f"octet_length(token_hash) = {field_limits.HASH_BYTES}", name="token_hash_length"),
        Index("uq_access_tokens_token_hash", "token_hash", unique=True),
        # A revoked token frees its name, so that a new token can replace it.
        Index("uq_access_tokens_name", "name", unique=True, postgresql_where=text("revoked_at IS NULL")),
    )

    id: Mapped[UUID] = primary_key()
    name: Mapped[str]
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    token_hash: Mapped[bytes]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class UsedTicket(Created, Base):
    """A link or session of the dashboard that no server accepts any more, kept until it would have expired."""

    __tablename__ = "used_tickets"
    __table_args__ = (CheckConstraint(f"octet_length(id) = {field_limits.TICKET_BYTES}", name="id_length"),)

    id: Mapped[bytes] = mapped_column(primary_key=True)
    expires_at: Mapped[datetime]


class AuditRecord(Created, Base):
    """One write of one caller. It names things by their ids, and never names people."""

    __tablename__ = "audit_log"
    __table_args__ = (
        length("actor", 1, field_limits.TOKEN_NAME_MAX),
        length("tool", 1, field_limits.TOOL_NAME_MAX),
        length("request_id", 1, field_limits.REQUEST_ID_MAX),
        length("error", 1, field_limits.ERROR_NAME_MAX),
        one_of("outcome", AuditOutcome),
        is_object("ids"),
        CheckConstraint(f"octet_length(arguments_digest) = {field_limits.HASH_BYTES}", name="arguments_digest_length"),
        CheckConstraint("(outcome = 'refused') = (error IS NOT NULL)", name="error_when_refused"),
        Index("ix_audit_log_at", "at", "id"),
        Index("ix_audit_log_tool", "tool", "at", "id"),
        Index("ix_audit_log_actor", "actor", "at", "id"),
    )

    id: Mapped[UUID] = primary_key()
    at: Mapped[datetime]
    actor: Mapped[str]
    tool: Mapped[str]
    request_id: Mapped[str | None]
    arguments_digest: Mapped[bytes | None]
    ids: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default="{}")
    is_cut: Mapped[bool] = mapped_column(server_default="false")
    outcome: Mapped[str]
    error: Mapped[str | None]
