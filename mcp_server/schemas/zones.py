"""Time zones, by their IANA names."""

from functools import cache
from typing import Annotated
from zoneinfo import available_timezones

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from db.domain import field_limits
from mcp_server.schemas.base import Line


@cache
def zone_names() -> frozenset[str]:
    """Returns the names of the IANA time zones."""
    # Files next to the zones that are not zones: the setting of this machine, and two for programs.
    return frozenset(available_timezones() - {"localtime", "posixrules", "Factory"})


def _zone(name: str) -> str:
    if name not in zone_names():
        raise PydanticCustomError("timezone", "must be a time zone of the IANA list, such as Europe/Berlin")
    return name


TimeZone = Annotated[Line, Field(min_length=1, max_length=field_limits.TIMEZONE_MAX), AfterValidator(_zone)]
