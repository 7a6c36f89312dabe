"""A server with data, as a process of its own, and a headless Chromium that looks at it."""

from collections.abc import Generator
from datetime import UTC, datetime

import pytest
from playwright.sync_api import Browser

from db.postgres.database import Database
from tests.support.browser import Start, launched, visits
from tests.support.dashboard import Site, fill
from tests.support.databases import empty
from tests.support.processes import http_server


@pytest.fixture(scope="module")
def browser() -> Generator[Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def site(migrated: Database, postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Generator[Site]:
    empty(migrated)
    now = datetime.now(UTC)
    scene = fill(migrated, people=150, now=now)  # variants fall by chance, and so does how many still wait
    home = tmp_path_factory.mktemp("home")
    with http_server(postgres, "--home", str(home)) as base:
        yield Site(base, scene, migrated, now, home)
    empty(migrated)


@pytest.fixture
def visit(browser: Browser) -> Generator[Start]:
    """Opens pages on a server, and in the end holds that their consoles stayed clean."""
    with visits(browser) as opened:
        yield opened
