"""A value of the database that is kept in memory for a while, so that no request waits for the database."""

import time
from collections.abc import Callable
from typing import Generic, TypeVar

from db.domain.errors import StoreUnavailable
from mcp_server.process.bounded import SECONDS, SharedCall

Value = TypeVar("Value")


class Cached(Generic[Value]):
    """What `read` returns, read on a thread of its own and kept. Used on the event loop.

    Those who wait share a reading, and what it brings is kept also where everybody has given up waiting for it. It is
    waited for `patience` seconds at most. For `pause` seconds after a failure everybody is given that failure.
    """

    def __init__(
        self,
        read: Callable[[], Value],
        *,
        patience: float = SECONDS,
        pause: float = 0.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._pause = pause
        self._monotonic = monotonic
        self._reading = SharedCall(self._keep, seconds=patience)
        self._kept: tuple[float, Value] | None = None
        """(when its reading began, the value)"""
        self._failure: StoreUnavailable | None = None
        self._failed_at = float("-inf")

    @property
    def last(self) -> Value | None:
        """The value as it was read last, however long ago; None before that."""
        return None if self._kept is None else self._kept[1]

    async def get(self, *, at_most: float, patience: float | None = None) -> Value:
        """The value as it was `at_most` seconds ago, or later. StoreUnavailable after `patience` seconds, if that is
        less than the patience of all."""
        wanted = self._monotonic() - at_most
        while self._kept is None or self._kept[0] <= wanted:
            if self._failure is not None and self._monotonic() - self._failed_at < self._pause:
                raise self._failure.again()
            try:
                await self._reading.wait_async(patience)
            except StoreUnavailable as error:
                self._failure, self._failed_at = error, self._monotonic()
                raise
            self._failure = None
        return self._kept[1]

    def _keep(self) -> None:
        started = self._monotonic()
        self._kept = (started, self._read())
