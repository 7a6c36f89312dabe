"""A database that takes connections and answers nothing, as a stopped PostgreSQL does: the server says so, and soon."""

from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Timer

import httpx2 as httpx
import psutil
import pytest
from anyio import to_thread
from mcp.client import Client
from pydantic import SecretStr

from db.domain.errors import StoreUnavailable
from db.embedded import EmbeddedPostgres
from db.embedded.locks import wait_until
from db.embedded.postmaster import read_pid_file
from mcp_server.calls.server import build_server
from mcp_server.http.token_cache import KEPT_SECONDS, TokenCache
from mcp_server.process.app import App
from mcp_server.process.settings import Settings
from tests.support.patience import PATIENCE
from tests.support.processes import TOKEN, environment, http_server, run
from tests.support.scraping import named, scrape
from tests.support.server import call
from tests.support.tokens import Clock

pytestmark = pytest.mark.anyio


class Stoppable:
    """A PostgreSQL of one's own."""

    def __init__(self, home: Path, url: str) -> None:
        self._home = home
        self.url = url

    @contextmanager
    def hung(self) -> Generator[None]:
        """Meanwhile nothing in it moves. It goes on by itself when the test has lost its patience, so that what waits
        for it comes to an end."""
        pid_file = read_pid_file(self._home / "postgres")
        assert pid_file is not None
        postmaster = psutil.Process(pid_file.pid)
        processes = [postmaster, *postmaster.children(recursive=True)]

        def go_on() -> None:
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.resume()

        timer = Timer(PATIENCE / 2, go_on)
        timer.start()
        try:
            for process in processes:
                process.suspend()
            yield
        finally:
            timer.cancel()
            go_on()


@pytest.fixture(scope="module")
def stoppable(tmp_path_factory: pytest.TempPathFactory) -> Generator[Stoppable]:
    home = tmp_path_factory.mktemp("stoppable")
    with EmbeddedPostgres(home) as postgres:
        url = postgres.start()
        migrated = run("migrate", env=environment(url))
        assert migrated.returncode == 0, migrated.stderr
        yield Stoppable(home, url)


@pytest.fixture(scope="module")
def base(stoppable: Stoppable) -> Generator[str]:
    with http_server(stoppable.url, "--no-worker", SALES_AUTOMATION_TOKEN=TOKEN) as url:
        yield url


def ready(base: str) -> int:
    return httpx.get(f"{base}/readyz", timeout=PATIENCE).status_code


def test_it_is_not_ready_until_it_goes_on(stoppable: Stoppable, base: str) -> None:
    assert ready(base) == 200
    with stoppable.hung():
        answers = [httpx.get(f"{base}/readyz", timeout=PATIENCE) for _ in range(3)]
        assert [(answer.status_code, answer.json()) for answer in answers] == [(503, {"status": "unavailable"})] * 3
    assert wait_until(lambda: ready(base) == 200, PATIENCE)


def test_prometheus_is_told_that_it_is_down(stoppable: Stoppable, base: str) -> None:
    assert scrape(base, TOKEN)[named("database_up")] == 1
    with stoppable.hung():
        for _ in range(2):
            found = scrape(base, TOKEN)
            assert found[named("database_up")] == 0
            assert named("orphaned_events_waiting") not in found
            assert found[named("pool_connections_in_use")] >= 1
    assert wait_until(lambda: scrape(base, TOKEN)[named("database_up")] == 1, PATIENCE)


def app_of(stoppable: Stoppable, home: Path) -> App:
    return App(Settings(database_url=SecretStr(stoppable.url), home=home))


async def test_get_health_tells_that_it_is_down(stoppable: Stoppable, tmp_path: Path) -> None:
    app = app_of(stoppable, tmp_path)
    try:
        app.database()
        async with Client(build_server(app)) as client:
            assert (await call(client, "get_health"))["database"] == "ok"
            with stoppable.hung():
                for _ in range(2):
                    answer = await call(client, "get_health")
                    assert (answer["status"], answer["database"]) == ("degraded", "unavailable")
                    assert "orphans_waiting" not in answer
                    assert answer["jobs"]["pending"] == 0
    finally:
        await to_thread.run_sync(app.close)


async def test_who_may_speak_is_told_without_it(stoppable: Stoppable, tmp_path: Path) -> None:
    app, clock = app_of(stoppable, tmp_path), Clock()
    try:
        token_cache = TokenCache(app, default=None, is_loopback=True, monotonic=clock)
        assert await token_cache.is_open()
        with stoppable.hung():
            clock.seconds += 2 * KEPT_SECONDS
            assert await token_cache.is_open()
            with pytest.raises(StoreUnavailable):
                await token_cache.find("nobody's")
        clock.seconds += 2 * KEPT_SECONDS
        assert await token_cache.find("nobody's") is None
    finally:
        await to_thread.run_sync(app.close)


def test_a_session_is_told_that_nobody_can_say_whose_it_is(stoppable: Stoppable, base: str) -> None:
    def look(path: str) -> int:
        headers = {"Cookie": "sales_session=anything"}
        return httpx.get(f"{base}/dashboard/{path}", headers=headers, timeout=PATIENCE).status_code

    assert (look("api/viewer"), look("login?code=anything")) == (401, 403)
    with stoppable.hung():
        assert (look("login?code=anything"), look("login?code=anything")) == (503, 503)
    assert wait_until(lambda: look("login?code=anything") == 403, PATIENCE)
