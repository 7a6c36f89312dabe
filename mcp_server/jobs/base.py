"""What the handler of a built-in job gets."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from db.domain.jobs import ClaimedJob
from mcp_server.process.app import App


@dataclass(frozen=True, slots=True)
class Work:
    """A claimed job. `beat(progress)` renews its lease. It raises when the handler must stop; handlers don't catch
    that."""

    app: App
    job: ClaimedJob
    beat: Callable[[Mapping[str, object]], None]


Handler = Callable[[Work], dict[str, Any]]
"""Does the job and returns its result. StoreUnavailable is tried again; any other refusal fails the job for good."""
