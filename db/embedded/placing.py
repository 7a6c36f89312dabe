"""Moves what a restore has prepared into the home. Each step is a rename that can be repeated after a kill."""

import os
import time
from pathlib import Path
from typing import Final

from db import homes
from db.domain.errors import Busy
from db.embedded.locks import open_lock, try_lock, wait_until

RESTORED: Final = "restored"
"""The folder in a home that waits to take its place."""

_BEFORE: Final = "before"
_BESIDE: Final = ("", "-wal", "-shm")  # SQLite keeps more files beside a database; they move with it
_LOCK_SECONDS: Final = 60.0


def is_waiting(home: Path) -> bool:
    """Returns whether a restore was decided but not finished."""
    return (home / RESTORED).exists()


def stamp() -> str:
    """Returns the current time in a form for file names."""
    return time.strftime("%Y%m%d-%H%M%S", time.gmtime())


def place_if_waiting(home: Path) -> None:
    """Does the same as `place`, for callers that do not hold start.lock. Busy if another process keeps holding it."""
    if not is_waiting(home):
        return
    lock = open_lock(home / "start.lock")
    try:
        if not wait_until(lambda: try_lock(lock), _LOCK_SECONDS):
            raise Busy(f"Another process has held {home / 'start.lock'} for {_LOCK_SECONDS:.0f} s.", places=[home])
        if is_waiting(home):
            place(home, stamp())
    finally:
        os.close(lock)


def place(home: Path, moment: str) -> Path | None:
    """Moves the prepared files to their places, and what was there to `replaced-MOMENT`. Returns that folder; None
    where nothing was there. The caller holds start.lock, and nobody uses the home."""
    ready = home / RESTORED
    homes.refuse_link(ready)
    before = ready / _BEFORE
    for new in sorted(path for path in ready.iterdir() if path.name != _BEFORE):
        for end in _BESIDE:  # first move away all files of the old one, so that old and new ones are not mixed
            old = home / f"{new.name}{end}"
            if old.exists():
                before.mkdir(mode=0o700, exist_ok=True)
                old.rename(before / old.name)
        new.rename(home / new.name)
    kept: Path | None = None
    if before.exists():
        kept = _free(home / f"replaced-{moment}")
        before.rename(kept)
    ready.rmdir()
    return kept


def _free(path: Path) -> Path:
    number = 1
    while path.exists():
        number += 1
        path = path.with_name(f"{path.name.partition('.')[0]}.{number}")
    return path
