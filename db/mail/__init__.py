"""Parses bytes to a ParsedMail (structure, charsets, HTML), and composes mails to bytes. This package may use
libraries, but does no I/O."""

from db.mail.compose import ComposedMail, NewMail, compose
from db.mail.envelope import HEAD_BYTES, envelope_of, recipients_of
from db.mail.header_lines import can_be_sent_to
from db.mail.parse import parse_mail

__all__ = [
    "HEAD_BYTES",
    "ComposedMail",
    "NewMail",
    "can_be_sent_to",
    "compose",
    "envelope_of",
    "parse_mail",
    "recipients_of",
]
