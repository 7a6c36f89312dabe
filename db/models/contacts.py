"""People, and the addresses to which nobody may write."""

from datetime import datetime
from typing import Any, Final, cast
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    ColumnElement,
    ForeignKey,
    Index,
    Table,
    Text,
    UniqueConstraint,
    func,
    literal_column,
)
from sqlalchemy.orm import Mapped, mapped_column

from db.domain import field_limits
from db.domain.addresses import PROFILE_PREFIX
from db.domain.contacts import CONTACT_TEXTS
from db.domain.states import SuppressionReason
from db.models.base import Base, Created, Mutable, is_object, json_object, length, of_campaign, one_of, primary_key


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
        # A write that races with an erasure can't write the person back into the row.
        CheckConstraint(
            f"erased_at IS NULL OR (num_nonnulls({', '.join(CONTACT_TEXTS)}) = 0 AND attributes = '{{}}')",
            name="erased_is_empty",
        ),
        CheckConstraint(
            "num_nulls(absent_from, absent_until) <> 1 AND (absent_from IS NULL OR absent_from < absent_until)",
            name="absence",
        ),
        CheckConstraint("erased_at IS NULL OR absent_until IS NULL", name="absence_of_nobody"),
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
    # The person is away: nothing goes out in any campaign until then.
    absent_from: Mapped[datetime | None]
    absent_until: Mapped[datetime | None]


# With text_pattern_ops an index finds in any collation how a text starts, and what it equals.
Index(
    "uq_contacts_email",
    func.lower(Contact.email).label("email"),
    unique=True,
    postgresql_ops={"email": "text_pattern_ops"},
)
Index("uq_contacts_linkedin_url", func.lower(Contact.linkedin_url), unique=True)
# Of everybody: PostgreSQL does not use the statistics of an index that leaves somebody out.
Index("ix_contacts_company", func.lower(Contact.company))
FULL_NAME: Final = "lower(coalesce(first_name || ' ', '') || coalesce(last_name, ''))"
"""The name of a contact as it is looked for by its start."""
Index("ix_contacts_last_name", func.lower(Contact.last_name).label("name"), postgresql_ops={"name": "text_pattern_ops"})
Index(
    "ix_contacts_full_name",
    literal_column(f"({FULL_NAME})", Text).label("name"),
    postgresql_ops={"name": "text_pattern_ops"},
    _table=cast("Table", Contact.__table__),
)
# Backwards, so that the domains of a company stand beside one another. Without parameters: the planner recognises no
# expression that has some in a generic plan.
DOMAIN_BACKWARDS: Final = "reverse(split_part({row}.email, '@', 2))"
"""The domain of a contact's address, from its end."""
_domain_backwards = func.reverse(func.split_part(Contact.email, literal_column("'@'"), literal_column("2")), type_=Text)
Index("ix_contacts_domain", _domain_backwards.label("domain"), postgresql_ops={"domain": "text_pattern_ops"})


def has_domain(domain: str) -> ColumnElement[bool]:
    """Returns the rule that the address of a contact is at this domain, and at none below it."""
    return _domain_backwards == domain[::-1]


class ContactAddress(Created, Base):
    """A former or further address of a person; db.services.people.opt_outs says what it is for."""

    __tablename__ = "contact_addresses"
    __table_args__ = (
        CheckConstraint("address = lower(address)", name="address_lower"),
        length("address", 3, field_limits.EMAIL_MAX),
        length("same_as", 3, field_limits.EMAIL_MAX),
    )

    contact_id: Mapped[UUID] = mapped_column(ForeignKey("contacts.id", ondelete="CASCADE"), primary_key=True)
    address: Mapped[str] = mapped_column(primary_key=True)
    # The address in the contact's row, in lower case, if this is another spelling of it which another contact has.
    same_as: Mapped[str | None]


Index("ix_contact_addresses_address", ContactAddress.address)


class Consent(Base):
    """What was said of an address after it was suppressed. Earlier wishes and bounces no longer hold."""

    __tablename__ = "consents"
    __table_args__ = (
        CheckConstraint("address = lower(address)", name="address_lower"),
        CheckConstraint("num_nonnulls(given_at, works_at) > 0", name="says_something"),
        length("address", 3, field_limits.EMAIL_MAX),
    )

    address: Mapped[str] = mapped_column(primary_key=True)
    # When its person agreed to get mail again: no earlier wish suppresses the address.
    given_at: Mapped[datetime | None]
    # When somebody last lifted a bounce of it: no earlier bounce suppresses the address.
    works_at: Mapped[datetime | None]


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
        one_of("replaced_reason", SuppressionReason),
        length("replaced_source", 0, field_limits.PROVIDER_ID_MAX),
        CheckConstraint(
            "replaced_reason IS NOT NULL OR (replaced_source IS NULL AND replaced_expires_at IS NULL)",
            name="replaced_whole",
        ),
        CheckConstraint(
            "replaced_expires_at IS NULL OR replaced_reason = 'manual'", name="replaced_only_manual_expires"
        ),
    )

    id: Mapped[UUID] = primary_key()
    email: Mapped[str | None]
    domain: Mapped[str | None]
    linkedin_url: Mapped[str | None]
    # The hash replaces the address of an erased person; db.services.erasure.erasure says how it is made.
    address_hash: Mapped[bytes | None]
    reason: Mapped[str]
    source: Mapped[str | None]
    expires_at: Mapped[datetime | None]
    # Another suppression of the address, which stands alone when this one is taken back: the weaker one that it has
    # replaced, or, of one that a mail has made, the strongest that others have told since.
    replaced_reason: Mapped[str | None]
    replaced_source: Mapped[str | None]
    replaced_expires_at: Mapped[datetime | None]

    @property
    def is_erased(self) -> bool:
        """Whether it is for an erased person. Nobody can tell any more who that was."""
        return self.address_hash is not None


class CampaignExclusion(Created, Base):
    """An address that one campaign must not write to: an email, a profile, or a domain with an @ in front of it."""

    __tablename__ = "campaign_exclusions"
    __table_args__ = (
        CheckConstraint("address = lower(address)", name="address_lower"),
        length("address", 2, field_limits.EMAIL_MAX + 1),
        length("source", 0, field_limits.PROVIDER_ID_MAX),
        one_of("reason", SuppressionReason),
        UniqueConstraint("instance_id", "address"),
    )

    campaign_id: Mapped[UUID] = of_campaign()
    id: Mapped[UUID] = primary_key()
    address: Mapped[str]
    reason: Mapped[str]
    source: Mapped[str | None]

    @property
    def email(self) -> str | None:
        return None if self.domain or self.linkedin_url else self.address

    @property
    def domain(self) -> str | None:
        return self.address[1:] if self.address.startswith("@") else None

    @property
    def linkedin_url(self) -> str | None:
        return self.address if self.address.startswith(PROFILE_PREFIX) else None


for _column in (Suppression.email, Suppression.domain, Suppression.address_hash):
    Index(f"uq_suppressions_{_column.key}", _column, unique=True, postgresql_where=_column.is_not(None))
# In any case: ids keep their case where it is known, but some tables and exports lose it.
Index(
    "uq_suppressions_linkedin_url",
    func.lower(Suppression.linkedin_url),
    unique=True,
    postgresql_where=Suppression.linkedin_url.is_not(None),
)
# It finds the suppressions that have expired; few of them have an end.
Index("ix_suppressions_temporary", Suppression.id, postgresql_where=Suppression.expires_at.is_not(None))
