"""People, and the addresses that must not be written to."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import DDL, CheckConstraint, ForeignKey, Index, Text, event, func, literal_column
from sqlalchemy.orm import Mapped, mapped_column

from db.domain import field_limits
from db.domain.contacts import CONTACT_TEXTS
from db.domain.states import SuppressionReason
from db.models.base import Base, Created, Mutable, is_object, json_object, length, one_of, primary_key


class Contact(Mutable, Base):
    __tablename__ = "contacts"
    __table_args__ = (
        CheckConstraint(f"email ~ '{field_limits.EMAIL_PATTERN}'", name="email_shape"),
        CheckConstraint("email = lower(email)", name="email_lower"),
        CheckConstraint(f"linkedin_url ~ '{field_limits.LINKEDIN_URL_PATTERN}'", name="linkedin_url_shape"),
        CheckConstraint(
            "email IS NOT NULL OR linkedin_url IS NOT NULL OR erased_at IS NOT NULL", name="email_or_linkedin_url"
        ),
        length("email", 3, field_limits.EMAIL_MAX),
        length("linkedin_url", 1, field_limits.LINKEDIN_URL_MAX),
        length("first_name", 0, field_limits.PERSON_NAME_MAX),
        length("last_name", 0, field_limits.PERSON_NAME_MAX),
        length("company", 0, field_limits.COMPANY_MAX),
        length("title", 0, field_limits.COMPANY_MAX),
        length("timezone", 1, field_limits.TIMEZONE_MAX),
        is_object("attributes"),
        # Whatever races with an erasure can't write the person back into the row.
        CheckConstraint(
            f"erased_at IS NULL OR (num_nonnulls({', '.join(CONTACT_TEXTS)}) = 0 AND attributes = '{{}}')",
            name="erased_is_empty",
        ),
    )

    id: Mapped[UUID] = primary_key()
    email: Mapped[str | None]
    linkedin_url: Mapped[str | None]
    first_name: Mapped[str | None]
    last_name: Mapped[str | None]
    company: Mapped[str | None]
    title: Mapped[str | None]
    timezone: Mapped[str | None]
    attributes: Mapped[dict[str, Any]] = json_object()
    erased_at: Mapped[datetime | None]


Index("uq_contacts_lower_email", func.lower(Contact.email), unique=True)
Index("uq_contacts_linkedin_url", func.lower(Contact.linkedin_url), unique=True)
Index("ix_contacts_lower_company", func.lower(Contact.company), postgresql_where=Contact.company.is_not(None))
# Written out, since an expression with parameters in it is not known again where a plan is made for any.
email_domain = func.split_part(Contact.email, literal_column("'@'"), literal_column("2"), type_=Text)
# An index would make each enrolment a tenth dearer. Knowing how many people a domain has, the planner reads through the
# contacts for a small one, and through the enrollments for one that it soon meets.
event.listen(
    Contact.__table__,
    "after_create",
    DDL("CREATE STATISTICS stat_contacts_domain ON (split_part(email, '@', 2)) FROM contacts"),
)


class ContactAddress(Created, Base):
    """An address that a person had before, or gave besides; db.services.people.opt_outs tells what it is for."""

    __tablename__ = "contact_addresses"
    __table_args__ = (
        CheckConstraint("address = lower(address)", name="address_lower"),
        length("address", 3, field_limits.EMAIL_MAX),
    )

    contact_id: Mapped[UUID] = mapped_column(ForeignKey("contacts.id", ondelete="CASCADE"), primary_key=True)
    address: Mapped[str] = mapped_column(primary_key=True)


Index("ix_contact_addresses_address", ContactAddress.address)


class Consent(Base):
    """When the person of an address asked to be written to again: what they wished before holds no more."""

    __tablename__ = "consents"
    __table_args__ = (
        CheckConstraint("address = lower(address)", name="address_lower"),
        length("address", 3, field_limits.EMAIL_MAX),
    )

    address: Mapped[str] = mapped_column(primary_key=True)
    given_at: Mapped[datetime]


class Suppression(Created, Base):
    __tablename__ = "suppressions"
    __table_args__ = (
        CheckConstraint("num_nonnulls(email, domain, linkedin_url, address_hash) = 1", name="one_target"),
        CheckConstraint("email = lower(email)", name="email_lower"),
        CheckConstraint("domain = lower(domain)", name="domain_lower"),
        length("email", 3, field_limits.EMAIL_MAX),
        length("domain", 1, field_limits.EMAIL_MAX),
        length("linkedin_url", 1, field_limits.LINKEDIN_URL_MAX),
        length("source", 0, field_limits.PROVIDER_ID_MAX),
        CheckConstraint(f"octet_length(address_hash) = {field_limits.HASH_BYTES}", name="address_hash_length"),
        one_of("reason", SuppressionReason),
        CheckConstraint("expires_at IS NULL OR reason = 'manual'", name="only_manual_expires"),
    )

    id: Mapped[UUID] = primary_key()
    email: Mapped[str | None]
    domain: Mapped[str | None]
    linkedin_url: Mapped[str | None]
    # In the place of an address of somebody who was erased; db.services.erasure.erasure tells how it is made.
    address_hash: Mapped[bytes | None]
    reason: Mapped[str]
    source: Mapped[str | None]
    expires_at: Mapped[datetime | None]

    @property
    def is_erased(self) -> bool:
        """Whether it stands for somebody who was erased: nobody can tell any more who."""
        return self.address_hash is not None


for _column in (Suppression.email, Suppression.domain, Suppression.address_hash):
    Index(f"uq_suppressions_{_column.key}", _column, unique=True, postgresql_where=_column.is_not(None))
# In whatever case, since ids keep theirs where it is known, and in some tables and exports it is lost.
Index(
    "uq_suppressions_linkedin_url",
    func.lower(Suppression.linkedin_url),
    unique=True,
    postgresql_where=Suppression.linkedin_url.is_not(None),
)
# Few are temporary among many: it lists those that have run out.
Index("ix_suppressions_temporary", Suppression.id, postgresql_where=Suppression.expires_at.is_not(None))
