"""Cursors: the last id of a page, signed together with the filters it belongs to."""

from hashlib import blake2b
from hmac import compare_digest
from typing import Final

from db.domain.errors import InvalidInput
from db.domain.signing import from_text, to_text

_SIGNATURE_BYTES: Final = 16


class Cursors:
    """`key` is the store's own secret, so that a cursor is good for every process on the same store."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def write(self, last_id: int, scope: str) -> str:
        packed = last_id.to_bytes(8, "big")
        return to_text(packed + self._sign(packed, scope))

    def read(self, cursor: str, scope: str) -> int:
        """Returns the last id of the page before, or InvalidInput for a cursor that this store did not write for
        `scope`."""
        raw = from_text(cursor)
        packed, signature = raw[:8], raw[8:]
        if not compare_digest(signature, self._sign(packed, scope)):
            raise InvalidInput(
                "cursor is not one that this list returned for these filters. Pass next_cursor as it was, with the "
                "same filters, or leave it out to start at the first page."
            )
        return int.from_bytes(packed, "big")

    def _sign(self, packed: bytes, scope: str) -> bytes:
        return blake2b(packed + scope.encode(), key=self._key, digest_size=_SIGNATURE_BYTES).digest()
