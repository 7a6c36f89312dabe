"""Mails that came in, as they came.

A mail is pending from the commit that keeps its bytes until the commit that records it (db.services.mail.recording), so
a server that is killed between the two loses nothing. One that its server did not give is pending without bytes.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import insert, text
from sqlalchemy.orm import Session

from db.domain.field_limits import (
    EMAIL_MAX,
    INTERNET_MESSAGE_ID_MAX,
    MAIL_FOLDER_MAX,
    MESSAGE_SUBJECT_MAX,
    NAME_MAX,
)
from db.domain.ids import new_ids
from db.domain.states import Channel, MessageDirection, MessageStatus
from db.domain.texts import storable_part
from db.mail.envelope import headline_of
from db.models import MessageBody
from db.postgres.json import rows_parameter
from db.postgres.results import named


@dataclass(frozen=True, slots=True)
class FetchedMail:
    """A mail as a server gave it. hash: SHA-256 of the bytes as they came; raw may lack attachments.

    is_cut: raw is only the beginning of a long mail.
    """

    raw: bytes = field(repr=False)
    hash: bytes
    folder: str
    folder_role: str
    uidvalidity: int
    uid: int
    received_at: datetime
    is_cut: bool = False


_KEEP = text(f"""
    WITH given AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS m(
            id uuid, internet_message_id text, subject text, occurred_at timestamptz, sender text, sender_name text,
            sent_at timestamptz, folder text, uidvalidity bigint, uid bigint, hash text)
    )
    INSERT INTO messages (id, direction, channel, mailbox_id, internet_message_id, subject, occurred_at, status, sender,
                          sender_name, sent_at, folder, uidvalidity, uid, hash)
    SELECT id, '{MessageDirection.IN}', '{Channel.EMAIL}', :mailbox, internet_message_id, subject, occurred_at,
           '{MessageStatus.PENDING}', sender, sender_name, sent_at, folder, uidvalidity, uid, decode(hash, 'hex')
    FROM given
    WHERE NOT EXISTS (
        SELECT FROM messages m WHERE m.mailbox_id = :mailbox AND m.internet_message_id = given.internet_message_id
          AND m.sender IS NOT DISTINCT FROM given.sender AND m.sent_at IS NOT DISTINCT FROM given.sent_at
    )
    ON CONFLICT (mailbox_id, internet_message_id, direction, sender, sent_at) WHERE mailbox_id IS NOT NULL DO NOTHING
    RETURNING id
""").columns(*named("id"))


def keep(session: Session, *, mailbox_id: UUID, mails: Sequence[FetchedMail]) -> int:
    """Keeps mails as pending. Returns how many of them are new: one that is known, from whatever folder, stays as it
    is."""
    rows = [_row(id_, mail) for id_, mail in zip(new_ids(len(mails)), mails, strict=True)]
    if not rows:
        return 0
    kept = set(session.scalars(_KEEP, {**rows_parameter(rows), "mailbox": mailbox_id}))
    bodies = [
        {"message_id": row["id"], "raw": zlib.compress(mail.raw, level=1)}
        for row, mail in zip(rows, mails, strict=True)
        if row["id"] in kept
    ]
    if bodies:
        session.execute(insert(MessageBody), bodies)
    return len(kept)


def _row(id_: UUID, mail: FetchedMail) -> dict[str, Any]:
    headline = headline_of(mail.raw)
    own_id = storable_part(headline.internet_message_id)
    return {
        "id": id_,
        "internet_message_id": own_id if 0 < len(own_id) <= INTERNET_MESSAGE_ID_MAX else mail.hash.hex(),
        "subject": storable_part(headline.subject)[:MESSAGE_SUBJECT_MAX] or None,
        "occurred_at": mail.received_at,
        "sender": storable_part(headline.sender.address)[:EMAIL_MAX] or None,
        "sender_name": storable_part(headline.sender.name)[:NAME_MAX] or None,
        "sent_at": headline.date,
        "folder": storable_part(mail.folder)[:MAIL_FOLDER_MAX],
        "uidvalidity": mail.uidvalidity,
        "uid": mail.uid,
        "hash": mail.hash.hex(),
    }


class LeftMail(NamedTuple):
    """Where a mail lies that the server did not give when it was read. Nothing else is known of it."""

    folder: str
    uidvalidity: int
    uid: int


_LEAVE = text(f"""
    WITH given AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb))
            AS m(id uuid, folder text, uidvalidity bigint, uid bigint, hash text)
    )
    INSERT INTO messages (id, direction, channel, mailbox_id, internet_message_id, occurred_at, status, folder,
                          uidvalidity, uid, hash)
    SELECT id, '{MessageDirection.IN}', '{Channel.EMAIL}', :mailbox, hash, :now, '{MessageStatus.PENDING}', folder,
           uidvalidity, uid, decode(hash, 'hex')
    FROM given
    ON CONFLICT (mailbox_id, internet_message_id, direction, sender, sent_at) WHERE mailbox_id IS NOT NULL DO NOTHING
""")
_LEFT = text(f"""
    SELECT m.id, m.folder, m.uidvalidity, m.uid FROM messages m
    WHERE m.mailbox_id = :mailbox AND m.status = '{MessageStatus.PENDING}'
      AND NOT EXISTS (SELECT FROM message_bodies b WHERE b.message_id = m.id)
    ORDER BY m.updated_at, m.id LIMIT :limit
""").columns(*named("id", "folder", "uidvalidity", "uid"))
_TRIED = text("UPDATE messages SET updated_at = clock_timestamp() WHERE id = :id")


def leave(session: Session, *, mailbox_id: UUID, mails: Sequence[LeftMail], now: datetime) -> None:
    """Keeps where mails lie that could not be fetched. They are pending, without a body, until they are fetched."""
    if not mails:
        return
    rows = [
        {"id": id_, **mail._asdict(), "hash": sha256(repr((*mail,)).encode()).hexdigest()}
        for id_, mail in zip(new_ids(len(mails)), mails, strict=True)
    ]
    session.execute(_LEAVE, {**rows_parameter(rows), "mailbox": mailbox_id, "now": now})


def left(session: Session, *, mailbox_id: UUID, limit: int) -> Mapping[UUID, LeftMail]:
    """Returns message -> where it lies, of the mails of a mailbox that are still to be fetched: first those that were
    not tried for the longest."""
    rows = session.execute(_LEFT, {"mailbox": mailbox_id, "limit": limit})
    return {id_: LeftMail(*place) for id_, *place in rows}


def note_tried(session: Session, *, message_id: UUID) -> None:
    """Notes that such a mail is tried now. To be committed before it is: it may end the connection, and the others come
    before it then."""
    session.execute(_TRIED, {"id": message_id})


class Pending(NamedTuple):
    """A mail that is kept, and not recorded yet."""

    id: UUID
    occurred_at: datetime
    internet_message_id: str
    folder: str
    uidvalidity: int
    uid: int
    hash: bytes
    raw: bytes


_PENDING = text(f"""
    SELECT m.id, m.occurred_at, m.internet_message_id, m.folder, m.uidvalidity, m.uid, m.hash, b.raw
    FROM messages m JOIN message_bodies b ON b.message_id = m.id
    WHERE m.mailbox_id = :mailbox AND m.status = '{MessageStatus.PENDING}'
    ORDER BY m.id LIMIT :limit FOR UPDATE OF m SKIP LOCKED
""").columns(*named("id", "occurred_at", "internet_message_id", "folder", "uidvalidity", "uid", "hash", "raw"))


def pending(session: Session, *, mailbox_id: UUID, limit: int) -> list[Pending]:
    """Returns the oldest pending mails of a mailbox, locked until the transaction ends. Skips those that another worker
    holds."""
    rows = session.execute(_PENDING, {"mailbox": mailbox_id, "limit": limit})
    return [Pending(*fields, raw=zlib.decompress(raw)) for *fields, raw in rows]
