"""Erases a person from the local store: from jobs of every state, and from the cache.

Every call can be repeated, and erases what an earlier one did not reach.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final, LiteralString

import orjson

from db.domain.addresses import addresses_in
from db.local import erasure_statements as sql
from db.local.connection import LocalFile, Row, Rows
from db.local.job_statements import ASK_TO_STOP, CANCEL_PENDING
from db.local.redaction import ERASED, Redactor, texts_in
from db.local.values import to_microseconds

_READ_AT_ONCE: Final = 100
_ALL_GONE: Final = orjson.dumps({ERASED: True}).decode()


@dataclass(frozen=True, slots=True)
class LocalErasure:
    """How many jobs were changed, and how many cached values were deleted."""

    jobs: int
    cache_entries: int


class Eraser:
    """Erases from both files of a store. It reads all payloads, since addresses in JSON have no index."""

    def __init__(self, jobs: LocalFile, cache: LocalFile) -> None:
        self._jobs = jobs
        self._cache = cache

    def addresses(self) -> set[str]:
        """Returns every email and LinkedIn profile that the store mentions, in canonical form."""
        found: set[str] = set()
        for stored in self._everything():
            for text in texts_in(_loads(stored)):
                found |= addresses_in(text)
        return found

    def erase(self, addresses: Collection[str], ids: Collection[str], *, now: datetime) -> LocalErasure:
        """Erases everybody who has one of these addresses (canonical) or contact ids, and overwrites the deleted data.

        A job that was only about them is cancelled. Busy if readers keep the files in use: the rows are gone then, and
        only the overwriting has to be repeated.
        """
        redactor = Redactor(addresses, ids)
        at = to_microseconds(now)
        changed = self._erase_payloads(redactor, at) | self._erase_jobs(redactor) | self._erase_attempts(redactor)
        deleted = self._erase_cached(redactor)
        for file in (self._jobs, self._cache):
            file.rewrite()
        return LocalErasure(len(changed), deleted)

    def _everything(self) -> Iterator[object]:
        for statement in (sql.PARAMETERS, sql.RESULTS, sql.JOBS):
            for row in _rows(self._jobs, statement):
                yield from row[1:]
        for row in self._attempts():
            yield from row[2:]
        for row in _rows(self._cache, sql.CACHED):
            yield from row[1:]

    def _attempts(self) -> Iterator[Row]:
        last: tuple[int, int] = (0, 0)
        while rows := _read(self._jobs, sql.ATTEMPTS, (*last, _READ_AT_ONCE)):
            yield from rows
            last = (rows[-1][0], rows[-1][1])

    def _erase_payloads(self, redactor: Redactor, at: int) -> set[int]:
        def parameters(row: Row) -> tuple[object, ...] | None:
            return _redacted(redactor, row[1])

        changed = self._change(sql.PARAMETERS, sql.SET_PARAMETERS, parameters)
        for job_id, (text, *_) in changed.items():
            if text == _ALL_GONE:
                with self._jobs.transaction as connection:
                    connection.execute(CANCEL_PENDING, (job_id, at))
                    connection.execute(ASK_TO_STOP, (job_id, at))
        return {*changed, *self._change(sql.RESULTS, sql.SET_RESULT, parameters)}

    def _erase_jobs(self, redactor: Redactor) -> set[int]:
        def change(row: Row) -> tuple[object, ...] | None:
            progress = None if row[1] is None else _redacted(redactor, row[1])
            texts = [_decoded(text) for text in row[2:]]
            error, key, worker_id = (_text(redactor, text) for text in texts)
            if progress is None and [error, key, worker_id] == texts:
                return None
            shown = _decoded(row[1]) if progress is None else progress[0]
            # A key that contains an address can't stay; the job runs without a key, too.
            return shown, error, None if key == ERASED else key, worker_id

        return set(self._change(sql.JOBS, sql.SET_JOB, change))

    def _change(
        self,
        select: LiteralString,
        update: LiteralString,
        change: Callable[[Row], tuple[object, ...] | None],
    ) -> dict[int, tuple[object, ...]]:
        """Applies `change` to each row, and writes the rows that it changes. Returns id -> what was written.

        The transaction that writes a row reads it again, since the job's holder may have reported something meanwhile.
        """
        written: dict[int, tuple[object, ...]] = {}
        for row in _rows(self._jobs, select):
            if change(row) is None:
                continue
            with self._jobs.transaction as connection:
                again = connection.execute(select, (row[0] - 1, 1)).fetchone()
                values = change(again) if again is not None and again[0] == row[0] else None
                if values is not None:
                    connection.execute(update, (row[0], *values))
                    written[row[0]] = values
        return written

    def _erase_attempts(self, redactor: Redactor) -> set[int]:
        changed: set[int] = set()
        for job_id, number, *stored in self._attempts():
            texts = [_decoded(text) for text in stored]
            error, worker_id = (_text(redactor, text) for text in texts)
            if [error, worker_id] != texts:
                changed.add(job_id)
                self._jobs.change(sql.SET_ATTEMPT, (job_id, number, error, worker_id))
        return changed

    def _erase_cached(self, redactor: Redactor) -> int:
        deleted = 0
        for entry_id, *parts in _rows(self._cache, sql.CACHED):
            if any(redactor.mentions(text) for part in parts for text in texts_in(_loads(part))):
                _, count = self._cache.change(sql.DELETE_CACHED, (entry_id,))
                deleted += count
        return deleted


def _rows(file: LocalFile, statement: LiteralString) -> Iterable[Row]:
    """Yields all rows of a statement that reads in order of an id. Reads in batches, so that no writer waits for all of
    them."""
    last = 0
    while rows := _read(file, statement, (last, _READ_AT_ONCE)):
        yield from rows
        last = rows[-1][0]


def _read(file: LocalFile, sql: LiteralString, values: tuple[object, ...]) -> Rows:
    with file.reading() as connection:
        return connection.execute(sql, values).fetchall()


def _loads(stored: object) -> object:
    """Returns the JSON value, or the text itself if it is not JSON."""
    if not isinstance(stored, bytes):
        return None
    try:
        return orjson.loads(stored)
    except orjson.JSONDecodeError:
        return _decoded(stored)


def _decoded(stored: object) -> str | None:
    return stored.decode(errors="replace") if isinstance(stored, bytes) else None


def _redacted(redactor: Redactor, stored: bytes) -> tuple[str] | None:
    """Returns the JSON text without these people; None if it does not name them."""
    value, was_changed = redactor.redact(_loads(stored))
    return (orjson.dumps(value).decode(),) if was_changed else None


def _text(redactor: Redactor, text: str | None) -> str | None:
    return ERASED if text is not None and redactor.mentions(text) else text
