"""The headers of the dashboard, which let nothing in from outside."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from pydantic import BaseModel
from starlette.responses import Response

from mcp_server.http.refusals import NO_STORE

PAGE: Final[Mapping[str, str]] = MappingProxyType(
    {
        **NO_STORE,
        # Scripts and styles are files of this server alone, and the data is read from it alone.
        "Content-Security-Policy": (
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
            "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
        ),
        "Cross-Origin-Opener-Policy": "same-origin",
        "X-Frame-Options": "DENY",
        "X-Robots-Tag": "noindex",
    }
)


def answer(model: BaseModel) -> Response:
    """Returns the model as JSON."""
    return Response(model.model_dump_json(), media_type="application/json", headers=NO_STORE)
