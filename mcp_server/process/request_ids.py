"""Ids of requests as clients write them whose JSON has no whole numbers. The SDK takes a request with such an id for a
notification, and never answers it."""

import json
import re
from typing import Any, Final, cast

WRONG_ID: Final = "The id of a request must be text or a whole number: send the request again with such an id."

# Neither a text, nor a whole number, nor null, which is an id to nobody. It may stand deeper than the request's own.
_SUSPECT: Final = re.compile(rb'"id"[ \t\r\n]*:[ \t\r\n]*(?![ \t\r\n]|"|null|-?\d+[ \t\r\n]*[,}])')


# Beyond it several whole numbers are one float.
_EXACT: Final = 2**53


class WrongId(Exception):
    """The id is of no kind that an answer could name."""


def with_whole_id(message: bytes) -> bytes:
    """Returns a message with 1 for an id of 1.0, and any other as it is. WrongId for a request with an id that is
    neither text nor a whole number."""
    if _SUSPECT.search(message) is None:
        return message
    try:
        read: Any = json.loads(message)
    except (ValueError, RecursionError):
        return message
    if not isinstance(read, dict) or "method" not in read:
        return message
    request = cast("dict[str, Any]", read)
    id_ = request.get("id")
    if id_ is None or isinstance(id_, str) or (isinstance(id_, int) and not isinstance(id_, bool)):
        return message
    if not isinstance(id_, float) or not id_.is_integer() or abs(id_) > _EXACT:
        raise WrongId
    return json.dumps({**request, "id": int(id_)}).encode()
