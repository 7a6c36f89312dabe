"""A look at what may have gone silent. Whoever looks is answered in time, and leaves one thread waiting, not many."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, wait as wait_for
from threading import Lock, Thread
from typing import Final, Generic, TypeVar

import anyio

from db.domain.errors import StoreUnavailable

SECONDS: Final = 2.0
"""For how long a look is waited for. Callers who hang on several of them must be answered within five seconds."""

Result = TypeVar("Result")


class SharedCall(Generic[Result]):
    """`work` on a thread of its own, once at a time: those who ask meanwhile share what it brings.

    StoreUnavailable when it has taken `seconds` since it began, and until it has come to its end: a database that holds
    the connection and says nothing can't be interrupted. A process that ends does not wait for it.
    """

    def __init__(self, work: Callable[[], Result], *, seconds: float = SECONDS) -> None:
        self._work = work
        self._seconds = seconds
        self._lock = Lock()
        self._current: Future[Result] | None = None
        self._began = 0.0

    def wait(self) -> Result:
        """Wait on this thread."""
        current, left = self._join()
        if not wait_for([current], left).done:
            raise self._silent()
        return current.result()

    async def wait_async(self, at_most: float | None = None) -> Result:
        """Wait on the event loop, for `at_most` seconds if that is less."""
        current, left = self._join()
        with anyio.move_on_after(left if at_most is None else min(left, at_most)):
            return await asyncio.wrap_future(current)
        raise self._silent()

    def _join(self) -> tuple[Future[Result], float]:
        """What is under way, and for how many seconds more to wait for it."""
        with self._lock:
            if self._current is None or self._current.done():
                self._current, self._began = Future(), time.monotonic()
                self._current.set_running_or_notify_cancel()  # so that who gives up ends it for nobody else
                Thread(target=self._perform, args=(self._current,), name="shared-call", daemon=True).start()
            return self._current, max(0.0, self._began + self._seconds - time.monotonic())

    def _perform(self, current: Future[Result]) -> None:
        try:
            current.set_result(self._work())
        except BaseException as error:  # noqa: BLE001  raised again for all who wait
            current.set_exception(error)

    def _silent(self) -> StoreUnavailable:
        return StoreUnavailable("The database is silent. Call again when it answers.")
