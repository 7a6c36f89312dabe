"""Locks on files. The kernel releases a lock when its holder dies, so that no lock is left behind.

Files in a home: `users/*` one for each server, locked for that server's life; `start.lock` held while somebody decides
to start or to stop; `keeper.lock` held by the keeper for its life.
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int, *, shared: bool) -> None:  # noqa: ARG001 - there is no shared lock
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int, *, shared: bool) -> None:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


def open_lock(path: Path) -> int:
    """Returns a descriptor on which to take the lock of this file. Makes the file (0600) if it is missing. Closing the
    descriptor releases the lock."""
    return os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)


def try_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Takes the lock without waiting. Returns whether it was free. The kernel releases it when its holder dies."""
    try:
        _lock(descriptor, shared=shared)
    except (BlockingIOError, PermissionError):
        return False
    return True


def is_locked(path: Path) -> bool:
    """Returns whether a living process holds this file's lock. It tries a shared lock, so that two processes that check
    at once do not find each other's lock."""
    try:
        descriptor = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    except FileNotFoundError:
        return False
    except PermissionError:
        return True  # the file is another account's, and nothing shows that its owner is gone
    try:
        return not try_lock(descriptor, shared=True)
    finally:
        os.close(descriptor)


def any_user(home: Path) -> bool:
    """Returns whether a living server uses the PostgreSQL of this home."""
    try:
        return any(is_locked(path) for path in (home / "users").iterdir())
    except FileNotFoundError:
        return False


def wait_until(done: Callable[[], bool], seconds: float) -> bool:
    """Calls `done` every 10 ms until it is true or the time is over. Returns whether it is true."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
