"""Streams of events, which never end by themselves, end with a last chunk when the server stops. Without it a client
meets a connection that breaks off, which it can't tell from a fault."""

from typing import Final

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_MEDIA_TYPE: Final = b"text/event-stream"
# A client that does not read can't be told.
_SECONDS_TO_TELL: Final = 1.0


class Drain:
    """An ASGI app around all others that ends open streams when the server stops. Used on the event loop."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._open: set[anyio.CancelScope] = set()
        self._is_over = False

    def end(self) -> None:
        """Ends the open streams, and each later one once its head is sent."""
        self._is_over = True
        for stream in list(self._open):
            stream.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        work = anyio.CancelScope()
        is_unfinished = False

        async def watched(message: Message) -> None:
            nonlocal is_unfinished
            await send(message)
            if message["type"] == "http.response.body":
                is_unfinished = is_unfinished and message.get("more_body", False)
            elif _is_stream(message):
                is_unfinished = True
                self._open.add(work)
                if self._is_over:
                    work.cancel()

        try:
            with work:
                await self._app(scope, receive, watched)
        finally:
            self._open.discard(work)
        if is_unfinished:
            with anyio.move_on_after(_SECONDS_TO_TELL):
                await send({"type": "http.response.body", "body": b"", "more_body": False})


def _is_stream(head: Message) -> bool:
    return any(name.lower() == b"content-type" and value.startswith(_MEDIA_TYPE) for name, value in head["headers"])
