"""What the tools need from a store of jobs and from a cache, independent of the database below.

A store is correct if it passes the conformance suite. Every call that needs the time takes `now`, aware and in UTC; no
store reads a clock. All raise the errors of db.domain.errors: InvalidInput names the argument and the rule,
StoreUnavailable says what an operator can do.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple, Protocol

from db.domain.jobs import ClaimedJob, Heartbeat, Job, JobDetail, JobPage, JobPriority, JobStats

MAX_VALUE_BYTES: Final = 1_048_576
MAX_NAMESPACE_CHARACTERS: Final = 64
MAX_KEY_CHARACTERS: Final = 512
MAX_TTL_SECONDS: Final = 31_536_000
DEFAULT_CACHE_BYTES: Final = 67_108_864


class JobStore(Protocol):
    """A queue in which a job has at most one live lease, whatever the number of processes.

    When a lease runs out, its job goes back to the queue: every call below works on the queue as it is at `now`. A job
    fails after `max_attempts` claims that did not complete it, and `get` tells what happened in each.
    """

    def create(
        self,
        *,
        type: str,
        parameters: Mapping[str, object],
        priority: str = JobPriority.NORMAL,
        run_at: datetime | None = None,
        max_attempts: int = 5,
        dedupe_key: str | None = None,
        now: datetime,
    ) -> Job:
        """Returns a new pending job; or the pending or processing one with the same `dedupe_key`, marked as `existing`.

        `parameters` are at most 1 MiB of JSON. `run_at` is aware, and at most ten years ahead.
        """
        ...

    def get(self, job_id: str, *, now: datetime) -> JobDetail:
        """Returns the job with its parameters, result and history; NotFound."""
        ...

    def list(
        self,
        *,
        status: str | None = None,
        type: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
        full: bool = False,
        now: datetime,
    ) -> JobPage:
        """Returns jobs, newest first, 1..1000 a page. `full` gives JobDetail, and ends a page early rather than read
        over 4 MiB."""
        ...

    def claim(
        self, *, types: Collection[str] | None = None, worker_id: str, lease_seconds: int = 60, now: datetime
    ) -> ClaimedJob | None:
        """Leases the next job for 1..86,400 s and returns it: high before normal before low priority, then in the order
        in which they fell due."""
        ...

    def heartbeat(self, job_id: str, lease_token: str, *, progress: object = None, now: datetime) -> Heartbeat:
        """Renews the lease from `now`; LeaseLost. `progress`, at most 16 KiB of JSON, is kept after the attempt."""
        ...

    def complete(self, job_id: str, lease_token: str, *, result: object = None, now: datetime) -> None:
        """Completes a job; `result` is at most 1 MiB of JSON. LeaseLost changes nothing."""
        ...

    def fail(
        self, job_id: str, lease_token: str, error: str, *, retry: bool = True, result: object = None, now: datetime
    ) -> Job:
        """Puts a job back into the queue after a back-off, or fails it if `retry` is false or no attempt is left;
        LeaseLost.

        A job whose cancellation was requested is cancelled. `result` is what was done in spite of the failure, at most
        1 MiB of JSON.
        """
        ...

    def cancel(self, job_id: str, *, now: datetime) -> Job:
        """Cancels a pending job at once; the holder of a processing one is told at its next heartbeat."""
        ...

    def retry(self, job_id: str, *, now: datetime) -> Job:
        """Makes a failed job pending again, with all its attempts. Its history stays. Conflict if it is not
        failed."""
        ...

    def update(self, job_id: str, changes: Mapping[str, object], *, now: datetime) -> Job:
        """Changes priority, run_at, max_attempts or parameters of a pending job; any other name is refused."""
        ...

    def stats(self, *, now: datetime) -> JobStats: ...

    def prune(self, older_than: timedelta, *, now: datetime) -> int:
        """Deletes the jobs that finished longer ago. Returns how many."""
        ...


class CacheEntry(NamedTuple):
    """A stored value; if it can't be read, no hit, and None with a warning. A tuple, since tuples are cheap and every
    hit makes one."""

    value: object
    expires_at: datetime
    warnings: tuple[str, ...] = ()

    @property
    def is_hit(self) -> bool:
        return not self.warnings


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStats:
    """`expired` entries are still stored and never returned. `hit_rate` is hits / gets, None before the first get."""

    entries: int
    bytes: int
    max_bytes: int
    expired: int
    hits: int
    misses: int
    hit_rate: float | None
    evictions: int


class CacheStore(Protocol):
    """Namespaced JSON values that expire. The space is bounded: the least recently used values are evicted first."""

    def get(self, namespace: str, key: str, *, now: datetime) -> CacheEntry | None: ...

    def set(self, namespace: str, key: str, value: object, *, ttl_seconds: int, now: datetime) -> datetime:
        """Stores a value. Returns when it expires. `value` is at most 1 MiB of JSON, `ttl_seconds` 1..31,536,000."""
        ...

    def delete(self, namespace: str, key: str | None = None) -> int:
        """Deletes one entry, or without `key` the whole namespace. Returns how many were there."""
        ...

    def stats(self, *, now: datetime) -> CacheStats: ...

    def sweep(self, *, now: datetime) -> int:
        """Deletes expired entries. Returns how many."""
        ...
