"""The resources: what each is, and what an address of it looks like. toolsets.py says which are offered."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from mcp.server.mcpserver.exceptions import ResourceNotFoundError

from db.domain.errors import FOUND_BY


@dataclass(frozen=True, slots=True)
class Resource:
    """One record by its id."""

    noun: str
    title: str
    description: str

    @property
    def uri_template(self) -> str:
        return f"{self.noun}://{{id}}"


RESOURCES: tuple[Resource, ...] = (
    Resource(
        "campaign",
        "A campaign",
        "A campaign as get_campaign shows it, with its totals and rates, and what holds it back.",
    ),
    Resource(
        "template",
        "A template",
        "A template with all its steps as get_template shows it, and warnings of variables that nobody can have.",
    ),
    Resource(
        "enrollment",
        "An enrollment",
        "An enrollment as get_enrollment shows it: the person, steps done, latest events, and what holds it back.",
    ),
)


def check_address(uri: str, offered: Mapping[str, Resource]) -> None:
    """Raises ResourceNotFoundError for an address that no record can have. The SDK only says that it is unknown."""
    noun, _, record_id = uri.partition("://")
    resource = offered.get(noun)
    if resource is None:
        there = ", ".join(f"{offer}://ID" for offer in offered) or "none with the toolsets of this server"
        raise ResourceNotFoundError(f"No resource has this address. There are: {there}.")
    if not _is_uuid(record_id):
        raise ResourceNotFoundError(
            f"{noun}:// takes the id of one {noun}, which is a UUID, and nothing else. {FOUND_BY[noun]}"
        )


def _is_uuid(text: str) -> bool:
    """Returns whether an id is written as the tools show it: UUID itself takes other spellings, which the SDK would not
    find."""
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False
