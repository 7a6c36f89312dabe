"""Runs the HTTP app until it is told to stop; then finishes what is in flight, and refuses new requests."""

import asyncio
import errno
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any, Literal

import uvicorn
from mcp.server import MCPServer
from sse_starlette.sse import AppStatus
from starlette.applications import Starlette

from mcp_server.http.app import build_http_app
from mcp_server.http.body_timeout import BodyTimeout
from mcp_server.http.drain import Drain
from mcp_server.process.app import App

_SECONDS_TO_FINISH = 10
# Clients and proxies keep a connection for up to a minute. If it were closed here first, a request could cross the
# close.
_SECONDS_IDLE = 75


class CannotListen(Exception):
    """The server can't listen at that address. The text names the option, and what to give instead."""


def serve_http(server: MCPServer[Any], app: App, *, host: str, port: int, token: str | None) -> None:
    """Serves on host:port (0 takes a free port), or CannotListen. The address is written to stderr once it listens."""

    def say(url: str) -> None:
        sys.stderr.write(f"sales-automation-mcp: listening on {url} (/mcp, /sse, /dashboard)\n")
        sys.stderr.flush()

    run(build_http_app(server, app, host=host, token=token), host=host, port=port, when_listening=say)


def run(http_app: Starlette, *, host: str, port: int, when_listening: Callable[[str], None]) -> None:
    """Serves until a signal says stop, or CannotListen. `when_listening` is called with the address, before the first
    request."""
    with_timeout = BodyTimeout(http_app)
    drain = Drain(with_timeout)
    config = uvicorn.Config(
        drain,
        host=host,
        port=port,
        http=_protocol(),
        ws="none",  # nothing here speaks it, and uvicorn would where a library for it happens to be installed
        log_config=None,
        access_log=False,
        timeout_keep_alive=_SECONDS_IDLE,
        timeout_graceful_shutdown=_SECONDS_TO_FINISH,
    )
    listener = listen(config)
    address = listener.getsockname()
    shown = f"[{address[0]}]" if listener.family == socket.AF_INET6 else address[0]
    when_listening(f"http://{shown}:{address[1]}")
    # Otherwise one library would break its streams off by itself, half a second later than the others.
    AppStatus.disable_automatic_graceful_drain()
    _Server(config, [drain.end, with_timeout.end]).run(sockets=[listener])


class _Server(uvicorn.Server):
    """Calls `when_stopping` before it shuts down: uvicorn waits for all that is under way, and some of it would never
    end."""

    def __init__(self, config: uvicorn.Config, when_stopping: Sequence[Callable[[], None]]) -> None:
        super().__init__(config)
        self._when_stopping = when_stopping

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for stop in self._when_stopping:
            stop()
        await super().shutdown(sockets)


def listen(config: uvicorn.Config) -> socket.socket:
    """Returns a socket at the address of `config`, or CannotListen. Clients are not refused from here on: they wait in
    the backlog until the app has started."""
    listener = socket.socket(socket.AF_INET6 if ":" in config.host else socket.AF_INET)
    try:
        if sys.platform != "win32":  # where it would let two programs have one port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections inherit it. Without it the second part of an answer waits until the client has acknowledged the
        # first, which clients delay by 40 ms.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind((config.host, config.port))
        listener.listen(config.backlog)
    except (OSError, UnicodeError) as error:
        listener.close()
        raise CannotListen(_reason(config, error)) from error
    return listener


def _reason(config: uvicorn.Config, error: OSError | UnicodeError) -> str:
    port = f"--port {config.port}"
    if config.host.startswith("["):
        return f"--host {config.host}: take the brackets off; they belong to URLs."
    if isinstance(error, socket.gaierror | UnicodeError):
        return f"--host {config.host}: no such host is known. Give an address of this machine, such as 127.0.0.1."
    if error.errno == errno.EADDRINUSE:
        return f"{port}: another program listens there. Stop it, or choose another port; 0 takes a free one."
    if error.errno == errno.EADDRNOTAVAIL:
        return f"--host {config.host}: no address of this machine. Take 127.0.0.1, or 0.0.0.0 for all it has."
    if error.errno == errno.EACCES:
        return f"{port}: this user may not listen there. Choose one from 1024 on; 0 takes a free one."
    return f"--host {config.host} {port}: {error.strerror}. Choose another; 127.0.0.1 and 0 take a free port here."


def _protocol() -> type[asyncio.Protocol] | Literal["h11"]:
    try:
        from mcp_server.http.bounded_http import BoundedProtocol  # noqa: PLC0415  its parser is not there on every system
    except ModuleNotFoundError:
        return "h11"
    return BoundedProtocol
