"""People as they come in, and the addresses that can be suppressed."""

from dataclasses import dataclass, field, fields
from typing import Any, Final
from uuid import UUID

from db.domain.states import SuppressionReason

CONSENT: Final = frozenset({SuppressionReason.UNSUBSCRIBED, SuppressionReason.COMPLAINED})
"""Reasons that are a person's own wish."""


def strength(reason: SuppressionReason) -> int:
    """Returns the weight of a reason: a person's own wish weighs more than a dead mailbox, and that more than a note by
    hand."""
    if reason in CONSENT:
        return 2
    return 1 if reason is SuppressionReason.BOUNCED else 0


CLEARED: Final = ""
"""A text that is to be emptied, where None leaves it as it is. None is kept of it."""


@dataclass(frozen=True, slots=True)
class ContactFields:
    """A person. Addresses are in their normal form (db.domain.addresses); other texts may be CLEARED.

    These are all the fields that a contact has: what writes, merges, imports, exports, fills in or erases people takes
    their names from here.
    """

    email: str | None = None
    linkedin_url: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    company: str | None = None
    title: str | None = None
    timezone: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict[str, Any])

    def values(self) -> dict[str, Any]:
        """Returns name -> value of every field."""
        return {name: getattr(self, name) for name in CONTACT_FIELDS}


CONTACT_FIELDS: Final = tuple(contact_field.name for contact_field in fields(ContactFields))
CONTACT_TEXTS: Final = tuple(
    contact_field.name for contact_field in fields(ContactFields) if contact_field.type == str | None
)
"""Those that hold one text: a column of a CSV, a variable of a step's text."""
CONTACT_ADDRESSES: Final = ("email", "linkedin_url")
"""Those by which a person is known."""


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
