"""A command line on the test database."""

from pathlib import Path

import pytest

from tests.support.command_line import Cli


@pytest.fixture
def cli(database_url: str, tmp_path: Path) -> Cli:
    return Cli(database_url, tmp_path / "home")


@pytest.fixture
def offline(tmp_path: Path) -> Cli:
    """For commands that need no database: the one that is named is never there."""
    return Cli("postgresql://nobody:a-secret-password@127.0.0.1:9/nothing", tmp_path / "home")
