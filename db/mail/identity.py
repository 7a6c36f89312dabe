"""Tells one mail from another by its headers alone."""

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Final

_IDENTIFYING: Final = ("message-id", "from", "date")


def identity_of(header: bytes, fields: Mapping[str, bytes], *, received_at: datetime, size: int) -> bytes:
    """Returns a SHA-256 that is the same for all copies of a mail in the folders of a mailbox: of its Message-ID, From
    and Date; of a mail without a Message-ID, of all given headers, when it came and its size in bytes. fields: the
    first of each name in the header."""
    if fields.get("message-id"):
        return sha256(b"\n".join(fields.get(name, b"") for name in _IDENTIFYING)).digest()
    return sha256(b"%s\n%s\n%d" % (header.strip(), received_at.isoformat().encode(), size)).digest()
