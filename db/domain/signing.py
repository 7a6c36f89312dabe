"""Tokens: bytes and a signature of them, as one text for URLs, cookies and cursors."""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from hashlib import sha256


def keyed_hash(key: bytes, value: bytes) -> bytes:
    """Returns 32 bytes that only a holder of the key can make."""
    return hmac.digest(key, value, sha256)


def to_text(raw: bytes) -> str:
    """Returns the bytes in the URL-safe alphabet, 4 characters for 3."""
    return urlsafe_b64encode(raw).decode().rstrip("=")


def from_text(text: str) -> bytes:
    """Returns the bytes of a text of `to_text`, none where it is no such text. Several texts stand for the same
    bytes."""
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:  # also of what is not ASCII, and of a length that is none
        return b""


@dataclass(frozen=True, slots=True)
class Codec:
    """Tokens that say `size` bytes, and end with the first `signature_size` of their keyed hash."""

    size: int
    signature_size: int

    def sign(self, key: bytes, said: bytes) -> str:
        """Returns the token that says it."""
        return to_text(said + keyed_hash(key, said)[: self.signature_size])

    def read(self, key: bytes, token: str) -> bytes | None:
        """Returns what the token says; None if this key has not signed it."""
        raw = from_text(token)
        if len(raw) != self.size + self.signature_size:
            return None
        said = raw[: self.size]
        # The text and not the bytes, since one token has one text.
        return said if hmac.compare_digest(token, self.sign(key, said)) else None
