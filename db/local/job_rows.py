"""Turns rows of job_statements.py into objects of db.domain.jobs."""

from collections.abc import Iterable
from datetime import datetime
from types import MappingProxyType
from typing import Final

from db.domain.jobs import (
    Attempt,
    AttemptOutcome,
    ClaimedJob,
    Job,
    JobDetail,
    JobStats,
    JobStatus,
    JobType,
)
from db.local.connection import Row, Rows
from db.local.slots import PRIORITIES
from db.local.values import decode_json, to_datetime

# A dict look-up takes a tenth of the time of calling the enum.
_TYPES: Final = MappingProxyType({str(member): member for member in JobType})
_STATUSES: Final = MappingProxyType({str(member): member for member in JobStatus})


def job_of(row: Row, *, existing: bool = False) -> Job:
    """Returns the job in one row of ROWS."""
    (number, job_type, rank, state, attempts, max_attempts, run_at, key, worker_id, slot, cancel, progress, error) = (
        row[:13]
    )
    created_at, updated_at, started_at, finished_at = row[13:]
    status = _STATUSES[state]
    known, warnings = decode_json("progress", progress)
    return Job(
        id=f"job_{number}",
        type=_TYPES[job_type],
        priority=PRIORITIES[rank],
        status=status,
        attempts=attempts,
        max_attempts=max_attempts,
        run_at=to_datetime(run_at),
        dedupe_key=key,
        worker_id=worker_id,
        lease_until=to_datetime(slot) if status is JobStatus.PROCESSING else None,
        cancel_requested=bool(cancel),
        progress=known,
        error=error,
        created_at=to_datetime(created_at),
        updated_at=to_datetime(updated_at),
        started_at=_maybe(started_at),
        finished_at=_maybe(finished_at),
        existing=existing,
        warnings=warnings,
    )


def job_detail(job: Job, payload: Row, history: Rows) -> JobDetail:
    """Returns a job with its row of PAYLOAD and its rows of HISTORY."""
    parameters, of_parameters = decode_json("parameters", payload[0])
    result, of_result = decode_json("result", payload[1])
    return JobDetail(
        **{name: getattr(job, name) for name in Job.__dataclass_fields__ if name != "warnings"},
        warnings=job.warnings + of_parameters + of_result,
        parameters=parameters,
        result=result,
        history=tuple(map(_attempt, reversed(history))),
    )


def claimed_job(row: Row, lease_token: str, lease_until: datetime) -> ClaimedJob:
    """Returns the job in one row of CLAIM."""
    number, job_type, rank, attempts, max_attempts, progress, error, created_at, parameters = row
    known, of_progress = decode_json("progress", progress)
    given, of_parameters = decode_json("parameters", parameters)
    return ClaimedJob(
        id=f"job_{number}",
        type=_TYPES[job_type],
        priority=PRIORITIES[rank],
        attempts=attempts,
        max_attempts=max_attempts,
        parameters=given,
        progress=known,
        error=error,
        created_at=to_datetime(created_at),
        lease_token=lease_token,
        lease_until=lease_until,
        warnings=of_progress + of_parameters,
    )


def stats_of(counts: Iterable[tuple[str, str, int]], ready: Row, scheduled: Row) -> JobStats:
    """Returns the statistics in the rows of COUNTS, READY and SCHEDULED."""
    by_type = {member: dict.fromkeys(JobStatus, 0) for member in JobType}
    for job_type, status, count in counts:
        by_type[_TYPES[job_type]][_STATUSES[status]] = count
    by_status = {status: sum(of_type[status] for of_type in by_type.values()) for status in JobStatus}
    waiting = [time for time in (ready[1], scheduled[1]) if time is not None]
    return JobStats(
        total=sum(by_status.values()),
        by_status=by_status,
        by_type=by_type,
        ready=ready[0] + scheduled[0],
        scheduled=scheduled[2],
        oldest_ready_at=to_datetime(min(waiting)) if waiting else None,
        next_run_at=_maybe(scheduled[3]),
    )


def _attempt(row: Row) -> Attempt:
    number, worker_id, outcome, error, started_at, ended_at = row
    return Attempt(
        number=number,
        worker_id=worker_id,
        outcome=AttemptOutcome(outcome),
        error=error,
        started_at=to_datetime(started_at),
        ended_at=to_datetime(ended_at),
    )


def _maybe(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else to_datetime(microseconds)
