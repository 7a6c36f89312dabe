"""A value of the database that is kept in memory: read when it is too old, and by one for all who wait."""

import math
from threading import Event

import anyio
import pytest

from db.domain.errors import StoreUnavailable
from mcp_server.process.cached import Cached

pytestmark = pytest.mark.anyio


class Source:
    """Counts how often it is read. `now` is the clock."""

    def __init__(self) -> None:
        self.reads, self.now = 0, 100.0
        self.is_down = False
        self.may_answer = Event()
        self.may_answer.set()

    def read(self) -> int:
        self.reads += 1
        self.may_answer.wait(10)
        if self.is_down:
            raise StoreUnavailable("It is down.")
        return self.reads

    def cached(self, *, pause: float = 0.0) -> Cached[int]:
        return Cached(self.read, patience=10, pause=pause, monotonic=lambda: self.now)


async def test_it_is_read_again_only_once_it_is_too_old() -> None:
    source = Source()
    cached = source.cached()
    assert cached.last is None
    assert await cached.get(at_most=10) == 1
    source.now += 9.9
    assert (await cached.get(at_most=10), cached.last) == (1, 1)
    source.now += 0.1
    assert await cached.get(at_most=10) == 2
    source.now += 1e9
    assert await cached.get(at_most=math.inf) == 2


async def test_all_who_wait_share_a_reading() -> None:
    source, got = Source(), list[int]()
    cached = source.cached()
    source.may_answer.clear()

    async def ask() -> None:
        got.append(await cached.get(at_most=10))

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        source.may_answer.set()
    assert (got, source.reads) == ([1] * 20, 1)


async def test_a_failure_is_told_to_all_for_a_while() -> None:
    source = Source()
    cached = source.cached(pause=1.0)
    source.is_down = True
    for later in (0.0, 0.9):
        source.now += later
        with pytest.raises(StoreUnavailable, match="It is down"):
            await cached.get(at_most=0)
        assert source.reads == 1
    source.is_down = False
    source.now += 0.1
    assert await cached.get(at_most=0.05) == 2


async def test_what_comes_too_late_is_kept() -> None:
    source = Source()
    cached = source.cached()
    source.may_answer.clear()
    with pytest.raises(StoreUnavailable, match="silent"):
        await cached.get(at_most=10, patience=0.01)
    source.may_answer.set()
    assert await cached.get(at_most=10) == 1
    assert source.reads == 1
