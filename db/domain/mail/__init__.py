"""What a mail means: pure rules over a ParsedMail, each verdict with its rule and the sentence that is its evidence.

`db.domain.mail.judge` judges, and `db.domain.mail.quoting` finds what a person wrote. They are imported where they are
called, since their patterns in many languages take a tenth of a second to compile.
"""

from db.domain.mail.envelope import Envelope
from db.domain.mail.message import Address, Attachment, ParsedMail
from db.domain.mail.verdict import (
    RULES_VERSION,
    BounceKind,
    Finding,
    MailKind,
    Reason,
    ReturnedRecipient,
    Verdict,
)

__all__ = [
    "RULES_VERSION",
    "Address",
    "Attachment",
    "BounceKind",
    "Envelope",
    "Finding",
    "MailKind",
    "ParsedMail",
    "Reason",
    "ReturnedRecipient",
    "Verdict",
]
