"""The job queue in SQLite: db.local.contract.JobStore on one LocalFile."""

import os
import random
import re
import sqlite3
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final, cast

import orjson

from db.domain.errors import Conflict, InvalidInput, LeaseLost, NotFound, StoreUnavailable
from db.domain.jobs import (
    MAX_ATTEMPTS,
    MAX_ERROR_CHARACTERS,
    MAX_HISTORY,
    MAX_LEASE_SECONDS,
    MAX_PAGE,
    MAX_PAYLOAD_BYTES,
    MAX_PROGRESS_BYTES,
    MAX_SCHEDULE,
    MIN_ATTEMPTS,
    MIN_LEASE_SECONDS,
    MIN_PAGE,
    UPDATABLE,
    ClaimedJob,
    Heartbeat,
    Job,
    JobCommand,
    JobDetail,
    JobPage,
    JobPriority,
    JobStats,
    JobStatus,
    JobType,
    allow_job,
    backoff,
)
from db.local import job_statements as sql
from db.local.connection import LocalFile, Row, Rows
from db.local.cursors import Cursors
from db.local.job_rows import claimed_job, job_detail, job_of, stats_of
from db.local.job_settling import end_attempt, settle, settle_expired
from db.local.slots import RANKS, lanes_of, slot_of
from db.local.values import encode_json, label, prose, to_datetime, to_microseconds, token, whole, word

_JOB_ID: Final = re.compile(r"job_([1-9][0-9]{0,17})", re.ASCII)
_END: Final = 2**63 - 1
_PRUNED_AT_ONCE: Final = 500
_FULL_PAGE_BYTES: Final = 4_194_304
_SECOND: Final = 1_000_000


class SqliteJobs:
    """An id is `job_` and the row's number. Enqueuing with an integer key is a third faster than with a random one."""

    def __init__(self, file: LocalFile, *, jitter: Callable[[], float] = random.random) -> None:
        self._file = file
        self._jitter = jitter
        key = file.read_row(sql.CURSOR_KEY, ())
        assert key is not None
        self._cursors = Cursors(key[0])

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
        job_type = word(JobType, "type", type)
        rank = RANKS[word(JobPriority, "priority", priority)]
        encoded = encode_json("parameters", _mapping("parameters", parameters), MAX_PAYLOAD_BYTES)
        whole("max_attempts", max_attempts, MIN_ATTEMPTS, MAX_ATTEMPTS)
        at = to_microseconds(now)
        due = at if run_at is None else _due("run_at", run_at, now)
        slot = slot_of(job_type, rank, due, at)
        key = None if dedupe_key is None else label("dedupe_key", dedupe_key)
        with self._file.transaction as connection:
            if key is not None:
                settle_expired(connection, at, self._jitter)
            made = connection.execute(sql.INSERT, (job_type, rank, slot, due, max_attempts, key, at)).fetchall()
            if not made:
                (number,) = connection.execute(sql.LIVE_WITH_KEY, (key,)).fetchone()
                return _read(connection, number, existing=True)
            connection.execute(sql.INSERT_PARAMETERS, (made[0][0], encoded))
            return _read(connection, made[0][0])

    def get(self, job_id: str, *, now: datetime) -> JobDetail:
        number = _number(job_id)
        self._settle_for_reading(to_microseconds(now))
        with self._file.reading() as connection:
            job = job_detail(_read(connection, number), *_payload(connection, number))
        self._file.note_broken(job.id, job.warnings)
        return job

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
        in_status = None if status is None else word(JobStatus, "status", status)
        of_type = None if type is None else word(JobType, "type", type)
        scope = f"{in_status}/{of_type}"
        below = _END if cursor is None else self._cursors.read(cursor, scope)
        most = max(MIN_PAGE, min(limit, MAX_PAGE))
        chosen = sql.ANY_STATUS if in_status is None else sql.WITH_STATUS.get(in_status, sql.ANY_STATUS)
        self._settle_for_reading(to_microseconds(now))
        with self._file.reading() as connection:
            found = connection.execute(chosen, (below, in_status, of_type, most + 1)).fetchall()
            numbers = [number for (number,) in found[:most]]
            jobs = tuple(map(job_of, connection.execute(sql.ROWS, (orjson.dumps(numbers).decode(),))))
            if full:
                jobs = _with_payloads(connection, jobs)
        for job in jobs:
            self._file.note_broken(job.id, job.warnings)
        more = len(found) > len(jobs)
        return JobPage(jobs=jobs, next_cursor=self._cursors.write(_number(jobs[-1].id), scope) if more else None)

    def claim(
        self, *, types: Collection[str] | None = None, worker_id: str, lease_seconds: int = 60, now: datetime
    ) -> ClaimedJob | None:
        lanes = lanes_of(types)
        label("worker_id", worker_id)
        whole("lease_seconds", lease_seconds, MIN_LEASE_SECONDS, MAX_LEASE_SECONDS)
        at = to_microseconds(now)
        lease_token = os.urandom(16).hex()
        values = (at + lease_seconds * _SECOND, lease_token, lease_seconds, worker_id, at, *lanes)
        rows, _ = self._file.change(sql.CLAIM, (*values, 1))
        if not rows:
            rows = self._settle_and_claim(values, at)
        if not rows:
            return None
        job = claimed_job(rows[0], lease_token, now + timedelta(seconds=lease_seconds))
        self._file.note_broken(job.id, job.warnings)
        return job

    def heartbeat(self, job_id: str, lease_token: str, *, progress: object = None, now: datetime) -> Heartbeat:
        number = _number(job_id)
        encoded = None if progress is None else encode_json("progress", progress, MAX_PROGRESS_BYTES)
        values = (number, token(lease_token), to_microseconds(now), encoded)
        rows, _ = self._file.change(sql.HEARTBEAT, values)
        if not rows:
            raise self._lost(number)
        until, cancel_requested = rows[0]
        return Heartbeat(lease_until=to_datetime(until), cancel_requested=bool(cancel_requested))

    def complete(self, job_id: str, lease_token: str, *, result: object = None, now: datetime) -> None:
        number = _number(job_id)
        values = (number, token(lease_token), to_microseconds(now))
        if result is None:
            _, changed = self._file.change(sql.COMPLETE, values)
        else:
            encoded = encode_json("result", result, MAX_PAYLOAD_BYTES)
            with self._file.transaction as connection:
                changed = connection.execute(sql.COMPLETE, values).rowcount
                if changed:
                    connection.execute(sql.INSERT_RESULT, (number, encoded))
        if not changed:
            raise self._lost(number)

    def fail(
        self, job_id: str, lease_token: str, error: str, *, retry: bool = True, result: object = None, now: datetime
    ) -> Job:
        number = _number(job_id)
        at = to_microseconds(now)
        values = (number, token(lease_token), at)
        prose("error", error, MAX_ERROR_CHARACTERS)
        encoded = None if result is None else encode_json("result", result, MAX_PAYLOAD_BYTES)
        with self._file.transaction as connection:
            held = connection.execute(sql.HELD, values).fetchone()
            if held is not None:
                wait = backoff(held[4], self._jitter()) if retry else None
                end_attempt(connection, held, error=error, wait=wait, ended_at=at, now=at)
                if encoded is not None:
                    connection.execute(sql.INSERT_RESULT, (number, encoded))
                return _read(connection, number)
        raise self._lost(number)

    def cancel(self, job_id: str, *, now: datetime) -> Job:
        number = _number(job_id)
        at = to_microseconds(now)
        with self._file.transaction as connection:
            settle_expired(connection, at, self._jitter)
            _allow(connection, number, JobCommand.CANCEL)
            if not connection.execute(sql.CANCEL_PENDING, (number, at)).rowcount:
                connection.execute(sql.ASK_TO_STOP, (number, at))
            return _read(connection, number)

    def retry(self, job_id: str, *, now: datetime) -> Job:
        number = _number(job_id)
        at = to_microseconds(now)
        with self._file.transaction as connection:
            settle_expired(connection, at, self._jitter)
            _allow(connection, number, JobCommand.RETRY)
            rival = connection.execute(sql.RIVAL, (number,)).fetchone()
            if rival is not None:
                raise Conflict(
                    f"job_{rival[0]} is live under the dedupe_key of {job_id} and does the same work. Use it."
                )
            job_type, rank, _, _ = connection.execute(sql.QUEUED, (number,)).fetchone()
            connection.execute(sql.RETRY, (number, slot_of(job_type, rank, at, at), at))
            return _read(connection, number)

    def update(self, job_id: str, changes: Mapping[str, object], *, now: datetime) -> Job:
        number = _number(job_id)
        checked, parameters = _checked_changes(changes, now)
        at = to_microseconds(now)
        with self._file.transaction as connection:
            settle_expired(connection, at, self._jitter)
            _allow(connection, number, JobCommand.UPDATE)
            job_type, rank, due, attempts = connection.execute(sql.QUEUED, (number,)).fetchone()
            if checked.get("max_attempts", attempts + 1) <= attempts:
                raise InvalidInput(f"max_attempts must be more than the {attempts} attempts that {job_id} has had.")
            after = {"priority": rank, "run_at": due} | checked
            slot = slot_of(job_type, after["priority"], after["run_at"], at)
            for column, value in checked.items():
                connection.execute(sql.SET[column], (number, value, slot, at))
            if parameters is not None:
                connection.execute(sql.SET_PARAMETERS, (number, parameters))
                connection.execute(sql.TOUCH, (number, at))
            return _read(connection, number)

    def stats(self, *, now: datetime) -> JobStats:
        at = to_microseconds(now)
        self._settle_for_reading(at)
        with self._file.reading() as connection:
            counts = connection.execute(sql.COUNTS).fetchall()
            ready = connection.execute(sql.READY).fetchone()
            scheduled = connection.execute(sql.SCHEDULED, (at,)).fetchone()
        return stats_of(counts, ready, scheduled)

    def prune(self, older_than: timedelta, *, now: datetime) -> int:
        if older_than < timedelta(0):
            raise InvalidInput("older_than is negative; it must be zero or more.")
        before = to_microseconds(now - older_than)
        deleted, last = 0, 0
        while True:
            with self._file.reading() as connection:
                found = connection.execute(sql.FINISHED, (last, before, _PRUNED_AT_ONCE)).fetchall()
            if not found:
                return deleted
            numbers = orjson.dumps([number for (number,) in found]).decode()
            with self._file.transaction as connection:
                deleted += connection.execute(sql.DELETE_FINISHED, (numbers, before)).rowcount
            last = found[-1][0]

    def _settle_and_claim(self, values: tuple[object, ...], at: int) -> Rows:
        """Settles the queue and claims again, after a first try that found nothing."""
        if self._file.read_row(sql.MUST_SETTLE, (at,)) == (0,):
            return []
        with self._file.transaction as connection:
            settle(connection, at, self._jitter)
            return connection.execute(sql.CLAIM, (*values, 0)).fetchall()

    def _settle_for_reading(self, at: int) -> None:
        """Puts expired jobs back before they are shown. Does nothing if the disk is full or busy, so that reading still
        works."""
        with suppress(StoreUnavailable):
            while self._file.read_row(sql.EXPIRED_EXISTS, (at,)) is not None:
                with self._file.transaction as connection:
                    settle_expired(connection, at, self._jitter)

    def _lost(self, number: int) -> Exception:
        row = self._file.read_row(sql.STATUS, (number,))
        if row is None:
            return _unknown(number)
        return LeaseLost(
            f"lease_token is not the current lease of job_{number}, which is {row[0]}: the lease ran out, or the job "
            "was finished or given to another worker. Nothing was changed. Drop this attempt and call claim_job."
        )


def _number(job_id: str) -> int:
    found = _JOB_ID.fullmatch(job_id) if isinstance(job_id, str) else None  # pyright: ignore[reportUnnecessaryIsInstance] - an untyped caller must be told, not crash
    if found is None:
        raise InvalidInput("job_id is not a job's id: it looks like job_12, as create_job and list_jobs return it.")
    return int(found[1])


def _unknown(number: int) -> NotFound:
    hint = "list_jobs shows the jobs that are kept; finished ones are deleted after a while."
    return NotFound("job", f"job_{number}", hint=hint)


def _mapping(name: str, value: object) -> dict[str, object]:
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{name} must be a JSON object.")
    return dict(cast("Mapping[str, object]", value))


def _due(name: str, value: object, now: datetime) -> int:
    """Returns when the job falls due; a past time becomes now."""
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise InvalidInput(f"{name} must be a time with its offset from UTC, such as 2030-01-31T09:00:00Z.")
    if value - now > MAX_SCHEDULE:
        raise InvalidInput(f"{name} is {value.isoformat()}; it must be at most {MAX_SCHEDULE.days:,} days from now.")
    return to_microseconds(max(value, now))


def _checked_changes(changes: Mapping[str, object], now: datetime) -> tuple[dict[str, int], str | None]:
    """Returns the new values as they are stored, by column, and the new parameters; any other name raises."""
    outside = sorted(map(repr, set(changes) - UPDATABLE))
    if outside or not changes:
        allowed = ", ".join(sorted(UPDATABLE))
        raise InvalidInput(
            f"changes may name {allowed}, and at least one; not {', '.join(outside) or 'nothing'}."[:500]
        )
    checked: dict[str, int] = {}
    parameters: str | None = None
    for column, value in changes.items():
        if column == "run_at":
            checked[column] = _due(column, value, now)
        elif column == "priority":
            checked[column] = RANKS[word(JobPriority, column, value if isinstance(value, str) else repr(value))]
        elif column == "parameters":
            parameters = encode_json(column, _mapping(column, value), MAX_PAYLOAD_BYTES)
        else:
            checked[column] = whole(column, value if isinstance(value, int) else -1, MIN_ATTEMPTS, MAX_ATTEMPTS)
    return checked, parameters


def _allow(connection: sqlite3.Connection, number: int, command: JobCommand) -> None:
    row = connection.execute(sql.STATUS, (number,)).fetchone()
    if row is None:
        raise _unknown(number)
    allow_job(JobStatus(row[0]), command)


def _read(connection: sqlite3.Connection, number: int, *, existing: bool = False) -> Job:
    row = connection.execute(sql.ROWS, (f"[{number}]",)).fetchone()
    if row is None:
        raise _unknown(number)
    return job_of(row, existing=existing)


def _payload(connection: sqlite3.Connection, number: int) -> tuple[Row, Rows]:
    history = connection.execute(sql.HISTORY, (number, MAX_HISTORY)).fetchall()
    return connection.execute(sql.PAYLOAD, (number,)).fetchone(), history


def _with_payloads(connection: sqlite3.Connection, jobs: tuple[Job, ...]) -> tuple[JobDetail, ...]:
    """Returns the first jobs with their payloads: as many as fit into the bytes of a full page, and at least one."""
    details: list[JobDetail] = []
    size = 0
    for job in jobs:
        payload, history = _payload(connection, _number(job.id))
        size += sum(len(part) for part in payload if isinstance(part, bytes))
        if details and size > _FULL_PAGE_BYTES:
            break
        details.append(job_detail(job, payload, history))
    return tuple(details)
