"""Several processes on one store, some of them killed, and a disk that fills up."""

import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from db.domain.errors import LeaseLost
from db.domain.jobs import JobStatus
from db.local.schema import CACHE, JOBS
from db.local.store import LocalStore
from tests.support import local_process
from tests.support.conformance.scene import NOW, make, take
from tests.support.patience import PATIENCE

ROOT = Path(__file__).parents[2]
CHILD = Path(local_process.__file__)


class Child:
    """A process of local_process.py. Every wait for it is bounded: a watchdog kills it, and the read then ends."""

    def __init__(self, role: str, directory: Path, argument: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(CHILD), role, str(directory), argument],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            text=True,
        )
        self.watchdog = threading.Timer(PATIENCE, self.process.kill)
        self.watchdog.start()

    def hear(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the process ended with {self.process.wait(PATIENCE)}"
        return json.loads(line)

    def tell(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def kill(self) -> list[Any]:
        """SIGKILL; what it had said before that, in whole lines."""
        self.process.kill()
        assert self.process.stdout is not None
        # Not communicate(): it reads the pipe itself, and would miss what readline() has read ahead.
        out = self.process.stdout.read()
        return [json.loads(line) for line in out.splitlines(keepends=True) if line.endswith("\n")]

    def close(self) -> None:
        self.watchdog.cancel()
        self.process.kill()
        self.process.communicate(timeout=PATIENCE)


@pytest.fixture
def start() -> Iterator[Any]:
    children: list[Child] = []

    def begin(role: str, directory: Path, argument: str) -> Child:
        children.append(Child(role, directory, argument))
        return children[-1]

    yield begin
    for child in children:
        child.close()


def check(directory: Path) -> None:
    """Both files are sound, and so is every reference in them."""
    for layout in (JOBS, CACHE):
        connection = sqlite3.connect(directory / layout.file_name)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        connection.close()


def test_four_processes_complete_every_job_exactly_once_and_each_gets_its_share(
    store: LocalStore, directory: Path, start: Any
) -> None:
    made = [make(store.jobs).id for _ in range(5000)]
    children = [start("drain", directory, f"process-{n}") for n in range(4)]
    for child in children:
        assert child.hear() == "ready"
    for child in children:
        child.tell()
    shares = [child.hear() for child in children]
    done = [job_id for share in shares for job_id in share]
    assert len(done) == 5000
    assert set(done) == set(made)
    assert min(map(len, shares)) * 4 >= max(map(len, shares))
    stats = store.jobs.stats(now=NOW)
    assert stats.by_status[JobStatus.COMPLETED] == stats.total == 5000
    first = store.jobs.get(shares[2][0], now=NOW)
    assert (first.attempts, first.result, first.history) == (1, {"by": "process-2"}, ())
    check(directory)


def test_the_job_of_a_killed_holder_is_claimed_again_after_its_lease_and_not_before(
    store: LocalStore, directory: Path, start: Any
) -> None:
    make(store.jobs)
    child = start("hold", directory, "doomed")
    lease = child.hear()
    child.kill()
    until = datetime.fromisoformat(lease["until"])
    assert until == NOW + timedelta(seconds=60)
    assert store.jobs.claim(worker_id="heir", now=until - timedelta(microseconds=1)) is None
    again = take(store.jobs, worker_id="heir", now=until)
    assert (again.id, again.attempts) == (lease["id"], 2)
    with pytest.raises(LeaseLost):
        store.jobs.complete(lease["id"], lease["token"], now=until)
    (lost,) = store.jobs.get(again.id, now=until).history
    assert (lost.worker_id, lost.outcome) == ("doomed", "expired")


@pytest.mark.parametrize("lines", [1, 2, 5, 11, 23, 47])
def test_a_writer_killed_in_the_middle_of_it_leaves_sound_files_with_all_it_acknowledged(
    directory: Path, start: Any, lines: int
) -> None:
    child = start("write", directory, "9000")
    said = [child.hear() for _ in range(lines)]
    said += child.kill()
    check(directory)
    with LocalStore.open(directory) as store:
        for job_id in said:
            job = store.jobs.get(job_id, now=NOW)
            assert (job.status, job.result, job.warnings) == (JobStatus.COMPLETED, "z" * 9000, ())
        assert store.jobs.stats(now=NOW).total in {len(said), len(said) + 1}
        assert not make(store.jobs).existing
        store.cache.set("a", "1", 1, ttl_seconds=60, now=NOW)


def test_two_writers_killed_while_they_compete_leave_the_lock_free(directory: Path, start: Any) -> None:
    children = [start("write", directory, "200") for _ in range(2)]
    for child in children:
        for _ in range(10):
            child.hear()
    for child in children:
        child.kill()
    with LocalStore.open(directory, wait_seconds=1) as store:
        make(store.jobs)
    check(directory)


def test_a_disk_that_fills_up_gives_a_clear_error_and_no_damage(directory: Path, start: Any) -> None:
    report = start("fill", directory, "400000").hear()
    assert "the disk or a quota is full" in report["refusal"]
    assert "Nothing was changed: free some space and call again" in report["refusal"]
    assert report["read"] == report["made"][0]
    assert len(report["made"]) > 5
    check(directory)
    with LocalStore.open(directory) as store:
        assert [job.id for job in store.jobs.list(now=NOW).jobs] == report["made"][::-1]
        assert make(store.jobs).id not in report["made"]
