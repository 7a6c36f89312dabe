"""Who may speak HTTP with this server: holders of the bearer token, when there is one."""

import hmac
from hashlib import sha256

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

# What a load balancer asks before it knows any token; it tells nothing about the data.
_OPEN_PATHS = frozenset({"/healthz", "/readyz"})
# Providers sign what they send, each in its own way.
_WEBHOOKS = "/webhooks/"


class BearerAuth:
    """Lets requests through that carry the token. Only its hash is kept, and compared in constant time."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._expected = sha256(token.encode()).digest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _is_open(scope["path"]) or self._is_allowed(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        refusal = JSONResponse(
            {
                "error": "unauthorized",
                "message": "Send the header `Authorization: Bearer TOKEN` with this server's token.",
            },
            status_code=401,
            headers={"WWW-Authenticate": 'Bearer realm="sales-automation-mcp"'},
        )
        await refusal(scope, receive, send)

    def _is_allowed(self, headers: Headers) -> bool:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        given = sha256(token.strip().encode()).digest()
        return hmac.compare_digest(given, self._expected) and scheme.lower() == "bearer"


def _is_open(path: str) -> bool:
    return path in _OPEN_PATHS or path.startswith(_WEBHOOKS)
