"""People as they come in, and the addresses that can be suppressed."""

from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from db.domain.states import SuppressionReason

CONSENT: Final = frozenset({SuppressionReason.UNSUBSCRIBED, SuppressionReason.COMPLAINED})
"""Reasons that are a person's own wish."""


def strength(reason: SuppressionReason) -> int:
    """How much a reason weighs: a person's own wish more than a dead mailbox, and that more than a note by hand."""
    if reason in CONSENT:
        return 2
    return 1 if reason is SuppressionReason.BOUNCED else 0


@dataclass(frozen=True, slots=True)
class ContactFields:
    """A person. Addresses are in their normal form (db.domain.addresses)."""

    email: str | None = None
    linkedin_url: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    company: str | None = None
    title: str | None = None
    timezone: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class ContactRef:
    """Somebody to enroll: a contact that exists, or one to find or make by address."""

    contact_id: UUID | None
    fields: ContactFields


@dataclass(frozen=True, slots=True)
class SuppressionTarget:
    """An address that can be suppressed: exactly one is given, normalised as contacts are."""

    email: str | None = None
    domain: str | None = None
    linkedin_url: str | None = None

    @property
    def kind(self) -> str:
        """The name of what is given."""
        return next(name for name in ("email", "domain", "linkedin_url") if getattr(self, name) is not None)

    @property
    def value(self) -> str:
        value: str = getattr(self, self.kind)
        return value
