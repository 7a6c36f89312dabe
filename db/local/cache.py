"""The cache in SQLite: db.local.contract.CacheStore on one LocalFile.

A get writes nothing. It notes the use of the entry and the hit or miss in memory; the next write stores these notes, or
a get does after a while. A killed process loses only its notes: its last gets count neither for eviction nor for the
hit rate.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

import orjson

from db.domain.errors import InvalidInput, StoreUnavailable
from db.local import cache_statements as sql
from db.local.connection import LocalFile, Row
from db.local.contract import (
    DEFAULT_CACHE_BYTES,
    MAX_KEY_CHARACTERS,
    MAX_NAMESPACE_CHARACTERS,
    MAX_TTL_SECONDS,
    MAX_VALUE_BYTES,
    CacheEntry,
    CacheStats,
)
from db.local.values import decode_json, encode_json, label, to_datetime, to_microseconds, whole

_SECOND: Final = 1_000_000
_NOTES_KEPT: Final = 1024
_NOTES_KEPT_FOR: Final = 10 * _SECOND
_SWEPT_AT_ONCE: Final = 500
_ROW_BYTES: Final = 100


class SqliteCache:
    """At most `max_bytes` of keys and values, with 100 bytes an entry for the row and its indexes."""

    def __init__(self, file: LocalFile, *, max_bytes: int = DEFAULT_CACHE_BYTES) -> None:
        self._file = file
        self._max_bytes = max_bytes
        self._notes = _PendingReads()

    def get(self, namespace: str, key: str, *, now: datetime) -> CacheEntry | None:
        at = to_microseconds(now)
        row = self._find(namespace, key)
        if row is None or row[2] <= at:
            if self._notes.missed(at):
                self._write_notes()
            return None
        number, stored, expires_at = row
        value, warnings = decode_json("value", stored)
        self._file.note_broken("an entry", warnings)
        if self._notes.missed(at) if warnings else self._notes.hit(number, at):
            self._write_notes()
        return CacheEntry(value, now + timedelta(microseconds=expires_at - at), warnings)

    def set(self, namespace: str, key: str, value: object, *, ttl_seconds: int, now: datetime) -> datetime:
        _check_name(namespace, key)
        whole("ttl_seconds", ttl_seconds, 1, MAX_TTL_SECONDS)
        encoded = encode_json("value", value, MAX_VALUE_BYTES)
        size = len(encoded.encode()) + len(namespace.encode()) + len(key.encode()) + _ROW_BYTES
        if size > self._max_bytes:
            raise InvalidInput(f"value takes {size:,} bytes, and the whole cache has {self._max_bytes:,}. Send less.")
        at = to_microseconds(now)
        expires_at = at + ttl_seconds * _SECOND
        with self._file.transaction as connection:
            connection.execute(sql.PUT, (namespace, key, encoded, size, expires_at, at))
            if _bytes(connection) > self._max_bytes:
                self._notes.write(connection)
                _make_room(connection, namespace, key, self._max_bytes, at)
        return to_datetime(expires_at)

    def delete(self, namespace: str, key: str | None = None) -> int:
        _check_name(namespace, key)
        if key is None:
            _, deleted = self._file.change(sql.DELETE_NAMESPACE, (namespace,))
        else:
            _, deleted = self._file.change(sql.DELETE_KEY, (namespace, key))
        return deleted

    def stats(self, *, now: datetime) -> CacheStats:
        self._write_notes()
        with self._file.reading() as connection:
            entries, size, hits, misses, evictions = connection.execute(sql.TOTALS).fetchone()
            (expired,) = connection.execute(sql.EXPIRED_COUNT, (to_microseconds(now),)).fetchone()
        return CacheStats(
            entries=entries,
            bytes=size,
            max_bytes=self._max_bytes,
            expired=expired,
            hits=hits,
            misses=misses,
            hit_rate=hits / (hits + misses) if hits + misses else None,
            evictions=evictions,
        )

    def sweep(self, *, now: datetime) -> int:
        at = to_microseconds(now)
        swept = 0
        while True:
            _, deleted = self._file.change(sql.DELETE_EXPIRED, (at, _SWEPT_AT_ONCE))
            swept += deleted
            if deleted < _SWEPT_AT_ONCE:
                return swept

    def close(self) -> None:
        """Writes the notes. The file is closed by its owner."""
        self._write_notes()

    def _find(self, namespace: str, key: str) -> Row | None:
        try:
            row = self._file.read_row(sql.GET, (namespace, key))
        except UnicodeEncodeError:
            row = None
        if row is None:  # names are checked only on a miss, since an invalid one was never stored
            _check_name(namespace, key)
        return row

    def _write_notes(self) -> None:
        # A get can do without the notes, so it succeeds even if the disk is full or busy.
        with suppress(StoreUnavailable), self._file.transaction as connection:
            self._notes.write(connection)


class _PendingReads:
    """The uses, hits and misses of all threads of this process since they were last written."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._used: dict[int, int] = {}
        self._hits = 0
        self._misses = 0
        self._since = 0

    def hit(self, number: int, at: int) -> bool:
        """Notes a hit. Returns whether it is time to write the notes."""
        with self._lock:
            self._used[number] = at
            self._hits += 1
            return self._is_time(at)

    def missed(self, at: int) -> bool:
        with self._lock:
            self._misses += 1
            return self._is_time(at)

    def write(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            used, hits, misses = self._used, self._hits, self._misses
            self._used, self._hits, self._misses, self._since = {}, 0, 0, 0
        if hits or misses:
            connection.executemany(sql.TOUCH, used.items())
            connection.execute(sql.COUNT, (hits, misses, 0))

    def _is_time(self, at: int) -> bool:
        self._since = self._since or at
        return len(self._used) >= _NOTES_KEPT or at - self._since >= _NOTES_KEPT_FOR


def _check_name(namespace: str, key: str | None) -> None:
    label("namespace", namespace, MAX_NAMESPACE_CHARACTERS)
    if key is not None:
        label("key", key, MAX_KEY_CHARACTERS)


def _make_room(connection: sqlite3.Connection, namespace: str, key: str, most: int, at: int) -> None:
    """Deletes what has expired, then what was used least recently, but never the entry that was just set."""
    while _bytes(connection) > most and connection.execute(sql.DELETE_EXPIRED, (at, _SWEPT_AT_ONCE)).rowcount:
        pass
    excess = _bytes(connection) - most
    if excess > 0:
        numbers = list(_oldest(connection, namespace, key, excess))
        connection.execute(sql.DELETE_IDS, (orjson.dumps(numbers).decode(),))
        connection.execute(sql.COUNT, (0, 0, len(numbers)))


def _oldest(connection: sqlite3.Connection, namespace: str, key: str, excess: int) -> Iterator[int]:
    cursor = connection.execute(sql.LEAST_RECENTLY_USED, (namespace, key))
    while excess > 0:
        number, size = cursor.fetchone()
        excess -= size
        yield number
    cursor.close()


def _bytes(connection: sqlite3.Connection) -> int:
    (size,) = connection.execute(sql.BYTES).fetchone()
    assert isinstance(size, int)
    return size
