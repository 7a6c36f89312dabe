"""What is refused."""

from datetime import datetime, timedelta

import pytest

from db.domain.errors import InvalidInput
from db.local.contract import JobStore
from tests.support.conformance.scene import NOT_FINITE, NOW, SECOND, make, take


class RefusalContract:
    """Each refusal names the argument and the rule, and changes nothing."""

    @pytest.fixture
    def jobs(self) -> JobStore:
        raise NotImplementedError

    @pytest.mark.parametrize(
        ("given", "text"),
        [
            ({"type": "laundry"}, "type 'laundry' is unknown. Use one of: import, enrichment,"),
            ({"priority": "urgent"}, "priority 'urgent' is unknown. Use one of: high, normal, low"),
            ({"max_attempts": 0}, "max_attempts is 0; it must be a whole number from 1 to 100"),
            ({"max_attempts": 101}, "max_attempts is 101"),
            ({"max_attempts": True}, "max_attempts is True"),
            ({"max_attempts": 1.5}, "max_attempts is 1.5"),
            ({"run_at": datetime(2031, 1, 1)}, "run_at must be a time with its offset"),  # noqa: DTZ001 - the point
            ({"run_at": NOW + timedelta(days=4000)}, "run_at is .* at most 3,650 days from now"),
            ({"dedupe_key": ""}, "dedupe_key must be 1 to 200 printable characters"),
            ({"dedupe_key": "a\nb"}, "dedupe_key must be"),
            ({"dedupe_key": "\ud800"}, "dedupe_key must be"),
            ({"dedupe_key": "x" * 201}, "dedupe_key must be"),
            ({"parameters": [1]}, "parameters must be a JSON object"),
            ({"parameters": {"text": "x" * 2_097_152}}, "parameters is 2,097,163 bytes as JSON; at most 1,048,576"),
            ({"parameters": {"when": NOW}}, "parameters can't be written as JSON"),
            ({"parameters": {"n": 2**70}}, "parameters can't be written as JSON"),
            ({"parameters": {"s": "\ud800"}}, "parameters can't be written as JSON"),
            ({"parameters": {1: "a"}}, "parameters can't be written as JSON"),
        ],
    )
    def test_a_bad_argument_of_create_is_named_with_its_rule(
        self, jobs: JobStore, given: dict[str, object], text: str
    ) -> None:
        with pytest.raises(InvalidInput, match=text):
            make(jobs, **given)
        assert jobs.stats(now=NOW).total == 0

    @pytest.mark.parametrize("number", NOT_FINITE)
    def test_a_number_that_json_lacks_is_refused_by_its_place(self, jobs: JobStore, number: float) -> None:
        with pytest.raises(InvalidInput, match=r"parameters\.rows\[1\]\.score is (nan|-?inf)"):
            make(jobs, parameters={"rows": [{}, {"score": number, "other": None}]})
        make(jobs)
        held = take(jobs)
        with pytest.raises(InvalidInput, match="result is"):
            jobs.complete(held.id, held.lease_token, result=number, now=NOW)
        with pytest.raises(InvalidInput, match=r"progress\[0\] is"):
            jobs.heartbeat(held.id, held.lease_token, progress=[number], now=NOW)

    @pytest.mark.parametrize(
        ("given", "text"),
        [
            ({"lease_seconds": 0}, "lease_seconds is 0; it must be a whole number from 1 to 86,400"),
            ({"lease_seconds": 31_536_000}, "lease_seconds is 31536000"),
            ({"types": []}, "types is empty"),
            ({"types": ["laundry"]}, "types 'laundry' is unknown"),
            ({"worker_id": ""}, "worker_id must be 1 to 200"),
            ({"worker_id": "x" * 201}, "worker_id must be"),
        ],
    )
    def test_a_bad_argument_of_claim_is_named_with_its_rule(
        self, jobs: JobStore, given: dict[str, object], text: str
    ) -> None:
        make(jobs)
        with pytest.raises(InvalidInput, match=text):
            take(jobs, **given)
        assert take(jobs).attempts == 1

    def test_bad_arguments_of_a_holder_are_named_and_change_nothing(self, jobs: JobStore) -> None:
        make(jobs)
        held = take(jobs)
        before = jobs.get(held.id, now=NOW)
        for text, call in (
            ("result is 2,", lambda: jobs.complete(held.id, held.lease_token, result="x" * 2_097_152, now=NOW)),
            ("progress is ", lambda: jobs.heartbeat(held.id, held.lease_token, progress="x" * 20_000, now=NOW)),
            ("error must be 1 to 10,000", lambda: jobs.fail(held.id, held.lease_token, "x" * 10_001, now=NOW)),
            ("error must be 1 to 10,000", lambda: jobs.fail(held.id, held.lease_token, "", now=NOW)),
            ("error must be text", lambda: jobs.fail(held.id, held.lease_token, "a\0b", now=NOW)),
            ("lease_token must be the 32", lambda: jobs.complete(held.id, "mine", now=NOW)),
            ("job_id is not a job's id", lambda: jobs.complete("1", held.lease_token, now=NOW)),
        ):
            with pytest.raises(InvalidInput, match=text):
                call()
        assert jobs.get(held.id, now=NOW) == before

    @pytest.mark.parametrize("job_id", ["", "1", "job_0", "job_01", "job_-1", "job_1 ", "JOB_1", "job_" + "9" * 30])
    def test_an_id_of_another_shape_is_refused(self, jobs: JobStore, job_id: str) -> None:
        with pytest.raises(InvalidInput, match="it looks like job_12"):
            jobs.get(job_id, now=NOW)

    @pytest.mark.parametrize(("name", "value"), [("status", "done"), ("type", "laundry")])
    def test_an_unknown_filter_is_refused(self, jobs: JobStore, name: str, value: str) -> None:
        with pytest.raises(InvalidInput, match=f"{name} '{value}' is unknown. Use one of"):
            jobs.list(**{name: value}, now=NOW)  # pyright: ignore[reportArgumentType] - the name is a parameter here

    @pytest.mark.parametrize(
        "changes",
        [{}, {"priority": "urgent"}, {"priority": 0}, {"max_attempts": 0}, {"max_attempts": "5"}, {"run_at": "soon"}],
    )
    def test_a_bad_change_is_refused(self, jobs: JobStore, changes: dict[str, object]) -> None:
        before = jobs.get(make(jobs).id, now=NOW)
        with pytest.raises(InvalidInput):
            jobs.update(before.id, changes, now=NOW)
        assert jobs.get(before.id, now=NOW) == before

    def test_attempts_cannot_be_limited_below_those_a_job_has_had(self, jobs: JobStore) -> None:
        make(jobs)
        held = take(jobs)
        jobs.fail(held.id, held.lease_token, "once", now=NOW)
        with pytest.raises(InvalidInput, match="more than the 1 attempts"):
            jobs.update(held.id, {"max_attempts": 1}, now=NOW)

    def test_pruning_the_future_is_refused(self, jobs: JobStore) -> None:
        with pytest.raises(InvalidInput, match="older_than"):
            jobs.prune(-SECOND, now=NOW)
