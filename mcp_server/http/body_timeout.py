"""Requests that stop on their way: whoever sends a part of a body and no more is answered 408 (Request Timeout), and
does not hold up the end of the server."""

import math
from typing import Final

import anyio
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SECONDS: Final = 60.0
_SECONDS_AT_THE_END: Final = 3.0
_TOO_SLOW: Final = JSONResponse(
    {"error": "The request did not arrive in time. Send it again."}, 408, {"Connection": "close"}
)


class BodyTimeout:
    """An ASGI app around all others that allows up to `seconds` for the body of a request. Used on the event loop."""

    def __init__(self, app: ASGIApp, seconds: float = _SECONDS) -> None:
        self._app = app
        self._seconds = seconds
        self._waiting: set[anyio.CancelScope] = set()

    def end(self) -> None:
        """Gives bodies that are still arriving a moment, and no more, because the server stops."""
        self._seconds = min(self._seconds, _SECONDS_AT_THE_END)
        for work in self._waiting:
            work.deadline = min(work.deadline, anyio.current_time() + self._seconds)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        work, began = anyio.CancelScope(), anyio.current_time()
        is_whole = is_answered = False

        async def arriving() -> Message:
            nonlocal is_whole
            if is_whole or is_answered:
                return await receive()
            # The whole body is nearly always there, and a timer would cost more than reading it.
            message = at_once(receive) or await self._wait(receive, work, began)
            is_whole = not message.get("more_body", False)
            return message

        async def answering(message: Message) -> None:
            nonlocal is_answered
            is_answered = True
            await send(message)

        with work:
            await self._app(scope, arriving, answering)
        if work.cancelled_caught and not is_answered:
            await _TOO_SLOW(scope, receive, send)

    async def _wait(self, receive: Receive, work: anyio.CancelScope, began: float) -> Message:
        """Returns what comes next; at the latest moment for it, `work` ends instead."""
        work.deadline = began + self._seconds
        self._waiting.add(work)
        try:
            return await receive()
        finally:
            work.deadline = math.inf
            self._waiting.discard(work)


def at_once(receive: Receive) -> Message | None:
    """Returns what the client has sent since the last look; None where that must be waited for. It takes the first step
    of waiting and no second; until then, uvicorn has handed nothing over that could be lost."""
    waiting = receive().__await__()
    try:
        next(waiting)
    except StopIteration as told:
        return told.value
    finally:
        waiting.close()
    return None
