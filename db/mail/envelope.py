"""Reads the header fields of a mail that say where it belongs."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple

from db.domain.mail.envelope import Envelope, is_of_a_daemon
from db.domain.mail.message import Address
from db.domain.mail.unsubscribe_mails import token_in
from db.mail.headers import addresses, first_fields, ids, moment, text_of, with_parameters

HEAD_BYTES: Final = 262_144
"""As much of a mail is looked at for its header."""
_RECIPIENTS_MOST: Final = 200
_BLANK_LINE: Final = re.compile(rb"(?:\r\n|\n|\r(?!\n)){2}")
_YEARS: Final = range(1970, 3000)

FIELDS: Final = (
    "MESSAGE-ID", "IN-REPLY-TO", "REFERENCES", "FROM", "TO", "CC", "RETURN-PATH", "DATE", "SUBJECT", "CONTENT-TYPE",
    "AUTO-SUBMITTED", "X-FAILED-RECIPIENTS",
)  # fmt: skip
"""The fields that `envelope_of` and its callers look at."""
_REPORT_TYPES: Final = ("multipart/report", "message/feedback-report")


def envelope_of(header: bytes) -> Envelope:
    """Returns the envelope of a header block. Never fails."""
    return envelope_in(first_fields(header))


def envelope_in(fields: Mapping[str, bytes]) -> Envelope:
    """Returns the envelope of a header, of which these are the first fields of each name. Never fails."""
    senders = addresses(fields.get("from", b""))
    sender = senders[0].address if senders else ""
    in_reply_to, references = (ids(text_of(fields.get(name, b""))) for name in ("in-reply-to", "references"))
    own = ids(text_of(fields.get("message-id", b"")))
    refers_to = tuple(dict.fromkeys((*references, *in_reply_to)))
    named = [*addresses(fields.get("to", b"")), *addresses(fields.get("cc", b""))]
    recipients = tuple(address.address for address in named if address.address)
    token = token_in(text_of(fields.get("subject", b"")))
    return Envelope(own[0] if own else "", refers_to, sender, _is_report(fields, sender), recipients, token)


def _is_report(fields: Mapping[str, bytes], sender: str) -> bool:
    if "x-failed-recipients" in fields or is_of_a_daemon(sender):
        return True
    if fields.get("return-path", b"-").strip() in (b"<>", b""):
        return True
    content_type = text_of(fields.get("content-type", b""))
    if "report" not in content_type.lower():
        return False
    kind, parameters = with_parameters(content_type)
    return kind in _REPORT_TYPES or "report-type" in parameters


def recipients_of(raw: bytes) -> tuple[str, ...]:
    """Returns the addresses in To and Cc of a mail, or of its beginning. Never fails."""
    return envelope_of(_head_of(raw)).recipients[:_RECIPIENTS_MOST]


def _head_of(raw: bytes) -> bytes:
    return _BLANK_LINE.split(raw[:HEAD_BYTES].lstrip(b"\r\n"), maxsplit=1)[0]


class Headline(NamedTuple):
    """What tells one mail from another. date: what its Date header says, if that is a date."""

    internet_message_id: str
    sender: Address
    subject: str
    date: datetime | None


def headline_of(raw: bytes) -> Headline:
    """Returns the headline of a mail. Never fails."""
    fields = first_fields(_head_of(raw))
    senders = addresses(fields.get("from", b""))
    own = ids(text_of(fields.get("message-id", b"")))
    date = moment(text_of(fields.get("date", b"")))
    return Headline(
        own[0] if own else "",
        senders[0] if senders else Address(),
        " ".join(text_of(fields.get("subject", b"")).split()),
        None if date is None or date.year not in _YEARS else date if date.tzinfo else date.replace(tzinfo=UTC),
    )
