"""Temporary folders in a home. The process that makes one locks it; a later process removes those whose process has
died."""

import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from db.embedded.locks import any_user, is_locked, open_lock, try_lock


@contextmanager
def scratch(home: Path, purpose: str) -> Generator[Path]:
    """Yields a private folder for the block, and removes those that killed processes left."""
    for leftover in home.glob(f"{purpose}-*"):
        if not is_locked(leftover / "scratch.lock") and not any_user(leftover):
            shutil.rmtree(leftover, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{purpose}-", dir=home))
    lock = open_lock(folder / "scratch.lock")
    try:
        if not try_lock(lock):
            raise BlockingIOError(f"{folder} is taken")
        yield folder
    finally:
        os.close(lock)
        shutil.rmtree(folder, ignore_errors=True)
