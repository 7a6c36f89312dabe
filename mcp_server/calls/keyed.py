"""One protocol for idempotency keys: the answer to a write is kept under the key that the caller gave, and a repetition
gets it again. A runner asks for the `earlier` answer before it works, and for the new one to be kept afterwards.

The key is taken when it is asked for, so that a repetition at the same time waits. A tool that opens its transactions
by itself takes it with the answer: whoever repeats a call that was cut off does it again, which changes nothing.
"""

from typing import TYPE_CHECKING, Any

from pydantic_core import to_jsonable_python

from db.domain.addresses import addresses_in
from db.domain.errors import InvalidInput
from mcp_server.calls.call import Mode, Tool
from mcp_server.schemas.base import Rejected

if TYPE_CHECKING:
    from db.services import Session


class Key:
    """The key of one call. InvalidInput where it can't be kept."""

    def __init__(self, key: str, tool: Tool, arguments: dict[str, Any]) -> None:
        self._key, self._tool, self._arguments, self._request_hash = key, tool.name, arguments, ""
        self._is_taken_late = tool.mode is Mode.APART
        # An erasure removes the person from existing keys; its own key is stored afterwards.
        if self._is_taken_late and addresses_in(key):
            raise InvalidInput(
                f"idempotency_key of {tool.name} is kept, so it must not hold an email or a LinkedIn profile. "
                "Use another key."
            )

    def earlier(self, session: "Session") -> dict[str, Any] | None:
        """Returns the answer that was given under the key; None if the work is to be done."""
        from db.services.ops import idempotency  # noqa: PLC0415  a client is answered without it

        self._request_hash = _fingerprint(session, self._arguments)
        find = idempotency.find if self._is_taken_late else idempotency.replay
        return find(session, key=self._key, tool=self._tool, request_hash=self._request_hash)

    def keep(self, session: "Session", answer: dict[str, Any]) -> None:
        """Keeps the answer. `earlier` has been asked."""
        from db.services.ops import idempotency  # noqa: PLC0415  as above

        if self._is_taken_late:
            keep_done = idempotency.keep_done
            keep_done(session, key=self._key, tool=self._tool, request_hash=self._request_hash, response=answer)
        else:
            idempotency.keep(session, key=self._key, response=answer)


def _fingerprint(session: "Session", arguments: dict[str, Any]) -> str:
    from db.services.ops import idempotency  # noqa: PLC0415  as above

    try:
        return idempotency.fingerprint(session, to_jsonable_python(arguments, fallback=_as_given))
    except ValueError as error:
        raise InvalidInput(
            "With an idempotency_key, no argument may hold text that is not Unicode or be nested too deep: a repeated "
            "call could not be told from another. Correct the arguments, or leave the key out."
        ) from error


def _as_given(value: object) -> object:
    """Returns a row that was refused, as the client sent it."""
    return to_jsonable_python(value.given, fallback=str) if isinstance(value, Rejected) else str(value)
