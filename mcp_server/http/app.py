"""One ASGI app for every HTTP client: Streamable HTTP at /mcp, SSE at /sse with /messages/, webhooks, health."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from mcp.server import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from db.domain.errors import StoreUnavailable
from mcp_server.app import App
from mcp_server.http.auth import BearerAuth
from mcp_server.http.webhooks import webhooks
from mcp_server.webhooks.certificates import Fetch, download

# 10,000 rows with their metadata; the SDK's own bound of 4 MiB would cut such a call off.
_MAX_BODY = 32 * 1024 * 1024


def build_http_app(
    server: MCPServer[Any], app: App, *, host: str, token: str | None, fetch: Fetch = download
) -> Starlette:
    """The HTTP face of `server`. `token` is asked for on every path but /healthz, /readyz and /webhooks; None asks for
    none. `fetch` gets the certificates that webhooks are verified with."""
    security = _security(host, app.settings.allowed_hosts)
    streamable = server.streamable_http_app(
        transport_security=security, host=host, json_response=True, max_request_body_size=_MAX_BODY
    )
    sse = server.sse_app(transport_security=security, host=host, max_request_body_size=_MAX_BODY)

    webhook, recording = webhooks(app, fetch)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        await server.list_tools()  # the SDK checks the headers of the first request against the tools' schemas
        async with server.session_manager.run(), recording:
            yield

    async def healthz(_: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    async def readyz(_: Request) -> JSONResponse:
        try:
            await run_in_threadpool(app.run, "readiness", lambda session: session.connection(), read_only=True)
        except StoreUnavailable:
            return JSONResponse({"status": "unavailable"}, status_code=503)
        return JSONResponse({"status": "ready"})

    return Starlette(
        routes=[Route("/healthz", healthz), Route("/readyz", readyz), webhook, *streamable.routes, *sse.routes],
        middleware=[Middleware(BearerAuth, token=token)] if token else [],
        lifespan=lifespan,
    )


def _security(host: str, allowed_hosts: Sequence[str]) -> TransportSecuritySettings:
    """Which Host and Origin headers are taken: the names of this machine, the bound address, and those of the settings.

    On a wildcard address any name may be the right one, so it is checked only where the settings say which; such a
    server never runs without a token.
    """
    if host in ("0.0.0.0", "::") and not allowed_hosts:  # noqa: S104  a comparison, not a bind
        return TransportSecuritySettings(enable_dns_rebinding_protection=False)
    names = ["127.0.0.1", "localhost", "[::1]", f"[{host}]" if ":" in host else host, *allowed_hosts]
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=[entry for name in names for entry in (name, f"{name}:*")],
        allowed_origins=[
            f"{scheme}://{entry}" for scheme in ("http", "https") for name in names for entry in (name, f"{name}:*")
        ],
    )
