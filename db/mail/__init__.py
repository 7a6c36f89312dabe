"""Parses bytes to a ParsedMail (structure, charsets, HTML), and composes mails to bytes. This package may use
libraries, but does no I/O."""

from db.mail.compose import ComposedMail, NewMail, compose
from db.mail.envelope import envelope_of
from db.mail.parse import parse_mail

__all__ = ["ComposedMail", "NewMail", "compose", "envelope_of", "parse_mail"]
