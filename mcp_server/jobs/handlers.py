"""The handlers of the jobs that the server runs itself. The worker imports them once it looks for a job: a client is
answered before."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from db.domain.jobs import JobType
from mcp_server.jobs.base import Handler
from mcp_server.jobs.imports import import_contacts

HANDLERS: Final[Mapping[JobType, Handler]] = MappingProxyType({JobType.IMPORT: import_contacts})
