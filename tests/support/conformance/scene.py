"""What the contracts have in common: a moment, and jobs in every state."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from db.domain.jobs import ClaimedJob, Job, JobCommand, JobStatus
from db.local.contract import JobStore

NOW = datetime(2030, 5, 1, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
STALE = "0" * 32
NOT_FINITE = [float("nan"), float("inf"), float("-inf")]


def make(jobs: JobStore, **given: Any) -> Job:
    arguments: dict[str, Any] = {"type": "enrichment", "parameters": {"company": "example.com"}, "now": NOW}
    return jobs.create(**(arguments | given))


def take(jobs: JobStore, **given: Any) -> ClaimedJob:
    arguments: dict[str, Any] = {"worker_id": "worker-1", "now": NOW}
    job = jobs.claim(**(arguments | given))
    assert job is not None
    return job


def exhaust(jobs: JobStore, job_id: str) -> None:
    """Fail the only pending job for good."""
    job = take(jobs)
    assert job.id == job_id
    jobs.fail(job.id, job.lease_token, "no such company", retry=False, now=NOW)


def in_state(jobs: JobStore, status: JobStatus) -> str:
    """A job in `status`; its token is unknown to the caller."""
    job = make(jobs)
    if status is JobStatus.CANCELLED:
        jobs.cancel(job.id, now=NOW)
    elif status is JobStatus.FAILED:
        exhaust(jobs, job.id)
    elif status is not JobStatus.PENDING:
        held = take(jobs)
        if status is JobStatus.COMPLETED:
            jobs.complete(held.id, held.lease_token, now=NOW)
    assert jobs.get(job.id, now=NOW).status is status
    return job.id


COMMANDS: dict[JobCommand, Callable[[JobStore, str], object]] = {
    JobCommand.CANCEL: lambda jobs, job_id: jobs.cancel(job_id, now=NOW),
    JobCommand.RETRY: lambda jobs, job_id: jobs.retry(job_id, now=NOW),
    JobCommand.UPDATE: lambda jobs, job_id: jobs.update(job_id, {"priority": "high"}, now=NOW),
    JobCommand.HEARTBEAT: lambda jobs, job_id: jobs.heartbeat(job_id, STALE, now=NOW),
    JobCommand.COMPLETE: lambda jobs, job_id: jobs.complete(job_id, STALE, now=NOW),
    JobCommand.FAIL: lambda jobs, job_id: jobs.fail(job_id, STALE, "late", now=NOW),
}
HELD = (JobCommand.HEARTBEAT, JobCommand.COMPLETE, JobCommand.FAIL)
