"""Group commit: callers that come at the same time share one transaction. Those that come while one is under way go
into the next.

A caller that comes when nothing is under way starts at once, so an idle server adds no wait. Each caller gets its own
answer, after the commit that holds it. A transaction for each caller would be bound by the disk; a shared one is not.
"""

import asyncio
import contextvars
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from itertools import groupby
from typing import Final, Generic, TypeVar

from db.domain.errors import SalesAutomationError

_IDLE_SECONDS: Final = 10.0

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class _Request(Generic[Item, Answer]):
    """One caller's item and its future: on its event loop, or for its own thread."""

    def __init__(self, item: Item, loop: asyncio.AbstractEventLoop | None) -> None:
        self.item = item
        self.loop = loop
        self.future: asyncio.Future[Answer] | Future[Answer] = loop.create_future() if loop else Future()
        self.answers: list[Answer] = []
        self.error: BaseException | None = None

    def hand_over(self) -> None:
        """Wakes the caller, unless it has gone. On its event loop, if it has one."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.answers[0])


class GroupCommit(Generic[Item, Answer]):
    """`perform` takes the items of a group, in the order in which they came, and returns an answer for each; it does
    all of them or, when it raises, none. It runs on the thread of a caller who comes alone, which spares waking two
    threads, or else on one of its own. A process that ends does not wait for that, since the database may have gone
    silent.

    A refusal of the store concerns the whole group. Any other error may be one item's: the items are then performed one
    by one, so that the bad one fails alone.
    """

    def __init__(self, perform: Callable[[Sequence[Item]], Sequence[Answer]], *, most: int) -> None:
        self._perform = perform
        self._most = most
        self._waiting: list[_Request[Item, Answer]] = []
        self._came = threading.Condition(threading.Lock())
        self._is_under_way = False
        self._thread: threading.Thread | None = None

    @property
    def waiting(self) -> int:
        """The number of callers that wait for the next group."""
        return len(self._waiting)

    def submit(self, item: Item) -> Answer:
        """Returns the answer for `item` once it is committed, or raises the error of its group. Blocks; any number of
        threads may call it."""
        request = _Request[Item, Answer](item, None)
        if self._begin_alone():
            # Neither the transaction of the caller nor what else belongs to its call is the group's.
            contextvars.Context().run(self._perform_all, [request])
        else:
            self._enter(request)
        assert isinstance(request.future, Future)
        return request.future.result()

    async def ask(self, item: Item) -> Answer:
        """Does as `submit`, for callers on an event loop. A cancelled caller gets no answer; its item may be committed
        all the same."""
        request = _Request[Item, Answer](item, asyncio.get_running_loop())
        self._enter(request)
        assert isinstance(request.future, asyncio.Future)
        return await request.future

    def _enter(self, request: _Request[Item, Answer]) -> None:
        with self._came:
            if self._thread is None:
                thread = threading.Thread(target=self._work, name="group-commit", daemon=True)
                thread.start()  # where none can be had this raises, and nobody waits
                self._thread = thread
            self._waiting.append(request)
            self._came.notify()

    def _begin_alone(self) -> bool:
        with self._came:
            if self._is_under_way or self._waiting:
                return False
            self._is_under_way = True
            return True

    def _work(self) -> None:
        """Performs what waits, and what comes meanwhile, until nothing has come for a while."""
        while group := self._next():
            self._perform_all(group)

    def _next(self) -> Sequence[_Request[Item, Answer]]:
        """Returns the next group, once none is under way; an empty one if nobody has come for a while."""
        with self._came:
            while not self._came.wait_for(lambda: self._waiting and not self._is_under_way, _IDLE_SECONDS):
                if not self._waiting:
                    self._thread = None
                    return ()
            self._is_under_way = True
            group, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
        return group

    def _perform_all(self, group: Sequence[_Request[Item, Answer]]) -> None:
        self._settle(group)
        with self._came:
            self._is_under_way = False
            self._came.notify()
        _hand_over(group)

    def _settle(self, group: Sequence[_Request[Item, Answer]]) -> None:
        try:
            for request, answer in zip(group, self._perform([member.item for member in group]), strict=True):
                request.answers.append(answer)
        except BaseException as error:  # noqa: BLE001  nobody may wait for ever, whatever it was
            is_refusal = isinstance(error, SalesAutomationError)
            if len(group) > 1 and isinstance(error, Exception) and not is_refusal:
                for request in group:
                    self._settle([request])
                return
            for request in group:
                request.error = error.again() if isinstance(error, SalesAutomationError) else error


def _hand_over(group: Sequence[_Request[Item, Answer]]) -> None:
    """Wakes the callers of a group; those of one event loop together, because waking it costs more than all else."""

    def wake(requests: Sequence[_Request[Item, Answer]]) -> None:
        for request in requests:
            request.hand_over()

    for loop, requests in groupby(group, key=lambda request: request.loop):
        if loop is None:
            wake(list(requests))
        else:
            with suppress(RuntimeError):  # it is closed, so nobody waits there any more
                loop.call_soon_threadsafe(wake, list(requests))
