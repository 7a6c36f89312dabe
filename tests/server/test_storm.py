"""A stream of webhooks while the server and its PostgreSQL are killed: every event is there once, and counted once."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2 as httpx
import pytest
from mcp.client import Client
from sqlalchemy import text

from db.embedded import EmbeddedPostgres
from db.postgres.config import DatabaseConfig
from db.postgres.database import Database
from tests.support.campaigns import assert_counters_are_exact
from tests.support.patience import PATIENCE
from tests.support.processes import held_port
from tests.support.server import new_campaign
from tests.support.signed_events import KINDS, SECRET, signed

pytestmark = pytest.mark.anyio

PEOPLE = 2_500
SENDERS = 24
LONG = 3 * PATIENCE
# Of a sender that was refused or has reached nobody.
BACK_OFF = 0.05


class Server:
    """A server on one port and one directory, which can be killed and started again."""

    def __init__(self, home: Path, port: int) -> None:
        self._home, self._port = home, port
        self.url = f"http://127.0.0.1:{port}"
        self.start()

    def start(self) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SALES_AUTOMATION_")}
        kept.pop("DATABASE_URL", None)
        env = {"SALES_AUTOMATION_HOME": str(self._home), "SALES_AUTOMATION_WEBHOOK_STANDARD": SECRET}
        command = [sys.executable, "-m", "mcp_server", "serve", "--transport", "streamable-http"]
        self._process = subprocess.Popen(
            [*command, "--port", str(self._port)], env={**kept, **env}, stderr=subprocess.DEVNULL
        )

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def kill_postgres(self) -> None:
        (pid_file,) = self._home.rglob("postmaster.pid")
        os.kill(int(pid_file.read_text().split()[0]), signal.SIGKILL)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)


@contextmanager
def running(home: Path) -> Generator[Server]:
    with held_port() as port:
        server = Server(home, port)
        try:
            yield server
        finally:
            server.stop()


async def is_ready(server: Server) -> None:
    async with httpx.AsyncClient(timeout=PATIENCE) as client:
        with anyio.fail_after(PATIENCE):
            while True:
                try:
                    if (await client.get(f"{server.url}/readyz")).status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                await anyio.sleep(BACK_OFF)


class Stream:
    """Sends every event until it is acknowledged, and counts what it was answered."""

    def __init__(self, url: str, events: list[tuple[int, str, str]]) -> None:
        self._url = f"{url}/webhooks/standard"
        self._left = iter(events)
        self.acknowledged = 0
        self._progress = anyio.Event()
        self.answers: Counter[int | str] = Counter()

    async def send(self) -> None:
        async with httpx.AsyncClient(timeout=20) as client:
            for number, enrollment_id, kind in self._left:
                await self._send(client, number, enrollment_id, kind)
                self.acknowledged += 1
                self._progress.set()

    async def _send(self, client: httpx.AsyncClient, number: int, enrollment_id: str, kind: str) -> None:
        while True:
            if await self._try(client, *signed(number, enrollment_id, kind)):
                return
            await anyio.sleep(BACK_OFF)

    async def _try(self, client: httpx.AsyncClient, body: bytes, headers: dict[str, str]) -> bool:
        try:
            answer = await client.post(self._url, content=body, headers=headers)
        except httpx.TransportError as error:
            self.answers[type(error).__name__] += 1
            return False
        self.answers[answer.status_code] += 1
        if answer.status_code in (429, 503):
            assert int(answer.headers["retry-after"]) > 0
        else:
            assert answer.status_code == 200, answer.text
        return answer.status_code == 200

    async def reached(self, count: int) -> None:
        while self.acknowledged < count:
            await self._progress.wait()
            self._progress = anyio.Event()


async def disturb(server: Server, stream: Stream, total: int) -> None:
    for number, share in enumerate((0.1, 0.25, 0.4, 0.55, 0.7, 0.85)):
        await stream.reached(int(total * share))
        if number % 2:
            server.kill()
            server.start()
        else:
            server.kill_postgres()


def books(home: Path, total: int) -> dict[str, Any]:
    """What the database holds, once nothing waits to be recorded."""
    with EmbeddedPostgres(home) as postgres:
        database = Database.open(DatabaseConfig(url=postgres.start()))
        deadline = time.monotonic() + LONG
        recorded = -1
        while recorded < total:
            assert time.monotonic() < deadline, f"{recorded} of {total} events were recorded"
            with database.transaction("look") as session:
                recorded = session.scalar(text("SELECT count(*) FROM campaign_events")) or 0
        assert_counters_are_exact(database)
        with database.transaction("look") as session:
            distinct = "SELECT count(DISTINCT (enrollment_id, event_type)) FROM campaign_events"
            found = {
                "events": recorded,
                "distinct": session.scalar(text(distinct)),
                "orphans": session.scalar(text("SELECT count(*) FROM orphaned_events")),
                "opens": session.scalar(text("SELECT sum(total_opens) FROM campaign_metrics")),
            }
        database.close()
        return found


async def test_kills_under_a_stream_of_webhooks_lose_nothing_and_count_nothing_twice(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        await is_ready(server)
        async with Client(f"{server.url}/mcp") as client:
            scene = await new_campaign(client, people=PEOPLE, start=True)
        events = [(who, kind) for who in scene["enrollment_ids"] for kind in KINDS]
        random.Random(5).shuffle(events)
        stream = Stream(server.url, [(number, *event) for number, event in enumerate(events)])
        with anyio.fail_after(LONG):
            async with anyio.create_task_group() as group:
                for _ in range(SENDERS):
                    group.start_soon(stream.send)
                group.start_soon(disturb, server, stream, len(events))
        found = await anyio.to_thread.run_sync(books, tmp_path, len(events))
    total = PEOPLE * len(KINDS)
    assert found == {"events": total, "distinct": total, "orphans": 0, "opens": PEOPLE}
    # It was a stream with trouble in it.
    assert sum(stream.answers.values()) > total
