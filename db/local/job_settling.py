"""Changes of the queue that time brings: leases run out, and scheduled jobs fall due. Called inside a write
transaction."""

import sqlite3
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from db.domain.jobs import AttemptOutcome, JobStatus, backoff_after_expiry
from db.local import job_statements as sql
from db.local.connection import Row
from db.local.slots import SCHEDULED_LANES, slot_of

# How many jobs a claim may move before it takes its own: a millisecond or two, if a million fall due at once.
AT_ONCE: Final = 200

_MICROSECOND: Final = timedelta(microseconds=1)


def settle(connection: sqlite3.Connection, now: int, jitter: Callable[[], float]) -> None:
    """Puts expired jobs back, corrects the end of leases that were given before the clock was set back, and makes due
    jobs ready.

    Moves high before normal before low priority, so that the claim that follows finds the next job even if more jobs
    have fallen due than are moved at once.
    """
    settle_expired(connection, now, jitter)
    connection.execute(sql.SHORTEN_LEASES, (now,))
    left = AT_ONCE
    for lane in SCHEDULED_LANES:
        due = connection.execute(sql.DUE, (lane, now, left)).fetchall()
        ready = [(number, slot_of(job_type, rank, run_at, now)) for number, job_type, rank, run_at in due]
        connection.executemany(sql.MAKE_READY, ready)
        left -= len(due)


def settle_expired(connection: sqlite3.Connection, now: int, jitter: Callable[[], float]) -> None:
    """Ends up to AT_ONCE attempts whose lease has run out. Their jobs are tried again later, failed, or cancelled if
    that was requested."""
    for row in connection.execute(sql.EXPIRED, (now, AT_ONCE)).fetchall():
        until, attempts, max_attempts, worker_id = row[3], row[4], row[5], row[7]
        error = f"The lease of {worker_id} ran out in attempt {attempts} of {max_attempts}."
        wait = backoff_after_expiry(attempts, jitter())
        end_attempt(connection, row, error=error, wait=wait, ended_at=until, now=now, outcome=AttemptOutcome.EXPIRED)


def end_attempt(
    connection: sqlite3.Connection,
    row: Row,
    *,
    error: str,
    wait: timedelta | None,
    ended_at: int,
    now: int,
    outcome: AttemptOutcome = AttemptOutcome.FAILED,
) -> None:
    """Records the attempt of one row of HELD or EXPIRED, and queues the job `wait` after `ended_at`, or finishes it."""
    number, job_type, rank, _, attempts, max_attempts, cancel_requested, worker_id, started_at = row
    run_at = slot = None
    if cancel_requested:
        status = JobStatus.CANCELLED
    elif wait is None or attempts >= max_attempts:
        status = JobStatus.FAILED
    else:
        status = JobStatus.PENDING
        run_at = ended_at + wait // _MICROSECOND
        slot = slot_of(job_type, rank, run_at, now)
    connection.execute(sql.INSERT_ATTEMPT, (number, worker_id, outcome, error, started_at, ended_at))
    connection.execute(sql.END_ATTEMPT, (number, status, slot, run_at, error, now))
