"""What a mail is that this server sends."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from db.domain.mail.message import Address


@dataclass(frozen=True, slots=True)
class QueuedMail:
    """A mail that is claimed: all that its bytes are made of, but for the date.

    lease_token: of the claim; each attempt has its own. html: None where it is made of the text. references: as in
    NewMail. headers: further fields.
    """

    message_id: UUID
    action_id: UUID
    lease_token: UUID
    enrollment_id: UUID
    campaign_id: UUID
    contact_id: UUID
    step_number: int
    sender: Address
    recipient: Address
    subject: str
    text: str
    signature: str | None
    internet_message_id: str
    html: str | None = None
    references: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
