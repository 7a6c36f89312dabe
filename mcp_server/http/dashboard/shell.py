"""/dashboard itself and its files, and signing in and out."""

import time
from functools import cache
from hashlib import sha256
from importlib import resources
from typing import Final, NamedTuple

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from db.domain.errors import StoreUnavailable
from mcp_server.http import sessions
from mcp_server.http.auth import address
from mcp_server.http.dashboard.headers import PAGE
from mcp_server.http.limits import Limit
from mcp_server.http.refusals import too_many, unavailable
from mcp_server.process.telemetry import Telemetry

_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
_MOST_CHARACTERS: Final = 200
_ENDED_HERE: Final = (
    "You are signed out of this server until it is restarted. The database takes no writes from it, so that another "
    "server of the same database would still take a copy of this session's cookie, for twelve hours since the sign-in. "
    "Where the database takes writes, `sales-automation-mcp dashboard --sign-out-all` ends every session."
)


class File(NamedTuple):
    body: bytes
    type: str
    tag: str


@cache
def files() -> dict[str, File]:
    """Returns name -> file, for all that mcp_server/web holds. Nothing else is ever served."""
    found: dict[str, File] = {}
    for file in resources.files("mcp_server.web").iterdir():
        kind = _TYPES.get(file.name[file.name.rfind(".") :])
        if kind is not None:
            body = file.read_bytes()
            found[file.name] = File(body, kind, f'"{sha256(body).hexdigest()[:32]}"')
    return found


async def shell(request: Request) -> Response:
    """Answers GET /dashboard, which holds no data."""
    return _file(request, "index.html")


async def static(request: Request) -> Response:
    """Answers GET /dashboard/static/{name}."""
    return _file(request, request.path_params["name"])


def _file(request: Request, name: str, status: int = 200) -> Response:
    file = files().get(name)
    if file is None:
        return Response("Not found", status_code=404, media_type="text/plain", headers=PAGE)
    # Requested again each time, and sent again only if another version runs.
    headers = {**PAGE, "Cache-Control": "no-cache", "ETag": file.tag}
    if status == 200 and request.headers.get("if-none-match") == file.tag:
        return Response(status_code=304, headers=headers)
    return Response(file.body, status_code=status, headers={**headers, "Content-Type": file.type})


def _forwarded(request: Request) -> str:
    """Returns the scheme that the browser spoke with the first of the proxies."""
    return request.headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower()


class SignIn:
    """Signs browsers in and out."""

    def __init__(self, known: sessions.Sessions, failures: Limit, telemetry: Telemetry) -> None:
        self._sessions = known
        self._failures = failures
        self._telemetry = telemetry

    async def enter(self, request: Request) -> Response:
        """Answers GET /dashboard/login?code=...: uses up the code, and redirects to an address without it."""
        if request.method == "HEAD":  # a program that follows the link, and no browser
            return Response(headers=PAGE)
        code = request.query_params.get("code", "")
        try:
            cookie = await self._sessions.sign_in(code) if len(code) <= _MOST_CHARACTERS else None
        except StoreUnavailable as error:
            return unavailable(error)
        if cookie is None:
            return self._stay_out(request)
        answer = RedirectResponse(sessions.ROOT, status_code=303, headers=PAGE)
        name, value = cookie
        answer.set_cookie(
            name,
            value,
            max_age=sessions.lifetime(),
            path=sessions.ROOT,
            secure="https" in (request.url.scheme, _forwarded(request)),
            httponly=True,
            samesite="strict",
        )
        return answer

    def _stay_out(self, request: Request) -> Response:
        wait = self._failures.take(address(request.scope), time.monotonic())
        self._telemetry.refused_requests.add("dashboard", "rate_limited" if wait else "unauthorized")
        return too_many(wait, "Too many links that do not hold.") if wait else _file(request, "expired.html", 403)

    async def leave(self, request: Request) -> Response:
        """Answers POST /dashboard/logout: 204, or 200 with a message."""
        try:
            name, is_everywhere = await self._sessions.end(request.headers.get("cookie"))
        except StoreUnavailable as error:
            return unavailable(error)
        answer = Response(status_code=204, headers=PAGE)
        if not is_everywhere:
            answer = JSONResponse({"message": _ENDED_HERE}, headers=PAGE)
        if name is not None:
            answer.delete_cookie(name, path=sessions.ROOT, httponly=True, samesite="strict")
        return answer
