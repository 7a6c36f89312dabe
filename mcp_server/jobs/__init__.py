"""The jobs that the server runs itself. Agents claim all other types."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from db.domain.jobs import JobType
from mcp_server.jobs.base import Handler
from mcp_server.jobs.imports import import_contacts

HANDLERS: Final[Mapping[JobType, Handler]] = MappingProxyType({JobType.IMPORT: import_contacts})
