"""Jobs and cache entries."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import Field, JsonValue, model_validator

from db.domain.jobs import (
    MAX_ATTEMPTS,
    MAX_LEASE_SECONDS,
    MAX_NAME_CHARACTERS,
    MIN_ATTEMPTS,
    MIN_LEASE_SECONDS,
    AttemptOutcome,
    JobPriority,
    JobStatus,
    JobType,
)
from mcp_server.schemas.base import Answer, Line, Maybe, NextCursor, Second, Undo, is_nothing, no_flag

JobId = Annotated[Line, Field(min_length=1, max_length=40, description="Such as job_17")]
LeaseToken = Annotated[Line, Field(min_length=1, max_length=100)]
LeaseSeconds = Annotated[int, Field(ge=MIN_LEASE_SECONDS, le=MAX_LEASE_SECONDS), no_flag]
MaxAttempts = Annotated[int, Field(ge=MIN_ATTEMPTS, le=MAX_ATTEMPTS), no_flag]
WorkerId = Annotated[
    Line, Field(min_length=1, max_length=MAX_NAME_CHARACTERS, description="Your name, the same in each call")
]
DedupeKey = Annotated[
    Line | None,
    Field(min_length=1, max_length=MAX_NAME_CHARACTERS),
]
JobLimit = Annotated[int, Field(ge=1, le=1000), no_flag]


class AttemptOut(Answer):
    number: int
    worker_id: str
    outcome: AttemptOutcome
    error: Maybe[str] = None
    started_at: datetime
    ended_at: datetime


class JobLine(Answer):
    id: str
    type: JobType
    priority: JobPriority
    status: JobStatus
    attempts: int
    max_attempts: int
    run_at: datetime
    dedupe_key: Maybe[str] = None
    worker_id: Maybe[str] = None
    lease_until: Maybe[datetime] = None
    cancel_requested: bool
    progress: Maybe[JsonValue] = None
    error: Maybe[str] = None
    created_at: datetime
    updated_at: datetime
    started_at: Annotated[Maybe[datetime], Field(description="When it was last claimed.")] = None
    finished_at: Maybe[datetime] = None
    warnings: list[str] = []


class JobRow(Answer):
    """A job in a list, as far as its state gives it something to tell: when it is due, who holds it, when it ended."""

    id: str
    type: JobType
    priority: JobPriority
    status: JobStatus
    attempts: int
    run_at: Maybe[Second] = None
    dedupe_key: Maybe[str] = None
    worker_id: Maybe[str] = None
    progress: Maybe[JsonValue] = None
    error: Maybe[str] = None
    created_at: Second
    started_at: Maybe[Second] = None
    finished_at: Maybe[Second] = None
    cancel_requested: Annotated[bool, Field(exclude_if=is_nothing)] = False
    warnings: Annotated[list[str], Field(exclude_if=is_nothing)] = []

    @classmethod
    def of(cls, job: object) -> Self:
        row = cls.model_validate(job)
        row.run_at = row.run_at if row.status is JobStatus.PENDING else None
        row.progress = row.progress if row.status is JobStatus.PROCESSING else None
        return row


class CreatedJob(JobLine):
    existing: Annotated[bool, Field(description="A live job with the same dedupe_key was there already.")]


class JobOut(JobLine):
    """A job with its payload, and its attempts that did not complete it. Of an import the CSV itself is left out, which
    can be a million characters long."""

    parameters: JsonValue
    csv_characters: Maybe[int] = None
    result: Maybe[JsonValue] = None
    history: list[AttemptOut]

    @model_validator(mode="after")
    def _without_csv(self) -> Self:
        given = self.parameters
        if self.type is JobType.IMPORT and isinstance(given, dict) and isinstance(csv := given.get("csv"), str):
            self.csv_characters = len(csv)
            self.parameters = {name: value for name, value in given.items() if name != "csv"}
        return self


class ClaimedJobOut(Answer):
    id: str
    type: JobType
    priority: JobPriority
    attempts: int
    max_attempts: int
    parameters: JsonValue
    progress: Maybe[JsonValue] = None
    error: Maybe[str] = None
    created_at: datetime
    lease_token: str
    lease_until: datetime
    warnings: list[str] = []


class CreateJobAnswer(Answer):
    job: CreatedJob
    undo: Undo = None


class JobAnswer(Answer):
    job: JobOut


class ClaimAnswer(Answer):
    job: Annotated[ClaimedJobOut | None, Field(description="null when nothing is due.")]


class HeartbeatAnswer(Answer):
    lease_until: datetime
    cancel_requested: Annotated[bool, Field(description="Stop, and call fail_job: the job is then cancelled.")]


class JobList(Answer):
    jobs: list[JobRow] | list[JobOut]
    next_cursor: NextCursor = None


class JobStatsOut(Answer):
    total: int
    by_status: dict[JobStatus, int]
    by_type: dict[JobType, dict[JobStatus, int]]
    ready: Annotated[int, Field(description="Pending jobs that may be claimed now.")]
    scheduled: Annotated[int, Field(description="Pending jobs for later.")]
    oldest_ready_at: Maybe[datetime] = None
    next_run_at: Maybe[datetime] = None


class JobStatsAnswer(Answer):
    stats: JobStatsOut


class CacheGetAnswer(Answer):
    hit: bool
    value: JsonValue
    expires_at: Maybe[datetime] = None
    warnings: list[str] = []


class CacheSetAnswer(Answer):
    expires_at: datetime


class CacheDeleteAnswer(Answer):
    deleted: int


class CacheStatsAnswer(Answer):
    entries: int
    bytes: int
    max_bytes: int
    expired: int
    hits: int
    misses: int
    hit_rate: Annotated[float | None, Field(description="hits / gets; null before the first get.")]
    evictions: int
