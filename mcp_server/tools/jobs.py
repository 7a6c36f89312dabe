"""The job queue that agent loops share."""

from typing import Annotated

from pydantic import Field, JsonValue

from db.domain.jobs import MAX_ERROR_CHARACTERS, JobPriority, JobStatus, JobType
from mcp_server.calls import toolsets
from mcp_server.calls.call import Call
from mcp_server.schemas.base import Cursor, Detail, Moment, Prose, given, spelled
from mcp_server.schemas.jobs import (
    ClaimAnswer,
    ClaimedJobOut,
    CreatedJob,
    CreateJobAnswer,
    DedupeKey,
    HeartbeatAnswer,
    JobAnswer,
    JobId,
    JobLimit,
    JobList,
    JobOut,
    JobRow,
    JobStatsAnswer,
    JobStatsOut,
    LeaseSeconds,
    LeaseToken,
    MaxAttempts,
    WorkerId,
)

ErrorText = Annotated[Prose, Field(min_length=1, max_length=MAX_ERROR_CHARACTERS)]


@toolsets.jobs.write("Create a job")
def create_job(
    call: Call,
    type: JobType,
    parameters: dict[str, JsonValue],
    priority: JobPriority = JobPriority.NORMAL,
    run_at: Moment | None = None,
    max_attempts: MaxAttempts = 5,
    dedupe_key: DedupeKey = None,
) -> CreateJobAnswer:
    """Queue a job, for now or for run_at; whoever claims it does it. parameters: up to 1 MiB.

    If a live job has the same dedupe_key, it is the answer instead (existing=true). Next: claim_job, or get_job.
    """
    job = call.jobs.create(
        type=type,
        parameters=parameters,
        priority=priority,
        run_at=run_at,
        max_attempts=max_attempts,
        dedupe_key=dedupe_key,
        now=call.now,
    )
    undo = None if job.existing else spelled("cancel_job", job_id=job.id)
    return CreateJobAnswer(job=CreatedJob.model_validate(job), undo=undo)


@toolsets.jobs.read("Get a job")
def get_job(call: Call, job_id: JobId) -> JobAnswer:
    """Show a job: state, parameters (without an import's CSV), progress, result, and the attempts that did not complete
    it."""
    return _detail(call, job_id)


@toolsets.jobs.read("List jobs")
def list_jobs(
    call: Call,
    status: JobStatus | None = None,
    type: JobType | None = None,
    limit: JobLimit = 50,
    cursor: Cursor = None,
    detail: Detail = "concise",
) -> JobList:
    """List jobs, newest first; full adds parameters, result and history. For counts: get_job_stats."""
    is_full = detail == "full"
    page = call.jobs.list(status=status, type=type, limit=limit, cursor=cursor, full=is_full, now=call.now)
    if is_full:
        return JobList(jobs=[JobOut.model_validate(job) for job in page.jobs], next_cursor=page.next_cursor)
    return JobList(jobs=[JobRow.of(job) for job in page.jobs], next_cursor=page.next_cursor)


@toolsets.jobs.write("Claim a job", is_audited=False)
def claim_job(
    call: Call,
    worker_id: WorkerId,
    types: Annotated[list[JobType] | None, Field(min_length=1, max_length=len(JobType))] = None,
    lease_seconds: LeaseSeconds = 60,
) -> ClaimAnswer:
    """Take the next job: by priority, then the one due longest; null when none is due.

    It is yours until lease_until: heartbeat_job extends that, complete_job or fail_job end it, with the lease_token. A
    job whose lease runs out goes back.
    """
    job = call.jobs.claim(types=types, worker_id=worker_id, lease_seconds=lease_seconds, now=call.now)
    return ClaimAnswer(job=None if job is None else ClaimedJobOut.model_validate(job))


@toolsets.jobs.write("Keep a job", is_audited=False, idempotent=True)
def heartbeat_job(call: Call, job_id: JobId, lease_token: LeaseToken, progress: JsonValue = None) -> HeartbeatAnswer:
    """Renew the lease of your job, and note its progress. cancel_requested=true: stop and call fail_job. A lost lease
    is refused: somebody else has the job."""
    beat = call.jobs.heartbeat(job_id, lease_token, progress=progress, now=call.now)
    return HeartbeatAnswer.model_validate(beat)


@toolsets.jobs.write("Complete a job", is_audited=False)
def complete_job(call: Call, job_id: JobId, lease_token: LeaseToken, result: JsonValue = None) -> JobAnswer:
    """Report your job done, with a result of up to 1 MiB. A lost lease is refused and changes nothing."""
    call.jobs.complete(job_id, lease_token, result=result, now=call.now)
    return _detail(call, job_id)


@toolsets.jobs.write("Fail a job", is_audited=False)
def fail_job(
    call: Call,
    job_id: JobId,
    lease_token: LeaseToken,
    error: ErrorText,
    retry: bool = True,
    result: JsonValue = None,
) -> JobAnswer:
    """Report that your job failed: it comes back after a pause, up to max_attempts, then it is failed; with
    retry=false, at once. result: what was done all the same."""
    call.jobs.fail(job_id, lease_token, error, retry=retry, result=result, now=call.now)
    return _detail(call, job_id)


@toolsets.jobs.write("Change a pending job", idempotent=True)
def update_job(
    call: Call,
    job_id: JobId,
    priority: JobPriority | None = None,
    run_at: Moment | None = None,
    max_attempts: MaxAttempts | None = None,
    parameters: dict[str, JsonValue] | None = None,
) -> JobAnswer:
    """Change a job that nobody has claimed; parameters replace all those it has."""
    changes = given(priority=priority, run_at=run_at, max_attempts=max_attempts, parameters=parameters)
    call.jobs.update(job_id, changes, now=call.now)
    return _detail(call, job_id)


@toolsets.jobs.write("Cancel a job", destructive=True, idempotent=True)
def cancel_job(call: Call, job_id: JobId) -> JobAnswer:
    """Cancel a pending job at once; the holder of a processing one is told at its next heartbeat."""
    call.jobs.cancel(job_id, now=call.now)
    return _detail(call, job_id)


@toolsets.jobs.write("Retry a failed job")
def retry_job(call: Call, job_id: JobId) -> JobAnswer:
    """Put a failed job back into the queue with all its attempts; its history is kept."""
    call.jobs.retry(job_id, now=call.now)
    return _detail(call, job_id)


@toolsets.jobs.read("Count jobs")
def get_job_stats(call: Call) -> JobStatsAnswer:
    """Count jobs by status and type, those ready and those scheduled, and since when the oldest waits."""
    return JobStatsAnswer(stats=JobStatsOut.model_validate(call.jobs.stats(now=call.now)))


def _detail(call: Call, job_id: str) -> JobAnswer:
    return JobAnswer(job=JobOut.model_validate(call.jobs.get(job_id, now=call.now)))
