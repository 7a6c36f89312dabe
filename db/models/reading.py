"""How far each mailbox is read, and which process reads or sends."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, text
from sqlalchemy.dialects.postgresql import UUID as PGUUID
from sqlalchemy.orm import Mapped, mapped_column

from db.domain import field_limits
from db.domain.mailboxes import FolderRole, LeaseRole
from db.models.base import Base, Mutable, length, one_of, within


def _of_mailbox() -> Any:
    return mapped_column(PGUUID(as_uuid=True), ForeignKey("mailboxes.id", ondelete="CASCADE"), primary_key=True)


class MailboxLease(Base):
    """A process that reads a mailbox, or sends from it. `token` changes with each holder: whoever writes for a mailbox
    shows it under the lock of this row."""

    __tablename__ = "mailbox_leases"
    __table_args__ = (
        one_of("role", LeaseRole),
        length("holder", 1, field_limits.LEASE_HOLDER_MAX),
        CheckConstraint("expires_at > renewed_at", name="expires_at"),
    )

    mailbox_id: Mapped[UUID] = _of_mailbox()
    role: Mapped[str] = mapped_column(primary_key=True)
    holder: Mapped[str]
    token: Mapped[UUID]
    renewed_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class MailboxFolder(Mutable, Base):
    """How far a folder is read: all from first_uid to last_uid, which is all that came since joined_back_to.

    last_uid: all above it are new. joined_back_to: None until the folder was read for the first time. to_join: how many
    older mails are still to be read.
    """

    __tablename__ = "mailbox_folders"
    __table_args__ = (
        length("name", 1, field_limits.FOLDER_NAME_MAX),
        one_of("role", FolderRole),
        within("uidvalidity", 0, field_limits.UID_MAX),
        within("last_uid", 0, field_limits.UID_MAX),
        within("first_uid", 1, field_limits.UID_MAX + 1),
        CheckConstraint("to_join >= 0", name="to_join"),
    )

    mailbox_id: Mapped[UUID] = _of_mailbox()
    name: Mapped[str] = mapped_column(primary_key=True)
    role: Mapped[str]
    uidvalidity: Mapped[int] = mapped_column(BigInteger)
    last_uid: Mapped[int] = mapped_column(BigInteger)
    first_uid: Mapped[int] = mapped_column(BigInteger)
    joined_back_to: Mapped[datetime]
    to_join: Mapped[int] = mapped_column(server_default=text("0"), default=0)
    last_read_at: Mapped[datetime | None]


class UnrelatedMail(Base):
    """Where a mail was read that concerns nobody here. Nothing else is kept of it. `hash`: the SHA-256 of its bytes, or
    of what identifies it in its headers where only these were read."""

    __tablename__ = "unrelated_mails"
    __table_args__ = (
        CheckConstraint("octet_length(hash) = 32", name="hash_length"),
        length("folder", 1, field_limits.FOLDER_NAME_MAX),
        within("uidvalidity", 0, field_limits.UID_MAX),
        within("uid", 1, field_limits.UID_MAX),
    )

    mailbox_id: Mapped[UUID] = _of_mailbox()
    hash: Mapped[bytes] = mapped_column(primary_key=True)
    folder: Mapped[str]
    uidvalidity: Mapped[int] = mapped_column(BigInteger)
    uid: Mapped[int] = mapped_column(BigInteger)
