"""Run the HTTP app until it is told to stop; then finish what is in flight, and refuse what is new."""

import asyncio
import socket
import sys
from typing import Any, Literal

import uvicorn
from mcp.server import MCPServer

from mcp_server.app import App
from mcp_server.http.app import build_http_app

_SECONDS_TO_FINISH = 10


def serve_http(server: MCPServer[Any], app: App, *, host: str, port: int, token: str | None) -> None:
    """Serve on host:port (0 takes a free port). The address is written to stderr once it listens."""
    http_app = build_http_app(server, app, host=host, token=token)
    config = uvicorn.Config(
        http_app,
        host=host,
        port=port,
        http=_protocol(),
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=_SECONDS_TO_FINISH,
    )
    listener = listen(config)
    address = listener.getsockname()
    shown = f"[{address[0]}]" if listener.family == socket.AF_INET6 else address[0]
    sys.stderr.write(f"sales-automation-mcp: listening on http://{shown}:{address[1]} (/mcp, /sse)\n")
    sys.stderr.flush()
    uvicorn.Server(config).run(sockets=[listener])


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
