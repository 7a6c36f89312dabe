"""The routes of the dashboard, and what is checked before each."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from db.domain.access import Scope
from mcp_server.calls import caller
from mcp_server.http.dashboard import live, shell
from mcp_server.http.dashboard.api import Api
from mcp_server.http.limits import Limit
from mcp_server.http.refusals import insufficient_scope, refused
from mcp_server.http.sessions import ROOT, Sessions
from mcp_server.process.app import App

Respond = Callable[[Request], Awaitable[Response]]

# A page of another site gets nothing here, not even an answer that it can't read.
_OURS: Final = ("", "same-origin", "none")


def routes(app: App, known: Sessions, failures: Limit) -> tuple[list[Route], AbstractAsyncContextManager[Any]]:
    """Returns the routes, and what must run while they are served. `failures`: how often an address may try wrong
    links."""
    sign_in = shell.SignIn(known, failures, app.telemetry)
    api, events = Api(app), live.Endpoint(app)

    def same_site(respond: Respond) -> Respond:
        async def checked(request: Request) -> Response:
            if request.headers.get("sec-fetch-site", "") not in _OURS:
                return refused(403, "cross_site", "Only the dashboard's own page may ask for this in a browser.")
            return await respond(request)

        return checked

    def data(respond: Respond) -> Respond:
        async def checked(request: Request) -> Response:
            missing = caller.missing_scope(request.scope[caller.SCOPE_KEY], Scope.READ, "The dashboard")
            if missing is not None:
                return insufficient_scope(missing)
            return await respond(request)

        return same_site(checked)

    async def slash(_: Request) -> Response:
        return RedirectResponse(ROOT, status_code=308)

    return [
        Route(ROOT, shell.shell, methods=["GET"]),
        Route(f"{ROOT}/", slash, methods=["GET"]),
        Route(f"{ROOT}/static/{{name}}", shell.static, methods=["GET"]),
        Route(f"{ROOT}/login", sign_in.enter, methods=["GET"]),
        Route(f"{ROOT}/logout", same_site(sign_in.leave), methods=["POST"]),
        Route(f"{ROOT}/api/{{name}}", data(api.respond), methods=["GET"]),
        Route(f"{ROOT}/api/{{name}}", data(api.decide), methods=["POST"]),
        Route(f"{ROOT}/events", data(events.respond), methods=["GET"]),
    ], events.running()
