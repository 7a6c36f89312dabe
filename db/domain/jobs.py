"""The job queue's words, limits and rules: what a store of jobs must keep, whatever it is built on."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from db.domain.errors import InvalidTransition


class JobStatus(StrEnum):
    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class JobType(StrEnum):
    """A new one goes to the end: the place of each is stored with its jobs (db.local.slots has room for seven)."""

    IMPORT = "import"
    ENRICHMENT = "enrichment"
    DISCOVERY = "discovery"
    OUTREACH = "outreach"
    CRM_SYNC = "crm_sync"


class JobPriority(StrEnum):
    """Claimed in this order; first in, first out within one."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class JobCommand(StrEnum):
    """What moves a job. All but the last are what a client calls."""

    CLAIM = "claim_job"
    HEARTBEAT = "heartbeat_job"
    COMPLETE = "complete_job"
    FAIL = "fail_job"
    CANCEL = "cancel_job"
    RETRY = "retry_job"
    UPDATE = "update_job"
    EXPIRE = "expire"


class AttemptOutcome(StrEnum):
    """How an attempt that did not complete its job ended."""

    FAILED = "failed"
    EXPIRED = "expired"


LIVE: Final = frozenset({JobStatus.PENDING, JobStatus.PROCESSING})

_ENDED_EARLY = (JobStatus.PENDING, JobStatus.FAILED, JobStatus.CANCELLED)

# Each (state, command) lists every state that may follow: an attempt that ends early goes back to the queue, or fails
# for good once its attempts are used up, or is cancelled when that was asked for while it ran.
JOB_TRANSITIONS: Final[Mapping[tuple[JobStatus, JobCommand], tuple[JobStatus, ...]]] = MappingProxyType(
    {
        (JobStatus.PENDING, JobCommand.CLAIM): (JobStatus.PROCESSING,),
        (JobStatus.PENDING, JobCommand.CANCEL): (JobStatus.CANCELLED,),
        (JobStatus.PENDING, JobCommand.UPDATE): (JobStatus.PENDING,),
        (JobStatus.PROCESSING, JobCommand.HEARTBEAT): (JobStatus.PROCESSING,),
        (JobStatus.PROCESSING, JobCommand.COMPLETE): (JobStatus.COMPLETED,),
        (JobStatus.PROCESSING, JobCommand.FAIL): _ENDED_EARLY,
        (JobStatus.PROCESSING, JobCommand.CANCEL): (JobStatus.PROCESSING,),
        (JobStatus.PROCESSING, JobCommand.EXPIRE): _ENDED_EARLY,
        (JobStatus.FAILED, JobCommand.RETRY): (JobStatus.PENDING,),
    }
)

MIN_LEASE_SECONDS: Final = 1
MAX_LEASE_SECONDS: Final = 86_400
MIN_ATTEMPTS: Final = 1
MAX_ATTEMPTS: Final = 100
MAX_SCHEDULE: Final = timedelta(days=3650)
MAX_PAYLOAD_BYTES: Final = 1_048_576
MAX_PROGRESS_BYTES: Final = 16_384
MAX_ERROR_CHARACTERS: Final = 10_000
MAX_NAME_CHARACTERS: Final = 200
MIN_PAGE: Final = 1
MAX_PAGE: Final = 1000
MAX_HISTORY: Final = 100

# The whitelist: what `update` may change of a pending job. Nothing else reaches a statement.
UPDATABLE: Final = frozenset({"priority", "run_at", "max_attempts", "parameters"})

FIRST_BACKOFF: Final = timedelta(seconds=2)
LONGEST_BACKOFF: Final = timedelta(hours=1)


def backoff(attempt: int, jitter: float) -> timedelta:
    """Returns the wait before the attempt after number `attempt` (1 for the first).

    It doubles from 2 s up to an hour. `jitter` in 0..1 spreads it over the upper half of that, so that jobs which
    failed together do not come back together.
    """
    whole = min(FIRST_BACKOFF * 2 ** min(attempt - 1, 20), LONGEST_BACKOFF)
    return whole * (0.5 + jitter / 2)


def backoff_after_expiry(attempt: int, jitter: float) -> timedelta:
    """Returns the wait after a lease that ran out, from its end: none the first time, since the lease itself was a
    wait."""
    return timedelta(0) if attempt <= 1 else backoff(attempt - 1, jitter)


def allow_job(state: JobStatus, command: JobCommand) -> tuple[JobStatus, ...]:
    """Returns the states that may follow `command`; InvalidTransition names what a client may call instead."""
    after = JOB_TRANSITIONS.get((state, command))
    if after is None:
        raise InvalidTransition("job", state, command, _client_commands(state))
    return after


def _client_commands(state: JobStatus) -> tuple[str, ...]:
    return tuple(str(command) for at, command in JOB_TRANSITIONS if at == state and command is not JobCommand.EXPIRE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt that did not complete its job. `number` counts from 1 over the whole life of the job."""

    number: int
    worker_id: str
    outcome: AttemptOutcome
    error: str | None
    started_at: datetime
    ended_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job without its payload. Times are aware UTC; `progress` is whatever JSON the holder last sent.

    `run_at` is the time from which it may be claimed. `attempts` counts the claims since it was created or retried.
    `existing` says that `create` found a live job under the same dedupe_key instead of making one. `warnings` name the
    fields that are None because what is stored there can't be read.
    """

    id: str
    type: JobType
    priority: JobPriority
    status: JobStatus
    attempts: int
    max_attempts: int
    run_at: datetime
    dedupe_key: str | None
    worker_id: str | None
    lease_until: datetime | None
    cancel_requested: bool
    progress: object
    error: str | None
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    existing: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDetail(Job):
    """A job with its payload and its attempts that failed or expired, oldest first, at most the last 100."""

    parameters: object
    result: object
    history: tuple[Attempt, ...]


class ClaimedJob(NamedTuple):
    """What a holder needs: the work, and the token for heartbeat, complete and fail. It is processing by now.

    `progress` and `error` are what the attempt before this one left. Made on every claim, hence lean, and a tuple: a
    frozen dataclass takes several times as long to make.
    """

    id: str
    type: JobType
    priority: JobPriority
    attempts: int
    max_attempts: int
    parameters: object
    progress: object
    error: str | None
    created_at: datetime
    lease_token: str
    lease_until: datetime
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """`cancel_requested` asks the holder to stop and to call fail_job, which then cancels the job."""

    lease_until: datetime
    cancel_requested: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPage:
    """Newest first. `next_cursor` is None on the last page."""

    jobs: tuple[Job, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStats:
    """Counts of the jobs that are stored now. `ready` may be claimed now, `scheduled` later; both are pending."""

    total: int
    by_status: Mapping[JobStatus, int]
    by_type: Mapping[JobType, Mapping[JobStatus, int]]
    ready: int
    scheduled: int
    oldest_ready_at: datetime | None
    next_run_at: datetime | None
