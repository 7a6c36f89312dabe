"""A lock file around the write transactions of all processes, so that each gets its turn.

SQLite's own busy handler waits longer the longer it has waited: with four busy writers some of them starve. Here every
waiter tries again after a short random pause of the same range, so all have the same chance, and the wait is bounded.
The lock is only for fairness. SQLite's own locks protect the data, even from a program that ignores this one.
"""

import os
import random
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, NoReturn, Self

from db.domain.errors import Busy, StoreUnavailable

if sys.platform == "win32":
    import msvcrt

    def _calls(fd: int) -> tuple[Callable[[], None], Callable[[], None]]:
        return partial(msvcrt.locking, fd, msvcrt.LK_NBLCK, 1), partial(msvcrt.locking, fd, msvcrt.LK_UNLCK, 1)

else:
    from fcntl import LOCK_EX, LOCK_NB, LOCK_UN, flock

    def _calls(fd: int) -> tuple[Callable[[], None], Callable[[], None]]:
        return partial(flock, fd, LOCK_EX | LOCK_NB), partial(flock, fd, LOCK_UN)


# Child processes don't inherit it, and links are not followed.
_OWN_FILE: Final = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
_EAGER_SECONDS: Final = 0.02
_EAGER_PAUSE: Final = (0.000_05, 0.000_15)
_PATIENT_PAUSE: Final = (0.000_5, 0.001_5)


class WriteLock:
    """A context manager that one thread of one process holds at a time; Busy after `wait_seconds`. Not reentrant."""

    def __init__(self, path: Path, wait_seconds: float) -> None:
        self._wait_seconds = wait_seconds
        self._threads = threading.Lock()
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | _OWN_FILE, 0o600)
        # `take` raises OSError while another process holds the file.
        self._take, self._leave = _calls(self._fd)

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()

    def acquire(self) -> None:
        if not self._threads.acquire(timeout=self._wait_seconds):
            raise _busy(self._wait_seconds)
        try:
            try:
                self._take()
            except OSError:
                self._wait()
        except BaseException:
            self._threads.release()
            raise

    def release(self) -> None:
        self._leave()
        self._threads.release()

    def retire(self) -> None:
        """Waits for the thread that holds it, then refuses every later one with StoreUnavailable."""
        if not self._threads.acquire(timeout=self._wait_seconds):
            raise _busy(self._wait_seconds)
        if self._take is not _refuse:
            self._take = _refuse
            os.close(self._fd)
        self._threads.release()

    def _wait(self) -> None:
        start = time.monotonic()
        while (waited := time.monotonic() - start) < self._wait_seconds:
            pause = _EAGER_PAUSE if waited < _EAGER_SECONDS else _PATIENT_PAUSE
            time.sleep(random.uniform(*pause))  # noqa: S311 - it spreads the waiters and guards nothing
            try:
                return self._take()
            except OSError:
                continue
        raise _busy(self._wait_seconds)


def _refuse() -> NoReturn:
    raise StoreUnavailable("The local store is closed: the server is stopping.")


def _busy(seconds: float) -> Busy:
    return Busy(f"Other writers held the local store for {seconds:g} s. Nothing was done: call again later.")
