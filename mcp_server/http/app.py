"""One ASGI app for every HTTP client: Streamable HTTP at /mcp, SSE at /sse with /messages/, webhooks, health, metrics,
the page on which people unsubscribe, and the dashboard."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from mcp.server import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse
from starlette.routing import BaseRoute, Route

from db.domain.errors import StoreUnavailable
from db.services.ops import health
from mcp_server.http import metrics, unsubscribe
from mcp_server.http.auth import Gate
from mcp_server.http.counted import Counted
from mcp_server.http.dashboard.routes import routes as dashboard
from mcp_server.http.hosts import Hosts, names_of
from mcp_server.http.limits import Limit
from mcp_server.http.sessions import ROOT as DASHBOARD, OwnTickets, Sessions, StoredTickets
from mcp_server.http.token_cache import TokenCache
from mcp_server.http.webhooks import webhooks
from mcp_server.http.whole_ids import WholeIds
from mcp_server.process.app import App
from mcp_server.process.bounded import SharedCall
from mcp_server.webhooks.certificates import Fetch, download

# 10,000 rows with their metadata; the SDK's own bound of 4 MiB would cut such a call off.
_MAX_BODY = 32 * 1024 * 1024
# Hosts has looked at every request before the SDK would.
_CHECKED = TransportSecuritySettings(enable_dns_rebinding_protection=False)


LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def build_http_app(
    server: MCPServer[Any], app: App, *, host: str, token: str | None, fetch: Fetch = download
) -> Starlette:
    """Returns the HTTP face of `server`. `token` is that of the settings, beside those that the database holds; `fetch`
    gets the certificates that webhooks are verified with."""
    sessions, failures = Sessions(StoredTickets(app), app.clock), _failures(app)
    token_cache = TokenCache(app, default=token, is_loopback=host in LOOPBACK)
    gate = _gate(app, token_cache, sessions, failures)
    pages, watching = dashboard(app, sessions, failures)
    streamable = server.streamable_http_app(
        transport_security=_CHECKED, json_response=True, max_request_body_size=_MAX_BODY
    )
    sse = server.sse_app(transport_security=_CHECKED, max_request_body_size=_MAX_BODY)

    webhook, recording = webhooks(app, fetch)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        await server.list_tools()  # the SDK checks the headers of the first request against the tools' schemas
        async with server.session_manager.run(), recording, watching, token_cache.noting():
            yield

    readiness = SharedCall(lambda: app.run("readiness", health.ping, read_only=True))

    async def readyz(_: Request) -> JSONResponse:
        try:
            await readiness.wait_async()
        except StoreUnavailable:
            return JSONResponse({"status": "unavailable"}, status_code=503)
        return JSONResponse({"status": "ready"})

    return _site(
        [
            Route("/", _lead_to_dashboard),
            Route("/healthz", _healthz),
            Route("/readyz", readyz),
            webhook,
            metrics.route(app),
            *unsubscribe.routes(app, failures),
            *pages,
            *streamable.routes,
            *sse.routes,
            *map(_without_slash, ("/mcp", "/sse")),
        ],
        [_counted(app), _hosts(app, host), gate, Middleware(WholeIds, most=_MAX_BODY)],
        lifespan,
    )


def build_dashboard_app(app: App, *, host: str, key: bytes) -> Starlette:
    """Returns the dashboard alone, for holders of a link that `key` signed or of a token; never for this whole
    machine."""
    sessions, failures = Sessions(OwnTickets(key), app.clock), _failures(app)
    token_cache = TokenCache(app, default=None, is_loopback=False)
    gate = _gate(app, token_cache, sessions, failures)
    pages, watching = dashboard(app, sessions, failures)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        async with watching, token_cache.noting():
            yield

    routes = [Route("/", _lead_to_dashboard), Route("/healthz", _healthz), *pages]
    return _site(routes, [_counted(app), _hosts(app, host), gate], lifespan)


def _site(
    routes: Sequence[BaseRoute],
    middleware: Sequence[Middleware],
    lifespan: Callable[[Starlette], AbstractAsyncContextManager[None]],
) -> Starlette:
    site = Starlette(routes=routes, middleware=middleware, lifespan=lifespan)
    site.router.redirect_slashes = False  # it would redirect to whatever host name the client sent
    return site


def _without_slash(path: str) -> Route:
    """Returns a redirect from the path with a slash at its end, which some clients are given, to the one without."""

    async def lead(_: Request) -> RedirectResponse:
        return RedirectResponse(path, status_code=307)

    return Route(f"{path}/", lead, methods=["GET", "POST", "DELETE"])


async def _lead_to_dashboard(_: Request) -> RedirectResponse:
    return RedirectResponse(DASHBOARD, status_code=307)


async def _healthz(_: Request) -> JSONResponse:
    return JSONResponse({"status": "ok"})


def _failures(app: App) -> Limit:
    """Returns how often an address may be wrong: with tokens, and with links."""
    return Limit(app.settings.failed_auth_limit / 60, app.settings.failed_auth_limit)


def _counted(app: App) -> Middleware:
    return Middleware(Counted, telemetry=app.telemetry)


def _hosts(app: App, host: str) -> Middleware:
    return Middleware(Hosts, names=names_of(app.settings, host))


def _gate(app: App, token_cache: TokenCache, sessions: Sessions, failures: Limit) -> Middleware:
    return Middleware(
        Gate,
        token_cache=token_cache,
        requests=Limit(app.settings.rate_limit, 2 * app.settings.rate_limit),
        failures=failures,
        telemetry=app.telemetry,
        sessions=sessions,
    )
