"""The job queue against the floor and against its peers: `python -m bench.jobs [--synchronous NORMAL|FULL]`.

The floor is what SQLite can do at all: two bare UPDATEs by rowid in two transactions, in a table of three columns.
Every candidate runs in WAL mode with the same synchronous setting. Peers are installed for the benchmark alone
(`pip install huey persist-queue litequeue`); one that is missing is skipped and named.
"""

import argparse
import importlib
import importlib.util
import json
import multiprocessing
import sqlite3
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from multiprocessing.synchronize import Barrier
from pathlib import Path
from statistics import median
from typing import Any

from bench.measure import alternate, machine, rate, ratio, report, scratch, verdict
from db.local.connection import Synchronous
from db.local.schema import JOBS
from db.local.slots import slot_of
from db.local.store import LocalStore

NOW = datetime(2030, 1, 1, tzinfo=UTC)
PAYLOAD = {"campaign": "spring", "row": 1}
TYPES = ("import", "enrichment", "discovery", "outreach", "crm_sync")


# Claim and complete.


def floor(count: int, synchronous: Synchronous, page_size: int | None) -> float:
    """Pairs of bare UPDATEs a second; with SQLite's own page size, or with the store's."""
    with scratch() as directory:
        connection = sqlite3.connect(directory / "floor.db", isolation_level=None)
        if page_size is not None:
            connection.execute(f"PRAGMA page_size = {page_size}")
            connection.execute("PRAGMA wal_autocheckpoint = 8000")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute("CREATE TABLE jobs (id INTEGER PRIMARY KEY, status TEXT, payload TEXT)")
        rows = [(number, "pending", json.dumps(PAYLOAD)) for number in range(1, count + 1)]
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO jobs VALUES (?, ?, ?)", rows)
        connection.execute("COMMIT")

        def work() -> None:
            for number in range(1, count + 1):
                connection.execute("UPDATE jobs SET status = 'processing' WHERE id = ?", (number,))
                connection.execute("UPDATE jobs SET status = 'completed' WHERE id = ?", (number,))

        result = rate(count, work)
        connection.close()
        return result


def ours(count: int, synchronous: Synchronous) -> float:
    with scratch() as directory, LocalStore.open(directory, synchronous=synchronous) as store:
        for _ in range(count):
            store.jobs.create(type="outreach", parameters=PAYLOAD, now=NOW)
        return rate(count, lambda: drain(store, count))


def drain(store: LocalStore, count: int) -> None:
    for _ in range(count):
        job = store.jobs.claim(worker_id="bench", now=NOW)
        assert job is not None
        store.jobs.complete(job.id, job.lease_token, now=NOW)


def huey(count: int, synchronous: Synchronous) -> float:
    """Dequeue, run a task that does nothing and keep no result: what its consumer does for each task.

    That is one commit, since a dequeued task is gone even if its worker dies; this store and the others make two.
    """
    library: Any = importlib.import_module("huey")
    with scratch() as directory:
        queue = library.SqliteHuey(filename=str(directory / "huey.db"), results=False)
        queue.storage.conn.execute(f"PRAGMA synchronous = {synchronous}")  # its own setting is OFF or FULL

        @queue.task()
        def nothing(payload: dict[str, object]) -> None:  # pyright: ignore[reportUnusedFunction] - called by the queue
            del payload

        for _ in range(count):
            nothing(PAYLOAD)

        def work() -> None:
            for _ in range(count):
                queue.execute(queue.dequeue())

        result = rate(count, work)
        queue.storage.close()
        return result


def persist_queue(count: int, synchronous: Synchronous) -> float:
    """get and ack of its queue with acknowledgements."""
    library: Any = importlib.import_module("persistqueue")
    with scratch() as directory:
        queue = library.SQLiteAckQueue(str(directory / "queue"), auto_commit=True, multithreading=False)
        for connection in (queue._putter, queue._getter):  # noqa: SLF001 - it has no setting of its own
            connection.execute(f"PRAGMA synchronous = {synchronous}")
        for _ in range(count):
            queue.put(PAYLOAD)

        def work() -> None:
            for _ in range(count):
                queue.ack(queue.get(block=False))

        result = rate(count, work)
        queue.close()
        return result


def litequeue(count: int, synchronous: Synchronous) -> float:
    """pop and done."""
    library: Any = importlib.import_module("litequeue")
    with scratch() as directory:
        queue = library.LiteQueue(str(directory / "lite.db"))
        queue.conn.execute(f"PRAGMA synchronous = {synchronous}")
        for _ in range(count):
            queue.put(json.dumps(PAYLOAD))

        def work() -> None:
            for _ in range(count):
                queue.done(queue.pop().message_id)

        result = rate(count, work)
        queue.conn.close()
        return result


PEERS = {
    "huey": ("huey", huey),
    "persist-queue": ("persistqueue", persist_queue),
    "litequeue": ("litequeue", litequeue),
}


def claim_and_complete(count: int, rounds: int, synchronous: Synchronous) -> None:
    candidates: dict[str, Callable[[], float]] = {
        "floor": partial(floor, count, synchronous, None),
        "floor, the store's pages": partial(floor, count, synchronous, 1024),
        "this store": partial(ours, count, synchronous),
    }
    for name, (module, run) in PEERS.items():
        if importlib.util.find_spec(module) is None:
            print(f"  skipped {name}: it is not installed (pip install {name})")
        else:
            candidates[name] = partial(run, count, synchronous)
    figures = alternate(candidates, rounds)
    title = f"claim + complete, one process, {count:,} jobs, synchronous {synchronous}"
    report(title, figures, against="floor", unit="a second")
    share = ratio(figures, "this store", "floor")
    verdict("this store / floor", share, "at least 0.5", met=share >= 0.5)
    for name in PEERS.keys() & figures.keys():
        ahead = ratio(figures, "this store", name)
        verdict(f"this store / {name}", ahead, "more than 1", met=ahead > 1)


# Claims beside many pending jobs.


def fill(directory: Path, pending: int, scheduled: int) -> None:
    """Put jobs of every type and priority into the file, faster than one call each would."""
    at = int(NOW.timestamp() * 1_000_000)
    later = at + 86_400 * 1_000_000

    def rows() -> Iterator[tuple[object, ...]]:
        for number in range(pending):
            kind, rank = TYPES[number % 5], number // 5 % 3
            yield kind, rank, slot_of(kind, rank, at - pending + number, at), at - pending + number, at, at
        for number in range(scheduled):
            kind, rank = TYPES[number % 5], number // 5 % 3
            yield kind, rank, slot_of(kind, rank, later + number, at), later + number, at, at

    connection = sqlite3.connect(directory / JOBS.file_name, isolation_level=None)
    connection.execute("BEGIN")
    connection.executemany(
        "INSERT INTO jobs (type, priority, status, slot, run_at, max_attempts, created_at, updated_at)"
        " VALUES (?, ?, 'pending', ?, ?, 5, ?, ?)",
        rows(),
    )
    connection.execute(
        "INSERT INTO job_parameters SELECT id, '{}' FROM jobs WHERE id NOT IN (SELECT job_id FROM job_parameters)"
    )
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def claim_p50(store: LocalStore, claims: int, types: tuple[str, ...] | None) -> float:
    """The median claim in microseconds. Outside the measure each job is completed and one of its kind is queued."""
    spent: list[float] = []
    for _ in range(claims):
        start = time.perf_counter()
        job = store.jobs.claim(worker_id="bench", types=types, now=NOW)
        spent.append(time.perf_counter() - start)
        assert job is not None
        store.jobs.complete(job.id, job.lease_token, now=NOW)
        store.jobs.create(type=job.type, priority=job.priority, parameters={}, now=NOW)
    return median(spent) * 1e6


def claim_beside_many(many: int, claims: int, rounds: int, synchronous: Synchronous) -> None:
    with scratch() as few_at, scratch() as many_at, scratch() as more_at:
        stores = {
            "1,000 pending": LocalStore.open(few_at, synchronous=synchronous),
            f"{many:,} pending": LocalStore.open(many_at, synchronous=synchronous),
            f"and {many:,} scheduled": LocalStore.open(more_at, synchronous=synchronous),
        }
        few, crowded, scheduled = stores
        fill(few_at, 1_000, 0)
        fill(many_at, many, 0)
        fill(more_at, many, many)
        for types in (None, ("crm_sync",)):
            runs = {name: partial(claim_p50, store, claims, types) for name, store in stores.items()}
            figures = alternate(runs, rounds)
            title = f"claim p50, {'any type' if types is None else 'one type'}, synchronous {synchronous}"
            report(title, figures, against=few, unit="microseconds")
            for name in (crowded, scheduled):
                slower = ratio(figures, name, few)
                verdict(f"{name} / {few}", slower, "at most 1.3", met=slower <= 1.3)
        for store in stores.values():
            store.close()


# Four processes on one file.


def worker(
    directory: Path, synchronous: Synchronous, until: float, start: Barrier, counts: "multiprocessing.Queue[int]"
) -> None:
    with LocalStore.open(directory, synchronous=synchronous) as store:
        start.wait()
        done = 0
        end = time.monotonic() + until
        while time.monotonic() < end:
            job = store.jobs.claim(worker_id="bench", now=NOW)
            assert job is not None
            store.jobs.complete(job.id, job.lease_token, now=NOW)
            done += 1
        counts.put(done)


def four_processes(seconds: float, rounds: int, synchronous: Synchronous) -> None:
    context = multiprocessing.get_context("spawn")
    shares: list[float] = []
    totals: list[float] = []
    for _ in range(rounds):
        with scratch() as directory:
            LocalStore.open(directory, synchronous=synchronous).close()
            fill(directory, int(seconds * 30_000), 0)
            start: Barrier = context.Barrier(4)
            counts: multiprocessing.Queue[int] = context.Queue()
            arguments = (directory, synchronous, seconds, start, counts)
            processes = [context.Process(target=worker, args=arguments) for _ in range(4)]
            for process in processes:
                process.start()
            done = [counts.get(timeout=seconds + 60) for _ in processes]
            for process in processes:
                process.join()
            shares.append(min(done) / max(done))
            totals.append(sum(done) / seconds)
    print(f"\nfour processes on one file, {seconds:g} s, synchronous {synchronous}, median of {rounds} rounds")
    print(f"  claim + complete a second, all together: {median(totals):,.0f}")
    verdict("smallest share / largest", median(shares), "at least 0.5", met=median(shares) >= 0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--synchronous", choices=("NORMAL", "FULL"), default="NORMAL")
    parser.add_argument("--jobs", type=int, default=3000, help="jobs to drain in each round")
    parser.add_argument("--pending", type=int, default=1_000_000, help="pending jobs of the crowded queue")
    parser.add_argument("--rounds", type=int, default=15)
    chosen = parser.parse_args()
    warnings.simplefilter("ignore", ResourceWarning)  # peers leave connections open
    print(machine())
    claim_and_complete(chosen.jobs, chosen.rounds, chosen.synchronous)
    claim_beside_many(chosen.pending, 500, chosen.rounds, chosen.synchronous)
    four_processes(2, 3, chosen.synchronous)


if __name__ == "__main__":
    main()
