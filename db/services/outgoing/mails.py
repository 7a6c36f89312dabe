"""What a mail is that this server sends."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from uuid import UUID

from db.domain.drafts import Wording
from db.domain.mail.message import Address
from db.domain.states import Channel


@dataclass(frozen=True, slots=True)
class QueuedMail:
    """A mail that is claimed: all that its bytes are made of, but for the date.

    action_id, step_number: of the step that it is; None for a reply. lease_token: of the claim; each attempt has its
    own. html: None where it is made of the text. references: as in NewMail. headers: further fields. thread_id, cc: of
    a reply. attempts: how often it was tried in vain, as far as that matters.
    """

    message_id: UUID
    action_id: UUID | None
    lease_token: UUID
    enrollment_id: UUID
    campaign_id: UUID
    contact_id: UUID
    step_number: int | None
    sender: Address
    recipient: Address
    subject: str
    text: str
    signature: str | None
    internet_message_id: str
    html: str | None = None
    references: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    thread_id: UUID | None = None
    cc: tuple[str, ...] = ()
    attempts: int = 0

    @property
    def wording(self) -> Wording:
        """Returns what an approval of a reply is of."""
        return Wording(
            self.recipient.address,
            Channel.EMAIL,
            self.subject,
            self.text,
            self.signature,
            self.sender.address,
            cc=self.cc,
        )


class NotBegun(StrEnum):
    """Why a mail may not go out any more. But for CLAIMED_ANEW, its claim is given back."""

    STOPPED = "stopped"
    MAILBOX = "mailbox_not_active"
    CAMPAIGN = "campaign_not_active"
    CLAIMED_ANEW = "claimed_anew"
    ENROLLMENT = "enrollment_not_active"
    ABSENT = "absent"
    ERASED = "erased"
    SUPPRESSED = "suppressed"
    ADDRESS = "address_changed"
    WORDS = "words_changed"
    APPROVAL = "not_approved"


FOR_GOOD: Final = frozenset({NotBegun.ERASED, NotBegun.SUPPRESSED, NotBegun.WORDS, NotBegun.APPROVAL})
"""A reply that may not go out for one of these does not go out later either."""
