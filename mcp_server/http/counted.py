"""Counts the requests that were answered, by the part of the server and the status of the answer."""

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mcp_server.process.telemetry import OTHER, Telemetry

_PARTS: Final = frozenset(
    {"mcp", "sse", "messages", "webhooks", "unsubscribe", "dashboard", "metrics", "healthz", "readyz"}
)


class Counted:
    """An ASGI app around all others: what is refused is counted as well."""

    def __init__(self, app: ASGIApp, *, telemetry: Telemetry) -> None:
        self._app = app
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._telemetry.requests.add(_part(scope["path"]), str(message["status"]))
            await send(message)

        await self._app(scope, receive, counting if scope["type"] == "http" else send)


def _part(path: str) -> str:
    """Returns the first part of the path if it is one of ours: strangers ask for whatever they like."""
    first = path.split("/", 2)[1] if path.startswith("/") else path
    return first if first in _PARTS else OTHER
