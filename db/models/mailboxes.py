"""The accounts that send and read mail."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from db.domain import campaign_settings, field_limits
from db.domain.mailboxes import PACE, MailboxStatus, Security
from db.models.base import Base, Mutable, is_object, json_object, length, one_of, primary_key, within


class Mailbox(Mutable, Base):
    """One account. Its credentials are encrypted with a key that the database does not hold.

    settings: when and how much it sends (db.domain.mailboxes.PACE). problem: why it is failing, or why a guardrail has
    paused it, since problem_at. guarded_since: when a person let it go on after that.
    refusals: how many of its mails in a row the server has refused for what the mailbox is, and not the recipient.
    """

    __tablename__ = "mailboxes"
    __table_args__ = (
        length("address", 1, field_limits.EMAIL_MAX),
        CheckConstraint(f"address ~ '{field_limits.EMAIL_PATTERN}' AND address = lower(address)", name="address"),
        length("display_name", 1, field_limits.NAME_MAX),
        CheckConstraint(f"display_name !~ '{field_limits.LINE_BREAKS}'", name="display_name_line"),
        length("signature", 1, field_limits.SIGNATURE_MAX),
        one_of("status", MailboxStatus),
        length("problem", 1, field_limits.MAILBOX_PROBLEM_MAX),
        CheckConstraint("status <> 'failing' OR problem IS NOT NULL", name="problem_when_failing"),
        CheckConstraint("status <> 'active' OR problem IS NULL", name="no_problem_when_active"),
        CheckConstraint("(problem IS NULL) = (problem_at IS NULL)", name="problem_at"),
        CheckConstraint("refusals >= 0", name="refusals"),
        length("smtp_host", 1, field_limits.HOST_MAX),
        within("smtp_port", 1, 65_535),
        one_of("smtp_security", Security),
        length("smtp_username", 1, field_limits.MAILBOX_USERNAME_MAX),
        length("imap_host", 1, field_limits.HOST_MAX),
        within("imap_port", 1, 65_535),
        one_of("imap_security", Security),
        length("imap_username", 1, field_limits.MAILBOX_USERNAME_MAX),
        CheckConstraint(
            "num_nulls(imap_host, imap_port, imap_security) IN (0, 3) "
            "AND (imap_username IS NULL OR imap_host IS NOT NULL)",
            name="imap_whole",
        ),
        is_object("settings"),
        *(CheckConstraint(rule, name=name) for name, rule in campaign_settings.checks("settings", PACE).items()),
        CheckConstraint(
            f"octet_length(smtp_credential) BETWEEN 1 AND {field_limits.CREDENTIAL_BYTES_MAX}",
            name="smtp_credential_length",
        ),
        CheckConstraint(
            f"octet_length(imap_credential) BETWEEN 1 AND {field_limits.CREDENTIAL_BYTES_MAX}",
            name="imap_credential_length",
        ),
        Index("uq_mailboxes_address", "address", unique=True),
    )

    id: Mapped[UUID] = primary_key()
    address: Mapped[str]
    display_name: Mapped[str | None]
    signature: Mapped[str | None]
    status: Mapped[str] = mapped_column(server_default="active", default="active")
    problem: Mapped[str | None]
    problem_at: Mapped[datetime | None]
    guarded_since: Mapped[datetime | None]
    smtp_host: Mapped[str]
    smtp_port: Mapped[int]
    smtp_security: Mapped[str]
    smtp_username: Mapped[str | None]
    imap_host: Mapped[str | None]
    imap_port: Mapped[int | None]
    imap_security: Mapped[str | None]
    imap_username: Mapped[str | None]
    settings: Mapped[dict[str, Any]] = json_object()
    # When it sent its first mail, on the first day of its ramp-up.
    sends_since: Mapped[datetime | None]
    refusals: Mapped[int] = mapped_column(server_default=text("0"), default=0)
    smtp_credential: Mapped[bytes | None]
    imap_credential: Mapped[bytes | None]
