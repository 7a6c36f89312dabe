"""Creating jobs, and whose turn it is."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from db.domain.errors import NotFound
from db.domain.jobs import JobPriority, JobStatus, JobType
from db.local.contract import JobStore
from tests.support.conformance.scene import COMMANDS, HOUR, NOW, SECOND, make, take


class TurnContract:
    """A new job keeps what it was given, and is claimed when its turn comes."""

    @pytest.fixture
    def jobs(self) -> JobStore:
        raise NotImplementedError

    def test_a_new_job_is_pending_and_keeps_what_it_was_given(self, jobs: JobStore) -> None:
        made = make(jobs, type="import", parameters={"rows": [1, None, "é"]}, priority="low", max_attempts=3)
        job = jobs.get(made.id, now=NOW)
        assert (job.type, job.priority, job.status) == (JobType.IMPORT, JobPriority.LOW, JobStatus.PENDING)
        assert (job.parameters, job.result, job.history, job.warnings) == ({"rows": [1, None, "é"]}, None, (), ())
        assert (job.attempts, job.max_attempts, job.existing) == (0, 3, False)
        assert (job.created_at, job.updated_at, job.run_at) == (NOW, NOW, NOW)
        assert (job.started_at, job.finished_at, job.lease_until, job.worker_id) == (None, None, None, None)

    def test_times_are_kept_to_the_microsecond_and_come_back_in_utc(self, jobs: JobStore) -> None:
        at = NOW + timedelta(microseconds=1)
        made = make(jobs, now=at)
        assert made.created_at == at
        assert made.created_at.utcoffset() == timedelta(0)

    def test_an_unknown_job_is_not_found_by_any_call(self, jobs: JobStore) -> None:
        with pytest.raises(NotFound, match="No job job_7"):
            jobs.get("job_7", now=NOW)
        for command in COMMANDS.values():
            with pytest.raises(NotFound, match="No job job_7"):
                command(jobs, "job_7")

    def test_jobs_of_one_priority_are_claimed_in_the_order_they_came(self, jobs: JobStore) -> None:
        made = [make(jobs, type=kind).id for kind in (*JobType, *reversed(JobType))]
        assert [take(jobs).id for _ in made] == made
        assert jobs.claim(worker_id="worker-1", now=NOW) is None

    def test_high_goes_before_normal_before_low(self, jobs: JobStore) -> None:
        low, normal, high = (make(jobs, priority=priority).id for priority in ("low", "normal", "high"))
        assert [take(jobs).id for _ in range(3)] == [high, normal, low]

    def test_a_scheduled_job_waits_for_its_time(self, jobs: JobStore) -> None:
        job = make(jobs, run_at=NOW + HOUR)
        assert jobs.claim(worker_id="worker-1", now=NOW + HOUR - timedelta(microseconds=1)) is None
        assert take(jobs, now=NOW + HOUR).id == job.id

    def test_a_scheduled_job_of_high_priority_does_not_hide_a_ready_one_of_low(self, jobs: JobStore) -> None:
        later = make(jobs, priority="high", run_at=NOW + HOUR)
        ready = make(jobs, priority="low")
        assert take(jobs).id == ready.id
        assert take(jobs, now=NOW + HOUR).id == later.id

    def test_jobs_that_fell_due_are_claimed_by_priority_and_then_by_their_time(self, jobs: JobStore) -> None:
        last = make(jobs, run_at=NOW + 3 * SECOND)
        first = make(jobs, run_at=NOW + SECOND)
        between = make(jobs, now=NOW + 2 * SECOND)
        high = make(jobs, run_at=NOW + 4 * SECOND, priority="high", type="import")
        assert [take(jobs, now=NOW + HOUR).id for _ in range(4)] == [high.id, first.id, between.id, last.id]

    def test_a_high_job_goes_first_even_when_hundreds_of_others_fall_due_with_it(self, jobs: JobStore) -> None:
        for _ in range(450):
            make(jobs, run_at=NOW + SECOND)
        high = make(jobs, run_at=NOW + 2 * SECOND, priority="high")
        assert take(jobs, now=NOW + HOUR).id == high.id
        assert len({take(jobs, now=NOW + HOUR).id for _ in range(450)}) == 450

    def test_a_time_that_has_passed_means_now(self, jobs: JobStore) -> None:
        assert make(jobs, run_at=NOW - HOUR).run_at == NOW
        assert jobs.claim(worker_id="worker-1", now=NOW) is not None

    @pytest.mark.parametrize("kind", JobType)
    def test_a_claim_by_type_takes_that_type_alone(self, jobs: JobStore, kind: JobType) -> None:
        made = {other: make(jobs, type=other).id for other in JobType}
        assert take(jobs, types=[kind]).id == made[kind]
        assert jobs.claim(types=[kind], worker_id="worker-1", now=NOW) is None

    def test_a_claim_of_several_types_takes_the_oldest_of_them(self, jobs: JobStore) -> None:
        make(jobs, type="import")
        wanted = [make(jobs, type=kind).id for kind in ("outreach", "discovery")]
        assert [take(jobs, types={"discovery", "outreach"}).id for _ in wanted] == wanted

    def test_a_clock_that_is_set_back_an_hour_loses_no_job(self, jobs: JobStore) -> None:
        ready, leased = make(jobs, priority="low"), make(jobs, priority="high")
        assert take(jobs).id == leased.id
        back = NOW - HOUR
        assert take(jobs, now=back).id == ready.id
        assert jobs.claim(worker_id="worker-2", now=back) is None
        assert {take(jobs, worker_id="worker-2", now=back + 61 * SECOND).id for _ in range(2)} == {ready.id, leased.id}

    def test_a_clock_that_is_set_back_leaves_a_live_holder_its_job(self, jobs: JobStore) -> None:
        make(jobs)
        held = take(jobs)
        back = NOW - HOUR
        assert jobs.claim(worker_id="worker-2", now=back) is None
        assert jobs.heartbeat(held.id, held.lease_token, now=back + SECOND).lease_until == back + 61 * SECOND
        jobs.complete(held.id, held.lease_token, now=back + 2 * SECOND)
        assert jobs.get(held.id, now=back).status is JobStatus.COMPLETED

    def test_threads_of_one_process_share_the_queue_without_doing_a_job_twice(self, jobs: JobStore) -> None:
        made = {make(jobs).id for _ in range(300)}

        def drain(name: str) -> list[str]:
            done = list[str]()
            while (job := jobs.claim(worker_id=name, now=NOW)) is not None:
                jobs.complete(job.id, job.lease_token, now=NOW)
                assert jobs.get(job.id, now=NOW).status is JobStatus.COMPLETED
                done.append(job.id)
            return done

        with ThreadPoolExecutor(8) as pool:
            done = [job_id for part in pool.map(drain, [f"worker-{n}" for n in range(8)]) for job_id in part]
        assert (len(done), set(done)) == (300, made)
