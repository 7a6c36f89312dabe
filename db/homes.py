"""The directory of a server's own files: its user's alone, so that nobody else decides what is read, run or deleted."""

import os
import stat
import sys
from pathlib import Path

from db.domain.errors import StoreUnavailable

_ADVICE = "or name another directory with --home or SALES_AUTOMATION_HOME."


def make(home: Path) -> None:
    """Makes the directory, private, where it is missing. OSError, or StoreUnavailable as `check`."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    check(home)


def check(home: Path) -> None:
    """Raises StoreUnavailable if the directory is another user's, or others may write to it: they could have put links
    in the place of what this server writes and deletes. OSError where it is missing."""
    if sys.platform == "win32":
        return
    status = home.stat()
    if status.st_uid != os.geteuid():
        raise StoreUnavailable(f"{home} belongs to another user. Run this as that user, {_ADVICE}", places=[home])
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise StoreUnavailable(
            f"Other users may write to {home}. Run chmod go-w on it if its files are yours, {_ADVICE}",
            places=[home],
        )


def refuse_link(path: Path) -> None:
    """Raises StoreUnavailable if a link has the place of a file or directory of the home."""
    if path.is_symlink():
        raise StoreUnavailable(f"{path} is a link, and leads out of the home. Remove it, {_ADVICE}", places=[path])
