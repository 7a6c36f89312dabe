"""What the DNS says of the domains that mailboxes send from, as far as it decides whether their mail is held."""

from datetime import datetime

from sqlalchemy import CheckConstraint
from sqlalchemy.orm import Mapped, mapped_column

from db.domain import field_limits
from db.models.base import Base, Mutable, length


class SendingDomainRow(Mutable, Base):
    """See db.domain.sending_domains.SendingDomain."""

    __tablename__ = "sending_domains"
    __table_args__ = (
        length("domain", 1, field_limits.EMAIL_MAX),
        CheckConstraint("domain = lower(domain)", name="domain_lower"),
        CheckConstraint("(absent_since IS NULL) = (absent_until IS NULL)", name="absent_whole"),
        CheckConstraint("absent_since <= absent_until", name="absent_order"),
    )

    domain: Mapped[str] = mapped_column(primary_key=True)
    looked_at: Mapped[datetime | None]
    absent_since: Mapped[datetime | None]
    absent_until: Mapped[datetime | None]
    signed_at: Mapped[datetime | None]
