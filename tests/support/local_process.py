"""What the tests run as processes of their own: `python -m ... local_process.py ROLE DIRECTORY [ARGUMENT]`.

Each says on standard output, a JSON line at a time, what it has done once the store has acknowledged it.
"""

import json
import resource
import sys
from datetime import UTC, datetime
from pathlib import Path

from db.domain.errors import StoreUnavailable
from db.local.store import LocalStore

NOW = datetime(2030, 5, 1, 12, 0, tzinfo=UTC)


def say(what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def drain(store: LocalStore, name: str) -> None:
    """Claim and complete until nothing is left; starts when a line comes in."""
    say("ready")
    sys.stdin.readline()
    done: list[str] = []
    while (job := store.jobs.claim(worker_id=name, now=NOW)) is not None:
        store.jobs.complete(job.id, job.lease_token, result={"by": name}, now=NOW)
        done.append(job.id)
    say(done)


def hold(store: LocalStore, name: str) -> None:
    """Claim one job and never come back."""
    job = store.jobs.claim(worker_id=name, lease_seconds=60, now=NOW)
    assert job is not None
    say({"id": job.id, "token": job.lease_token, "until": job.lease_until.isoformat()})
    sys.stdin.readline()


def write(store: LocalStore, size: str) -> None:
    """Create jobs and set cache entries for ever."""
    number = 0
    while True:
        job = store.jobs.create(type="import", parameters={"text": "x" * int(size), "number": number}, now=NOW)
        store.cache.set("a", str(number % 50), "y" * int(size), ttl_seconds=600, now=NOW)
        claimed = store.jobs.claim(worker_id="writer", now=NOW)
        assert claimed is not None
        store.jobs.complete(claimed.id, claimed.lease_token, result="z" * int(size), now=NOW)
        say(job.id)
        number += 1


def fill(store: LocalStore, most: str) -> None:
    """Create jobs until no file may grow any more; then read."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(most), int(most)))
    made: list[str] = []
    try:
        while True:
            made.append(store.jobs.create(type="import", parameters={"text": "x" * 20_000}, now=NOW).id)
    except StoreUnavailable as refusal:
        text = str(refusal)
    say({"made": made, "refusal": text, "read": store.jobs.get(made[0], now=NOW).id})


def main() -> None:
    role, directory, argument = sys.argv[1:]
    with LocalStore.open(Path(directory)) as store:
        {"drain": drain, "hold": hold, "write": write, "fill": fill}[role](store, argument)


if __name__ == "__main__":
    main()
