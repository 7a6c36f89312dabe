"""Whatever dies, the next start works and the data is there."""

import os
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import psutil
import psycopg
import pytest

from db.domain.errors import StoreUnavailable
from db.embedded import EmbeddedPostgres
from db.embedded.postmaster import read_pid_file
from tests.support.embedded import (
    Server,
    answers,
    ask,
    eventually,
    gone,
    keepers_of,
    killed,
    nothing_runs,
    postmaster_of,
    socket_of,
)
from tests.support.patience import PATIENCE

Factory = Callable[[Path], EmbeddedPostgres]


def test_a_killed_postmaster_comes_back_at_the_same_address(home: Path, server_of: Factory) -> None:
    url = server_of(home).start()
    ask(url, "CREATE TABLE kept AS SELECT 42 AS value")
    postmaster = postmaster_of(home)

    killed(postmaster)
    eventually(lambda: answers(url), "a running server can connect again")
    assert ask(url, "SELECT value FROM kept") == 42
    assert postmaster_of(home) != postmaster


def test_a_busy_backend_that_outlives_its_postmaster_stands_in_nobodys_way(home: Path, server_of: Factory) -> None:
    url = server_of(home).start()
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        backend = psutil.Process(connection.info.backend_pid)
        connection.pgconn.send_query(b"SELECT count(*) FROM generate_series(1, 100000000000)")
        connection.pgconn.flush()
        eventually(lambda: backend.cpu_times().user > 0.1, "the backend computes")
        killed(postmaster_of(home))
        eventually(lambda: answers(url), "a running server can connect again")
    assert gone(backend)


def test_a_killed_backend_does_not_end_postgresql(home: Path, server_of: Factory) -> None:
    url = server_of(home).start()
    postmaster = postmaster_of(home)
    with psycopg.connect(url) as connection:
        os.kill(connection.info.backend_pid, 9)
        with suppress(psycopg.OperationalError):
            connection.execute("SELECT 1")

    eventually(lambda: answers(url), "PostgreSQL recovers by itself")
    assert postmaster_of(home) == postmaster


def test_the_next_start_adopts_a_postgresql_whose_keeper_was_killed(home: Path, server_of: Factory) -> None:
    first, second = server_of(home), server_of(home)
    url = first.start()
    postmaster = postmaster_of(home)
    killed(keepers_of(home)[0])

    assert second.start() == url
    assert postmaster_of(home) == postmaster
    assert len(keepers_of(home)) == 1
    second.stop()
    assert answers(url)
    first.stop()
    assert nothing_runs(home)


def test_an_adopted_postmaster_that_is_killed_comes_back(home: Path, server_of: Factory) -> None:
    url = server_of(home).start()
    killed(keepers_of(home)[0])
    server_of(home).start()

    killed(postmaster_of(home))
    eventually(lambda: answers(url), "a running server can connect again")


def test_the_last_server_ends_a_postgresql_whose_keeper_was_killed(home: Path, server_of: Factory) -> None:
    server = server_of(home)
    server.start()
    killed(keepers_of(home)[0])

    server.stop()
    assert nothing_runs(home)


def test_the_next_start_recovers_when_everything_was_killed(home: Path, server_of: Factory) -> None:
    with Server(home) as server:
        url = server.start()
        ask(url, "CREATE TABLE kept AS SELECT 42 AS value")
        killed(keepers_of(home)[0])
        killed(postmaster_of(home))

    assert read_pid_file(home / "postgres") is not None, "the stale file is there"
    assert ask(server_of(home).start(), "SELECT value FROM kept") == 42


def test_a_keeper_that_is_told_to_end_ends_postgresql_in_good_order(home: Path, server_of: Factory) -> None:
    server = server_of(home)
    url = server.start()
    ask(url, "CREATE TABLE kept AS SELECT 42 AS value")
    keepers_of(home)[0].terminate()
    eventually(lambda: nothing_runs(home), "the keeper shuts down, as at the end of a session")

    assert ask(server.start(), "SELECT value FROM kept") == 42
    assert "not properly shut down" not in (home / "postgres.log").read_text()


def deleted(home: Path) -> bool:
    shutil.rmtree(home, ignore_errors=True)
    return not home.exists()


def test_a_deleted_home_takes_its_postgresql_along(home: Path) -> None:
    with Server(home) as server:
        sockets = socket_of(server.start()).parent
        processes = [postmaster_of(home), *keepers_of(home)]
        eventually(lambda: deleted(home), "the home is gone, though files are still made in it")
        eventually(lambda: all(gone(process) for process in processes), "both end")
    assert not sockets.exists()


def test_a_vanished_socket_comes_back(home: Path, server_of: Factory) -> None:
    url = server_of(home).start()
    for path in socket_of(url).parent.iterdir():
        path.unlink()

    eventually(lambda: answers(url), "PostgreSQL is started again with its socket")


@pytest.mark.parametrize("victims", [("initdb", "server"), ("server",)], ids=" and ".join)
def test_a_start_killed_in_the_middle_of_initdb_needs_nobody(
    new_home: Path, server_of: Factory, victims: tuple[str, ...]
) -> None:
    with Server(new_home) as server:
        server.go()
        eventually(lambda: bool(list(new_home.glob("postgres.new-*/base/1"))), "initdb is in the middle")
        workers = psutil.Process(server.process.pid).children(recursive=True)
        server.kill()
    assert not (new_home / "postgres").exists()
    if "initdb" in victims:
        for worker in workers:
            with suppress(psutil.NoSuchProcess):
                worker.kill()

    assert answers(server_of(new_home).start())
    _, alive = psutil.wait_procs(workers, timeout=PATIENCE)
    assert not alive
    server_of(new_home).stop()


def test_a_killed_initdb_is_reported_and_the_next_start_works(new_home: Path, server_of: Factory) -> None:
    server = server_of(new_home)
    with ThreadPoolExecutor(1) as thread:
        started = thread.submit(server.start)
        eventually(lambda: bool(list(new_home.glob("postgres.new-*/base"))), "initdb has begun")
        for child in psutil.Process().children():
            if child.name() == "initdb":
                child.kill()
        with pytest.raises(StoreUnavailable, match="killed by signal 9"):
            started.result()
    assert not list(new_home.glob("postgres*/"))

    assert answers(server.start())


@pytest.mark.parametrize("content", ["", "nonsense", "{dead}\n", "{dead}\n/elsewhere\n17\n"])
def test_a_stale_pid_file_needs_nobody(home: Path, server_of: Factory, content: str) -> None:
    (home / "postgres" / "postmaster.pid").write_text(content.format(dead=_dead_pid()))

    assert answers(server_of(home).start())


def test_a_pid_file_with_the_pid_of_a_stranger_needs_nobody(home: Path, server_of: Factory) -> None:
    owner = (home / "postgres").stat()
    groups: list[int] | None = [] if os.geteuid() == 0 else None
    with subprocess.Popen(
        ["sleep", str(PATIENCE)], user=owner.st_uid, group=owner.st_gid, extra_groups=groups
    ) as stranger:
        try:
            pid_file = home / "postgres" / "postmaster.pid"
            pid_file.write_text(f"{stranger.pid}\n{home}/postgres\n1700000000\n5432\n/nowhere\n\n  1  1\nready   \n")
            assert answers(server_of(home).start())
            assert stranger.poll() is None, "the stranger was left alone"
        finally:
            stranger.kill()


def test_a_postgresql_that_cannot_start_says_why(home: Path) -> None:
    with (home / "postgres" / "postgresql.conf").open("a") as file:
        file.write("no_such_setting = 1\n")

    with pytest.raises(StoreUnavailable, match=r"does not start[\s\S]*no_such_setting"):
        EmbeddedPostgres(home).start()
    eventually(lambda: nothing_runs(home), "nothing is left of the attempt")
    assert not list((home / "users").iterdir())


def test_a_folder_of_something_else_is_left_alone(new_home: Path) -> None:
    (new_home / "postgres").mkdir(parents=True)
    (new_home / "postgres" / "letter.txt").write_text("mine")

    with pytest.raises(StoreUnavailable, match="Move it away"):
        EmbeddedPostgres(new_home).start()
    assert (new_home / "postgres" / "letter.txt").read_text() == "mine"


def test_data_of_a_version_that_is_not_there_is_refused_by_name(home: Path) -> None:
    (home / "postgres" / "PG_VERSION").write_text("12\n")

    with pytest.raises(StoreUnavailable, match=r"made by PostgreSQL 12.*Install PostgreSQL 12"):
        EmbeddedPostgres(home).start()


def test_a_log_over_its_bound_is_emptied(home: Path, server_of: Factory) -> None:
    log = home / "postgres.log"
    with log.open("wb") as file:
        file.truncate(11_000_000)

    url = server_of(home).start()
    eventually(lambda: log.stat().st_size < 1_000_000, "the log is short")
    with suppress(psycopg.Error):
        ask(url.replace("/sales", "/no_such_database"), "SELECT 1")
    assert b"no_such_database" in log.read_bytes(), "and it is still written"


def _dead_pid() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid
