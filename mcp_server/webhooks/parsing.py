"""The body of a request as JSON."""

from typing import cast

import orjson

from db.domain import texts
from mcp_server.webhooks.base import Json, Malformed


def parse(body: bytes) -> Json:
    """Returns the object or list in the bytes. Malformed if it is neither, is cut off, or is not UTF-8.

    What no database keeps is replaced: an event must not be lost for a character of its subject.
    """
    try:
        payload = cast("object", orjson.loads(texts.without_halves(body, rb"\ufffd")))
    except orjson.JSONDecodeError:
        raise Malformed("The body is not JSON in UTF-8, or is cut off.") from None
    if not isinstance(payload, dict | list):
        raise Malformed("The body is not an object or a list.")
    return payload  # pyright: ignore[reportUnknownVariableType] - any JSON
