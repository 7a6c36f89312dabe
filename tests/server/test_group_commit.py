"""Callers at the same time share a transaction, and each gets its own answer or its own error."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any

import anyio
import pytest
from mcp.client import Client

from db.domain.errors import NotFound, Refused
from mcp_server.calls.server import build_server
from mcp_server.process.app import App
from mcp_server.process.group_commit import GroupCommit
from tests.support.patience import PATIENCE
from tests.support.server import call, new_campaign, refusal


class Slow:
    """Performs groups, and keeps the first one under way until `go`. It knows every group that there was."""

    def __init__(self, fails_on: int | None = None, error: type[Exception] = ValueError) -> None:
        self.groups: list[list[int]] = []
        self.began, self.go = threading.Event(), threading.Event()
        self._fails_on, self._error = fails_on, error

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.groups.append(list(items))
        self.began.set()
        assert self.go.wait(PATIENCE)
        if self._fails_on in items:
            raise self._error(self._fails_on)
        return [item * 10 for item in items]


def submit_all(group_commit: GroupCommit[int, int], slow: Slow, count: int) -> list[Future[int]]:
    """`count` callers, of whom all but the first come while its group is under way."""
    pool = ThreadPoolExecutor(count)
    futures = [pool.submit(group_commit.submit, 0)]
    assert slow.began.wait(PATIENCE)
    futures += [pool.submit(group_commit.submit, number) for number in range(1, count)]
    while group_commit.waiting < count - 1:
        pass  # the pool's threads are on their way
    slow.go.set()
    pool.shutdown()
    return futures


def test_who_comes_first_does_not_wait_and_the_others_go_together() -> None:
    slow = Slow()
    futures = submit_all(GroupCommit(slow, most=100), slow, 9)
    assert [future.result() for future in futures] == [number * 10 for number in range(9)]
    assert slow.groups[0] == [0]
    assert sorted(slow.groups[1]) == list(range(1, 9))
    assert len(slow.groups) == 2


def test_who_comes_alone_is_served_on_the_own_thread_but_outside_of_the_own_transaction() -> None:
    context: ContextVar[str] = ContextVar("context", default="none")
    seen: list[tuple[threading.Thread, str]] = []

    def perform(items: Sequence[int]) -> Sequence[int]:
        seen.append((threading.current_thread(), context.get()))
        return items

    context.set("the caller's")
    group_commit = GroupCommit(perform, most=100)
    assert [group_commit.submit(number) for number in range(3)] == [0, 1, 2]
    assert seen == [(threading.current_thread(), "none")] * 3


def test_who_comes_alone_gets_the_own_error_and_the_next_is_served() -> None:
    slow = Slow(fails_on=1)
    slow.go.set()
    group_commit = GroupCommit(slow, most=100)
    with pytest.raises(ValueError, match="1"):
        group_commit.submit(1)
    assert group_commit.submit(2) == 20


def test_a_group_has_a_size_and_the_lead_is_handed_on() -> None:
    slow = Slow()
    futures = submit_all(GroupCommit(slow, most=3), slow, 8)
    assert [future.result() for future in futures] == [number * 10 for number in range(8)]
    assert [len(group) for group in slow.groups] == [1, 3, 3, 1]


def test_one_bad_item_fails_alone() -> None:
    slow = Slow(fails_on=4)
    group_commit = GroupCommit(slow, most=100)
    futures = submit_all(group_commit, slow, 6)
    assert [future.exception() is None for future in futures] == [True, True, True, True, False, True]
    assert futures[5].result() == 50


def test_what_concerns_all_fails_all_of_the_group_and_nobody_after() -> None:
    slow = Slow(fails_on=2, error=Refused)
    group_commit = GroupCommit(slow, most=100)
    futures = submit_all(group_commit, slow, 4)
    assert futures[0].result() == 0
    assert [type(future.exception()) for future in futures[1:]] == [Refused] * 3
    assert group_commit.submit(7) == 70


def test_callers_who_share_a_failure_get_an_error_each() -> None:
    began, go = threading.Event(), threading.Event()

    def fail(_: Sequence[int]) -> list[int]:
        began.set()
        assert go.wait(PATIENCE)
        raise NotFound("campaign", 7, hint="list_campaigns shows them.")

    group_commit = GroupCommit(fail, most=100)
    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(group_commit.submit, 0)]
        assert began.wait(PATIENCE)
        futures += [pool.submit(group_commit.submit, number) for number in (1, 2)]
        while group_commit.waiting < 2:
            pass  # the pool's threads are on their way
        go.set()
    errors = [future.exception() for future in futures]
    assert [type(error) for error in errors] == [NotFound] * 3
    assert {str(error) for error in errors} == {"No campaign 7. list_campaigns shows them."}
    assert len({id(error) for error in errors}) == 3


@pytest.mark.anyio
async def test_callers_on_an_event_loop_and_on_threads_share_groups() -> None:
    slow, answers = Slow(fails_on=4), dict[int, int | str]()
    group_commit = GroupCommit(slow, most=100)

    async def ask(number: int) -> None:
        try:
            answers[number] = await group_commit.ask(number)
        except ValueError as error:
            answers[number] = str(error)

    threads = ThreadPoolExecutor(2)
    first = threads.submit(group_commit.submit, 0)
    assert await anyio.to_thread.run_sync(slow.began.wait, PATIENCE)
    last = threads.submit(group_commit.submit, 6)
    gone = asyncio.ensure_future(group_commit.ask(7))
    async with anyio.create_task_group() as group:
        for number in range(1, 6):
            group.start_soon(ask, number)
        while group_commit.waiting < 7:
            await anyio.lowlevel.checkpoint()
        gone.cancel()
        slow.go.set()
    assert answers == {1: 10, 2: 20, 3: 30, 4: "4", 5: 50}
    assert (first.result(), last.result()) == (0, 60)
    assert sorted(slow.groups[1]) == [1, 2, 3, 4, 5, 6, 7]


STUCK = """
import threading
from mcp_server.process.group_commit import GroupCommit
began = threading.Event()
group_commit = GroupCommit(lambda items: began.set() or threading.Event().wait(), most=1)
threading.Thread(target=group_commit.submit, args=(0,), daemon=True).start()
assert began.wait()
"""


def test_a_process_ends_although_a_group_waits_for_a_database_that_is_silent() -> None:
    subprocess.run([sys.executable, "-c", STUCK], check=True, timeout=PATIENCE)


@pytest.mark.anyio
async def test_where_no_thread_can_be_had_the_caller_is_told_and_the_next_is_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    group_commit = GroupCommit[int, int](lambda items: items, most=100)
    with monkeypatch.context() as short_of_threads:
        short_of_threads.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="new thread"):
            await group_commit.ask(1)
    assert group_commit.waiting == 0
    with anyio.fail_after(PATIENCE):
        assert await group_commit.ask(2) == 2


@pytest.mark.anyio
async def test_events_of_callers_at_once_are_each_answered_and_counted(make_app: Callable[..., App]) -> None:
    app = make_app()
    async with Client(build_server(app)) as client:
        scene = await new_campaign(client, people=30, start=True)
        answers: list[dict[str, Any]] = []

        async def record(enrollment_id: str, key: str) -> None:
            event = {"event_type": "opened", "channel": "email", "enrollment_id": enrollment_id}
            answers.append(await call(client, "record_event", event={**event, "provider_event_id": key}))

        async def record_wrong(enrollment_id: str) -> None:
            event = {"event_type": "opened", "channel": "email", "enrollment_id": enrollment_id, "step_number": 9}
            assert "step_number 9" in await refusal(client, "record_event", event=event)

        async with anyio.create_task_group() as group:
            for number, enrollment_id in enumerate(scene["enrollment_ids"]):
                group.start_soon(record, enrollment_id, f"e{number}")
                group.start_soon(record, enrollment_id, f"e{number}")
            group.start_soon(record_wrong, scene["enrollment_ids"][0])
        assert sum(answer["recorded"] for answer in answers) == 30
        assert sum(answer["duplicates"] for answer in answers) == 30
        metrics = await call(client, "get_metrics", campaign_id=scene["campaign_id"])
        assert metrics["totals"]["opened"] == 30
