"""The requests of a connection that were read and not answered yet, so that who closes stdin gets the answers all the
same: `server < requests.jsonl` closes it at once."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Self

import anyio
import anyio.to_thread
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCError, JSONRPCNotification, JSONRPCRequest, JSONRPCResponse

if TYPE_CHECKING:
    from types import TracebackType

    from mcp.shared._stream_protocols import WriteStream

_SECONDS_TO_FINISH: Final = 8.0
_SECONDS_TO_REFUSE: Final = 2.0
# It ends with the connection, and no sooner.
_ENDLESS: Final = frozenset({"subscriptions/listen"})


class Unanswered:
    """Used on the event loop. `refuse` makes what is not done within `seconds` of the end be refused; it is called on a
    thread."""

    def __init__(self, refuse: Callable[[], None], *, seconds: float = _SECONDS_TO_FINISH) -> None:
        self._refuse = refuse
        self._seconds = seconds
        self._ids: set[str] = set()
        self._has_changed = anyio.Event()

    def read(self, item: SessionMessage) -> None:
        """Notes what came in: a request, or that its sender waits for one no longer."""
        message = item.message
        if isinstance(message, JSONRPCRequest) and message.method not in _ENDLESS:
            self._ids.add(str(message.id))
        elif isinstance(message, JSONRPCNotification) and message.method == "notifications/cancelled":
            self._forget((message.params or {}).get("requestId"))

    def written(self, item: SessionMessage) -> None:
        """Notes what went out."""
        if isinstance(item.message, JSONRPCResponse | JSONRPCError):
            self._forget(item.message.id)

    def _forget(self, id_: object) -> None:
        self._ids.discard(str(id_))
        self._has_changed.set()

    async def end(self) -> None:
        """Waits until all are answered: for `seconds`, and a moment more for refusals."""
        with anyio.move_on_after(self._seconds):
            await self._none_left()
        if self._ids:
            # With a limiter of its own: calls may hold all threads of the common one.
            await anyio.to_thread.run_sync(self._refuse, limiter=anyio.CapacityLimiter(1))
            with anyio.move_on_after(_SECONDS_TO_REFUSE):
                await self._none_left()

    async def _none_left(self) -> None:
        while self._ids:
            self._has_changed = anyio.Event()
            await self._has_changed.wait()


class Answers:
    """The outgoing messages, noted once they are on their way."""

    def __init__(self, outgoing: "WriteStream[SessionMessage]", unanswered: Unanswered) -> None:
        self._outgoing = outgoing
        self._unanswered = unanswered

    async def send(self, item: SessionMessage, /) -> None:
        await self._outgoing.send(item)
        self._unanswered.written(item)

    async def aclose(self) -> None:
        await self._outgoing.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: "TracebackType | None"
    ) -> None:
        await self.aclose()
