"""One SQLite file: opened privately, upgraded, written by one connection at a time and read by several.

One connection writes, under the lock of lock.py; readers take a connection each from a small pool, since WAL lets them
read while it writes. Connections can't be used after a fork: open the store in the process that uses it.
"""

import logging
import os
import sqlite3
import stat
from collections import deque
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Final, Literal, LiteralString

from db import homes
from db.domain.errors import Busy, StoreUnavailable
from db.local.lock import WriteLock
from db.local.schema import APPLICATION_ID, Layout, Statements

Synchronous = Literal["NORMAL", "FULL"]
Row = tuple[Any, ...]
Rows = list[Row]

OLDEST_SQLITE: Final = (3, 37, 0)

NETWORK_FILE_SYSTEMS: Final = frozenset(
    {"nfs", "nfs3", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "afs", "afpfs", "webdav", "davfs", "ncpfs", "ceph"}
    | {"glusterfs", "lustre", "gpfs", "beegfs", "pvfs2", "fuse.sshfs", "fuse.davfs2", "fuse.ceph", "fuse.glusterfs"}
    | {"fuse.rclone", "fuse.s3fs", "fuse.gcsfuse", "fuse.blobfuse", "fuse.juicefs", "sshfs"}
)

_ON_CONNECT: Final = (
    "PRAGMA foreign_keys = ON",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA secure_delete = FAST",
    "PRAGMA journal_size_limit = 67108864",
)
_SYNCHRONOUS: Final[Mapping[str, LiteralString]] = MappingProxyType(
    {"NORMAL": "PRAGMA synchronous = NORMAL", "FULL": "PRAGMA synchronous = FULL"}
)
_READ_ONLY: Final = "PRAGMA query_only = ON"
_WAL: Final = "PRAGMA journal_mode = WAL"
_TABLES: Final = "SELECT count(*) FROM sqlite_master"
_APPLICATION: Final = "PRAGMA application_id"
logger = logging.getLogger(__name__)

_VERSION: Final = "PRAGMA user_version"
_BEGIN_READ: Final = "BEGIN"
_BEGIN: Final = "BEGIN IMMEDIATE"
_COMMIT: Final = "COMMIT"
_VACUUM: Final = "VACUUM"
_EMPTY_WAL: Final = "PRAGMA wal_checkpoint(TRUNCATE)"


class LocalFile:
    """The connections to one file, for every thread of this process.

    `change` is one statement in a transaction of its own, `transaction` is several in one, `reading` sees one snapshot,
    `read_row` is one short query. All raise StoreUnavailable or Busy instead of sqlite3's errors.
    """

    def __init__(self, directory: Path, layout: Layout, *, synchronous: Synchronous, wait_seconds: float) -> None:
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise StoreUnavailable(f"SQLite {sqlite3.sqlite_version} is too old: 3.37 or later is needed.")
        self.path: Path = directory / layout.file_name
        self._layout: Layout = layout
        self._wait_seconds: float = wait_seconds
        self._synchronous: Synchronous = synchronous
        self._closed: bool = False
        self.broken_values: int = 0
        """How many stored values were found to be no JSON, since the file was opened."""
        self._lock: WriteLock = _prepare(directory, layout, wait_seconds)
        self._idle: deque[sqlite3.Cursor] = deque()
        try:
            with self._lock:
                self._writer: sqlite3.Connection = self._open()
        except sqlite3.Error as error:
            self._lock.retire()
            raise self.translate(error) from error
        except BaseException:
            self._lock.retire()
            raise
        self.transaction: Transaction = Transaction(self, self._lock, self._writer)

    def note_broken(self, owner: str, warnings: tuple[str, ...]) -> None:
        """Logs and counts stored values of `owner` that are not JSON, with the warnings of `decode_json`."""
        if warnings:
            self.broken_values += len(warnings)
            logger.warning("%s in %s: %s", owner, self.path.name, " ".join(warnings))

    def close(self) -> None:
        """Waits for the write in progress, then closes. A call that comes later gets StoreUnavailable."""
        self._lock.retire()
        self._closed = True
        self._close_idle()
        self._writer.close()

    def change(self, sql: LiteralString, values: tuple[object, ...]) -> tuple[Rows, int]:
        """Runs one statement in a transaction of its own. Returns its rows, and how many rows it changed."""
        self._lock.acquire()
        try:
            cursor = self._writer.execute(sql, values)
            return cursor.fetchall(), cursor.rowcount
        except sqlite3.Error as error:
            raise self.translate(error) from error
        finally:
            self._lock.release()

    @contextmanager
    def reading(self) -> Generator[sqlite3.Connection, None, None]:
        """Returns a connection inside a read transaction: everything read in it is of one moment."""
        cursor = self._take()
        connection = cursor.connection
        try:
            connection.execute(_BEGIN_READ)
            yield connection
            connection.execute(_COMMIT)
        except sqlite3.Error as error:
            raise self.translate(error) from error
        finally:
            if connection.in_transaction:
                connection.rollback()
            self._give(cursor)

    def read_row(self, sql: LiteralString, values: tuple[object, ...]) -> Row | None:
        """Returns the row of a query that finds one at most."""
        cursor = self._take()
        try:
            rows = cursor.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise self.translate(error) from error
        finally:
            self._give(cursor)
        return rows[0] if rows else None

    def rewrite(self) -> None:
        """Rewrites the file, so that neither it nor its WAL holds deleted data.

        It takes a second per 100 MB or so, and writers wait meanwhile. Busy if a reader keeps the WAL in use.
        """
        self._lock.acquire()
        try:
            self._writer.execute(_VACUUM)
            (is_busy, _, _) = self._writer.execute(_EMPTY_WAL).fetchone()
        except sqlite3.Error as error:
            raise self.translate(error) from error
        finally:
            self._lock.release()
        if is_busy:
            raise Busy("A reader kept old pages of the local store in use. Call again, to have them overwritten.")

    def translate(self, error: sqlite3.Error) -> Exception:
        """Returns the error for the caller. Errors that only a bug of ours can cause are returned as they are."""
        if self._closed:
            return StoreUnavailable("The local store is closed: the server is stopping.")
        code = getattr(error, "sqlite_errorcode", None)
        primary = code & 0xFF if isinstance(code, int) else None
        if primary in _BUSY_CODES:
            return Busy("Another program holds the local store. Nothing was done: call again later.")
        reason = _REASONS.get(primary) if primary is not None else None
        return (
            error if reason is None else StoreUnavailable(f"The local store {self.path} {reason}", places=[self.path])
        )

    def _take(self) -> sqlite3.Cursor:
        """Returns a cursor of a reading connection: a new one for each short query would cost a tenth of the query's
        time."""
        if self._closed:
            raise StoreUnavailable("The local store is closed: the server is stopping.")
        try:
            return self._idle.pop()
        except IndexError:
            pass
        try:
            return self._connect((_READ_ONLY,)).cursor()
        except sqlite3.Error as error:
            raise self.translate(error) from error

    def _give(self, cursor: sqlite3.Cursor) -> None:
        self._idle.append(cursor)
        if self._closed:
            self._close_idle()

    def _close_idle(self) -> None:
        with suppress(IndexError):
            while True:
                self._idle.pop().connection.close()

    def _connect(self, more: Statements = ()) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=self._wait_seconds, isolation_level=None, check_same_thread=False, cached_statements=64
        )
        try:
            _run(connection, _ON_CONNECT)
            _run(connection, self._layout.on_connect)
            connection.execute(_SYNCHRONOUS[self._synchronous])
            _run(connection, more)
        except BaseException:
            connection.close()
            raise
        return connection

    def _open(self) -> sqlite3.Connection:
        """Returns the writing connection. Makes the file if it is missing, makes it private, checks that it is ours and
        upgrades its schema."""
        _make_private(self.path)
        connection = self._connect()
        try:
            self._adopt(connection)
            upgrade(connection, self._layout.upgrades, self.path)
        except BaseException:
            connection.close()
            raise
        return connection

    def _adopt(self, connection: sqlite3.Connection) -> None:
        if _number(connection, _TABLES) == 0:
            _run(connection, self._layout.on_create)
        elif _number(connection, _APPLICATION) != APPLICATION_ID:
            raise StoreUnavailable(
                f"{self.path} belongs to another program. Move it away, or use another directory.", places=[self.path]
            )
        mode = connection.execute(_WAL).fetchone()
        if mode != ("wal",):
            raise StoreUnavailable(
                f"The file system of {self.path} has no shared memory. Use a directory on a local disk.",
                places=[self.path],
            )


class Transaction:
    """`with transaction as connection:` commits what it runs, or rolls all of it back, under the write lock."""

    def __init__(self, file: LocalFile, lock: WriteLock, connection: sqlite3.Connection) -> None:
        self._file = file
        self._lock = lock
        self._connection = connection

    def __enter__(self) -> sqlite3.Connection:
        self._lock.acquire()
        try:
            self._connection.execute(_BEGIN)
        except sqlite3.Error as error:
            self._lock.release()
            raise self._file.translate(error) from error
        except BaseException:
            self._lock.release()
            raise
        return self._connection

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if error is None:
                self._connection.execute(_COMMIT)
        except sqlite3.Error as failed:
            raise self._file.translate(failed) from failed
        finally:
            if self._connection.in_transaction:
                self._connection.rollback()
            self._lock.release()
        if isinstance(error, sqlite3.Error):
            raise self._file.translate(error) from error


def upgrade(connection: sqlite3.Connection, upgrades: tuple[Statements, ...], path: Path) -> None:
    """Brings the file to the last of `upgrades`, all or nothing. A file from a later version is refused."""
    connection.execute(_BEGIN)
    try:
        version = _number(connection, _VERSION)
        if version > len(upgrades):
            raise StoreUnavailable(
                f"{path} has schema {version}, and this version knows {len(upgrades)}. Run the newer version again.",
                places=[path],
            )
        for statements in upgrades[version:]:
            _run(connection, statements)
        connection.execute(_COMMIT)
    finally:
        if connection.in_transaction:
            connection.rollback()


def network_file_system(directory: Path, mounts: Iterable[tuple[str, str]]) -> str | None:
    """Returns the type of the network file system that `directory` is on, or None. `mounts` are (mount point, type)."""
    above = {str(directory), *map(str, directory.parents)}
    on = max((mount for mount in mounts if mount[0] in above), key=lambda mount: len(mount[0]), default=("", ""))
    return on[1] if on[1].lower() in NETWORK_FILE_SYSTEMS else None


def _run(connection: sqlite3.Connection, statements: Statements) -> None:
    for sql in statements:
        connection.execute(sql)


def _prepare(directory: Path, layout: Layout, wait_seconds: float) -> WriteLock:
    """Returns the directory and its lock file. StoreUnavailable says what to do."""
    try:
        homes.make(directory)
        for name in (layout.lock_name, layout.file_name):
            homes.refuse_link(directory / name)
        kind = network_file_system(directory.resolve(), _mounts())
        if kind is not None:
            raise StoreUnavailable(
                f"{directory} is on a network file system ({kind}), where SQLite can lose data. Use a local directory.",
                places=[directory],
            )
        return WriteLock(directory / layout.lock_name, wait_seconds)
    except OSError as error:
        raise StoreUnavailable(
            f"The directory {directory} can't be written ({error.strerror}). Name one that this user can "
            "write with --home or SALES_AUTOMATION_HOME.",
            places=[directory],
        ) from error


def _mounts() -> list[tuple[str, str]]:
    import psutil  # noqa: PLC0415 - 25 ms that a caller which never opens a store need not pay

    with suppress(OSError, psutil.Error):  # a container may hide its mounts; an unknown file system is not refused
        return [(mount.mountpoint, mount.fstype) for mount in psutil.disk_partitions(all=True)]
    return []


def _make_private(path: Path) -> None:
    """Creates the file with mode 0600, or removes the rights of others from an existing one. Called under the write
    lock.

    An existing file is never opened here: closing it would drop the locks that SQLite holds on it in this process.
    """
    try:
        if path.exists():
            if stat.S_IMODE(path.stat().st_mode) & 0o077:
                path.chmod(0o600)
        else:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        raise StoreUnavailable(
            f"{path} can't be created or made private ({error.strerror}). Use a directory of this user's own.",
            places=[path],
        ) from error


def _number(connection: sqlite3.Connection, sql: LiteralString) -> int:
    (value,) = connection.execute(sql).fetchone()
    assert isinstance(value, int)
    return value


_BUSY_CODES: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_REASONS: Final[Mapping[int, str]] = MappingProxyType(
    {
        sqlite3.SQLITE_FULL: "can't grow: the disk is full. Nothing was changed: free some space and call again.",
        sqlite3.SQLITE_IOERR: "can't be read or written: the disk or a quota is full, or the disk fails. "
        "Nothing was changed: free some space and call again.",
        sqlite3.SQLITE_READONLY: "is read-only for this user. Make it writable, or use another directory.",
        sqlite3.SQLITE_CANTOPEN: "can't be opened. Make its directory writable, or use another one.",
        sqlite3.SQLITE_PERM: "can't be opened by this user. Change its owner, or use another directory.",
        sqlite3.SQLITE_NOTADB: "is not a SQLite file. Move it away, or use another directory.",
        sqlite3.SQLITE_CORRUPT: "is damaged. Move it away with its -wal and -shm files, and restore a copy.",
    }
)
