"""The cache against diskcache.Cache: `python -m bench.cache [--synchronous NORMAL|FULL]`.

Both in WAL mode with the same synchronous setting, in turns on the same keys and JSON values. diskcache is installed
for the benchmark alone (`pip install diskcache`); without it this store's own figures are printed. It keeps no use
times unless asked (its default evicts what was stored least recently), and pickles; values over 32 kB go to files of
their own. This store evicts what was used least recently, and writes JSON.
"""

import argparse
import importlib
import importlib.util
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from bench.measure import alternate, machine, rate, ratio, report, scratch, verdict
from db.local.connection import Synchronous
from db.local.store import LocalStore

NOW = datetime(2030, 1, 1, tzinfo=UTC)
KEYS = 1000
VALUES: dict[str, object] = {
    "a small object": {"company": "Example Ltd", "employees": 120, "domain": "example.com"},
    "4 kB of JSON": {
        "people": [{"name": f"Person {number}", "email": f"p{number}@example.com"} for number in range(80)]
    },
    "64 kB of JSON": {"text": "x" * 65_000},
}


def ours_set(value: object, count: int, synchronous: Synchronous) -> float:
    with scratch() as directory, LocalStore.open(directory, synchronous=synchronous) as store:
        return rate(count, partial(put, store, value, count))


def ours_get(value: object, count: int, synchronous: Synchronous) -> float:
    with scratch() as directory, LocalStore.open(directory, synchronous=synchronous) as store:
        put(store, value, KEYS)

        def work() -> None:
            for number in range(count):
                hit = store.cache.get("bench", f"key {number % KEYS}", now=NOW)
                assert hit is not None

        return rate(count, work)


def put(store: LocalStore, value: object, count: int) -> None:
    for number in range(count):
        store.cache.set("bench", f"key {number % KEYS}", value, ttl_seconds=3600, now=NOW)


def peer(directory: str, synchronous: Synchronous) -> Any:  # noqa: ANN401 - a library without types
    library: Any = importlib.import_module("diskcache")
    return library.Cache(directory, sqlite_synchronous=2 if synchronous == "FULL" else 1)


def diskcache_set(value: object, count: int, synchronous: Synchronous) -> float:
    with scratch() as directory:
        cache = peer(str(directory), synchronous)

        def work() -> None:
            for number in range(count):
                cache.set(f"key {number % KEYS}", value, expire=3600)

        result = rate(count, work)
        cache.close()
        return result


def diskcache_get(value: object, count: int, synchronous: Synchronous) -> float:
    with scratch() as directory:
        cache = peer(str(directory), synchronous)
        for number in range(KEYS):
            cache.set(f"key {number}", value, expire=3600)

        def work() -> None:
            for number in range(count):
                assert cache.get(f"key {number % KEYS}") is not None

        result = rate(count, work)
        cache.close()
        return result


def compare(what: str, runs: dict[str, Callable[[], float]], rounds: int) -> None:
    figures = alternate(runs, rounds)
    report(what, figures, against="diskcache" if "diskcache" in runs else "this store", unit="a second")
    if "diskcache" in runs:
        ahead = ratio(figures, "this store", "diskcache")
        verdict("this store / diskcache", ahead, "more than 1", met=ahead > 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--synchronous", choices=("NORMAL", "FULL"), default="NORMAL")
    parser.add_argument("--calls", type=int, default=2000, help="calls in each round")
    parser.add_argument("--rounds", type=int, default=7)
    chosen = parser.parse_args()
    present = importlib.util.find_spec("diskcache") is not None
    print(machine())
    if not present:
        print("  skipped diskcache: it is not installed (pip install diskcache)")
    for name, value in VALUES.items():
        given = (value, chosen.calls, chosen.synchronous)
        for verb, mine, theirs in (("set", ours_set, diskcache_set), ("get", ours_get, diskcache_get)):
            runs: dict[str, Callable[[], float]] = {"this store": partial(mine, *given)}
            if present:
                runs["diskcache"] = partial(theirs, *given)
            compare(f"{verb}, {name}, {KEYS:,} keys, synchronous {chosen.synchronous}", runs, chosen.rounds)


if __name__ == "__main__":
    main()
