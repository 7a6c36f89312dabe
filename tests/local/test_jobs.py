"""The job queue in SQLite: the contract, and what only this store can break."""

import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest

from db.domain.errors import InvalidInput
from db.domain.jobs import JOB_TRANSITIONS, LIVE, UPDATABLE, JobCommand, JobStatus, JobType, backoff
from db.local import job_statements as sql
from db.local.contract import JobStore
from db.local.schema import JOBS
from db.local.slots import ALL_LANES, slot_of
from db.local.store import LocalStore
from tests.support.conformance import JobStoreContract
from tests.support.conformance.scene import HOUR, NOW, SECOND, make, take


class TestSqliteJobs(JobStoreContract):
    @pytest.fixture
    def jobs(self, store: LocalStore) -> JobStore:  # pyright: ignore[reportIncompatibleMethodOverride] - pytest gives the argument
        return store.jobs


def raw(directory: Path) -> sqlite3.Connection:
    """The file as another program sees it."""
    return sqlite3.connect(directory / JOBS.file_name, isolation_level=None)


@pytest.mark.parametrize("broken", ["'{\"a\": '", "''", "CAST(x'ff00fe' AS TEXT)", "'NaN'"])
def test_broken_json_in_a_row_gives_null_and_a_warning(store: LocalStore, directory: Path, broken: str) -> None:
    make(store.jobs)
    held = take(store.jobs)
    make(store.jobs)
    store.jobs.heartbeat(held.id, held.lease_token, progress=1, now=NOW)
    store.jobs.complete(held.id, held.lease_token, result=1, now=NOW)
    connection = raw(directory)
    connection.execute(f"UPDATE jobs SET progress = {broken} WHERE id = 1")
    connection.execute(f"UPDATE job_parameters SET parameters = {broken} WHERE job_id = 1")
    connection.execute(f"UPDATE job_results SET result = {broken} WHERE job_id = 1")
    connection.close()
    job = store.jobs.get("job_1", now=NOW)
    assert (job.progress, job.parameters, job.result) == (None, None, None)
    assert [warning.split()[0] for warning in job.warnings] == ["progress", "parameters", "result"]
    assert store.jobs.list(full=True, now=NOW).jobs[1] == job
    assert len(store.jobs.list(now=NOW).jobs) == 2
    assert store.broken_values == 7  # three of each look with payloads, and the progress of the other


def test_a_job_whose_parameters_are_broken_can_be_claimed_and_failed(store: LocalStore, directory: Path) -> None:
    make(store.jobs)
    connection = raw(directory)
    connection.execute("UPDATE job_parameters SET parameters = '{'")
    connection.close()
    held = take(store.jobs)
    assert held.parameters is None
    assert held.warnings == ("parameters is null here: what is stored is not valid JSON.",)
    assert store.jobs.fail(held.id, held.lease_token, "unreadable", retry=False, now=NOW).status is JobStatus.FAILED


def test_neither_a_claim_nor_a_look_for_expired_leases_reads_through_the_table(
    store: LocalStore, directory: Path
) -> None:
    connection = raw(directory)
    for statement, count in ((sql.CLAIM, 13), (sql.MUST_SETTLE, 1), (sql.EXPIRED_EXISTS, 1), (sql.DUE, 3)):
        plan = [row[3] for row in connection.execute("EXPLAIN QUERY PLAN " + statement, (1,) * count)]
        assert any("jobs_queue" in step for step in plan)
        assert not [step for step in plan if step.startswith("SCAN jobs")]
    connection.close()


def test_every_type_has_its_own_lanes_and_the_claim_looks_into_all_of_them() -> None:
    assert len(ALL_LANES) == sql.CLAIM.count("UNION ALL") + 1
    assert ALL_LANES[: len(JobType)] == tuple((4 * place) << 56 for place in range(1, len(JobType) + 1))
    assert set(ALL_LANES[len(JobType) :]) <= {None}, "lanes that a type may take"


def test_the_place_of_a_type_never_changes() -> None:
    assert list(JobType)[:5] == ["import", "enrichment", "discovery", "outreach", "crm_sync"]


def test_no_slots_of_two_types_are_one() -> None:
    slots = [
        slot_of(kind, rank, time, 10**15) for kind in JobType for rank in range(3) for time in (10**15, 10**15 + 1)
    ]
    assert len(set(slots)) == len(JobType) * 3 + 3
    assert max(slots) < 2**63


def test_the_whitelist_and_the_statements_name_the_same_columns() -> None:
    assert {*sql.SET, "parameters"} == UPDATABLE


def test_the_file_itself_refuses_a_job_in_an_impossible_state(store: LocalStore, directory: Path) -> None:
    make(store.jobs)
    connection = raw(directory)
    for change in ("status = 'processing'", "status = 'done'", "slot = NULL", "status = 'completed'", "type = 'x'"):
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute(f"UPDATE jobs SET {change}")
    connection.close()


def test_pruning_leaves_no_payload_behind(store: LocalStore, directory: Path) -> None:
    make(store.jobs)
    held = take(store.jobs)
    store.jobs.fail(held.id, held.lease_token, "once", now=NOW)
    held = take(store.jobs, now=NOW + HOUR)
    store.jobs.complete(held.id, held.lease_token, result=1, now=NOW + HOUR)
    make(store.jobs)
    assert store.jobs.prune(SECOND, now=NOW + 2 * HOUR) == 1
    connection = raw(directory)
    for table in ("job_results", "job_attempts"):
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    assert connection.execute("SELECT job_id FROM job_parameters").fetchall() == [(2,)]
    connection.close()


def test_another_process_accepts_the_cursors_of_this_one(store: LocalStore, directory: Path) -> None:
    for _ in range(2):
        make(store.jobs)
    with LocalStore.open(directory) as other:
        assert len(other.jobs.list(cursor=store.jobs.list(limit=1, now=NOW).next_cursor, now=NOW).jobs) == 1


def test_the_back_off_doubles_up_to_an_hour_and_spreads() -> None:
    assert [backoff(n, 1).total_seconds() for n in (1, 2, 3, 11, 12, 100)] == [2, 4, 8, 2048, 3600, 3600]
    assert [backoff(n, 0).total_seconds() for n in (1, 12)] == [1, 1800]


def test_the_transitions_are_immutable_and_a_finished_job_moves_only_by_a_retry() -> None:
    with pytest.raises(TypeError):
        JOB_TRANSITIONS[JobStatus.COMPLETED, JobCommand.RETRY] = (JobStatus.PENDING,)  # pyright: ignore[reportIndexIssue] - the point
    assert [key for key in JOB_TRANSITIONS if key[0] not in LIVE] == [(JobStatus.FAILED, JobCommand.RETRY)]


def test_finished_jobs_are_counted_as_they_finish_come_back_and_go(store: LocalStore, directory: Path) -> None:
    def counted() -> dict[str, int]:
        stats = store.jobs.stats(now=NOW)
        return {str(status): count for status, count in stats.by_status.items() if count}

    jobs = store.jobs
    for _ in range(4):
        make(jobs)
    done, failed, cancelled = take(jobs), take(jobs), jobs.list(now=NOW).jobs[0]
    assert counted() == {"pending": 2, "processing": 2}
    jobs.complete(done.id, done.lease_token, now=NOW)
    jobs.fail(failed.id, failed.lease_token, "no", retry=False, now=NOW)
    jobs.cancel(cancelled.id, now=NOW)
    assert counted() == {"pending": 1, "completed": 1, "failed": 1, "cancelled": 1}
    jobs.retry(failed.id, now=NOW)
    assert counted() == {"pending": 2, "completed": 1, "cancelled": 1}
    assert jobs.prune(timedelta(0), now=NOW) == 1  # the newest is kept for its number
    assert counted() == {"pending": 2, "cancelled": 1}
    connection = raw(directory)
    rows = connection.execute("SELECT status, sum(total) FROM job_totals GROUP BY status HAVING sum(total)").fetchall()
    connection.close()
    assert rows == [("cancelled", 1)]


def test_a_count_of_jobs_never_reads_the_finished_ones(store: LocalStore, directory: Path) -> None:
    make(store.jobs)
    connection = raw(directory)
    plan = "\n".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql.COUNTS}"))
    connection.close()
    assert "jobs USING INDEX jobs_queue" in plan
    assert "SCAN jobs\n" not in f"{plan}\n"


def test_a_file_of_before_is_counted_once_when_it_is_opened(tmp_path: Path) -> None:
    with LocalStore.open(tmp_path) as store:
        for _ in range(3):
            make(store.jobs)
        held = take(store.jobs)
        store.jobs.complete(held.id, held.lease_token, now=NOW)
    connection = raw(tmp_path)
    for name in ("jobs_finished", "jobs_reopened", "jobs_forgotten"):
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute("DROP TABLE job_totals")
    connection.execute("PRAGMA user_version = 1")
    connection.close()
    with LocalStore.open(tmp_path) as store:
        stats = store.jobs.stats(now=NOW)
    assert (stats.by_status[JobStatus.COMPLETED], stats.by_status[JobStatus.PENDING]) == (1, 2)


def test_a_pending_job_changes_its_parameters_and_keeps_the_rest(store: LocalStore) -> None:
    job = make(store.jobs)
    later = NOW + timedelta(hours=1)
    changed = store.jobs.update(job.id, {"parameters": {"a": [1]}, "run_at": later}, now=NOW + timedelta(seconds=1))
    assert (changed.run_at, changed.priority, changed.updated_at) == (later, job.priority, NOW + timedelta(seconds=1))
    assert store.jobs.get(job.id, now=NOW).parameters == {"a": [1]}
    with pytest.raises(InvalidInput, match="parameters must be a JSON object"):
        store.jobs.update(job.id, {"parameters": [1]}, now=NOW)


def test_a_failed_job_may_leave_a_result_that_the_next_attempt_replaces(store: LocalStore) -> None:
    job = make(store.jobs)
    held = take(store.jobs)
    store.jobs.fail(held.id, held.lease_token, "half", retry=False, result={"done": 5}, now=NOW)
    assert store.jobs.get(job.id, now=NOW).result == {"done": 5}
    store.jobs.retry(job.id, now=NOW)
    held = take(store.jobs)
    store.jobs.complete(held.id, held.lease_token, result={"done": 9}, now=NOW)
    assert store.jobs.get(job.id, now=NOW).result == {"done": 9}
