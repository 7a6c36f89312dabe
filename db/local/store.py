"""The local store: a directory with the job queue and the cache, each in a SQLite file of its own."""

from pathlib import Path
from types import TracebackType
from typing import Final, Self

from db.local.cache import SqliteCache
from db.local.connection import LocalFile, Synchronous
from db.local.contract import DEFAULT_CACHE_BYTES
from db.local.erasure import Eraser
from db.local.jobs import SqliteJobs
from db.local.schema import CACHE, JOBS

WAIT_SECONDS: Final = 10.0


class LocalStore:
    """`jobs` and `cache` for every thread of this process; several processes may share the directory.

    `eraser` erases a person from both.
    """

    def __init__(self, jobs: LocalFile, cache: LocalFile, *, cache_bytes: int) -> None:
        self._files = (jobs, cache)
        self.jobs = SqliteJobs(jobs)
        self.cache = SqliteCache(cache, max_bytes=cache_bytes)
        self.eraser = Eraser(jobs, cache)

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        synchronous: Synchronous = "NORMAL",
        cache_bytes: int = DEFAULT_CACHE_BYTES,
        wait_seconds: float = WAIT_SECONDS,
    ) -> Self:
        """Opens the store in `directory`. A new store is private to this user. StoreUnavailable says why it can't be
        opened.

        With NORMAL, a crash of the machine may lose the last writes but damages nothing; with FULL it loses nothing. A
        crash of the process loses nothing with either. A write waits up to `wait_seconds` for its turn, then raises
        Busy.
        """
        jobs = LocalFile(directory, JOBS, synchronous=synchronous, wait_seconds=wait_seconds)
        try:
            cache = LocalFile(directory, CACHE, synchronous=synchronous, wait_seconds=wait_seconds)
        except BaseException:
            jobs.close()
            raise
        return cls(jobs, cache, cache_bytes=cache_bytes)

    @property
    def broken_values(self) -> int:
        """How many stored values that are not JSON were found since the store was opened."""
        return sum(file.broken_values for file in self._files)

    def close(self) -> None:
        """Finishes the writes in progress and closes the files. Later calls raise StoreUnavailable."""
        self.cache.close()
        for file in self._files:
            file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
