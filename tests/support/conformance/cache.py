"""The cache."""

from datetime import timedelta
from typing import Any

import pytest

from db.domain.errors import InvalidInput, SalesAutomationError
from db.local.contract import CacheStore
from tests.support.conformance.scene import HOUR, NOW, SECOND


class CacheStoreContract:
    @pytest.fixture
    def cache(self) -> CacheStore:
        raise NotImplementedError

    @pytest.fixture
    def small_cache(self) -> CacheStore:
        """Its size bound is 10,000 bytes."""
        raise NotImplementedError

    @pytest.mark.parametrize("value", [None, 0, "text", [1, 2], {"a": {"b": [None]}}, "é" * 1000])
    def test_a_value_comes_back_as_it_was_set(self, cache: CacheStore, value: object) -> None:
        expires_at = cache.set("companies", "example.com", value, ttl_seconds=60, now=NOW)
        entry = cache.get("companies", "example.com", now=NOW)
        assert entry is not None
        assert (entry.value, entry.expires_at, entry.warnings) == (value, expires_at, ())
        assert expires_at == NOW + 60 * SECOND

    def test_what_was_not_set_is_a_miss(self, cache: CacheStore) -> None:
        cache.set("companies", "example.com", 1, ttl_seconds=60, now=NOW)
        assert cache.get("companies", "example.org", now=NOW) is None
        assert cache.get("people", "example.com", now=NOW) is None

    def test_an_expired_entry_is_never_returned(self, cache: CacheStore) -> None:
        cache.set("companies", "example.com", 1, ttl_seconds=60, now=NOW)
        assert cache.get("companies", "example.com", now=NOW + 60 * SECOND - timedelta(microseconds=1)) is not None
        assert cache.get("companies", "example.com", now=NOW + 60 * SECOND) is None

    def test_setting_again_replaces_the_value_and_its_life(self, cache: CacheStore) -> None:
        cache.set("companies", "example.com", "x" * 500, ttl_seconds=60, now=NOW)
        cache.set("companies", "example.com", "y", ttl_seconds=60, now=NOW + 30 * SECOND)
        entry = cache.get("companies", "example.com", now=NOW + 80 * SECOND)
        assert entry is not None
        assert entry.value == "y"
        assert (cache.stats(now=NOW).entries, cache.stats(now=NOW).bytes < 500) == (1, True)

    def test_delete_takes_one_entry_or_a_whole_namespace(self, cache: CacheStore) -> None:
        for namespace, key in (("a", "1"), ("a", "2"), ("a", "3"), ("b", "1")):
            cache.set(namespace, key, 1, ttl_seconds=60, now=NOW)
        assert [cache.delete("a", "1"), cache.delete("a", "1"), cache.delete("a"), cache.delete("c")] == [1, 0, 2, 0]
        assert cache.get("b", "1", now=NOW) is not None
        assert cache.stats(now=NOW).entries == 1

    def test_sweeping_deletes_what_has_expired_and_nothing_else(self, cache: CacheStore) -> None:
        for number in range(1200):
            cache.set("a", f"{number}", 1, ttl_seconds=60 if number % 2 else 120, now=NOW)
        assert cache.stats(now=NOW + 60 * SECOND).expired == 600
        assert cache.sweep(now=NOW + 60 * SECOND) == 600
        stats = cache.stats(now=NOW + 60 * SECOND)
        assert (stats.entries, stats.expired) == (600, 0)

    def test_the_hit_rate_is_that_of_the_gets(self, cache: CacheStore) -> None:
        assert cache.stats(now=NOW).hit_rate is None
        cache.set("a", "1", 1, ttl_seconds=60, now=NOW)
        for key in ("1", "1", "1", "2"):
            cache.get("a", key, now=NOW)
        cache.get("a", "1", now=NOW + 60 * SECOND)
        stats = cache.stats(now=NOW)
        assert (stats.hits, stats.misses, stats.hit_rate) == (3, 2, 0.6)

    def test_what_was_used_least_recently_leaves_first(self, small_cache: CacheStore) -> None:
        for number in range(9):
            small_cache.set("a", f"{number}", "x" * 950, ttl_seconds=600, now=NOW + number * SECOND)
        assert small_cache.get("a", "0", now=NOW + 20 * SECOND) is not None
        small_cache.set("a", "new", "x" * 950, ttl_seconds=600, now=NOW + 30 * SECOND)
        kept = [key for key in [*map(str, range(9)), "new"] if small_cache.get("a", key, now=NOW + 40 * SECOND)]
        assert kept == ["0", *map(str, range(2, 9)), "new"]
        assert small_cache.stats(now=NOW + 40 * SECOND).evictions == 1

    def test_what_has_expired_leaves_before_what_is_still_good(self, small_cache: CacheStore) -> None:
        small_cache.set("a", "good", "x" * 4000, ttl_seconds=600, now=NOW)
        small_cache.set("a", "short", "x" * 4000, ttl_seconds=1, now=NOW + SECOND)
        small_cache.set("a", "new", "x" * 4000, ttl_seconds=600, now=NOW + 10 * SECOND)
        assert small_cache.get("a", "good", now=NOW + 10 * SECOND) is not None
        assert small_cache.stats(now=NOW).evictions == 0

    def test_the_size_bound_holds_whatever_is_set(self, small_cache: CacheStore) -> None:
        for number in range(200):
            size = 50 + number * 37 % 4000
            small_cache.set("a", f"{number % 40}", "x" * size, ttl_seconds=600, now=NOW + number * SECOND)
            assert small_cache.stats(now=NOW).bytes <= 10_000
            assert small_cache.get("a", f"{number % 40}", now=NOW + number * SECOND) is not None

    def test_an_entry_set_after_the_clock_went_back_is_not_the_one_to_leave(self, small_cache: CacheStore) -> None:
        small_cache.set("a", "old", "x" * 6000, ttl_seconds=7200, now=NOW)
        small_cache.set("a", "new", "x" * 6000, ttl_seconds=7200, now=NOW - HOUR)
        assert small_cache.get("a", "new", now=NOW - HOUR) is not None

    @pytest.mark.parametrize(
        ("given", "text"),
        [
            ({"namespace": ""}, "namespace must be 1 to 64 printable"),
            ({"namespace": "x" * 65}, "namespace must be"),
            ({"key": ""}, "key must be 1 to 512 printable"),
            ({"key": "a\0"}, "key must be"),
            ({"key": "\ud800"}, "key must be"),
            ({"ttl_seconds": 0}, "ttl_seconds is 0; it must be a whole number from 1 to 31,536,000"),
            ({"ttl_seconds": 10**9}, "ttl_seconds is 1000000000"),
            ({"value": "x" * 2_097_152}, "value is 2,097,154 bytes as JSON; at most 1,048,576"),
            ({"value": [0, float("nan")]}, r"value\[1\] is nan"),
            ({"value": {1, 2}}, "value can't be written as JSON"),
        ],
    )
    def test_a_bad_argument_is_named_with_its_rule(self, cache: CacheStore, given: dict[str, Any], text: str) -> None:
        arguments: dict[str, Any] = {"namespace": "a", "key": "1", "value": 1, "ttl_seconds": 60, "now": NOW}
        with pytest.raises(InvalidInput, match=text):
            cache.set(**(arguments | given))
        assert cache.stats(now=NOW).entries == 0

    @pytest.mark.parametrize(("namespace", "key"), [("", "1"), ("a", ""), ("a", "\ud800"), ("\n", "1")])
    def test_a_bad_name_is_refused_by_every_call(self, cache: CacheStore, namespace: str, key: str) -> None:
        with pytest.raises(InvalidInput):
            cache.get(namespace, key, now=NOW)
        with pytest.raises(InvalidInput):
            cache.delete(namespace, key)

    def test_a_value_that_can_never_fit_is_refused(self, small_cache: CacheStore) -> None:
        with pytest.raises(SalesAutomationError, match="the whole cache has 10,000"):
            small_cache.set("a", "1", "x" * 10_000, ttl_seconds=60, now=NOW)
