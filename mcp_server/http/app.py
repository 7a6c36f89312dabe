"""One ASGI app for every HTTP client: Streamable HTTP at /mcp, SSE at /sse with /messages/, webhooks, health, metrics,
the page on which people unsubscribe, and the dashboard."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from mcp.server import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from db import services
from db.domain.errors import StoreUnavailable
from mcp_server.app import App
from mcp_server.http import metrics, unsubscribe
from mcp_server.http.auth import Gate
from mcp_server.http.dashboard.routes import routes as dashboard
from mcp_server.http.dashboard.sessions import Sessions, stored_key
from mcp_server.http.keeper import Keeper
from mcp_server.http.limits import Limit
from mcp_server.http.webhooks import webhooks
from mcp_server.look import Look
from mcp_server.webhooks.certificates import Fetch, download

# 10,000 rows with their metadata; the SDK's own bound of 4 MiB would cut such a call off.
_MAX_BODY = 32 * 1024 * 1024


LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def build_http_app(
    server: MCPServer[Any], app: App, *, host: str, token: str | None, fetch: Fetch = download
) -> Starlette:
    """The HTTP face of `server`. `token` is that of the settings, beside those that the database holds; `fetch` gets
    the certificates that webhooks are verified with."""
    security = _security(app, host)
    sessions, failures = Sessions(stored_key(app), app.clock), _failures(app)
    gate = _gate(app, Keeper(app, default=token, is_loopback=host in LOOPBACK), sessions, failures)
    pages, watching = dashboard(app, sessions, failures, security)
    streamable = server.streamable_http_app(
        transport_security=security, host=host, json_response=True, max_request_body_size=_MAX_BODY
    )
    sse = server.sse_app(transport_security=security, host=host, max_request_body_size=_MAX_BODY)

    webhook, recording = webhooks(app, fetch)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        await server.list_tools()  # the SDK checks the headers of the first request against the tools' schemas
        async with server.session_manager.run(), recording, watching:
            yield

    readiness = Look(lambda: app.run("readiness", services.vitals.ping, read_only=True))

    async def readyz(_: Request) -> JSONResponse:
        try:
            await readiness.take_async()
        except StoreUnavailable:
            return JSONResponse({"status": "unavailable"}, status_code=503)
        return JSONResponse({"status": "ready"})

    return Starlette(
        routes=[
            Route("/healthz", _healthz),
            Route("/readyz", readyz),
            webhook,
            metrics.route(app, security),
            *unsubscribe.routes(app, failures),
            *pages,
            *streamable.routes,
            *sse.routes,
        ],
        middleware=[gate],
        lifespan=lifespan,
    )


def build_dashboard_app(app: App, *, host: str, key: bytes) -> Starlette:
    """The dashboard alone, for holders of a link that `key` signed or of a token; never for this whole machine."""
    security = _security(app, host)
    sessions, failures = Sessions(lambda: key, app.clock), _failures(app)
    gate = _gate(app, Keeper(app, default=None, is_loopback=False), sessions, failures)
    pages, watching = dashboard(app, sessions, failures, security)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        async with watching:
            yield

    return Starlette(routes=[Route("/healthz", _healthz), *pages], middleware=[gate], lifespan=lifespan)


async def _healthz(_: Request) -> JSONResponse:
    return JSONResponse({"status": "ok"})


def _failures(app: App) -> Limit:
    """How often an address may be wrong: with tokens, and with links."""
    return Limit(app.settings.failed_auth_limit / 60, app.settings.failed_auth_limit)


def _gate(app: App, keeper: Keeper, sessions: Sessions, failures: Limit) -> Middleware:
    return Middleware(
        Gate,
        keeper=keeper,
        requests=Limit(app.settings.rate_limit, 2 * app.settings.rate_limit),
        failures=failures,
        telemetry=app.telemetry,
        sessions=sessions,
    )


def _security(app: App, host: str) -> TransportSecuritySettings:
    """Which Host and Origin headers are taken: the names of this machine, the bound address, and those of the settings.

    On a wildcard address any name may be the right one, so it is checked only where the settings say which; such a
    server never runs without a token.
    """
    if host in ("0.0.0.0", "::") and not app.settings.allowed_hosts:  # noqa: S104  a comparison, not a bind
        return TransportSecuritySettings(enable_dns_rebinding_protection=False)
    public = app.settings.public_url
    further = [*app.settings.allowed_hosts, *([public.host] if public and public.host else [])]
    names = ["127.0.0.1", "localhost", "[::1]", f"[{host}]" if ":" in host else host, *further]
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=[entry for name in names for entry in (name, f"{name}:*")],
        allowed_origins=[
            f"{scheme}://{entry}" for scheme in ("http", "https") for name in names for entry in (name, f"{name}:*")
        ],
    )
