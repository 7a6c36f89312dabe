"""Composes the bytes of a mail from plain values: text and an HTML alternative, in UTF-8, without pixels and without
rewritten links. The same values give the same bytes."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from hashlib import sha256
from html import escape
from typing import Final

from db.domain.errors import InvalidInput
from db.domain.mail.message import Address
from db.domain.texts import storable_part
from db.mail.header_lines import (
    address_field,
    address_to_send,
    addresses_field,
    ids_field,
    is_message_id,
    plain_field,
    text_field,
)

# Nothing but a line break and a tab has a place in a text.
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_BLANK_LINES: Final = re.compile(r"\n(?:[ \t]*\n)+")
_BODY_ENDS: Final = re.compile(r"</body\s*>", re.IGNORECASE)
_SIGNATURE_BEGINS: Final = "-- "
"""The line by which programs tell a signature from the text (RFC 3676, 4.3)."""
# What transports of 7 bits take: never 8bit, which not every server does.
_POLICY: Final = SMTP.clone(cte_type="7bit")
_OWN_FIELDS: Final = frozenset(
    {"from", "to", "cc", "bcc", "sender", "reply-to", "subject", "date", "message-id", "in-reply-to", "references"}
)
_RESERVED: Final = ("content-", "mime-", "resent-", "received", "return-path")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMail:
    """A mail to compose.

    html: the HTML of it; None if it is made of the text. internet_message_id and references: without brackets; the last
    of the references is the mail that it answers. headers: further fields, such as List-Unsubscribe. cc: addresses that
    get a copy. date: aware.
    """

    sender: Address
    recipient: Address
    subject: str
    text: str
    html: str | None = None
    signature: str | None = None
    internet_message_id: str
    references: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    cc: tuple[str, ...] = ()
    date: datetime


@dataclass(frozen=True, slots=True)
class ComposedMail:
    """A mail as it goes over the wire. sender, recipient, cc: the envelope, in the form that SMTP takes.

    needs_smtputf8: an address is not in ASCII before its @, so only servers with SMTPUTF8 (RFC 6531) take it.
    """

    raw: bytes
    sender: str
    recipient: str
    internet_message_id: str
    needs_smtputf8: bool
    cc: tuple[str, ...] = ()


def compose(mail: NewMail) -> ComposedMail:
    """Returns the bytes of the mail, with its envelope. InvalidInput if an address, the Message-ID or a further header
    can't be written."""
    sender, recipient = address_to_send(mail.sender.address), address_to_send(mail.recipient.address)
    cc = tuple(dict.fromkeys(address_to_send(address) for address in mail.cc))
    head = _head(mail, sender, recipient, cc)
    return ComposedMail(
        raw=head.encode() + _content(mail).as_bytes(policy=_POLICY),
        sender=sender,
        recipient=recipient,
        internet_message_id=mail.internet_message_id,
        needs_smtputf8=not "".join((sender, recipient, *cc)).isascii(),
        cc=cc,
    )


def _head(mail: NewMail, sender: str, recipient: str, cc: Sequence[str]) -> str:
    if not is_message_id(mail.internet_message_id):
        raise InvalidInput("A Message-ID is written id@example.com: in ASCII, without spaces and brackets.")
    answered = [id_ for id_ in mail.references if is_message_id(id_)][-1:]
    return "".join(
        [
            address_field("From", mail.sender.name, sender),
            address_field("To", mail.recipient.name, recipient),
            addresses_field("Cc", cc),
            text_field("Subject", mail.subject),
            f"Date: {format_datetime(mail.date)}\r\n",
            ids_field("Message-ID", [mail.internet_message_id]),
            ids_field("In-Reply-To", answered),
            ids_field("References", mail.references),
            *(_further(name, value) for name, value in mail.headers.items()),
        ]
    )


def _further(name: str, value: str) -> str:
    lower = name.lower()
    if lower in _OWN_FIELDS or lower.startswith(_RESERVED):
        raise InvalidInput(f"The header {lower} is written by the server itself. Leave it out.")
    return plain_field(name, value)


def _content(mail: NewMail) -> EmailMessage:
    text, signature = _clean(mail.text), _clean(mail.signature or "")
    if signature:
        text = f"{text}\n\n{_SIGNATURE_BEGINS}\n{signature}"
    html = html_of_text(text) if mail.html is None else _signed(mail.html, signature)
    message = EmailMessage(policy=_POLICY)
    message.set_content(f"{text}\n", charset="utf-8")
    message.add_alternative(f"{html}\n", subtype="html", charset="utf-8")
    # The library draws a boundary by chance.
    drawn = sha256(f"{mail.internet_message_id}\0{text}\0{html}".encode()).hexdigest()[:32]
    message.set_boundary(f"=_{drawn}")
    return message


def _clean(text: str) -> str:
    lines = storable_part(text).replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROLS.sub("", lines).strip("\n")


def html_of_text(text: str) -> str:
    """Returns a plain HTML document that shows the text: paragraphs and line breaks, and nothing else."""
    return _document("\n".join(_paragraph(lines) for lines in _BLANK_LINES.split(text.strip("\n"))))


def _document(body: str) -> str:
    return f'<!doctype html>\n<html><head><meta charset="utf-8"></head><body>\n{body}\n</body></html>'


def _paragraph(text: str) -> str:
    lines = "<br>\n".join(_line(line) for line in text.split("\n"))
    return f"<p>{lines}</p>"


def _line(line: str) -> str:
    """Returns a line in HTML, with the spaces that HTML would leave out."""
    shown = escape(line, quote=False).replace("\t", "    ").replace("  ", " &nbsp;")
    return f"&nbsp;{shown[1:]}" if shown.startswith(" ") else shown


def _signed(html: str, signature: str) -> str:
    """Returns the HTML of a step with the signature behind its text."""
    html = _clean(html)
    if not signature:
        return html
    below = _paragraph(f"{_SIGNATURE_BEGINS}\n{signature}")
    ends = [found.start() for found in _BODY_ENDS.finditer(html)][-1:] or [len(html)]
    return f"{html[: ends[0]]}\n{below}\n{html[ends[0] :]}"
