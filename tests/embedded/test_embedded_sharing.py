"""Servers start, share and leave one PostgreSQL."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from db.domain.errors import StoreUnavailable
from db.embedded import EmbeddedPostgres
from db.embedded.keeper import Keeper
from db.embedded.locks import open_lock, try_lock
from db.embedded.postmaster import Order
from tests.support.embedded import (
    ROOT,
    Server,
    answers,
    ask,
    copy_cluster,
    end_everything,
    eventually,
    keepers_of,
    nothing_runs,
    postmaster_of,
    socket_of,
)

Factory = Callable[[Path], EmbeddedPostgres]


def test_a_cold_start_gives_an_empty_database_in_utf8(new_home: Path, server_of: Factory) -> None:
    url = server_of(new_home).start()

    assert ask(url, "SELECT current_database() || ' ' || current_user") == "sales postgres"
    assert ask(url, "SHOW server_encoding") == "UTF8"
    assert ask(url, "SHOW data_checksums") == "on"
    assert ask(url, "SHOW fsync") == "on"
    assert ask(url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    assert ask(url, "SELECT 'a' < 'B'") is False, "sorted by code point, on every machine alike"
    assert not list(new_home.glob("postgres.new-*"))


def test_the_home_is_closed_to_others(new_home: Path, server_of: Factory) -> None:
    url = server_of(new_home).start()

    assert new_home.stat().st_mode & 0o777 == 0o700
    assert (new_home / "postgres.log").stat().st_mode & 0o777 == 0o600
    assert socket_of(url).parent.stat().st_mode & 0o777 == 0o700
    assert ask(url, "SHOW listen_addresses") == ""


def test_a_warm_start_keeps_the_data(home: Path, server_of: Factory) -> None:
    server = server_of(home)
    ask(server.start(), "CREATE TABLE kept AS SELECT 42 AS value")
    server.stop()
    assert nothing_runs(home)

    assert ask(server_of(home).start(), "SELECT value FROM kept") == 42


def test_a_second_server_joins_the_one_that_runs(home: Path, server_of: Factory) -> None:
    first, second = server_of(home), server_of(home)
    url = first.start()
    postmaster = postmaster_of(home)

    assert second.start() == url
    assert postmaster_of(home) == postmaster


def test_a_second_start_of_one_server_changes_nothing(home: Path, server_of: Factory) -> None:
    server = server_of(home)

    assert server.start() == server.start()
    assert len(list((home / "users").iterdir())) == 1


def test_two_cold_starts_at_the_same_instant_share_one_postgresql(new_home: Path) -> None:
    with Server(new_home) as one, Server(new_home) as two:
        one.go()
        two.go()
        assert one.url() == two.url() != ""
        assert len(keepers_of(new_home)) == 1
        one.leave()
        two.leave()
    assert nothing_runs(new_home)


def test_it_stops_when_the_last_server_leaves(home: Path, server_of: Factory) -> None:
    first, second = server_of(home), server_of(home)
    url = first.start()
    second.start()

    first.stop()
    assert answers(url)
    second.stop()
    assert nothing_runs(home)
    assert not socket_of(url).parent.exists()
    assert not list((home / "users").iterdir())


def test_it_stops_when_the_last_server_is_killed(home: Path) -> None:
    with Server(home) as first, Server(home) as second:
        url = first.start()
        second.start()
        first.kill()
        assert answers(url)
        second.kill()
    eventually(lambda: nothing_runs(home), "PostgreSQL ends")


def test_leaving_twice_is_leaving_once(home: Path, server_of: Factory) -> None:
    server, other = server_of(home), server_of(home)
    other.start()
    url = server.start()

    server.stop()
    server.stop()
    assert answers(url)


def test_a_start_during_the_stop_begins_anew(home: Path, server_of: Factory) -> None:
    for _ in range(3):
        leaving, coming = server_of(home), server_of(home)
        leaving.start()
        stop = threading.Thread(target=leaving.stop)
        stop.start()
        url = coming.start()
        stop.join()
        assert answers(url)
        coming.stop()


def test_a_keeper_does_not_retire_while_a_server_starts_or_has_come(new_home: Path) -> None:
    (new_home / "users").mkdir(parents=True)
    keeper = Keeper(Order(str(new_home), "", "", str(new_home / "sockets"), 0, -1, -1, adopt=0))
    starting = open_lock(new_home / "start.lock")
    assert try_lock(starting)
    assert not keeper.retire()

    come = open_lock(new_home / "users" / "1")
    assert try_lock(come)
    os.close(starting)
    assert not keeper.retire()

    os.close(come)
    assert keeper.retire()


def test_a_forked_child_that_stops_does_not_leave_for_its_parent(home: Path) -> None:
    script = """
import os, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from db.embedded import EmbeddedPostgres
with EmbeddedPostgres(Path(sys.argv[1])) as postgres:
    if os.fork() == 0:
        postgres.stop()
        os._exit(0)
    os.wait()
    print(len(list((Path(sys.argv[1]) / "users").iterdir())), postgres.start() != "")
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(home), str(ROOT)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1", "True"]
    assert nothing_runs(home)


@pytest.mark.parametrize("name", ["with a space", 'Zoë\'s %20 "home"', "/".join(["long" * 15] * 4)])
def test_any_path_will_do_for_a_home(template: Path, tmp_path: Path, server_of: Factory, name: str) -> None:
    home = copy_cluster(template, tmp_path / name)
    try:
        server = server_of(home)
        url = server.start()
        assert answers(url)
        assert len(os.fsencode(socket_of(url))) < 104
        server.stop()
        assert nothing_runs(home)
    finally:
        end_everything(home)


def test_a_cold_start_in_a_very_long_path_with_spaces(tmp_path: Path, server_of: Factory) -> None:
    home = tmp_path / "/".join(["a long name " * 5] * 3)
    assert len(os.fsencode(home)) > 150
    try:
        server = server_of(home)
        assert answers(server.start())
        server.stop()
        assert nothing_runs(home)
    finally:
        end_everything(home)


def test_the_keeper_is_small_and_carries_no_secret(
    home: Path, server_of: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SALES_AUTOMATION_TOKEN", "not-for-others")
    server_of(home).start()
    [keeper] = keepers_of(home)

    assert keeper.memory_info().rss < 20_000_000
    for process in (keeper, postmaster_of(home)):
        assert "SALES_AUTOMATION_TOKEN" not in process.environ()


def test_the_port_in_our_environment_does_not_matter(
    home: Path, server_of: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "6543")
    monkeypatch.setenv("PGDATA", "/nowhere")

    assert answers(server_of(home).start())


def test_a_home_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")

    with pytest.raises(StoreUnavailable, match="set DATABASE_URL"):
        EmbeddedPostgres(tmp_path / "home").start()


def test_the_import_brings_in_neither_psycopg_nor_psutil() -> None:
    script = "import sys; sys.path.insert(0, sys.argv[1]); import db.embedded.server; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script, str(ROOT)], capture_output=True, text=True, check=True)
    assert not {"psycopg", "psutil", "sqlalchemy", "asyncio"} & set(done.stdout.split())
