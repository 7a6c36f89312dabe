"""What is shown of threads: the people they are with, the mailboxes, and what each message says."""

import zlib
from collections.abc import Collection, Mapping
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import case, func, null, select
from sqlalchemy.orm import Session

from db.mail import parse_mail
from db.models import Contact, Mailbox, Message, MessageBody

_WHOLE_BYTES: Final = 262_144
"""A mail that takes more, compressed, is not parsed again to be shown whole."""


class Said(NamedTuple):
    """What a message says.

    text: what the person wrote, or what was handed out. whole: the text with quotes and signature. attachments: their
    names.
    """

    text: str | None
    whole: str | None = None
    attachments: tuple[str, ...] = ()


def people(session: Session, *, contact_ids: Collection[UUID]) -> Mapping[UUID, Contact]:
    """Returns contacts by id."""
    return {row.id: row for row in session.scalars(select(Contact).where(Contact.id.in_(set(contact_ids))))}


def addresses(session: Session, *, mailbox_ids: Collection[UUID]) -> Mapping[UUID, str]:
    """Returns the addresses of mailboxes by id."""
    wanted = select(Mailbox.id, Mailbox.address).where(Mailbox.id.in_(set(mailbox_ids)))
    return {row.id: row.address for row in session.execute(wanted)}


def message(session: Session, *, message_id: UUID) -> Message | None:
    """Returns a message, if there is one."""
    return session.get(Message, message_id)


def said(session: Session, *, message_ids: Collection[UUID], is_whole: bool) -> Mapping[UUID, Said]:
    """Returns what messages say, of those whose words are kept. is_whole: with whole and attachments."""
    raw = case((func.octet_length(MessageBody.raw) <= _WHOLE_BYTES, MessageBody.raw)) if is_whole else null()
    rows = session.execute(
        select(MessageBody.message_id, MessageBody.body, raw).where(MessageBody.message_id.in_(set(message_ids)))
    )
    return {id_: _said(body, raw) for id_, body, raw in rows}


def _said(body: str | None, raw: bytes | None) -> Said:
    if raw is None:
        return Said(body)
    mail = parse_mail(zlib.decompress(raw))
    return Said(body, mail.text, tuple(attachment.name for attachment in mail.attachments))
