"""Every string argument of every public call is fed with SQL, and neither the schema nor any other row changes."""

import inspect
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from db.domain.errors import SalesAutomationError
from db.domain.jobs import JobStatus
from db.local.contract import CacheStore, JobStore
from db.local.schema import CACHE, JOBS
from db.local.store import LocalStore
from tests.support.conformance.scene import HOUR, NOW, exhaust, make, take

HOSTILE = [
    "'; DROP TABLE jobs; --",
    "1); DELETE FROM cache; --",
    "' OR '1'='1",
    '" OR ""="',
    "job_1' UNION SELECT value FROM secrets --",
    "priority = 0 WHERE 1 = 1 --",
    "%",
    "_",
    "?1",
    ":now",
    "x\0'; DROP TABLE jobs",
    "\ud800",
    "'" * 150,
]
SECRET = "bystander"
Arguments = dict[str, Any]


def held(jobs: JobStore) -> Arguments:
    make(jobs, type="crm_sync")
    job = take(jobs, types=["crm_sync"])
    return {"job_id": job.id, "lease_token": job.lease_token}


def failed(jobs: JobStore) -> Arguments:
    make(jobs, type="crm_sync")
    job = take(jobs, types=["crm_sync"])
    return {"job_id": jobs.fail(job.id, job.lease_token, "no", retry=False, now=NOW).id}


# For each public call: arguments with which it works, on a job or an entry of its own.
JOB_CALLS: dict[str, Callable[[JobStore], Arguments]] = {
    "create": lambda _: {"type": "crm_sync", "parameters": {"a": "b"}, "priority": "low", "dedupe_key": "k"},
    "get": lambda jobs: {"job_id": make(jobs).id},
    "list": lambda jobs: {
        "status": "pending",
        "type": "outreach",
        "cursor": jobs.list(status="pending", type="outreach", limit=1, now=NOW).next_cursor,
    },
    "claim": lambda jobs: make(jobs, type="crm_sync") and {"types": ["crm_sync"], "worker_id": "w"},
    "heartbeat": lambda jobs: held(jobs) | {"progress": "p"},
    "complete": lambda jobs: held(jobs) | {"result": "r"},
    "fail": lambda jobs: held(jobs) | {"error": "e"},
    "cancel": lambda jobs: {"job_id": make(jobs).id},
    "retry": failed,
    "update": lambda jobs: {"job_id": make(jobs, run_at=NOW + HOUR).id, "changes": {"priority": "low"}},
    "stats": lambda _: {},
    "prune": lambda _: {"older_than": timedelta(days=400)},
}
CACHE_CALLS: dict[str, Callable[[CacheStore], Arguments]] = {
    "get": lambda _: {"namespace": "own", "key": "k"},
    "set": lambda _: {"namespace": "own", "key": "k", "value": "v", "ttl_seconds": 60},
    "delete": lambda _: {"namespace": "own", "key": "k"},
    "stats": lambda _: {},
    "sweep": lambda _: {},
    "close": lambda _: {},
}


def public_calls(store: object) -> set[str]:
    return {name for name, _ in inspect.getmembers(store, inspect.ismethod) if not name.startswith("_")}


def poisoned(arguments: Arguments, hostile: str) -> Iterator[Arguments]:
    """The arguments once for each string in them, with that one replaced; in containers, keys as well."""
    for name, value in arguments.items():
        if isinstance(value, str):
            yield arguments | {name: hostile}
        elif isinstance(value, list):
            yield arguments | {name: [hostile]}
        elif isinstance(value, dict):
            yield arguments | {name: {hostile: "x"}}
            yield arguments | {name: {"priority": hostile}}


def photograph(directory: Path) -> dict[str, list[tuple[object, ...]]]:
    """The schema of both files, and every row of the bystanders."""
    seen: dict[str, list[tuple[object, ...]]] = {}
    for layout, queries in (
        (
            JOBS,
            (
                "SELECT type, name, sql FROM sqlite_master ORDER BY name",
                "SELECT * FROM jobs WHERE worker_id = 'bystander' OR dedupe_key = 'bystander' ORDER BY id",
                "SELECT * FROM job_parameters WHERE parameters LIKE '%bystander%' ORDER BY job_id",
                "SELECT * FROM job_results WHERE result LIKE '%bystander%' ORDER BY job_id",
                "SELECT * FROM job_attempts WHERE worker_id = 'bystander' ORDER BY job_id, number",
                "SELECT * FROM secrets",
            ),
        ),
        (
            CACHE,
            (
                "SELECT type, name, sql FROM sqlite_master ORDER BY name",
                "SELECT id, namespace, key, value, bytes, expires_at FROM cache WHERE namespace = 'bystander'",
            ),
        ),
    ):
        connection = sqlite3.connect(directory / layout.file_name)
        for query in queries:
            seen[layout.file_name + query] = connection.execute(query).fetchall()
        connection.close()
    assert all(seen.values())
    return seen


@pytest.fixture
def bystanders(store: LocalStore) -> LocalStore:
    """A store with a job in every state, with payloads and history, and a cached value."""
    jobs = store.jobs
    for _ in JobStatus:
        make(jobs, type="outreach", parameters={"of": SECRET})
    done = take(jobs, worker_id=SECRET, types=["outreach"])
    jobs.complete(done.id, done.lease_token, result=SECRET, now=NOW)
    lost = take(jobs, worker_id=SECRET, types=["outreach"])
    jobs.fail(lost.id, lost.lease_token, "no", retry=False, now=NOW)
    take(jobs, worker_id=SECRET, types=["outreach"], lease_seconds=3600)
    make(jobs, type="outreach", dedupe_key=SECRET, parameters={"of": SECRET}, run_at=NOW + HOUR)
    store.cache.set(SECRET, "k", SECRET, ttl_seconds=3600, now=NOW)
    return store


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize(
    ("noun", "call"), [("jobs", name) for name in JOB_CALLS] + [("cache", name) for name in CACHE_CALLS]
)
def test_sql_in_a_string_argument_changes_nothing_else(
    bystanders: LocalStore, directory: Path, noun: str, call: str, hostile: str
) -> None:
    before = photograph(directory)
    target: Any = getattr(bystanders, noun)
    prepare: Callable[[Any], Arguments] = (JOB_CALLS if noun == "jobs" else CACHE_CALLS)[call]
    time = {"now": NOW} if "now" in inspect.signature(getattr(target, call)).parameters else {}
    getattr(target, call)(**prepare(target), **time)
    for arguments in list(poisoned(prepare(target), hostile)):
        with suppress(SalesAutomationError):
            getattr(target, call)(**arguments, **time)
    assert photograph(directory) == before


@pytest.mark.parametrize("hostile", [text for text in HOSTILE if text.isprintable()])
def test_sql_that_is_allowed_as_a_text_is_kept_as_that_text(store: LocalStore, hostile: str) -> None:
    job = make(store.jobs, dedupe_key=hostile, parameters={hostile: hostile})
    held_job = take(store.jobs, worker_id=hostile)
    store.jobs.heartbeat(held_job.id, held_job.lease_token, progress=[hostile], now=NOW)
    store.jobs.fail(held_job.id, held_job.lease_token, hostile, retry=False, now=NOW)
    kept = store.jobs.get(job.id, now=NOW)
    assert (kept.dedupe_key, kept.parameters, kept.error) == (hostile, {hostile: hostile}, hostile)
    assert (kept.worker_id, kept.progress, kept.history[0].error) == (hostile, [hostile], hostile)
    store.cache.set(hostile[:64], hostile, hostile, ttl_seconds=60, now=NOW)
    entry = store.cache.get(hostile[:64], hostile, now=NOW)
    assert entry is not None
    assert entry.value == hostile


def test_the_walk_knows_every_public_call_and_each_works_unpoisoned(bystanders: LocalStore) -> None:
    assert public_calls(bystanders.jobs) == set(JOB_CALLS)
    assert public_calls(bystanders.cache) == set(CACHE_CALLS)
    exhausted = make(bystanders.jobs, type="crm_sync", priority="high")
    exhaust(bystanders.jobs, exhausted.id)
    assert all(prepare(bystanders.jobs) is not None for prepare in JOB_CALLS.values())
