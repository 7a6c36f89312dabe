"""Leases."""

from datetime import timedelta

import pytest

from db.domain.errors import LeaseLost
from db.domain.jobs import LONGEST_BACKOFF, JobStatus
from db.local.contract import JobStore
from tests.support.conformance.scene import NOW, SECOND, make, take


class LeaseContract:
    """A job has one live lease at most, and an expired one puts it back by itself."""

    @pytest.fixture
    def jobs(self) -> JobStore:
        raise NotImplementedError

    def test_a_claim_gives_the_work_and_a_lease(self, jobs: JobStore) -> None:
        made = make(jobs)
        held = take(jobs, lease_seconds=90)
        assert (held.id, held.type, held.priority, held.attempts) == (made.id, made.type, made.priority, 1)
        assert (held.parameters, held.lease_until) == ({"company": "example.com"}, NOW + 90 * SECOND)
        job = jobs.get(made.id, now=NOW)
        assert (job.status, job.worker_id, job.lease_until) == (JobStatus.PROCESSING, "worker-1", NOW + 90 * SECOND)
        assert job.started_at == NOW

    def test_a_leased_job_is_nobody_elses(self, jobs: JobStore) -> None:
        make(jobs)
        held = take(jobs)
        assert jobs.claim(worker_id="worker-2", now=held.lease_until - timedelta(microseconds=1)) is None

    @pytest.mark.parametrize("look", ["claim", "get", "list", "stats"])
    def test_an_expired_lease_puts_the_job_back_by_itself(self, jobs: JobStore, look: str) -> None:
        held_id = make(jobs).id
        at = take(jobs).lease_until
        if look == "claim":
            again = take(jobs, worker_id="worker-2", now=at)
            assert (again.id, again.attempts) == (held_id, 2)
        elif look == "get":
            job = jobs.get(held_id, now=at)
            assert (job.status, job.worker_id, job.lease_until) == (JobStatus.PENDING, None, None)
            assert "worker-1 ran out in attempt 1 of 5" in str(job.error)
        elif look == "list":
            assert [job.status for job in jobs.list(now=at).jobs] == [JobStatus.PENDING]
        else:
            assert (jobs.stats(now=at).by_status[JobStatus.PROCESSING], jobs.stats(now=at).ready) == (0, 1)

    def test_a_job_that_comes_back_has_its_turn_before_those_that_came_later(self, jobs: JobStore) -> None:
        lost = make(jobs, priority="high")
        until = take(jobs).lease_until
        make(jobs, priority="low")
        later = make(jobs, priority="high", now=until + SECOND)
        assert [take(jobs, now=until + SECOND).id for _ in range(2)] == [lost.id, later.id]

    def test_a_second_expiry_waits_before_the_job_is_tried_again(self, jobs: JobStore) -> None:
        make(jobs)
        first = take(jobs).lease_until
        second = take(jobs, now=first).lease_until
        waiting = jobs.get("job_1", now=second)
        assert second < waiting.run_at <= second + 2 * SECOND
        assert jobs.claim(worker_id="worker-1", now=second) is None
        assert take(jobs, now=waiting.run_at).attempts == 3

    def test_a_job_whose_leases_all_expire_fails_with_the_history_of_its_attempts(self, jobs: JobStore) -> None:
        job_id = make(jobs, max_attempts=3).id
        at = NOW
        for number in range(3):
            at = take(jobs, worker_id=f"worker-{number}", now=at + LONGEST_BACKOFF).lease_until
        job = jobs.get(job_id, now=at)
        assert (job.status, job.attempts, job.finished_at) == (JobStatus.FAILED, 3, at)
        assert [(entry.number, entry.worker_id, entry.outcome) for entry in job.history] == [
            (1, "worker-0", "expired"),
            (2, "worker-1", "expired"),
            (3, "worker-2", "expired"),
        ]
        assert job.history[-1].ended_at == at
        assert jobs.claim(worker_id="worker-1", now=at + LONGEST_BACKOFF) is None

    def test_a_heartbeat_begins_the_lease_anew(self, jobs: JobStore) -> None:
        make(jobs)
        held = take(jobs, lease_seconds=60)
        beat = jobs.heartbeat(held.id, held.lease_token, now=NOW + 50 * SECOND)
        assert (beat.lease_until, beat.cancel_requested) == (NOW + 110 * SECOND, False)
        assert jobs.claim(worker_id="worker-2", now=NOW + 109 * SECOND) is None
        assert take(jobs, worker_id="worker-2", now=NOW + 110 * SECOND).id == held.id

    def test_progress_is_shown_and_outlives_the_attempt(self, jobs: JobStore) -> None:
        make(jobs)
        held = take(jobs)
        jobs.heartbeat(held.id, held.lease_token, progress={"row": 40}, now=NOW)
        jobs.heartbeat(held.id, held.lease_token, now=NOW)
        assert jobs.get(held.id, now=NOW).progress == {"row": 40}
        assert take(jobs, now=held.lease_until).progress == {"row": 40}

    def test_a_late_call_with_an_old_token_is_refused_and_changes_nothing(self, jobs: JobStore) -> None:
        make(jobs)
        old = take(jobs)
        new = take(jobs, worker_id="worker-2", now=old.lease_until)
        before = jobs.get(old.id, now=old.lease_until)
        for late in (
            lambda: jobs.complete(old.id, old.lease_token, result={"mine": True}, now=old.lease_until),
            lambda: jobs.heartbeat(old.id, old.lease_token, progress=1, now=old.lease_until),
            lambda: jobs.fail(old.id, old.lease_token, "too late", now=old.lease_until),
        ):
            with pytest.raises(LeaseLost, match="lease_token is not the current lease of job_1, which is processing"):
                late()
        assert jobs.get(old.id, now=old.lease_until) == before
        jobs.complete(new.id, new.lease_token, now=old.lease_until)

    def test_a_lease_that_ran_out_is_lost_even_when_nobody_has_claimed_the_job(self, jobs: JobStore) -> None:
        make(jobs)
        held = take(jobs)
        for late in (
            lambda: jobs.heartbeat(held.id, held.lease_token, progress=1, now=held.lease_until),
            lambda: jobs.fail(held.id, held.lease_token, "too late", now=held.lease_until),
            lambda: jobs.complete(held.id, held.lease_token, now=held.lease_until),
        ):
            with pytest.raises(LeaseLost):
                late()
        assert jobs.get(held.id, now=held.lease_until).status is JobStatus.PENDING
