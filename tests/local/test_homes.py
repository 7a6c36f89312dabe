"""A home that another user prepared is refused, and nothing outside of the home is opened or deleted."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from db import homes
from db.domain.errors import StoreUnavailable
from db.embedded.server import EmbeddedPostgres
from db.local.store import LocalStore

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="directories have no owners and modes there")

OPENERS: list[Callable[[Path], object]] = [homes.make, LocalStore.open, lambda home: EmbeddedPostgres(home).start()]


@pytest.fixture
def others(tmp_path: Path) -> Path:
    """A directory of another user: the superuser's own for an ordinary one, and of nobody for the superuser."""
    if os.geteuid() != 0:
        return Path("/usr")
    path = tmp_path / "others"
    path.mkdir(mode=0o700)
    os.chown(path, 65534, -1)
    return path


@pytest.mark.parametrize("open_home", OPENERS)
def test_a_directory_of_another_user_is_refused(others: Path, open_home: Callable[[Path], object]) -> None:
    with pytest.raises(StoreUnavailable, match="belongs to another user"):
        open_home(others)


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o1777])
@pytest.mark.parametrize("open_home", OPENERS)
def test_a_directory_that_others_may_write_to_is_refused(
    tmp_path: Path, mode: int, open_home: Callable[[Path], object]
) -> None:
    tmp_path.chmod(mode)
    with pytest.raises(StoreUnavailable, match="Other users may write to"):
        open_home(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    path = tmp_path / "elsewhere"
    path.mkdir()
    (path / "precious").write_text("kept")
    return path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    path = tmp_path / "home"
    path.mkdir(mode=0o700)
    return path


@pytest.mark.parametrize("name", ["users", "postgres"])
def test_a_link_in_the_place_of_a_directory_is_refused_and_what_it_leads_to_is_kept(
    home: Path, precious: Path, name: str
) -> None:
    (home / name).symlink_to(precious)
    with pytest.raises(StoreUnavailable, match=f"{name} is a link"):
        EmbeddedPostgres(home).start()
    assert [path.name for path in precious.iterdir()] == ["precious"]


@pytest.mark.parametrize("name", ["jobs.lock", "jobs.db", "cache.db"])
@pytest.mark.parametrize("target", ["precious", "missing"])
def test_a_link_in_the_place_of_a_file_is_refused(home: Path, precious: Path, name: str, target: str) -> None:
    (home / name).symlink_to(precious / target)
    with pytest.raises(StoreUnavailable, match=f"{name} is a link"):
        LocalStore.open(home)
    assert [path.name for path in precious.iterdir()] == ["precious"]
    assert (precious / "precious").read_text() == "kept"
