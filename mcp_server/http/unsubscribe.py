"""/unsubscribe/{token}: where people end what they get. The signed token is all that is asked for.

A GET shows a page with a button and changes nothing, since programs that look for malware follow every link. The POST
is that of the button, or of a mail program (RFC 8058).
"""

import html
import logging
import math
import time
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from db.domain.errors import NotFound, StoreUnavailable
from db.services.events import unsubscribe
from db.services.texts import unsubscribe_links
from mcp_server.http.auth import address
from mcp_server.http.limits import Limit
from mcp_server.http.refusals import RETRY_SECONDS, too_many
from mcp_server.process.app import App
from mcp_server.process.cached import Cached

if TYPE_CHECKING:
    from db.services.texts.unsubscribe_links import Link

logger = logging.getLogger(__name__)

_PROVIDER = "unsubscribe-page"
_MOST_CHARACTERS = 100
_PATIENCE = 30.0  # seconds: whoever wants to leave rather waits for a server that starts
_HEADERS = {
    # No script, no style from elsewhere, no frame around the button, and the form goes back to where it came from.
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    # The address holds the token.
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Robots-Tag": "noindex",
}
_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 1.1rem/1.5 system-ui, sans-serif; max-width: 32rem; margin: 15vh auto 0; padding: 0 1.5rem; }}
button {{ font: inherit; padding: .6em 1.2em; cursor: pointer; }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
{body}
</main>
</body>
</html>
"""
_BUTTON = """\
<p>Press the button, and you get no further messages from us.</p>
<form method="post"><button name="List-Unsubscribe" value="One-Click">Unsubscribe</button></form>"""


def routes(app: App, forged: Limit) -> list[Route]:
    """Returns the route; none in a server that must not write. `forged`: how often an address may try links that are
    wrong."""
    if app.settings.read_only:
        return []
    page = _Page(app, forged)
    return [
        Route("/unsubscribe/{token}", page.show, methods=["GET"]),
        Route("/unsubscribe/{token}", page.take, methods=["POST"]),
    ]


class _Page:
    """Keeps the key of the links, so that a forged one costs no look at the database."""

    def __init__(self, app: App, forged: Limit) -> None:
        self._app = app
        self._forged = forged
        per_minute = app.settings.unsubscribe_limit
        self._uses = Limit(per_minute / 60, per_minute)
        self._key = Cached(lambda: app.run("unsubscribe key", unsubscribe_links.make_key), patience=_PATIENCE)

    async def show(self, request: Request) -> Response:
        """Returns the page with the button."""
        link = await self._link(request)
        if isinstance(link, Response):
            return link
        return _answer(200, "Unsubscribe", _BUTTON)

    async def take(self, request: Request) -> Response:
        """Records it, and says so. What the body says is not looked at: whoever sends a POST here wants to leave."""
        link = await self._link(request)
        if isinstance(link, Response):
            return link
        try:
            await run_in_threadpool(self._unsubscribe, link)
        except NotFound:
            return _missing()
        except StoreUnavailable:
            return _later()
        return _answer(200, "You are unsubscribed", "<p>You get no further messages from us.</p>")

    async def _link(self, request: Request) -> "Link | Response":
        token = request.path_params["token"]
        try:
            link = await self._read(token) if len(token) <= _MOST_CHARACTERS else None
        except StoreUnavailable:
            return _later()
        now = time.monotonic()
        if link is None:
            wait = self._forged.take(address(request.scope), now)
            self._app.telemetry.refused_requests.add("unsubscribe", "rate_limited" if wait else "not_found")
            return too_many(wait, "Too many links that are not known here.") if wait else _missing()
        wait = self._uses.take(token, now)
        if wait:
            self._app.telemetry.refused_requests.add("unsubscribe", "rate_limited")
            return too_many(wait, "This link is used too often.")
        return link

    async def _read(self, token: str) -> "Link | None":
        return unsubscribe_links.read(await self._key.get(at_most=math.inf), token)

    def _unsubscribe(self, link: "Link") -> None:
        now = self._app.clock()
        verdict = self._app.run("unsubscribe", lambda session: unsubscribe.unsubscribe(session, link=link, now=now))
        self._app.telemetry.events.add(_PROVIDER, str(verdict))


def _missing() -> Response:
    return _answer(404, "This link is not known", "<p>Use the link of the message as it is, whole.</p>")


def _later() -> Response:
    text = "<p>We can't note it at this moment. Please try again in a minute.</p>"
    return _answer(503, "Please try again", text, {"Retry-After": str(RETRY_SECONDS)})


def _answer(status: int, title: str, body: str, headers: dict[str, str] | None = None) -> Response:
    page = _PAGE.format(title=html.escape(title), body=body)
    return HTMLResponse(page, status_code=status, headers={**_HEADERS, **(headers or {})})
