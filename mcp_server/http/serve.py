"""Run the HTTP app until it is told to stop; then finish what is in flight, and refuse what is new."""

import socket
import sys
from typing import Any

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
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=_SECONDS_TO_FINISH,
    )
    listener = config.bind_socket()
    # From here on clients are not refused: they wait in the backlog until the app has started.
    listener.listen(config.backlog)
    address = listener.getsockname()
    shown = f"[{address[0]}]" if listener.family == socket.AF_INET6 else address[0]
    sys.stderr.write(f"sales-automation-mcp: listening on http://{shown}:{address[1]} (/mcp, /sse)\n")
    sys.stderr.flush()
    uvicorn.Server(config).run(sockets=[listener])
