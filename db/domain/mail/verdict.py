"""The verdict of the rules on a mail, and its evidence."""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Final

RULES_VERSION: Final = 3
"""Rises with each change of a rule: what was judged by an older version can be judged again."""

EVIDENCE_CHARACTERS: Final = 300


class MailKind(StrEnum):
    """What a mail is. OWNER_WROTE is no verdict: the owner of a mailbox of ours wrote it by hand."""

    HUMAN = "human"
    AUTO_REPLY = "auto_reply"
    ABSENCE = "absence"
    HAS_LEFT = "has_left"
    UNSUBSCRIBE = "unsubscribe"
    BOUNCE = "bounce"
    COMPLAINT = "complaint"
    OTHER = "other"
    OWNER_WROTE = "owner_wrote"


class BounceKind(StrEnum):
    """Why a mail bounced. Only `hard` means that the address does not accept mail and never will; `policy` and `auth`
    are about the mailbox that sent it."""

    HARD = "hard"
    SOFT = "soft"
    FULL = "full"
    POLICY = "policy"
    AUTH = "auth"
    EXPIRED = "expired"
    TOO_LARGE = "too_large"
    UNKNOWN = "unknown"


OF_MAILBOX: Final = frozenset({BounceKind.POLICY, BounceKind.AUTH})
"""Kinds that are about the mailbox that sent the mail."""


class Finding(StrEnum):
    HIDDEN_TEXT = "hidden_text"
    INSTRUCTIONS_TO_AN_AGENT = "instructions_to_an_agent"
    FORGED_QUOTE = "forged_quote"


@dataclass(frozen=True, slots=True)
class Reason:
    """The name of a rule, and the sentence of the mail that is its evidence."""

    rule: str
    evidence: str

    @staticmethod
    def of(rule: str, evidence: str) -> "Reason":
        """Returns a reason with the evidence as one line of at most EVIDENCE_CHARACTERS."""
        return Reason(rule, " ".join(evidence[: 4 * EVIDENCE_CHARACTERS].split())[:EVIDENCE_CHARACTERS])


@dataclass(frozen=True, slots=True)
class ReturnedRecipient:
    """An address that a mail did not reach, or has not reached yet.

    aliases: other addresses that the report names for it, such as the one to which it forwards.
    is_delay: the mail is still being delivered, so the report changes nothing.
    """

    address: str
    bounce: BounceKind
    reason: Reason
    aliases: tuple[str, ...] = ()
    is_delay: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict on one mail.

    recipients: of a bounce or a complaint. until: of an absence, the day of return, where it is named.
    successor: of somebody who has left, an address that is named instead.
    text: what the person wrote, without quotes, signature and invisible characters.
    """

    kind: MailKind
    reason: Reason
    recipients: tuple[ReturnedRecipient, ...] = ()
    until: date | None = None
    successor: str | None = None
    text: str = ""
    findings: tuple[Finding, ...] = ()
    version: int = RULES_VERSION
