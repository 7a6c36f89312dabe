"""People as they come in, and the canonical form of a LinkedIn address."""

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import UUID

from db.domain.errors import InvalidInput
from db.domain.rules import LINKEDIN_URL_MAX, LINKEDIN_URL_PATTERN


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


def normalise_linkedin_url(url: str) -> str:
    """The one spelling of a profile's address: https://www.linkedin.com/in/name. InvalidInput if it is no profile."""
    text = url.strip()
    parts = urlsplit(text if "://" in text else f"https://{text}")
    host = (parts.hostname or "").lower()
    segments = [segment for segment in unquote(parts.path).split("/") if segment]
    if not (host == "linkedin.com" or host.endswith(".linkedin.com")) or len(segments) < 2:
        raise InvalidInput("linkedin_url must be a profile such as https://www.linkedin.com/in/jane-doe")
    normal = f"https://www.linkedin.com/{segments[0].lower()}/{segments[1].lower()}"
    if len(normal) > LINKEDIN_URL_MAX or not re.match(LINKEDIN_URL_PATTERN, normal):
        raise InvalidInput("linkedin_url must be a profile such as https://www.linkedin.com/in/jane-doe")
    return normal
