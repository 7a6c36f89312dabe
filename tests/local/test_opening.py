"""Opening the store: private files, upgrades, and refusals that say what to do."""

import os
import sqlite3
import stat
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from db.domain.errors import Busy, StoreUnavailable
from db.local.connection import LocalFile, network_file_system, upgrade
from db.local.lock import WriteLock
from db.local.schema import APPLICATION_ID, CACHE, JOBS
from db.local.store import LocalStore
from tests.support.conformance.scene import NOW, make, take

NOBODY = 65534


@pytest.fixture(params=[JOBS, CACHE], ids=["jobs", "cache"])
def path(request: pytest.FixtureRequest, directory: Path) -> Path:
    directory.mkdir(mode=0o700)
    return directory / request.param.file_name


@contextmanager
def unprivileged() -> Generator[None, None, None]:
    """As a user whom the modes of files bind; the superuser is not bound."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_store_is_private_to_its_user(directory: Path) -> None:
    old = os.umask(0)
    try:
        with LocalStore.open(directory / "nested" / "store") as store:
            make(store.jobs)
            store.cache.set("a", "1", 1, ttl_seconds=60, now=NOW)
            files = sorted((directory / "nested" / "store").iterdir())
            assert {file.name for file in files} >= {"jobs.db", "jobs.db-wal", "jobs.db-shm", "jobs.lock", "cache.db"}
            assert [mode_of(file) for file in files] == [0o600] * len(files)
            assert mode_of(directory / "nested" / "store") == 0o700
    finally:
        os.umask(old)


def test_a_file_that_others_could_read_is_made_private(path: Path, directory: Path) -> None:
    LocalStore.open(directory).close()
    path.chmod(0o644)
    LocalStore.open(directory).close()
    assert mode_of(path) == 0o600


def test_a_store_opens_again_with_everything_in_it(directory: Path) -> None:
    with LocalStore.open(directory) as store:
        job = make(store.jobs, parameters={"n": 1})
        store.cache.set("a", "1", {"n": 1}, ttl_seconds=60, now=NOW)
    with LocalStore.open(directory, synchronous="FULL") as store:
        assert store.jobs.get(job.id, now=NOW).parameters == {"n": 1}
        assert store.cache.get("a", "1", now=NOW) is not None


@pytest.mark.parametrize("synchronous", ["NORMAL", "FULL"])
def test_the_file_is_in_wal_mode_at_the_asked_synchronous_setting(directory: Path, synchronous: str) -> None:
    with LocalStore.open(directory, synchronous=synchronous):  # pyright: ignore[reportArgumentType] - both are literals
        file = LocalFile(directory, JOBS, synchronous=synchronous, wait_seconds=1)  # pyright: ignore[reportArgumentType] - as above
        with file.transaction as connection:
            found = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
            assert found == ["wal", {"NORMAL": 1, "FULL": 2}[synchronous]]
            assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        file.close()


# Upgrades.

FIRST = ("CREATE TABLE kept (n INTEGER) STRICT", "INSERT INTO kept VALUES (7)", "PRAGMA user_version = 1")
SECOND_UPGRADE = ("ALTER TABLE kept ADD COLUMN more INTEGER NOT NULL DEFAULT 1", "PRAGMA user_version = 2")
BROKEN = ("CREATE TABLE half (n INTEGER) STRICT", "INSERT INTO missing VALUES (1)", "PRAGMA user_version = 2")


@pytest.fixture
def plain(tmp_path: Path) -> Generator[sqlite3.Connection, None, None]:
    connection = sqlite3.connect(tmp_path / "plain.db", isolation_level=None)
    yield connection
    connection.close()


def version(connection: sqlite3.Connection) -> int:
    return connection.execute("PRAGMA user_version").fetchone()[0]


def test_an_older_file_is_upgraded_and_keeps_its_rows(plain: sqlite3.Connection, tmp_path: Path) -> None:
    upgrade(plain, (FIRST,), tmp_path)
    upgrade(plain, (FIRST, SECOND_UPGRADE), tmp_path)
    upgrade(plain, (FIRST, SECOND_UPGRADE), tmp_path)
    assert version(plain) == 2
    assert plain.execute("SELECT n, more FROM kept").fetchall() == [(7, 1)]


def test_an_upgrade_that_fails_leaves_the_file_as_it_was(plain: sqlite3.Connection, tmp_path: Path) -> None:
    upgrade(plain, (FIRST,), tmp_path)
    with pytest.raises(sqlite3.OperationalError):
        upgrade(plain, (FIRST, BROKEN), tmp_path)
    assert version(plain) == 1
    assert plain.execute("SELECT name FROM sqlite_master").fetchall() == [("kept",)]


def test_the_layouts_number_their_upgrades_and_sign_their_files() -> None:
    for layout in (JOBS, CACHE):
        numbers = [statements[-1] for statements in layout.upgrades]
        assert numbers == [f"PRAGMA user_version = {n}" for n in range(1, len(numbers) + 1)]
        assert f"PRAGMA application_id = 0x{APPLICATION_ID:X}" in layout.on_create


def test_a_file_of_a_later_version_is_refused_and_left_alone(directory: Path, path: Path) -> None:
    LocalStore.open(directory).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreUnavailable, match=r"has schema 99, and this version knows [12]\. Run the newer version"):
        LocalStore.open(directory)
    assert version(connection) == 99
    connection.close()


def test_eight_threads_that_open_a_new_store_at_once_all_can(directory: Path) -> None:
    barrier = threading.Barrier(8)
    made: list[str] = []

    def opened() -> None:
        barrier.wait()
        with LocalStore.open(directory) as store:
            made.append(make(store.jobs).id)

    threads = [threading.Thread(target=opened) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [f"job_{n}" for n in range(1, 9)]


# Refusals.


def test_a_file_of_another_program_is_refused_and_left_alone(directory: Path, path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE theirs (n)")
    other.commit()
    with pytest.raises(StoreUnavailable, match="belongs to another program"):
        LocalStore.open(directory)
    assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]
    other.close()


def test_a_file_that_is_not_sqlite_is_refused_and_left_alone(directory: Path, path: Path) -> None:
    path.write_bytes(b"not a database, but long enough to be looked at as one\n" * 40)
    before = path.read_bytes()
    with pytest.raises(StoreUnavailable, match=r"is not a SQLite file\. Move it away"):
        LocalStore.open(directory)
    assert path.read_bytes() == before


def test_a_directory_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as top:
        closed = Path(top) / "closed"
        closed.mkdir()
        closed.chmod(0o555)
        if os.geteuid() == 0:
            os.chown(closed, NOBODY, -1)
        Path(top).chmod(0o755)
        with unprivileged():
            for directory in (closed, closed / "store"):
                with pytest.raises(
                    StoreUnavailable, match=r"can't be written \(Permission denied\). Name one that this"
                ):
                    LocalStore.open(directory)
        assert list(closed.iterdir()) == []
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    with pytest.raises(StoreUnavailable, match="can't be written"):
        LocalStore.open(in_the_way)


def test_a_directory_on_a_network_file_system_is_known_by_its_mount() -> None:
    mounts = [("/", "ext4"), ("/home", "nfs4"), ("/home/ann/local", "xfs"), ("/mnt/share", "CIFS"), ("/homes", "nfs")]
    for directory, kind in (
        ("/home/ann/.sales-automation", "nfs4"),
        ("/home", "nfs4"),
        ("/home/ann/local/store", None),
        ("/mnt/share/store", "CIFS"),
        ("/var/lib/store", None),
        ("/homestead/store", None),
    ):
        assert network_file_system(Path(directory), mounts) == kind
    assert network_file_system(Path("/anywhere"), []) is None


def test_a_write_while_another_process_holds_the_lock_file_is_refused_in_time(directory: Path) -> None:
    with LocalStore.open(directory, wait_seconds=0.1) as store:
        job = make(store.jobs)
        with WriteLock(directory / JOBS.lock_name, 1):
            for write in (lambda: make(store.jobs), lambda: take(store.jobs)):
                with pytest.raises(Busy, match=r"held the local store for 0.1 s. Nothing was done: call again later"):
                    write()
            assert store.jobs.get(job.id, now=NOW).id == job.id
        assert take(store.jobs).id == job.id


def test_a_write_while_a_program_without_the_lock_file_writes_is_refused_in_time(directory: Path) -> None:
    with LocalStore.open(directory, wait_seconds=0.1) as store:
        make(store.jobs)
        other = sqlite3.connect(directory / JOBS.file_name, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        for write in (lambda: make(store.jobs), lambda: take(store.jobs)):
            with pytest.raises(Busy, match="Another program holds the local store"):
                write()
        other.close()
        assert take(store.jobs).attempts == 1


def test_reading_goes_on_while_a_write_is_in_progress_and_even_when_leases_have_expired(directory: Path) -> None:
    with LocalStore.open(directory, wait_seconds=0.1) as store:
        make(store.jobs)
        held = take(store.jobs)
        with WriteLock(directory / JOBS.lock_name, 1):
            assert store.jobs.get(held.id, now=held.lease_until).status == "processing"
        assert store.jobs.get(held.id, now=held.lease_until).status == "pending"


def test_what_a_failed_transaction_did_is_undone_and_the_next_one_can_begin(directory: Path) -> None:
    LocalStore.open(directory).close()
    file = LocalFile(directory, CACHE, synchronous="NORMAL", wait_seconds=0.1)

    def fail(failure: Exception) -> None:
        with file.transaction as connection:
            connection.execute("UPDATE cache_totals SET hits = 99")
            raise failure

    for failure in (sqlite3.OperationalError("broken"), KeyError("n")):
        with pytest.raises(type(failure)):
            fail(failure)
    with file.transaction as connection:
        assert connection.execute("SELECT hits FROM cache_totals").fetchone() == (0,)
    file.close()


def test_a_closed_store_refuses_every_call(directory: Path) -> None:
    store = LocalStore.open(directory)
    job = make(store.jobs)
    store.close()
    for call in (
        lambda: make(store.jobs),
        lambda: take(store.jobs),
        lambda: store.jobs.get(job.id, now=NOW),
        lambda: store.jobs.stats(now=NOW),
        lambda: store.cache.get("a", "1", now=NOW),
        lambda: store.cache.set("a", "1", 1, ttl_seconds=60, now=NOW),
    ):
        with pytest.raises(StoreUnavailable, match="is closed: the server is stopping"):
            call()
    store.close()
