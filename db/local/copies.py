"""Copies of the job queue: made while servers run, and checked before they are used."""

import sqlite3
from contextlib import closing
from pathlib import Path

from db.domain.errors import Busy, StoreUnavailable
from db.local.schema import APPLICATION_ID, JOBS

FILE_NAME = JOBS.file_name

_INTO = "VACUUM INTO ?"
_CHECK = "PRAGMA quick_check(1)"
_APPLICATION = "PRAGMA application_id"
_ALONE = "PRAGMA journal_mode = DELETE"


def copy_jobs(directory: Path, target: Path) -> bool:
    """Writes a snapshot of the queue to `target`. Returns False if there is no queue. StoreUnavailable says why it
    can't be read."""
    path = directory / FILE_NAME
    if not path.exists():
        return False
    try:
        with closing(sqlite3.connect(path, timeout=10.0, isolation_level=None)) as connection:
            connection.execute(_INTO, (str(target),))
    except sqlite3.Error as error:
        raise StoreUnavailable(f"The queue of jobs in {path} can't be copied: {error}.", places=[path]) from error
    return True


def check_jobs(path: Path) -> None:
    """Raises StoreUnavailable if the file is not a complete job queue."""
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            if connection.execute(_CHECK).fetchone() != ("ok",):
                raise StoreUnavailable("The queue of jobs in the backup is damaged.")
            if connection.execute(_APPLICATION).fetchone() != (APPLICATION_ID,):
                raise StoreUnavailable("The queue of jobs in the backup is that of another program.")
    except sqlite3.Error as error:
        raise StoreUnavailable("The queue of jobs in the backup is damaged.") from error


def refuse_used_jobs(directory: Path) -> None:
    """Raises Busy if another process has the directory's queue open. A server keeps it open as long as it runs."""
    path = directory / FILE_NAME
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(path, timeout=0.0, isolation_level=None)) as connection:
            connection.execute(_ALONE)  # SQLite grants this only if no other process has the file open
    except sqlite3.Error as error:
        raise Busy(f"A server uses the queue of jobs in {path}. Stop it, and run this again.", places=[path]) from error
