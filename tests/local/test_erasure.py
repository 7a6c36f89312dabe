"""A person is taken out of jobs and cache, to the last byte of the files; everybody else stays."""

import json
import sqlite3
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Barrier

import pytest

from db.domain.errors import Busy
from db.domain.jobs import JobStatus
from db.local.redaction import Redactor
from db.local.schema import CACHE, JOBS
from db.local.store import LocalStore
from tests.support.conformance.scene import HOUR, NOW, make, take
from tests.support.patience import PATIENCE

EMAIL = "zoë.quux@example.com"
LINK = "https://www.linkedin.com/in/zoe-quux"
CONTACT_ID = "00000000-0000-7000-8000-00000000abcd"
TRACES = ("zoë", "quux", "plover", CONTACT_ID)
ADA = {"email": "ada@example.com", "first_name": "Ada"}
ZOE = {"email": EMAIL.title(), "first_name": "Zoë", "nick": "plover"}
GONE = {"erased": True}


def erase(store: LocalStore) -> tuple[int, int]:
    done = store.eraser.erase({EMAIL, LINK}, [CONTACT_ID], now=NOW)
    return done.jobs, done.cache_entries


def bytes_of(directory: Path) -> bytes:
    """All that stands in the files of the store, in lower case as far as it is ASCII."""
    files = [path for path in directory.iterdir() if path.suffix != ".lock"]
    assert {path.name for path in files} >= {JOBS.file_name, f"{JOBS.file_name}-wal", CACHE.file_name}
    return b"\0".join(path.read_bytes() for path in files).lower()


def traces(directory: Path) -> list[str]:
    found = bytes_of(directory)
    return [trace for trace in TRACES if trace.encode() in found or trace.upper().encode() in found]


REDACTED: list[tuple[object, object]] = [
    ({"contacts": [ADA, ZOE]}, {"contacts": [ADA]}),
    ({"deep": [{"people": [ZOE, ADA]}, 1, None]}, {"deep": [{"people": [ADA]}, 1, None]}),
    ({"to": [EMAIL, "ada@example.com"], "n": 1}, {"to": ["ada@example.com"], "n": 1}),
    (ZOE, GONE),
    ([ZOE, ADA], [ADA]),
    (f"Asked Zoë <{EMAIL}>", GONE),
    ({"by": {EMAIL: {"name": "Zoë"}, "ada@example.com": {}}}, {"by": {"ada@example.com": {}}}),
    ([{"id": CONTACT_ID.upper(), "name": "Zoë"}, {"id": "x", "name": "Ada"}], [{"id": "x", "name": "Ada"}]),
    ([{"url": "http://LinkedIn.com/in/Zoe-Quux/?x=1", "name": "Zoë"}], []),
    ([{"link": "https://example.com/stop?who=zo%C3%AB.quux%40example.com", "name": "Zoë"}], []),
    ({"csv": f"email,name\n{EMAIL},Zoë\nada@example.com,Ada\n"}, {"csv": "email,name\nerased,\nada@example.com,Ada\n"}),
    (
        {"csv": f'name;email;note\r\n"Quux\r\nZoë";{EMAIL};plover\r\nAda;ada@example.com;"a;b"\r\n'},
        {"csv": 'name;email;note\r\nerased;;\r\nAda;ada@example.com;"a;b"\r\n'},
    ),
    ([{"note": f"Name: Zoë Quux\nMail: {EMAIL}"}], []),
    ([{"note": f'"broken\n{EMAIL}', "name": "Zoë"}], []),
    ([{"note": f"Met {LINK}.", "name": "Zoë"}, ADA], [ADA]),
    ([{"note": f"_{EMAIL}_", "name": "Zoë"}, ADA], [ADA]),
    ([{"raw": json.dumps({"a": json.dumps(f"Hi\n{EMAIL}")})}, ADA], [ADA]),
    ([{"raw": b64encode(f"to: {EMAIL}".encode()).decode()}, ADA], [ADA]),
]


@pytest.mark.parametrize(("value", "left"), REDACTED)
def test_what_is_about_the_person_goes_and_the_rest_stays(value: object, left: object) -> None:
    redactor = Redactor({EMAIL, LINK}, [CONTACT_ID])
    assert redactor.redact(value) == (left, True)
    assert redactor.redact(left) == (left, False)


@pytest.mark.parametrize(
    "value",
    [
        ADA,
        {"email": f"x{EMAIL}"},
        {"email": f"{EMAIL}.au"},
        {"url": f"{LINK}-2"},
        {"text": "Zoë Quux", "n": [1, 2.5, None, True]},
        {"csv": "email,name\nada@example.com,Zoë\n"},
    ],
)
def test_what_is_not_about_the_person_is_left_alone(value: object) -> None:
    assert Redactor({EMAIL, LINK}, [CONTACT_ID]).redact(value) == (value, False)


def finished(store: LocalStore, how: JobStatus) -> str:
    """A job about the person among others, with traces in every column, in the state `how`."""
    jobs = store.jobs
    key = f"enrich {EMAIL} {how}"
    job = make(jobs, type="outreach", parameters={"contacts": [ADA, ZOE]}, dedupe_key=key, max_attempts=3)
    if how is JobStatus.PENDING:
        return job.id
    held = take(jobs, types=["outreach"], worker_id=f"worker of {EMAIL}")
    assert held.id == job.id
    jobs.heartbeat(job.id, held.lease_token, progress={"at": ZOE, "n": 1}, now=NOW)
    if how is JobStatus.COMPLETED:
        jobs.complete(job.id, held.lease_token, result=[ZOE, ADA], now=NOW)
    elif how is JobStatus.FAILED:
        jobs.fail(job.id, held.lease_token, f"{EMAIL} is away", retry=False, now=NOW)
    elif how is JobStatus.CANCELLED:
        jobs.cancel(job.id, now=NOW)
        jobs.fail(job.id, held.lease_token, f"stopped at {LINK}", now=NOW)
    return job.id


def test_nothing_is_left_in_the_bytes_of_either_file(store: LocalStore, directory: Path) -> None:
    ids = {how: finished(store, how) for how in reversed(JobStatus)}
    pruned = make(store.jobs, type="enrichment", parameters={"of": [ZOE] * 200})
    store.jobs.cancel(pruned.id, now=NOW - 9 * HOUR)
    make(store.jobs, type="crm_sync")
    store.jobs.prune(timedelta(hours=8), now=NOW)
    for namespace, key, value in (("n", "k", ZOE), ("n", EMAIL, 1), (LINK[:64], "k", 1), ("n", "ada", ADA)):
        store.cache.set(namespace, key, value, ttl_seconds=60, now=NOW)
    store.cache.set("n", "was", [ZOE] * 500, ttl_seconds=60, now=NOW)
    store.cache.delete("n", "was")
    assert len(traces(directory)) >= 3
    assert erase(store) == (len(JobStatus), 3)
    assert traces(directory) == []
    assert b"ada@example.com" in bytes_of(directory)
    for how, job_id in ids.items():
        job = store.jobs.get(job_id, now=NOW)
        assert (job.status, job.parameters, job.dedupe_key) == (how, {"contacts": [ADA]}, None)
    assert store.jobs.get(ids[JobStatus.COMPLETED], now=NOW).result == [ADA]
    assert store.jobs.get(ids[JobStatus.FAILED], now=NOW).error == "erased"
    assert erase(store) == (0, 0)


def test_a_job_about_nobody_else_is_not_done_any_more(store: LocalStore) -> None:
    held_job = make(store.jobs, parameters=ZOE)
    held = take(store.jobs)
    waiting = make(store.jobs, parameters=ZOE)
    assert erase(store) == (2, 0)
    job = store.jobs.get(waiting.id, now=NOW)
    assert (job.status, job.parameters) == (JobStatus.CANCELLED, GONE)
    assert store.jobs.heartbeat(held_job.id, held.lease_token, now=NOW).cancel_requested


def test_the_holder_of_a_job_goes_on_with_the_others(store: LocalStore) -> None:
    job_id = finished(store, JobStatus.PROCESSING)
    erase(store)
    assert store.jobs.get(job_id, now=NOW).worker_id == "erased"
    again = take(store.jobs, now=NOW + HOUR)
    assert (again.id, again.parameters) == (job_id, {"contacts": [ADA]})


def test_the_store_names_every_address_that_it_mentions(store: LocalStore) -> None:
    finished(store, JobStatus.FAILED)
    store.cache.set("n", "k", {"profile": "linkedin.com/in/Bob"}, ttl_seconds=60, now=NOW)
    found = store.eraser.addresses()
    assert found >= {EMAIL, "ada@example.com", "https://www.linkedin.com/in/bob"}


@pytest.mark.parametrize("broken", [f'{{"to": "{EMAIL}', f"\ufffd {EMAIL}"])
def test_text_that_is_no_json_is_searched_as_text(store: LocalStore, directory: Path, broken: str) -> None:
    job = make(store.jobs)
    connection = sqlite3.connect(directory / JOBS.file_name, isolation_level=None)
    connection.execute("UPDATE job_parameters SET parameters = CAST(? AS TEXT)", (broken.encode(),))
    connection.close()
    assert EMAIL in store.eraser.addresses()
    assert erase(store) == (1, 0)
    assert store.jobs.get(job.id, now=NOW).parameters == GONE


def test_a_reader_that_stays_is_reported_and_a_later_call_finishes(directory: Path) -> None:
    with LocalStore.open(directory, wait_seconds=0.2) as store:
        make(store.jobs, parameters=ZOE)
        reader = sqlite3.connect(directory / JOBS.file_name, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM jobs").fetchall()
        with pytest.raises(Busy):
            erase(store)
        reader.execute("COMMIT")
        reader.close()
        assert erase(store) == (0, 0)
        assert traces(directory) == []


def test_jobs_that_are_claimed_and_reported_on_meanwhile_are_not_set_back(store: LocalStore) -> None:
    for index in range(300):
        make(store.jobs, parameters={"contacts": [ADA]}, dedupe_key=f"{index} {EMAIL}")
    gate = Barrier(2)

    def work() -> None:
        gate.wait()
        for _ in range(300):
            held = take(store.jobs)
            store.jobs.heartbeat(held.id, held.lease_token, progress={"of": held.id}, now=NOW)

    with ThreadPoolExecutor(1) as thread:
        done = thread.submit(work)
        gate.wait()
        erase(store)
        done.result(timeout=PATIENCE)
    jobs = store.jobs.list(limit=300, now=NOW).jobs
    assert [(job.worker_id, job.progress, job.dedupe_key) for job in jobs] == [
        ("worker-1", {"of": job.id}, None) for job in jobs
    ]
