"""How jobs end."""

from datetime import timedelta

import pytest

from db.domain.errors import Conflict, InvalidTransition, LeaseLost
from db.domain.jobs import JOB_TRANSITIONS, LONGEST_BACKOFF, JobCommand, JobStatus
from db.local.contract import JobStore
from tests.support.conformance.scene import COMMANDS, HELD, HOUR, NOW, SECOND, exhaust, in_state, make, take


class EndContract:
    """Completed, failed or cancelled, and tried again in between."""

    @pytest.fixture
    def jobs(self) -> JobStore:
        raise NotImplementedError

    @pytest.mark.parametrize("result", [None, {"found": 3}, [1, 2], "text", 0, False])
    def test_a_completed_job_keeps_its_result(self, jobs: JobStore, result: object) -> None:
        make(jobs)
        held = take(jobs)
        jobs.complete(held.id, held.lease_token, result=result, now=NOW + SECOND)
        job = jobs.get(held.id, now=NOW + SECOND)
        assert (job.status, job.result, job.finished_at) == (JobStatus.COMPLETED, result, NOW + SECOND)
        assert (job.worker_id, job.lease_until, job.warnings) == ("worker-1", None, ())

    def test_completing_twice_is_refused(self, jobs: JobStore) -> None:
        make(jobs)
        held = take(jobs)
        jobs.complete(held.id, held.lease_token, result=1, now=NOW)
        with pytest.raises(LeaseLost, match="which is completed"):
            jobs.complete(held.id, held.lease_token, result=2, now=NOW)
        assert jobs.get(held.id, now=NOW).result == 1

    def test_a_failed_attempt_is_tried_again_after_a_growing_wait(self, jobs: JobStore) -> None:
        job_id = make(jobs).id
        at, waits = NOW, list[timedelta]()
        for number in range(1, 5):
            held = take(jobs, now=at)
            job = jobs.fail(held.id, held.lease_token, f"error {number}", now=at)
            assert (job.status, job.attempts, job.error) == (JobStatus.PENDING, number, f"error {number}")
            assert jobs.claim(worker_id="worker-1", now=job.run_at - timedelta(microseconds=1)) is None
            waits.append(job.run_at - at)
            at = job.run_at
        assert all(2 ** (n - 1) * SECOND <= wait <= 2**n * SECOND for n, wait in enumerate(waits, start=1))
        held = take(jobs, now=at)
        assert held.error == "error 4"
        job = jobs.fail(held.id, held.lease_token, "error 5", now=at)
        assert (job.status, job.attempts, job.finished_at) == (JobStatus.FAILED, 5, at)
        assert [entry.error for entry in jobs.get(job_id, now=at).history] == [f"error {n}" for n in range(1, 6)]

    def test_a_failure_that_must_not_be_retried_is_final(self, jobs: JobStore) -> None:
        make(jobs)
        held = take(jobs)
        assert jobs.fail(held.id, held.lease_token, "no such company", retry=False, now=NOW).status is JobStatus.FAILED
        assert jobs.claim(worker_id="worker-1", now=NOW + LONGEST_BACKOFF) is None

    def test_cancelling_a_pending_job_takes_it_off_the_queue_at_once(self, jobs: JobStore) -> None:
        job = jobs.cancel(make(jobs).id, now=NOW)
        assert (job.status, job.finished_at) == (JobStatus.CANCELLED, NOW)
        assert jobs.claim(worker_id="worker-1", now=NOW) is None

    def test_the_holder_of_a_job_to_be_cancelled_learns_it_at_its_next_heartbeat(self, jobs: JobStore) -> None:
        make(jobs)
        held = take(jobs)
        asked = jobs.cancel(held.id, now=NOW)
        assert (asked.status, asked.cancel_requested) == (JobStatus.PROCESSING, True)
        assert jobs.heartbeat(held.id, held.lease_token, now=NOW).cancel_requested
        assert jobs.fail(held.id, held.lease_token, "stopped", now=NOW).status is JobStatus.CANCELLED

    def test_a_job_to_be_cancelled_whose_holder_dies_is_cancelled(self, jobs: JobStore) -> None:
        make(jobs)
        held = take(jobs)
        jobs.cancel(held.id, now=NOW)
        assert jobs.get(held.id, now=held.lease_until).status is JobStatus.CANCELLED

    def test_a_holder_that_finishes_before_it_learns_of_the_cancellation_has_completed_the_job(
        self, jobs: JobStore
    ) -> None:
        make(jobs)
        held = take(jobs)
        jobs.cancel(held.id, now=NOW)
        jobs.complete(held.id, held.lease_token, now=NOW)
        assert jobs.get(held.id, now=NOW).status is JobStatus.COMPLETED

    def test_a_retried_job_has_all_its_attempts_again_and_keeps_its_history(self, jobs: JobStore) -> None:
        job_id = in_state(jobs, JobStatus.FAILED)
        job = jobs.retry(job_id, now=NOW + HOUR)
        assert (job.status, job.attempts, job.run_at, job.finished_at) == (JobStatus.PENDING, 0, NOW + HOUR, None)
        held = take(jobs, now=NOW + HOUR)
        jobs.fail(held.id, held.lease_token, "again", now=NOW + HOUR)
        assert [entry.number for entry in jobs.get(job_id, now=NOW + HOUR).history] == [1, 2]

    @pytest.mark.parametrize("status", JobStatus)
    @pytest.mark.parametrize("command", COMMANDS)
    def test_every_command_does_in_every_state_what_the_table_says(
        self, jobs: JobStore, status: JobStatus, command: JobCommand
    ) -> None:
        job_id = in_state(jobs, status)
        before = jobs.get(job_id, now=NOW)
        allowed = JOB_TRANSITIONS.get((status, command))
        if command in HELD:
            with pytest.raises(LeaseLost, match=f"which is {status}"):
                COMMANDS[command](jobs, job_id)
        elif allowed is None:
            with pytest.raises(InvalidTransition, match=f"The job is {status}, which {command} can't change"):
                COMMANDS[command](jobs, job_id)
        else:
            COMMANDS[command](jobs, job_id)
            assert jobs.get(job_id, now=NOW).status in allowed
            return
        assert jobs.get(job_id, now=NOW) == before

    def test_a_live_job_with_the_same_key_is_returned_instead_of_a_second(self, jobs: JobStore) -> None:
        made = make(jobs, dedupe_key="sync-1")
        for _ in ("pending", "processing"):
            same = make(jobs, dedupe_key="sync-1", parameters={"other": True})
            assert (same.id, same.existing, made.existing) == (made.id, True, False)
            jobs.claim(worker_id="worker-1", now=NOW)
        assert jobs.stats(now=NOW).total == 1

    @pytest.mark.parametrize("status", [JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED])
    def test_a_finished_job_gives_its_key_free(self, jobs: JobStore, status: JobStatus) -> None:
        first = make(jobs, dedupe_key="sync-1")
        if status is JobStatus.CANCELLED:
            jobs.cancel(first.id, now=NOW)
        else:
            held = take(jobs)
            if status is JobStatus.COMPLETED:
                jobs.complete(held.id, held.lease_token, now=NOW)
            else:
                jobs.fail(held.id, held.lease_token, "no", retry=False, now=NOW)
        assert not make(jobs, dedupe_key="sync-1").existing

    def test_a_job_that_failed_by_its_expired_lease_gives_its_key_free(self, jobs: JobStore) -> None:
        make(jobs, dedupe_key="sync-1", max_attempts=1)
        held = take(jobs)
        assert make(jobs, dedupe_key="sync-1", now=held.lease_until - SECOND).existing
        assert not make(jobs, dedupe_key="sync-1", now=held.lease_until).existing

    def test_retrying_a_job_whose_key_another_live_job_has_is_refused(self, jobs: JobStore) -> None:
        first = make(jobs, dedupe_key="sync-1")
        exhaust(jobs, first.id)
        second = make(jobs, dedupe_key="sync-1")
        with pytest.raises(Conflict, match=second.id):
            jobs.retry(first.id, now=NOW)
        assert jobs.get(first.id, now=NOW).status is JobStatus.FAILED
