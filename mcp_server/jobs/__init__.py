"""The jobs that the server does by itself. All other types are for agents to claim."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from db.domain.jobs import JobType
from mcp_server.jobs.base import Handler
from mcp_server.jobs.imports import import_contacts

HANDLERS: Final[Mapping[JobType, Handler]] = MappingProxyType({JobType.IMPORT: import_contacts})
