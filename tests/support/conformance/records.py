"""What is on record."""

from collections import Counter
from datetime import timedelta

import pytest

from db.domain.errors import InvalidInput, NotFound
from db.domain.jobs import JobDetail, JobPriority, JobStatus, JobType
from db.local.contract import JobStore
from tests.support.conformance.scene import HOUR, NOW, SECOND, in_state, make, take


class RecordContract:
    """Lists, numbers, pruning and changes."""

    @pytest.fixture
    def jobs(self) -> JobStore:
        raise NotImplementedError

    def test_a_list_is_newest_first_and_complete_over_its_pages(self, jobs: JobStore) -> None:
        made = [make(jobs).id for _ in range(7)]
        seen, cursor, pages = list[str](), None, 0
        while cursor is not None or not pages:
            page = jobs.list(limit=3, cursor=cursor, now=NOW)
            seen += [job.id for job in page.jobs]
            cursor, pages = page.next_cursor, pages + 1
            make(jobs)  # a newer job does not disturb the pages that follow
        assert (seen, pages) == (made[::-1], 3)

    def test_a_page_that_is_exactly_full_is_the_last(self, jobs: JobStore) -> None:
        for _ in range(2):
            make(jobs)
        assert jobs.list(limit=2, now=NOW).next_cursor is None
        assert jobs.list(status="failed", now=NOW) == jobs.list(type="import", now=NOW)

    @pytest.mark.parametrize("status", JobStatus)
    def test_a_list_of_one_status_has_all_of_that_and_nothing_else(self, jobs: JobStore, status: JobStatus) -> None:
        made = {other: in_state(jobs, other) for other in (*set(JobStatus) - {JobStatus.PENDING}, JobStatus.PENDING)}
        page = jobs.list(status=status, type="enrichment", now=NOW)
        assert [(job.id, job.status) for job in page.jobs] == [(made[status], status)]
        assert jobs.list(status=status, type="import", now=NOW).jobs == ()

    def test_a_full_list_has_the_payloads_and_a_plain_one_does_not(self, jobs: JobStore) -> None:
        make(jobs)
        held = take(jobs)
        jobs.complete(held.id, held.lease_token, result=[1], now=NOW)
        (detail,) = jobs.list(full=True, now=NOW).jobs
        assert detail == jobs.get(held.id, now=NOW)
        (job,) = jobs.list(now=NOW).jobs
        assert not isinstance(job, JobDetail)

    def test_a_full_page_ends_before_it_grows_too_large_and_the_next_goes_on(self, jobs: JobStore) -> None:
        made = [make(jobs, parameters={"text": "x" * 1_000_000}).id for _ in range(6)]
        first = jobs.list(full=True, now=NOW)
        second = jobs.list(full=True, cursor=first.next_cursor, now=NOW)
        assert [len(first.jobs), len(second.jobs), second.next_cursor] == [4, 2, None]
        assert [job.id for job in first.jobs + second.jobs] == made[::-1]

    @pytest.mark.parametrize(("limit", "length"), [(0, 1), (-5, 1), (10**9, 3)])
    def test_a_limit_out_of_range_is_clamped(self, jobs: JobStore, limit: int, length: int) -> None:
        for _ in range(3):
            make(jobs)
        assert len(jobs.list(limit=limit, now=NOW).jobs) == length

    def test_a_cursor_that_was_changed_or_belongs_to_other_filters_is_refused(self, jobs: JobStore) -> None:
        for _ in range(3):
            make(jobs)
        good = jobs.list(limit=1, now=NOW).next_cursor
        assert good is not None
        swapped = good[:9] + ("A" if good[9] != "A" else "B") + good[10:]
        for cursor in (swapped, good[:-4], good + "AAAA", "", "job_2", "%", "\ud800", "é" * 32, "A" * 10_000):
            with pytest.raises(InvalidInput, match="cursor is not one that this list returned"):
                jobs.list(cursor=cursor, now=NOW)
        with pytest.raises(InvalidInput, match="cursor"):
            jobs.list(cursor=good, status="pending", now=NOW)

    def test_stats_count_what_is_stored(self, jobs: JobStore) -> None:
        make(jobs, type="import")
        held = take(jobs)
        jobs.complete(held.id, held.lease_token, now=NOW)
        make(jobs, run_at=NOW + HOUR)
        make(jobs, now=NOW + SECOND)
        make(jobs, run_at=NOW + 2 * HOUR)
        stats = jobs.stats(now=NOW + HOUR)
        assert (stats.total, stats.ready, stats.scheduled) == (4, 2, 1)
        assert (stats.oldest_ready_at, stats.next_run_at) == (NOW + SECOND, NOW + 2 * HOUR)
        assert Counter({status: count for status, count in stats.by_status.items() if count}) == Counter(
            {JobStatus.PENDING: 3, JobStatus.COMPLETED: 1}
        )
        assert stats.by_type[JobType.IMPORT][JobStatus.COMPLETED] == 1
        assert stats.by_type[JobType.ENRICHMENT][JobStatus.PENDING] == 3

    def test_an_empty_store_has_stats(self, jobs: JobStore) -> None:
        stats = jobs.stats(now=NOW)
        assert (stats.total, stats.ready, stats.oldest_ready_at, stats.next_run_at) == (0, 0, None, None)

    def test_pruning_deletes_finished_jobs_that_are_old_enough_and_no_other(self, jobs: JobStore) -> None:
        old = [in_state(jobs, status) for status in (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED)]
        live = make(jobs, run_at=NOW + 9 * HOUR)
        recent = make(jobs)
        jobs.cancel(recent.id, now=NOW + HOUR)
        last = make(jobs, run_at=NOW + 9 * HOUR)
        assert jobs.prune(2 * HOUR, now=NOW + 2 * HOUR) == len(old)
        assert [job.id for job in jobs.list(now=NOW).jobs] == [last.id, recent.id, live.id]
        with pytest.raises(NotFound):
            jobs.get(old[0], now=NOW)

    def test_an_id_is_never_given_to_a_second_job(self, jobs: JobStore) -> None:
        given = {in_state(jobs, JobStatus.CANCELLED) for _ in range(3)}
        jobs.prune(timedelta(0), now=NOW + HOUR)
        assert make(jobs).id not in given

    def test_the_whitelisted_fields_of_a_pending_job_can_be_changed(self, jobs: JobStore) -> None:
        first, other, second = make(jobs), make(jobs), make(jobs)
        jobs.update(second.id, {"max_attempts": 1}, now=NOW)
        job = jobs.update(second.id, {"priority": "high"}, now=NOW + SECOND)
        assert (job.priority, job.max_attempts, job.updated_at) == (JobPriority.HIGH, 1, NOW + SECOND)
        jobs.update(first.id, {"run_at": NOW + HOUR}, now=NOW)
        taken = [take(jobs, now=NOW + 2 * SECOND, lease_seconds=7200).id for _ in range(2)]
        assert taken == [second.id, other.id]
        assert jobs.claim(worker_id="worker-1", now=NOW + 2 * SECOND) is None
        assert take(jobs, now=NOW + HOUR).id == first.id

    @pytest.mark.parametrize("column", ["status", "slot", "lease_token", "attempts", "id", "priority = 0; --", ""])
    def test_any_other_field_is_refused(self, jobs: JobStore, column: str) -> None:
        before = jobs.get(make(jobs).id, now=NOW)
        with pytest.raises(InvalidInput, match="changes may name max_attempts, parameters, priority, run_at"):
            jobs.update(before.id, {"priority": "high", column: 1}, now=NOW)
        assert jobs.get(before.id, now=NOW) == before
