"""Under which names this server answers. A page that a browser took from elsewhere must not reach it: neither under a
name of its own that leads here, nor across origins. The SDK's check compares letters with their case."""

import logging
import re
from collections.abc import Sequence
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from mcp_server.http.refusals import refused
from mcp_server.process.settings import Settings

logger = logging.getLogger(__name__)

# A load balancer asks for these under any name, and they reveal nothing; the others verify a signature of their own.
_UNCHECKED: Final = ("/webhooks/", "/unsubscribe/")
_UNCHECKED_PATHS: Final = frozenset({"/healthz", "/readyz"})
_PORT: Final = re.compile(r":\d*\Z")
_SCHEME: Final = re.compile(r"https?://")
_SHOWN_MAX: Final = 100
_ADVICE: Final = "Name the host under which clients reach this server in SALES_AUTOMATION_ALLOWED_HOSTS."


class Hosts:
    """Answers requests under other names: 421 for the header Host, 403 for Origin. `names`: those of this server, in
    lower case, each with any port unless it has one; None to let all through."""

    def __init__(self, app: ASGIApp, *, names: Sequence[str] | None) -> None:
        self._app = app
        self._names = None if names is None else frozenset(names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self._refusal(Headers(scope=scope)) if scope["type"] == "http" and _is_checked(scope["path"]) else None
        await (answer or self._app)(scope, receive, send)

    def _refusal(self, headers: Headers) -> Response | None:
        if self._names is None:
            return None
        host, origin = headers.get("host", "").lower(), headers.get("origin", "").lower()
        if not self._is_ours(host):
            return _refuse(421, "wrong_host", "Host", host)
        scheme = _SCHEME.match(origin)
        if origin and not (scheme and self._is_ours(origin[scheme.end() :])):
            return _refuse(403, "wrong_origin", "Origin", origin)
        return None

    def _is_ours(self, host: str) -> bool:
        assert self._names is not None
        return host in self._names or _PORT.sub("", host) in self._names


def names_of(settings: Settings, host: str) -> list[str] | None:
    """Returns the names of this machine, the bound address, and those of the settings.

    On a wildcard address any name may be the right one, so it is checked only where the settings say which; such a
    server never runs without a token.
    """
    if host in ("0.0.0.0", "::") and not settings.allowed_hosts:  # noqa: S104  a comparison, not a bind
        return None
    public = settings.public_url
    further = [*settings.allowed_hosts, *([public.host] if public and public.host else [])]
    names = ["127.0.0.1", "localhost", "[::1]", f"[{host}]" if ":" in host else host, *further]
    return [name.lower() for name in names]


def _is_checked(path: str) -> bool:
    return path not in _UNCHECKED_PATHS and not path.startswith(_UNCHECKED)


def _refuse(status: int, error: str, header: str, value: str) -> Response:
    logger.warning("a request under another name", extra={"header": header, "value": value[:_SHOWN_MAX]})
    return refused(status, error, f"This server has no such name as the header {header} says. {_ADVICE}")
