"""How requests that are turned away are answered: as JSON, with the kind of the refusal and a sentence.
Providers get the sentence alone (http/webhooks.py): no program reads what their webhooks are answered."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from starlette.responses import JSONResponse

from db.domain.errors import StoreUnavailable

NO_STORE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
    }
)
"""For what is for one reader at one moment."""

RETRY_SECONDS: Final = 5


def refused(status: int, error: str, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Returns a refusal: `error` is for programs, `message` for people."""
    return JSONResponse(
        {"error": error, "message": message}, status_code=status, headers={**NO_STORE, **(headers or {})}
    )


def unauthorized() -> JSONResponse:
    """Returns 401: no token, or none that is valid."""
    return refused(
        401,
        "unauthorized",
        "Send the header `Authorization: Bearer TOKEN` with a token of this server.",
        {"WWW-Authenticate": 'Bearer realm="sales-automation-mcp"'},
    )


def insufficient_scope(missing: str) -> JSONResponse:
    """Returns 403: the token may not do this. `missing`: see caller.missing_scope."""
    return refused(403, "insufficient_scope", missing)


def too_many(wait: float, message: str) -> JSONResponse:
    """Returns 429: the request came `wait` seconds too early."""
    seconds = max(1, math.ceil(wait))
    return refused(429, "too_many_requests", f"{message} Try again in {seconds} s.", {"Retry-After": str(seconds)})


def unavailable(error: StoreUnavailable) -> JSONResponse:
    """Returns 503: the caller should come again."""
    return refused(503, "unavailable", error.for_clients, {"Retry-After": str(RETRY_SECONDS)})


def busy(message: str) -> JSONResponse:
    """Returns 503: the server has no more capacity."""
    return refused(503, "busy", message, {"Retry-After": str(RETRY_SECONDS)})
