"""Run the HTTP app until it is told to stop; then finish what is in flight, and refuse what is new."""

import asyncio
import socket
import sys
from collections.abc import Callable
from typing import Any, Literal

import uvicorn
from mcp.server import MCPServer
from sse_starlette.sse import AppStatus
from starlette.applications import Starlette

from mcp_server.app import App
from mcp_server.http.app import build_http_app
from mcp_server.http.ending import Ending

_SECONDS_TO_FINISH = 10
# Clients and proxies keep a connection for up to a minute. Were it closed here first, a request could meet the close.
_SECONDS_IDLE = 75


def serve_http(server: MCPServer[Any], app: App, *, host: str, port: int, token: str | None) -> None:
    """Serve on host:port (0 takes a free port). The address is written to stderr once it listens."""

    def say(url: str) -> None:
        sys.stderr.write(f"sales-automation-mcp: listening on {url} (/mcp, /sse, /dashboard)\n")
        sys.stderr.flush()

    run(build_http_app(server, app, host=host, token=token), host=host, port=port, when_listening=say)


def run(http_app: Starlette, *, host: str, port: int, when_listening: Callable[[str], None]) -> None:
    """Serve until a signal says stop. `when_listening` is called with the address, before the first request."""
    ending = Ending(http_app)
    config = uvicorn.Config(
        ending,
        host=host,
        port=port,
        http=_protocol(),
        log_config=None,
        access_log=False,
        timeout_keep_alive=_SECONDS_IDLE,
        timeout_graceful_shutdown=_SECONDS_TO_FINISH,
    )
    listener = listen(config)
    address = listener.getsockname()
    shown = f"[{address[0]}]" if listener.family == socket.AF_INET6 else address[0]
    when_listening(f"http://{shown}:{address[1]}")
    # Else the streams of one library would be broken off by itself, half a second later than the others.
    AppStatus.disable_automatic_graceful_drain()
    _Server(config, ending).run(sockets=[listener])


class _Server(uvicorn.Server):
    """One that tells the streams that it stops: it waits for all that is under way, and they would never end."""

    def __init__(self, config: uvicorn.Config, ending: Ending) -> None:
        super().__init__(config)
        self._ending = ending

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._ending.end()
        await super().shutdown(sockets)


def listen(config: uvicorn.Config) -> socket.socket:
    """A socket at the address of `config`. Clients are not refused from here on: they wait in the backlog until the app
    has started."""
    listener = config.bind_socket()
    # Connections inherit it. Without it the second part of an answer waits until the client has acknowledged the first,
    # which clients put off by 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.listen(config.backlog)
    return listener


def _protocol() -> type[asyncio.Protocol] | Literal["h11"]:
    try:
        from mcp_server.http.protocol import BoundedProtocol  # noqa: PLC0415  its parser is not there on every system
    except ModuleNotFoundError:
        return "h11"
    return BoundedProtocol
