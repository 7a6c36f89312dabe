"""Homes for the embedded PostgreSQL; each test's processes end with it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from db.embedded import EmbeddedPostgres
from tests.support.embedded import copy_cluster, end_everything


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose cluster is complete and stopped; to be copied, not to be started."""
    home = tmp_path_factory.mktemp("template")
    with EmbeddedPostgres(home):
        pass
    return home


@pytest.fixture
def new_home(tmp_path: Path) -> Iterator[Path]:
    """The path of a home that does not exist yet."""
    home = tmp_path / "home"
    yield home
    end_everything(home)


@pytest.fixture
def home(template: Path, new_home: Path) -> Path:
    """A home with a complete cluster that does not run."""
    return copy_cluster(template, new_home)


@pytest.fixture
def server_of() -> Iterator[Callable[[Path], EmbeddedPostgres]]:
    """Makes servers inside the test's process; all leave at its end."""
    made: list[EmbeddedPostgres] = []

    def make(home: Path) -> EmbeddedPostgres:
        made.append(EmbeddedPostgres(home))
        return made[-1]

    yield make
    for server in made:
        server.stop()
