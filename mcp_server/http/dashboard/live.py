"""/dashboard/events: events as they come, as Server-Sent Events. One look at the database a second serves everybody who
watches, and none is taken while nobody does."""

import logging
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Generator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final
from uuid import UUID

import anyio
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from anyio.to_thread import run_sync
from sse_starlette.event import ServerSentEvent
from sse_starlette.sse import EventSourceResponse, SendTimeoutError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from db.domain.access import Caller
from db.domain.errors import StoreUnavailable
from db.services.reports import overview
from mcp_server.calls.caller import LOCAL, SCOPE_KEY
from mcp_server.http.refusals import NO_STORE, busy
from mcp_server.process.app import App
from mcp_server.schemas.watching import HappenedOut

if TYPE_CHECKING:
    from db.services.reports.overview import Happened

logger = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 1.0
_AFTER_A_FAILURE_SECONDS: Final = 5.0
# An event gets its id before it is committed, so each look-up goes back so far, and leaves out what was seen.
_OVERLAP_MILLISECONDS: Final = 10_000
_MOST_AT_ONCE: Final = 200
_MOST_WATCHERS: Final = 50
_MOST_OF_ONE: Final = 10
# A watcher that is further behind is cut off, and comes back with the id of the last event that reached it.
_MOST_BEHIND: Final = 500
# A watcher comes back then, and is authenticated again.
_LONGEST_SECONDS: Final = 300.0
_SEND_SECONDS: Final = 20.0
_PING_SECONDS: Final = 15

Watcher = MemoryObjectSendStream["Happened | None"]


class Live:
    """Hands new events to all who watch. Used on the event loop."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._watchers: set[Watcher] = set()
        self._tasks: TaskGroup | None = None
        self.is_looking = False
        """The database is asked again and again."""
        self._is_ready = anyio.Event()

    async def ready(self) -> None:
        """Returns when the first look is done."""
        await self._is_ready.wait()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Returns what must run while watchers are served."""
        async with anyio.create_task_group() as self._tasks:
            yield
            self._tasks.cancel_scope.cancel()

    @contextmanager
    def watch(self) -> "Generator[MemoryObjectReceiveStream[Happened | None]]":
        """Returns the events from now on, of which none is lost once it is `ready`. None stands where so many came at
        once that only the latest of them follow."""
        assert self._tasks is not None, "requests come while the app is running"
        give, take = anyio.create_memory_object_stream["Happened | None"](_MOST_BEHIND)
        self._watchers.add(give)
        if not self.is_looking:
            self.is_looking, self._is_ready = True, anyio.Event()
            self._tasks.start_soon(self._look_again_and_again)
        try:
            yield take
        finally:
            self._leave(give)
            take.close()

    async def latest(self, after: UUID | None) -> "list[Happened]":
        """Returns the latest events whose id is greater, the oldest of them first."""

        def look() -> "list[Happened]":
            return self._app.run(
                "live events",
                lambda session: list(overview.latest(session, after=after, limit=_MOST_AT_ONCE))[::-1],
                read_only=True,
            )

        return await run_sync(look)

    def _leave(self, watcher: Watcher) -> None:
        self._watchers.discard(watcher)
        watcher.close()

    async def _look_again_and_again(self) -> None:
        seen: set[UUID] | None = None
        try:
            while self._watchers:
                try:
                    seen = await self._look(seen)
                    self._is_ready.set()
                except StoreUnavailable:
                    await anyio.sleep(_AFTER_A_FAILURE_SECONDS)
                except Exception as error:  # noqa: BLE001  no fault of the dashboard may end the server
                    logger.error("New events could not be looked for: %s", type(error).__name__)  # noqa: TRY400  a trace may hold personal data
                    await anyio.sleep(_AFTER_A_FAILURE_SECONDS)
                else:
                    await anyio.sleep(_LOOK_SECONDS)
        finally:
            self.is_looking = False

    async def _look(self, seen: set[UUID] | None) -> set[UUID]:
        """Hands out what is new. `seen`: the ids of the latest events before; None at the first look."""
        start = None if not seen else _back(max(seen))
        found = await self.latest(start)
        if seen is not None:
            new = [event for event in found if event.id not in seen]
            self._hand_out([None, *new] if len(new) == _MOST_AT_ONCE else new)
        ids = {event.id for event in found} | (seen or set())
        floor = _back(max(ids)) if ids else UUID(int=0)
        return {id_ for id_ in ids if id_ >= floor}

    def _hand_out(self, events: "Iterable[Happened | None]") -> None:
        for event in events:
            for watcher in list(self._watchers):
                try:
                    watcher.send_nowait(event)
                except (anyio.WouldBlock, anyio.BrokenResourceError):
                    self._leave(watcher)


def _back(id_: UUID) -> UUID:
    """Returns the first id of some seconds before."""
    return UUID(int=max(0, (id_.int >> 80) - _OVERLAP_MILLISECONDS) << 80)


class WatcherLimit:
    """Limits how many may watch at once, in all and for one token or session, so that none keeps others out.

    Callers from this machine without either share one name, so only the first limit applies to them.
    """

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()

    def refuse(self, who: Caller) -> str | None:
        """Returns why `who` may not watch; None if they may, which `release` must undo."""
        if self._taken.total() >= _MOST_WATCHERS:
            return "Too many people watch already. Try again later."
        if who is not LOCAL and self._taken[who.id] >= _MOST_OF_ONE:
            return f"This token or session watches as often as it may, {_MOST_OF_ONE} times. Close one of its pages."
        self._taken[who.id] += 1
        return None

    def release(self, who: Caller) -> None:
        self._taken[who.id] -= 1
        if not self._taken[who.id]:
            del self._taken[who.id]


class Endpoint:
    """GET /dashboard/events. First comes `ready`; whoever then reads the latest events misses none. With Last-Event-ID,
    what came in since follows, and perhaps some of it once more. `ready` comes again where more happened at once than
    is sent."""

    def __init__(self, app: App) -> None:
        self._live = Live(app)
        self._limit = WatcherLimit()

    def running(self) -> AbstractAsyncContextManager[None]:
        """Returns what must run while the endpoint is served."""
        return self._live.running()

    async def respond(self, request: Request) -> Response:
        who: Caller = request.scope[SCOPE_KEY]
        refusal = self._limit.refuse(who)
        if refusal is not None:
            return busy(refusal)
        events = self._events(_uuid(request.headers.get("last-event-id", "")))
        return _Stream(events, done=partial(self._limit.release, who))

    async def _events(self, last: UUID | None) -> AsyncGenerator[ServerSentEvent]:
        with self._live.watch() as stream:
            await self._live.ready()
            yield _message(None)
            if last is not None:
                for event in await self._live.latest(_back(last)):
                    yield _message(event)
            ends_at = anyio.current_time() + _LONGEST_SECONDS
            while (message := await _next(stream, ends_at)) is not None:
                yield message


async def _next(stream: "MemoryObjectReceiveStream[Happened | None]", ends_at: float) -> ServerSentEvent | None:
    """Returns the next message; None where the time is over, or the watcher was cut off."""
    with anyio.move_on_after(ends_at - anyio.current_time()), suppress(anyio.EndOfStream):
        return _message(await stream.receive())
    return None


def _message(event: "Happened | None") -> ServerSentEvent:
    if event is None:
        return ServerSentEvent(event="ready", data="{}")
    return ServerSentEvent(id=str(event.id), data=HappenedOut.model_validate(event).model_dump_json())


class _Stream(EventSourceResponse):
    """One that ends in silence when the client no longer reads, or the database is gone: the client comes back.

    done: called when it has ended, however it does.
    """

    def __init__(self, events: AsyncGenerator[ServerSentEvent], *, done: Callable[[], None]) -> None:
        super().__init__(  # pyright: ignore[reportUnknownMemberType]  a dict without types
            events, headers={**NO_STORE, "X-Accel-Buffering": "no"}, ping=_PING_SECONDS, send_timeout=_SEND_SECONDS
        )
        self._done = done

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with suppress(SendTimeoutError, StoreUnavailable):
                await super().__call__(scope, receive, send)
        finally:
            self._done()


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
