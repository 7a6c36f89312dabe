"""Calls to something that may have gone silent: callers are answered in time, and at most one thread is left
waiting."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, wait as wait_for
from threading import Lock, Thread
from typing import Final, Generic, TypeVar

import anyio

from db.domain.errors import StoreUnavailable

SECONDS: Final = 2.0
"""How long a call is waited for. Callers that depend on several of them must be answered within five seconds."""

Result = TypeVar("Result")


class SharedCall(Generic[Result]):
    """Runs `work` on a thread of its own, once at a time. Callers that come meanwhile share its result.

    Raises StoreUnavailable when it has taken `seconds` since it began, and until it ends: a database that holds the
    connection and says nothing can't be interrupted. A process that ends does not wait for it.
    """

    def __init__(self, work: Callable[[], Result], *, seconds: float = SECONDS) -> None:
        self._work = work
        self._seconds = seconds
        self._lock = Lock()
        self._current: Future[Result] | None = None
        self._began = 0.0

    def wait(self) -> Result:
        """Waits on this thread, and returns the result."""
        current, left = self._join()
        if not wait_for([current], left).done:
            raise self._silent()
        return current.result()

    async def wait_async(self, at_most: float | None = None) -> Result:
        """Waits on the event loop, for `at_most` seconds if that is less, and returns the result."""
        current, left = self._join()
        with anyio.move_on_after(left if at_most is None else min(left, at_most)):
            return await asyncio.wrap_future(current)
        raise self._silent()

    def _join(self) -> tuple[Future[Result], float]:
        """Joins the call that is under way, or starts one. Returns it and the seconds left to wait for it."""
        with self._lock:
            if self._current is None or self._current.done():
                self._current, self._began = Future(), time.monotonic()
                self._current.set_running_or_notify_cancel()  # so that who gives up cancels it for nobody else
                Thread(target=self._perform, args=(self._current,), name="shared-call", daemon=True).start()
            return self._current, max(0.0, self._began + self._seconds - time.monotonic())

    def _perform(self, current: Future[Result]) -> None:
        try:
            current.set_result(self._work())
        except BaseException as error:  # noqa: BLE001  raised again for all who wait
            current.set_exception(error)

    def _silent(self) -> StoreUnavailable:
        return StoreUnavailable("The database is silent. Call again when it answers.")
