"""The system itself."""

from typing import Annotated

from pydantic import Field

from mcp_server.schemas.base import Answer, Maybe


class MaintenanceAnswer(Answer):
    matched: Annotated[int, Field(description="Events that had waited, and found their enrollment.")]
    expired: Annotated[int, Field(description="Events that have waited too long; kept to be looked at.")]
    idempotency_keys: Annotated[int, Field(description="Old keys and their answers that were forgotten.")]
    webhook_bodies: Annotated[int, Field(description="Old bodies of webhook requests that were deleted.")]
    jobs: Annotated[int, Field(description="Old finished jobs that were deleted.")]
    warning: Maybe[str] = None
