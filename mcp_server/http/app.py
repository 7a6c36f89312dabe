"""One ASGI app for every HTTP client: Streamable HTTP at /mcp, SSE at /sse with /messages/, webhooks, health, metrics,
and the page on which people unsubscribe."""

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
from mcp_server.http import metrics, unsubscribe
from mcp_server.http.auth import Gate
from mcp_server.http.keeper import Keeper
from mcp_server.http.limits import Limit
from mcp_server.http.webhooks import webhooks
from mcp_server.webhooks.certificates import Fetch, download

# 10,000 rows with their metadata; the SDK's own bound of 4 MiB would cut such a call off.
_MAX_BODY = 32 * 1024 * 1024


LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def build_http_app(
    server: MCPServer[Any], app: App, *, host: str, token: str | None, fetch: Fetch = download
) -> Starlette:
    """The HTTP face of `server`. `token` is that of the settings, beside those that the database holds; `fetch` gets
    the certificates that webhooks are verified with."""
    public = app.settings.public_url
    names = [*app.settings.allowed_hosts, *([public.host] if public and public.host else [])]
    security = _security(host, names, is_open=host in ("0.0.0.0", "::") and not app.settings.allowed_hosts)  # noqa: S104  a comparison, not a bind
    failures = Limit(app.settings.failed_auth_limit / 60, app.settings.failed_auth_limit)
    gate = Middleware(
        Gate,
        keeper=Keeper(app, default=token, is_loopback=host in LOOPBACK),
        requests=Limit(app.settings.rate_limit, 2 * app.settings.rate_limit),
        failures=failures,
        telemetry=app.telemetry,
    )
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
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            webhook,
            metrics.route(app, security),
            *unsubscribe.routes(app, failures),
            *streamable.routes,
            *sse.routes,
        ],
        middleware=[gate],
        lifespan=lifespan,
    )


def _security(host: str, allowed_hosts: Sequence[str], *, is_open: bool) -> TransportSecuritySettings:
    """Which Host and Origin headers are taken: the names of this machine, the bound address, and those of the settings.

    `is_open`: on a wildcard address any name may be the right one, so it is checked only where the settings say which;
    such a server never runs without a token.
    """
    if is_open:
        return TransportSecuritySettings(enable_dns_rebinding_protection=False)
    names = ["127.0.0.1", "localhost", "[::1]", f"[{host}]" if ":" in host else host, *allowed_hosts]
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=[entry for name in names for entry in (name, f"{name}:*")],
        allowed_origins=[
            f"{scheme}://{entry}" for scheme in ("http", "https") for name in names for entry in (name, f"{name}:*")
        ],
    )
