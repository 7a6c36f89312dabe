"""Writes files whole or not at all, with access for their owner only."""

import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(path: Path) -> Generator[BinaryIO]:
    """Yields a file that replaces `path` at the end of the block. If the block fails, nothing changes.

    A link stays, and its target is replaced. A new file is private; an existing file keeps its mode.
    """
    real = path.resolve()
    handle, name = tempfile.mkstemp(dir=real.parent, prefix=f".{real.name}.")
    fresh = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if real.exists():
            shutil.copymode(real, fresh)
        fresh.replace(real)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def open_private(path: Path) -> BinaryIO:
    """Opens a file for writing from the start. A new file is accessible only to its owner."""
    return _open(path, os.O_TRUNC)


def open_new(path: Path) -> BinaryIO:
    """Makes a file that is accessible only to its owner. FileExistsError if it exists."""
    return _open(path, os.O_EXCL)


def _open(path: Path, flag: int) -> BinaryIO:
    flags = os.O_WRONLY | os.O_CREAT | flag | getattr(os, "O_BINARY", 0)  # without it Windows writes CR LF for LF
    return os.fdopen(os.open(path, flags, 0o600), "wb")
