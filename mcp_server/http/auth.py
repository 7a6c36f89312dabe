"""Who may speak HTTP with this server: holders of a bearer token, or everybody on loopback while there is none. The
dashboard's data is also for who has signed in."""

import time
from collections.abc import Callable

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from db.domain.access import Caller
from db.domain.errors import StoreUnavailable
from mcp_server.calls.caller import LOCAL, SCOPE_KEY
from mcp_server.http import refusals
from mcp_server.http.limits import Limit
from mcp_server.http.sessions import ROOT as DASHBOARD, Sessions
from mcp_server.http.token_cache import TokenCache
from mcp_server.process.telemetry import Telemetry

# A load balancer asks for these without a token, and the first leads to the dashboard; they reveal nothing of the data.
_OPEN_PATHS = frozenset({"/", "/healthz", "/readyz"})
# Each of these verifies a signature of its own.
_SIGNED_PATHS = ("/webhooks/", "/unsubscribe/")
# The page without data, and signing in and out. The rest of the dashboard accepts sessions beside tokens.
_DASHBOARD_DATA = (f"{DASHBOARD}/api/", f"{DASHBOARD}/events")


class Gate:
    """Lets requests through that carry a token, says whose they are, and holds each token to its rate.

    A caller who is known is never held up by wrong tokens from the same address, which may be a proxy's.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        token_cache: TokenCache,
        requests: Limit,
        failures: Limit,
        telemetry: Telemetry,
        sessions: Sessions,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._tokens = token_cache
        self._requests = requests
        self._failures = failures
        self._telemetry = telemetry
        self._sessions = sessions
        self._monotonic = monotonic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or is_open_path(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            caller = await self._caller(Headers(scope=scope), scope["path"])
        except StoreUnavailable as error:
            await self._refuse(refusals.unavailable(error), "unavailable")(scope, receive, send)
            return
        if caller is None:
            await self._stop_stranger(scope)(scope, receive, send)
            return
        scope[SCOPE_KEY] = caller
        if caller is not LOCAL:
            wait = self._requests.take(caller.id, self._monotonic())
            if wait:
                answer = refusals.too_many(wait, "This token makes more requests than it may.")
                await self._refuse(answer, "rate_limited")(scope, receive, send)
                return
            # With this the SDK keeps everybody else out of the sessions that this caller opens.
            token = AccessToken(token="", client_id=caller.id, scopes=list(caller.scopes))
            scope["user"] = AuthenticatedUser(token)
        await self._app(scope, receive, send)

    async def _caller(self, headers: Headers, path: str) -> Caller | None:
        given = headers.get("authorization")
        if given is None:
            visitor = await self._sessions.find(headers.get("cookie")) if path.startswith(_DASHBOARD_DATA) else None
            return visitor or (LOCAL if await self._tokens.is_open() else None)
        scheme, _, token = given.partition(" ")
        found = await self._tokens.find(token.strip()) if scheme.lower() == "bearer" else None
        return found or (LOCAL if await self._tokens.is_open() else None)

    def _stop_stranger(self, scope: Scope) -> Response:
        wait = self._failures.take(address(scope), self._monotonic())
        if wait:
            return self._refuse(refusals.too_many(wait, "Too many requests without a valid token."), "rate_limited")
        return self._refuse(refusals.unauthorized(), "unauthorized")

    def _refuse(self, answer: Response, reason: str) -> Response:
        self._telemetry.refused_requests.add("auth", reason)
        return answer


def is_open_path(path: str) -> bool:
    """Returns whether the path needs no token."""
    if path == DASHBOARD or path.startswith(f"{DASHBOARD}/"):
        return not path.startswith(_DASHBOARD_DATA)
    return path in _OPEN_PATHS or path.startswith(_SIGNED_PATHS)


def address(scope: Scope) -> str:
    """Returns where a request comes from; behind a proxy on this machine, what the proxy says."""
    client: tuple[str, int] | None = scope.get("client")
    return client[0] if client else "unknown"
