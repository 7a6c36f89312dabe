"""Server-Sent Events: each new event reaches all who watch, once, and nobody holds up anybody."""

import json
import socket
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from urllib.parse import urlsplit
from uuid import UUID

import anyio
import httpx2 as httpx
import pytest

from db.domain.access import Caller, Scope
from db.domain.events import EventType
from db.postgres.database import Database
from db.services.reports import overview
from db.services.reports.overview import Happened
from mcp_server.calls.caller import LOCAL
from mcp_server.http.dashboard import live
from mcp_server.http.dashboard.live import Live
from mcp_server.process.app import App
from tests.support.campaigns import enroll, new_scene, record
from tests.support.dashboard import event
from tests.support.patience import PATIENCE
from tests.support.processes import http_server
from tests.support.tokens import bearer, new_token

OF_ONE = 10
MakeApp = Callable[..., App]
Lines = Iterator[str]


@pytest.fixture
def enrollment(database: Database) -> UUID:
    return new_scene(database, 1).enrollments[0]


def whose(event: Happened | None) -> UUID | None:
    return event and event.enrollment_id


def latest(database: Database, limit: int) -> Sequence[Happened]:
    return database.run("look", lambda session: overview.latest(session, limit=limit))


def happen(database: Database, enrollment: UUID, kind: EventType = EventType.OPENED) -> None:
    record(database, event(kind, enrollment, 1, datetime.now(UTC)))


@contextmanager
def stream(base: str, last: str | None = None) -> Generator[Lines]:
    """The lines of the stream, from `ready` on."""
    headers = {"Last-Event-ID": last} if last else {}
    with httpx.stream("GET", f"{base}/dashboard/events", headers=headers, timeout=PATIENCE) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        assert next(line for line in lines if line) == "event: ready"
        yield lines


def next_event(lines: Lines) -> tuple[str, dict[str, str]]:
    """(id, data) of the next event."""
    id_ = next(line for line in lines if line.startswith("id: ")).removeprefix("id: ")
    return id_, json.loads(next(line for line in lines if line.startswith("data: ")).removeprefix("data: "))


def test_who_comes_back_gets_what_was_missed(database: Database, database_url: str, enrollment: UUID) -> None:
    with http_server(database_url, "--no-worker") as base:
        with stream(base) as lines:
            happen(database, enrollment)
            last, data = next_event(lines)
            assert (data["id"], data["event_type"], data["enrollment_id"]) == (last, "opened", str(enrollment))
            assert data["address"] == "p0@example.com"
        happen(database, enrollment, EventType.CLICKED)
        with stream(base, last) as lines:
            kinds = [next_event(lines)[1]["event_type"] for _ in range(2)]
        assert kinds == ["opened", "clicked"]


def test_who_never_reads_holds_up_nobody(database: Database, database_url: str, enrollment: UUID) -> None:
    with http_server(database_url, "--no-worker") as base, stuck(base), stream(base) as lines:
        for kind in (EventType.OPENED, EventType.CLICKED):
            happen(database, enrollment, kind)
            assert next_event(lines)[1]["event_type"] == str(kind)


@contextmanager
def stuck(base: str) -> Generator[None]:
    """A client that asks for the stream and reads nothing of it."""
    where = urlsplit(base)
    with socket.create_connection((where.hostname, where.port)) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        connection.sendall(f"GET /dashboard/events HTTP/1.1\r\nHost: {where.netloc}\r\n\r\n".encode())
        yield


@asynccontextmanager
async def running(app: App) -> AsyncGenerator[Live]:
    made = Live(app)
    async with made.running():
        yield made


@pytest.mark.anyio
async def test_a_watcher_far_behind_is_cut_off_and_the_others_go_on(
    make_app: MakeApp, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "_MOST_BEHIND", 3)
    monkeypatch.setattr(live, "_LOOK_SECONDS", 0.05)
    scene = new_scene(database, 1)
    people = enroll(database, scene.campaign_id, [f"more{i}@example.com" for i in range(6)])
    async with running(make_app()) as made:
        with made.watch() as slow, made.watch() as quick:
            await made.ready()
            for person in people:
                happen(database, person)
                with anyio.fail_after(PATIENCE):
                    assert whose(await quick.receive()) == person
            with anyio.fail_after(PATIENCE):
                kept = [whose(message) async for message in slow]
    assert kept == people[:3]


@pytest.mark.anyio
async def test_where_more_happens_at_once_than_is_sent_whoever_watches_is_told(
    make_app: MakeApp, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "_MOST_AT_ONCE", 3)
    monkeypatch.setattr(live, "_LOOK_SECONDS", 0.05)
    scene = new_scene(database, 5)
    now = datetime.now(UTC)
    async with running(make_app()) as made:
        with made.watch() as watcher:
            await made.ready()
            record(database, *[event(EventType.OPENED, enrollment_id, 1, now) for enrollment_id in scene.enrollments])
            with anyio.fail_after(PATIENCE):
                found = [whose(await watcher.receive()) for _ in range(4)]
    assert found[0] is None
    assert found[1:] == [message.enrollment_id for message in latest(database, 3)[::-1]]


@pytest.mark.anyio
async def test_the_database_is_looked_at_only_while_somebody_watches(
    make_app: MakeApp, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "_LOOK_SECONDS", 0.01)
    async with running(make_app()) as made:
        assert not made.is_looking
        with made.watch():
            await made.ready()
            assert made.is_looking
        with anyio.fail_after(PATIENCE):
            while made.is_looking:  # noqa: ASYNC110  it ends by itself, and tells nobody
                await anyio.sleep(0.01)


def test_there_are_so_many_watchers_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_MOST_WATCHERS", 3)
    monkeypatch.setattr(live, "_MOST_OF_ONE", 2)
    limit = live.WatcherLimit()
    ada, ben, eve = (Caller(name, frozenset(), name) for name in ("ada", "ben", "eve"))
    assert [limit.refuse(ada) for _ in range(2)] == [None, None]
    refusal = limit.refuse(ada)
    assert refusal is not None
    assert "as often as it may" in refusal
    assert limit.refuse(ben) is None
    assert "Too many" in (limit.refuse(eve) or "")
    limit.release(ada)
    assert limit.refuse(eve) is None
    limit.release(ben)
    assert limit.refuse(ada) is None


def test_those_of_this_machine_are_bounded_together_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_MOST_OF_ONE", 1)
    limit = live.WatcherLimit()
    assert [limit.refuse(LOCAL) for _ in range(3)] == [None, None, None]


def test_one_token_leaves_room_for_others(database: Database, database_url: str, enrollment: UUID) -> None:
    greedy, other = (new_token(database, name, Scope.READ) for name in ("greedy", "other"))
    with http_server(database_url, "--no-worker") as base, ExitStack() as streams:

        def status(token: str) -> int:
            asked = httpx.stream("GET", f"{base}/dashboard/events", headers=bearer(token), timeout=PATIENCE)
            return streams.enter_context(asked).status_code

        assert {status(greedy) for _ in range(OF_ONE)} == {200}
        assert status(greedy) == 503
        assert status(other) == 200
