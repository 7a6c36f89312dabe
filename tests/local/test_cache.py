"""The cache in SQLite: the contract, and what only this store can break."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from db.local.contract import CacheStore
from db.local.schema import CACHE
from db.local.store import LocalStore
from tests.support.conformance import CacheStoreContract
from tests.support.conformance.scene import NOW, SECOND


class TestSqliteCache(CacheStoreContract):
    @pytest.fixture
    def cache(self, store: LocalStore) -> CacheStore:  # pyright: ignore[reportIncompatibleMethodOverride] - pytest gives the argument
        return store.cache

    @pytest.fixture
    def small_cache(self, directory: Path) -> Iterator[CacheStore]:  # pyright: ignore[reportIncompatibleMethodOverride] - as above
        with LocalStore.open(directory, cache_bytes=10_000) as store:
            yield store.cache


@pytest.mark.parametrize("broken", ["'{\"a\": '", "''", "CAST(x'ff00fe' AS TEXT)"])
def test_broken_json_in_an_entry_is_a_miss_with_a_warning(
    store: LocalStore, directory: Path, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    store.cache.set("a", "1", {"n": 1}, ttl_seconds=60, now=NOW)
    connection = sqlite3.connect(directory / CACHE.file_name, isolation_level=None)
    connection.execute(f"UPDATE cache SET value = {broken}")
    connection.close()
    entry = store.cache.get("a", "1", now=NOW)
    assert entry is not None
    assert (entry.value, entry.warnings) == (None, ("value is null here: what is stored is not valid JSON.",))
    assert not entry.is_hit
    stats = store.cache.stats(now=NOW)
    assert (stats.hits, stats.misses) == (0, 1)
    assert store.broken_values == 1
    assert "an entry in cache.db: value is null here" in caplog.text


def test_hits_of_several_processes_add_up(store: LocalStore, directory: Path) -> None:
    store.cache.set("a", "1", 1, ttl_seconds=60, now=NOW)
    with LocalStore.open(directory) as other:
        for cache in (store.cache, other.cache):
            cache.get("a", "1", now=NOW)
    assert store.cache.stats(now=NOW).hits == 2


def test_what_gets_have_seen_is_written_after_a_while_by_itself(store: LocalStore, directory: Path) -> None:
    store.cache.set("a", "1", 1, ttl_seconds=600, now=NOW)
    for seconds in (0, 5, 10):
        store.cache.get("a", "1", now=NOW + seconds * SECOND)
    with LocalStore.open(directory) as other:
        assert other.cache.stats(now=NOW).hits == 3


def test_the_totals_stay_exact_over_every_kind_of_change(store: LocalStore, directory: Path) -> None:
    for number in range(50):
        store.cache.set(f"n{number % 3}", f"{number % 20}", "x" * number * 9, ttl_seconds=1 + number, now=NOW)
    store.cache.delete("n1", "1")
    store.cache.delete("n2")
    store.cache.sweep(now=NOW + 20 * SECOND)
    connection = sqlite3.connect(directory / CACHE.file_name)
    counted = connection.execute("SELECT count(*), coalesce(sum(bytes), 0) FROM cache").fetchone()
    connection.close()
    stats = store.cache.stats(now=NOW)
    assert (stats.entries, stats.bytes) == counted
    assert stats.entries > 0


def test_what_was_deleted_is_overwritten_in_the_file(directory: Path) -> None:
    with LocalStore.open(directory) as store:
        store.cache.set("a", "kept", {"nick": "heron"}, ttl_seconds=60, now=NOW)
        store.cache.set("a", "deleted", {"nick": "plover"}, ttl_seconds=60, now=NOW)
    with LocalStore.open(directory) as store:
        assert store.cache.delete("a", "deleted") == 1
    found = b"".join(path.read_bytes() for path in directory.iterdir())
    assert b"heron" in found
    assert b"plover" not in found
