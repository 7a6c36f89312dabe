"""The judges, and what they judge: a server as users start it, and the same app with a toolset of fixtures."""

import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from db.postgres.database import Database
from tests.support.judges.node import Node, Unavailable, node
from tests.support.processes import http_server


@pytest.fixture(scope="session")
def judges() -> Node:
    try:
        return node()
    except Unavailable as missing:
        pytest.skip(f"the outside judges are not here: {missing}")


@pytest.fixture(scope="module")
def store(migrated: Database, postgres: str) -> str:
    """The URL of a migrated database, for the servers of one module."""
    return postgres


@pytest.fixture(scope="module")
def shipped(store: str, tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """The base URL of the server as it is shipped, with every toolset."""
    home = tmp_path_factory.mktemp("shipped")
    with http_server(store, SALES_AUTOMATION_HOME=str(home)) as base:
        yield base


@pytest.fixture(scope="module")
def everything(store: str, tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """The base URL of the same app with the fixtures that the conformance suite asks for."""
    home: Path = tmp_path_factory.mktemp("everything")
    command = [sys.executable, "-m", "tests.support.judges.everything"]
    with http_server(store, command=command, SALES_AUTOMATION_HOME=str(home)) as base:
        yield base
