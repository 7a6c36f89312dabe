"""People and suppressions."""

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self, cast
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, model_validator
from pydantic_core import PydanticCustomError

from db.domain import field_limits, texts
from db.domain.addresses import bare_address, domain_in_unicode, normalise_email, normalise_linkedin_url
from db.domain.contacts import CLEARED, CONTACT_FIELDS, ContactFields, ContactRef, SuppressionTarget
from db.domain.errors import InvalidInput
from db.domain.states import SuppressionReason
from mcp_server.schemas.base import (
    Answer,
    Given,
    JsonObject,
    Maybe,
    NextCursor,
    Prose,
    RowOut,
    Second,
    Undo,
    is_nothing,
    storable,
    untold,
)
from mcp_server.schemas.zones import TimeZone


def _email(text: str) -> str:
    # Imported at the first address, so that a server starts faster.
    from email_validator import EmailNotValidError, validate_email  # noqa: PLC0415

    try:
        # Reserved names such as .test are allowed, since they are test data; the provider tells whether mail arrives.
        # strict: the maximum length of RFC 5321, beyond which no server accepts the mail.
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
    """Returns a domain as it is spelled in emails: in lower case, and in Unicode if it was given as punycode."""
    from email_validator import EmailNotValidError, validate_email  # noqa: PLC0415  as above

    name = text.strip().removeprefix("@").rstrip(".")
    try:
        valid = validate_email(f"postmaster@{name}", check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        raise PydanticCustomError("domain", "not a domain; write one such as example.com") from None
    return domain_in_unicode(valid.domain.lower())


Domain = Annotated[Prose, Field(min_length=3, max_length=255), AfterValidator(_domain)]


def _target(text: object) -> SuppressionTarget:
    """Returns a target of a suppression: a profile, a domain, or else an email."""
    if not isinstance(text, str):
        raise PydanticCustomError("string_type", "must be text")
    if len(storable(text)) > _TARGET_MAX:
        raise PydanticCustomError("long", "must have at most {most} characters", {"most": _TARGET_MAX})
    if "linkedin.com/" in text.lower():
        return SuppressionTarget(linkedin_url=_linkedin_url(text))
    address = bare_address(text)
    if "@" in address[1:]:
        return SuppressionTarget(email=_email(address))
    return SuppressionTarget(domain=_domain(address))


_TARGET_MAX: Final = 2_000
Suppressible = Annotated[SuppressionTarget, PlainValidator(_target, json_schema_input_type=str)]
"""An email, a domain or a LinkedIn profile, given as a text."""


def _one_line(text: str) -> str:
    return "" if texts.is_blank(text) else texts.composed(texts.one_line(text).strip())


# Cells of spreadsheets contain line breaks, and senders write names into headers.
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

    @model_validator(mode="before")
    @classmethod
    def _without_blank_cells(cls, given: object) -> object:
        if not isinstance(given, dict):
            return given
        cells = cast("dict[str, Any]", given)
        return {name: None if isinstance(cell, str) and texts.is_blank(cell) else cell for name, cell in cells.items()}

    def to_fields(self) -> ContactFields:
        return ContactFields(**{name: getattr(self, name) for name in CONTACT_FIELDS})


Cleared = Literal["first_name", "last_name", "company", "title", "timezone"]


class ContactIn(_PersonIn):
    """Known by email, linkedin_url or both"""

    clear: Annotated[list[Cleared] | None, Field(description="Fields to empty")] = None

    @model_validator(mode="after")
    def _has_address(self) -> Self:
        if self.email is None and self.linkedin_url is None:
            raise ValueError("give email or linkedin_url")
        return self

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        both = [name for name in self.clear or () if getattr(self, name) is not None]
        if both:
            raise ValueError(f"{both[0]} is given, and in clear: do one of the two")
        return self

    def to_fields(self) -> ContactFields:
        return replace(super().to_fields(), **dict.fromkeys(self.clear or (), CLEARED))


class _Known(Given):
    contact_id: UUID | None = None


class EnrollIn(_PersonIn, _Known):  # pydantic lists the fields of the last base first
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
    absent_until: Annotated[Maybe[datetime], Field(description="Away: gets nothing in any campaign until then.")] = None
    erased_at: Maybe[datetime] = None

    @model_validator(mode="after")
    def _tells_nothing_else_once_erased(self) -> Self:
        if self.erased_at is not None:
            self.attributes = None
        return self

    @classmethod
    def of(cls, row: object, detail: str, *, among_many: bool = False) -> Self:
        """`among_many`: in a concise list, one address is enough to identify a person."""
        contact = cls.model_validate(row)
        if detail == "concise":
            contact.timezone = contact.attributes = None
            if among_many and contact.email is not None:
                contact.linkedin_url = None
        return contact


class ContactList(Answer):
    contacts: list[ContactOut]
    next_cursor: NextCursor = None


class UpsertRow(RowOut):
    status: Annotated[str, Field(description="created, updated, merged (into an earlier row) or invalid")]
    contact_id: Maybe[UUID] = None


class UpsertAnswer(Answer):
    created: int
    updated: Annotated[int, untold]
    merged: Annotated[int, Field(exclude_if=is_nothing, description="Of the updated, into an earlier row")] = 0
    invalid: Annotated[int, untold]
    results: list[UpsertRow]


class SuppressionOut(Answer):
    """One address that is not written to: by nobody, or not by the campaign that is named. Of somebody who was erased
    no address is known any more."""

    id: UUID
    campaign_id: Maybe[UUID] = None
    email: Maybe[str] = None
    domain: Maybe[str] = None
    linkedin_url: Maybe[str] = None
    is_erased: Annotated[bool, Field(exclude_if=is_nothing)] = False
    reason: SuppressionReason
    source: Maybe[str] = None
    created_at: Second
    expires_at: Maybe[Second] = None


class SuppressRow(RowOut):
    status: Annotated[str, Field(description="refused or invalid")]


class SuppressAnswer(Answer):
    """Of one address, how it is held now. Of `addresses`, how many became what, and those that were not taken."""

    suppression: Maybe[SuppressionOut] = None
    suppressed: Maybe[int] = None
    already_suppressed: Annotated[Maybe[int], untold] = None
    refused: Annotated[Maybe[int], untold] = None
    invalid: Annotated[Maybe[int], untold] = None
    stopped_enrollments: Annotated[int, untold]
    results: Maybe[list[SuppressRow]] = None
    undo: Undo = None


class UnsuppressAnswer(Answer):
    """`lifted` is gone. What is in `still_suppressed_by` keeps the person from being written to all the same."""

    lifted: SuppressionOut
    still_suppressed_by: list[SuppressionOut]
    undo: Undo = None


class SuppressionList(Answer):
    suppressions: list[SuppressionOut]
    next_cursor: NextCursor = None


class EraseAnswer(Answer):
    """How many rows of each kind held something of the person. contact_id is left out for who was no contact."""

    contact_id: Maybe[UUID] = None
    erased_at: datetime
    was_erased_before: Annotated[bool, untold]
    stopped_enrollments: Annotated[int, untold]
    suppressions: Annotated[int, untold]
    events: Annotated[int, untold]
    orphaned_events: Annotated[int, untold]
    kept_answers: Annotated[int, untold]
    messages: Annotated[int, untold]
    webhook_bodies: Annotated[int, untold]
    jobs: Annotated[int, untold]
    cache_entries: Annotated[int, untold]
