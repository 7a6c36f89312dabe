"""Token buckets: a burst, then a steady rate, for each key alone."""

import pytest

from mcp_server.http.limits import Limit
from mcp_server.http.refusals import too_many


def test_a_burst_is_followed_by_a_steady_rate() -> None:
    limit = Limit(2, 3)
    assert [limit.take("a", 0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert limit.take("a", 0.25) == 0.25
    assert limit.take("a", 0.5) == 0
    assert limit.take("a", 0.5) == 0.5
    assert [limit.take("a", 100) for _ in range(4)] == [0, 0, 0, 0.5]


def test_each_key_has_its_own() -> None:
    limit = Limit(1, 1)
    assert [limit.take(key, 0) for key in ("a", "b", "a", "b")] == [0, 0, 1, 1]


def test_no_rate_is_no_limit() -> None:
    limit = Limit(0, 0)
    assert not any(limit.take("a", 0) for _ in range(1000))


def test_strangers_without_number_take_no_memory_without_end() -> None:
    limit = Limit(1, 1)
    limit.take("first", 0)
    for number in range(10_000):
        limit.take(str(number), 0)
    assert len(limit) == 10_000
    assert limit.take("first", 0) == 0  # forgotten


@pytest.mark.parametrize(("wait", "seconds"), [(0.01, "1"), (1.2, "2"), (30, "30")])
def test_the_answer_says_when_to_come_again(wait: float, seconds: str) -> None:
    answer = too_many(wait, "Too many.")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, seconds)
