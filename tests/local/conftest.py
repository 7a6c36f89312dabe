"""A store in a directory of its own, on real files."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from db.local.store import LocalStore


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where the store is; it does not exist yet."""
    return tmp_path / "store"


@pytest.fixture
def store(directory: Path) -> Iterator[LocalStore]:
    with LocalStore.open(directory) as store:
        yield store
