"""Fetches mails by IMAP without a trace: no flag of theirs changes."""

import imaplib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final, NamedTuple

from db.domain.mail.envelope import Envelope
from db.mail.attachments import without_attachments
from db.mail.envelope import FIELDS, envelope_in
from db.mail.headers import first_fields
from db.mail.identity import identity_of
from mcp_server.mail.connections import Imap

BODY_BYTES: Final = 2 * 1024 * 1024
"""Of larger mails only the first bytes are fetched: what a person writes comes before attachments."""
HEADERS_MOST: Final = 1_000
_GROUP_BYTES: Final = 8 * 1024 * 1024
_GROUP_MOST: Final = 200

HEADER_ITEM: Final = f"BODY.PEEK[HEADER.FIELDS ({' '.join(FIELDS)})]"
_HEADER_ITEMS: Final = (HEADER_ITEM, "RFC822.SIZE", "INTERNALDATE")
_BODY_ITEM: Final = f"BODY.PEEK[]<0.{BODY_BYTES}>"


class Header(NamedTuple):
    """What the headers of a mail say, when the server received it, its size in bytes, and the hash that tells it from
    others."""

    uid: int
    envelope: Envelope
    received_at: datetime
    size: int
    hash: bytes


class Body(NamedTuple):
    """The bytes of a mail, and the hash of the bytes as they came."""

    raw: bytes
    hash: bytes
    is_cut: bool


def headers(client: Imap, uids: Sequence[int]) -> list[Header]:
    """Returns the headers of mails, in the order of `uids`. Mails that are gone meanwhile are left out."""
    if not uids:
        return []
    found = client.fetch(uids, _HEADER_ITEMS)
    return [_header(uid, found[uid]) for uid in uids if uid in found]


def headers_ahead(client: Imap, uids: Sequence[int]) -> None:
    """Asks for the headers of mails that will be read next."""
    if uids:
        client.fetch_ahead(uids, _HEADER_ITEMS)


def bodies(client: Imap, uids: Sequence[int], *, keep_attachments: bool) -> dict[int, Body]:
    """Returns the bodies of mails by UID. Mails that are gone meanwhile are left out."""
    if not uids:
        return {}
    found = client.fetch(uids, [_BODY_ITEM])
    taken = ((uid, _content(found[uid], b"BODY[]")) for uid in uids if uid in found)
    return {uid: _body(raw, keep_attachments=keep_attachments) for uid, raw in taken}


def groups(found: Sequence[Header], wanted: Sequence[bool]) -> Iterator[list[tuple[Header, bool]]]:
    """Yields the mails, each with whether its body is wanted, in parts that fit into memory."""
    group: list[tuple[Header, bool]] = []
    size = count = 0
    for header, is_wanted in zip(found, wanted, strict=True):
        more = min(header.size, BODY_BYTES) if is_wanted else 0
        if group and is_wanted and (size + more > _GROUP_BYTES or count >= _GROUP_MOST):
            yield group
            group, size, count = [], 0, 0
        group.append((header, is_wanted))
        size, count = size + more, count + is_wanted
    if group:
        yield group


def _header(uid: int, answer: Mapping[bytes, Any]) -> Header:
    block = _content(answer, b"BODY[HEADER.FIELDS")  # a mail without headers has an empty one
    received_at, size = answer.get(b"INTERNALDATE"), answer.get(b"RFC822.SIZE")
    moment = received_at if isinstance(received_at, datetime) else datetime.now(UTC)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    length = size if isinstance(size, int) else BODY_BYTES
    fields = first_fields(block)
    hash_ = identity_of(block, fields, received_at=moment, size=length)
    return Header(uid, envelope_in(fields), moment, length, hash_)


def _content(answer: Mapping[bytes, Any], item: bytes) -> bytes:
    content = next((value for name, value in answer.items() if name.startswith(item)), None)
    if not isinstance(content, bytes):
        # To pass over it would lose the mail.
        raise imaplib.IMAP4.error("a mail was answered without its content")
    return content


def _body(raw: bytes, *, keep_attachments: bool) -> Body:
    is_cut = len(raw) >= BODY_BYTES
    return Body(raw if keep_attachments else without_attachments(raw), sha256(raw).digest(), is_cut)
