"""People and suppressions."""

from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from db.domain import field_limits, texts
from db.domain.addresses import bare_address, domain_in_unicode, normalise_email, normalise_linkedin_url
from db.domain.contacts import CONTACT_FIELDS, ContactFields, ContactRef
from db.domain.errors import InvalidInput
from db.domain.states import SuppressionReason
from mcp_server.schemas.base import Answer, Given, JsonObject, Maybe, Prose, Second, is_nothing
from mcp_server.schemas.campaigns import TimeZone


def _email(text: str) -> str:
    # Imported at the first address: a server starts without it.
    from email_validator import EmailNotValidError, validate_email  # noqa: PLC0415

    try:
        # Reserved names such as .test are somebody's test data, and whether mail arrives is the provider's to say.
        # strict: the length of RFC 5321, without which no server takes the mail.
        valid = validate_email(text.strip(), check_deliverability=False, test_environment=True, strict=True)
    except EmailNotValidError as error:
        raise PydanticCustomError("email", "{reason}", {"reason": f"not an email address: {error}"}) from None
    return normalise_email(valid.normalized)


def _linkedin_url(text: str) -> str:
    try:
        return normalise_linkedin_url(text)
    except InvalidInput as error:
        raise PydanticCustomError(
            "linkedin_url", "{reason}", {"reason": str(error).removeprefix("linkedin_url ")}
        ) from None


def _bare(given: object) -> object:
    return bare_address(given) if isinstance(given, str) else given


Email = Annotated[
    Prose, Field(min_length=3, max_length=field_limits.EMAIL_MAX), AfterValidator(_email), BeforeValidator(_bare)
]
"""An address in its normal form, read as mail programs write it."""
LinkedInUrl = Annotated[Prose, Field(min_length=5, max_length=2_000), AfterValidator(_linkedin_url)]


def _domain(text: str) -> str:
    """A domain in the spelling that it has in emails: in lower case, and in Unicode where it came as punycode."""
    from email_validator import EmailNotValidError, validate_email  # noqa: PLC0415  as above

    name = text.strip().removeprefix("@").rstrip(".")
    try:
        valid = validate_email(f"postmaster@{name}", check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        raise PydanticCustomError("domain", "not a domain; write one such as example.com") from None
    return domain_in_unicode(valid.domain.lower())


Domain = Annotated[Prose, Field(min_length=3, max_length=255), AfterValidator(_domain)]


def _one_line(text: str) -> str:
    return "" if texts.is_blank(text) else texts.composed(texts.one_line(text).strip())


# Cells of spreadsheets have line breaks, and senders write headers of names.
_Tidied = Annotated[Prose, AfterValidator(_one_line)]
PersonName = Annotated[_Tidied, Field(max_length=field_limits.PERSON_NAME_MAX)]
CompanyName = Annotated[_Tidied, Field(max_length=field_limits.COMPANY_MAX)]


class _PersonIn(Given):
    """Every field of a person; db.domain.contacts.ContactFields has the same."""

    email: Email | None = None
    linkedin_url: LinkedInUrl | None = None
    first_name: PersonName | None = None
    last_name: PersonName | None = None
    company: CompanyName | None = None
    title: CompanyName | None = None
    timezone: TimeZone | None = None
    attributes: JsonObject = {}

    def to_fields(self) -> ContactFields:
        return ContactFields(**{name: getattr(self, name) for name in CONTACT_FIELDS})


class ContactIn(_PersonIn):
    """Known by email, linkedin_url or both"""

    @model_validator(mode="after")
    def _has_address(self) -> Self:
        if self.email is None and self.linkedin_url is None:
            raise ValueError("give email or linkedin_url")
        return self


class _Known(Given):
    contact_id: UUID | None = None


class EnrollIn(_PersonIn, _Known):  # pydantic shows the fields of the last base first
    """contact_id of a contact that exists, or the person's fields with email or linkedin_url"""

    @model_validator(mode="after")
    def _is_somebody(self) -> Self:
        if self.contact_id is None and self.email is None and self.linkedin_url is None:
            raise ValueError("give contact_id, email or linkedin_url")
        return self

    def to_ref(self) -> ContactRef:
        return ContactRef(self.contact_id, self.to_fields())


class ContactOut(Answer):
    id: UUID
    email: Maybe[str] = None
    linkedin_url: Maybe[str] = None
    first_name: Maybe[str] = None
    last_name: Maybe[str] = None
    company: Maybe[str] = None
    title: Maybe[str] = None
    timezone: Maybe[str] = None
    attributes: Maybe[dict[str, Any]] = None
    erased_at: Maybe[datetime] = None

    @model_validator(mode="after")
    def _tells_nothing_else_once_erased(self) -> Self:
        if self.erased_at is not None:
            self.attributes = None
        return self

    @classmethod
    def of(cls, row: object, detail: str, *, among_many: bool = False) -> Self:
        """`among_many`: in a concise list, one address tells who it is."""
        contact = cls.model_validate(row)
        if detail == "concise":
            contact.timezone = contact.attributes = None
            if among_many and contact.email is not None:
                contact.linkedin_url = None
        return contact


class ContactList(Answer):
    contacts: list[ContactOut]
    next_cursor: Maybe[str] = None


class UpsertRow(Answer):
    index: int
    status: Annotated[str, Field(description="created, updated, merged (into an earlier row) or invalid")]
    contact_id: Maybe[UUID] = None
    reason: Maybe[str] = None


class UpsertAnswer(Answer):
    created: int
    updated: int
    merged: Annotated[int, Field(exclude_if=is_nothing, description="Of the updated, into an earlier row")] = 0
    invalid: int
    results: list[UpsertRow]


class SuppressionOut(Answer):
    """One address that is not written to; of somebody who was erased no address is known any more."""

    id: UUID
    email: Maybe[str] = None
    domain: Maybe[str] = None
    linkedin_url: Maybe[str] = None
    is_erased: Annotated[bool, Field(exclude_if=is_nothing)] = False
    reason: SuppressionReason
    source: Maybe[str] = None
    created_at: Second
    expires_at: Maybe[Second] = None


class SuppressAnswer(Answer):
    suppression: SuppressionOut
    stopped_enrollments: int


class UnsuppressAnswer(Answer):
    """`lifted` is gone. What is in `still_suppressed_by` keeps the person from being written to all the same."""

    lifted: SuppressionOut
    still_suppressed_by: list[SuppressionOut]


class SuppressionList(Answer):
    suppressions: list[SuppressionOut]
    next_cursor: Maybe[str] = None


class EraseAnswer(Answer):
    """How many rows of each kind held something of the person. contact_id is left out for who was no contact."""

    contact_id: Maybe[UUID] = None
    erased_at: datetime
    was_erased_before: bool
    stopped_enrollments: int
    suppressions: int
    events: int
    orphaned_events: int
    kept_answers: int
    webhook_bodies: int
    jobs: int
    cache_entries: int
