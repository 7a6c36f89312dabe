"""People as they come in, the canonical form of a LinkedIn address, and the addresses that a text mentions."""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote, urlsplit
from uuid import UUID

from db.domain.errors import InvalidInput
from db.domain.rules import LINKEDIN_URL_MAX, LINKEDIN_URL_PATTERN
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
    """A person. Addresses are normalised: email in lower case, linkedin_url by `normalise_linkedin_url`."""

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


def normalise_linkedin_url(url: str) -> str:
    """The one spelling of a profile's address: https://www.linkedin.com/in/name. InvalidInput if it is no profile.

    Only under /in/ does one segment name one person: /sales/ and /pub/ need more, and /company/ is nobody.
    """
    text = url.strip()
    with suppress(ValueError):  # the brackets of an IPv6 address
        parts = urlsplit(text if "://" in text else f"https://{text}")
        host = (parts.hostname or "").lower()
        match [segment for segment in unquote(parts.path).split("/") if segment]:
            case [place, name, *_] if place.lower() == "in" and name.isprintable() and "\ufffd" not in name:
                normal = f"https://www.linkedin.com/in/{name.lower()}"
                is_linkedin = host == "linkedin.com" or host.endswith(".linkedin.com")
                if is_linkedin and len(normal) <= LINKEDIN_URL_MAX and re.match(LINKEDIN_URL_PATTERN, normal):
                    return normal
            case _:
                pass
    raise InvalidInput(
        "linkedin_url must be a person's profile, linkedin.com/in/..., such as https://www.linkedin.com/in/jane-doe"
    )


_EMAIL: Final = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]+@[\w-]+(?:\.[\w-]+)+")
# What may stand in front of an address without being of it, though a mailbox could be named with it.
_BEFORE: Final = re.compile(r"[!#$%&'*/=?^`{|}~]")
_PROFILE: Final = re.compile(r"""(?:[\w-]+\.)*linkedin\.com/[^\s"'<>()\[\]{}|\\,;]+""", re.IGNORECASE)


def addresses_in(text: str) -> set[str]:
    """The emails and LinkedIn profiles that a text mentions, in their canonical form. Never a part of a longer one.

    Where it is not sure what belongs to an address, both readings are given.
    """
    found: set[str] = set()
    readings = {text, unquote(text)} if "%" in text else {text}
    for each in readings:
        if "@" in each:
            for email in _EMAIL.findall(each.lower()):
                if "xn--" in email or _BEFORE.search(email):
                    found.update(_readings(email))
                else:
                    found.add(email)
        if "inkedin" in each.lower():
            found.update(_profiles(each))
    return found


def _readings(email: str) -> Iterator[str]:
    """The address as it stands, without what may only precede it, and with its domain in Unicode."""
    mailbox, _, domain = email.rpartition("@")
    domains = {domain}
    if "xn--" in domain:
        with suppress(UnicodeError):
            domains.add(domain.encode("ascii").decode("idna"))
    starts = {0, *(match.end() for match in _BEFORE.finditer(mailbox))}
    for start in starts:
        if mailbox[start:]:
            yield from (f"{mailbox[start:]}@{each}" for each in domains)


def _profiles(text: str) -> Iterator[str]:
    for match in _PROFILE.findall(text):
        try:
            yield normalise_linkedin_url(match)
        except (InvalidInput, ValueError):
            continue
