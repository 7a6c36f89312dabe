"""Who runs PostgreSQL, and who may connect to it."""

import os
import pwd
import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from db.domain.errors import StoreUnavailable
from db.embedded import EmbeddedPostgres
from db.embedded.account import Account, running_account
from db.embedded.binaries import copy_for, locate
from db.embedded.cluster import create_cluster, open_log
from db.embedded.postmaster import claim_directory
from tests.support.embedded import (
    IS_ROOT,
    ROOT,
    Server,
    answers,
    end_everything,
    interpreter_for,
    nothing_runs,
    postmaster_of,
    run_as_user,
    socket_of,
)

Factory = Callable[[Path], EmbeddedPostgres]

only_root = pytest.mark.skipif(not IS_ROOT, reason="only root can act as other accounts")

_PARALLEL = "-c parallel_setup_cost=0 -c parallel_tuple_cost=0 -c min_parallel_table_scan_size=0"

_KNOCK = """
import socket, sys
door = socket.socket(socket.AF_UNIX)
try:
    door.connect(sys.argv[1])
except PermissionError:
    print("closed")
else:
    door.sendall(bytes.fromhex(sys.argv[2]))
    print(door.recv(1024))
"""


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A directory that every account can reach, which pytest's own is not."""
    place = Path(tempfile.mkdtemp(prefix="embedded-", dir="/tmp"))
    place.chmod(0o755)
    yield place
    shutil.rmtree(place)


@only_root
def test_under_root_another_account_runs_postgresql_in_a_home_closed_to_it(home: Path, server_of: Factory) -> None:
    url = server_of(home).start()
    account = postmaster_of(home).uids().real

    assert account != 0
    assert (home / "postgres").stat().st_uid == account
    assert home.stat().st_uid == 0
    closed = run_as_user(pwd.getpwuid(account).pw_name, ["ls", str(home / "postgres")])
    assert closed.returncode != 0, "it could not have walked there"
    with psycopg.connect(url, options=_PARALLEL) as connection:
        plan = connection.execute("EXPLAIN (ANALYZE, COSTS OFF) SELECT count(*) FROM pg_attribute").fetchall()
    assert re.search(r"Workers Launched: [1-9]", str(plan)), "its workers find the data too"


@only_root
def test_a_copy_that_is_roots_is_given_to_the_account_that_runs_it(home: Path, server_of: Factory) -> None:
    subprocess.run(["chown", "-R", "0:0", str(home / "postgres")], check=True)

    assert answers(server_of(home).start())
    assert (home / "postgres" / "global").stat().st_uid == postmaster_of(home).uids().real


@only_root
def test_the_owner_of_a_cluster_goes_on_running_it(tmp_path: Path) -> None:
    daemon = pwd.getpwnam("daemon")
    (tmp_path / "postgres").mkdir()
    os.chown(tmp_path / "postgres", daemon.pw_uid, daemon.pw_gid)

    assert running_account(tmp_path / "postgres") == Account(daemon.pw_uid, daemon.pw_gid)


@only_root
def test_without_an_account_postgres_it_is_nobody_and_without_both_an_error_says_so(tmp_path: Path) -> None:
    nobody = pwd.getpwnam("nobody")

    assert running_account(tmp_path / "none", ("no-such-account", "nobody")) == Account(nobody.pw_uid, nobody.pw_gid)
    with pytest.raises(StoreUnavailable, match="ordinary user, or set DATABASE_URL"):
        running_account(tmp_path / "none", ("no-such-account",))


@only_root
def test_an_ordinary_user_runs_postgresql_as_itself(open_place: Path) -> None:
    site = open_place / "site"
    shutil.copytree(ROOT / "db", site / "db")
    shutil.copytree(Path(psutil.__file__).parent, site / "psutil")
    nobody = pwd.getpwnam("nobody")
    account = Account(nobody.pw_uid, nobody.pw_gid)
    programs = copy_for(account, locate(None), [open_place / "programs"]).folder
    python, environment = interpreter_for("nobody", open_place)
    own = open_place / "own place"
    own.mkdir(mode=0o700)
    os.chown(own, account.uid, account.gid)
    home = own / "home"
    options: dict[str, Any] = {
        "user": account.uid,
        "group": account.gid,
        "extra_groups": [],
        "cwd": "/",
        "env": {"PATH": f"{programs}:/usr/bin:/bin", **environment},
    }
    try:
        with Server(home, [str(python), "-E", "-S"], [site], **options) as server:
            url = server.start()
            assert answers(url), "root may look in"
            postmaster = postmaster_of(home)
            assert postmaster.uids().real == account.uid
            assert str(home / "postgres") in postmaster.cmdline(), "no detour is needed"
            assert Path(postmaster.exe()).parent == programs
            server.leave()
        assert nothing_runs(home)
    finally:
        end_everything(home)


@only_root
def test_no_other_account_can_connect(home: Path, server_of: Factory, open_place: Path) -> None:
    url = server_of(home).start()
    service = pwd.getpwuid(postmaster_of(home).uids().real).pw_name
    stranger = next(name for name in ("nobody", "daemon") if name != service)
    body = struct.pack("!I", 196608) + b"user\0postgres\0database\0sales\0\0"
    hello = (struct.pack("!I", len(body) + 4) + body).hex()

    def knock(name: str) -> str:
        python, environment = interpreter_for(name, Path(tempfile.mkdtemp(dir=open_place)))
        python.parent.parent.chmod(0o755)
        done = run_as_user(name, [python, "-I", "-S", "-c", _KNOCK, str(socket_of(url)), hello], env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert knock(stranger).strip() == "closed", "the directory stops it"
    assert "28000" in knock(service), "the account that runs PostgreSQL gets in, and is turned away there"


def test_a_socket_directory_that_somebody_else_took_is_not_used(home: Path, server_of: Factory, tmp_path: Path) -> None:
    server = server_of(home)
    usual = socket_of(server.start()).parent
    server.stop()
    usual.symlink_to(tmp_path)
    try:
        url = server.start()
        assert socket_of(url).parent != usual
        assert answers(url)
        server.stop()
        assert not socket_of(url).parent.exists()
    finally:
        usual.unlink()


@only_root
def test_a_directory_of_another_account_is_not_claimed(tmp_path: Path) -> None:
    nobody = pwd.getpwnam("nobody").pw_uid
    (tmp_path / "taken").mkdir(mode=0o777)
    os.chown(tmp_path / "taken", nobody, -1)

    assert not claim_directory(tmp_path / "taken", 0)
    assert claim_directory(tmp_path / "taken", nobody)
    assert (tmp_path / "taken").stat().st_mode & 0o777 == 0o700


@only_root
def test_programs_that_the_account_cannot_reach_are_copied_once(tmp_path: Path, open_place: Path) -> None:
    account = running_account(tmp_path / "none")
    assert account
    found = locate(None)
    hidden = tmp_path / "venv" / found.folder.parent.parent.name
    shutil.copytree(found.folder.parent, hidden / found.folder.parent.name, symlinks=True)
    libraries = found.folder.parent.parent.with_name(f"{hidden.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, hidden.with_name(libraries.name))
    sources = [[hidden / found.folder.parent.name / "bin"]]
    unreachable = locate(None, sources=sources)

    copied = copy_for(account, unreachable, [open_place / "copies"])
    copied_at = copied.folder.stat().st_ctime_ns
    assert copy_for(account, unreachable, [open_place / "copies"]).folder.stat().st_ctime_ns == copied_at
    assert copied.folder.is_relative_to(open_place)
    assert not list((open_place / "copies").glob("partial-*"))
    with open_log(tmp_path / "log") as log:
        create_cluster(tmp_path, copied, account, log)
    assert (tmp_path / "postgres" / "PG_VERSION").read_text().strip() == str(found.version[0])


@only_root
def test_a_place_for_copies_that_another_account_can_change_is_not_used(tmp_path: Path, open_place: Path) -> None:
    account = running_account(tmp_path / "none")
    assert account
    (open_place / "copies").mkdir()
    (open_place / "copies").chmod(0o777)

    with pytest.raises(StoreUnavailable, match="can't reach"):
        copy_for(account, locate(None), [open_place / "copies"])
    assert not list((open_place / "copies").iterdir())


@only_root
def test_a_user_without_a_name_is_told_what_is_missing(open_place: Path) -> None:
    script = """
import sys
sys.path.insert(0, sys.argv[1])
from db.domain.errors import StoreUnavailable
from db.embedded.account import login_name
try:
    login_name()
except StoreUnavailable as error:
    print(error)
"""
    shutil.copytree(ROOT / "db", open_place / "site" / "db")
    python, environment = interpreter_for("nobody", open_place)
    done = subprocess.run(
        [python, "-E", "-S", "-c", script, str(open_place / "site")],
        user=54321,
        group=54321,
        extra_groups=[],
        cwd="/",
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "User id 54321 has no name" in done.stdout
    assert "DATABASE_URL" in done.stdout
