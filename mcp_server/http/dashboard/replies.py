"""How the dashboard answers: headers that let nothing from outside in, and refusals as JSON."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

NO_STORE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
    }
)

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
    """The model as JSON."""
    return Response(model.model_dump_json(), media_type="application/json", headers=NO_STORE)


def problem(status: int, error: str, message: str) -> JSONResponse:
    """Why a request is refused, in the shape of the gate's refusals."""
    return JSONResponse({"error": error, "message": message}, status_code=status, headers=NO_STORE)
