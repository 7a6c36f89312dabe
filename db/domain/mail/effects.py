"""Which events a mail makes that came in, given what it is."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from uuid import UUID

from db.domain.events import BounceType, EventType, NewEvent
from db.domain.mail.message import ParsedMail, field
from db.domain.mail.verdict import BounceKind, MailKind, ReturnedRecipient
from db.domain.states import Channel

PROVIDER: Final = "mailbox"
"""The provider of events that our own mailboxes tell of, and the source of the suppressions that they make."""

_EVENTS: Mapping[MailKind, EventType] = MappingProxyType(
    {
        MailKind.HUMAN: EventType.REPLIED,
        MailKind.AUTO_REPLY: EventType.AUTO_REPLIED,
        MailKind.ABSENCE: EventType.AUTO_REPLIED,
        MailKind.HAS_LEFT: EventType.AUTO_REPLIED,
        MailKind.UNSUBSCRIBE: EventType.UNSUBSCRIBED,
        MailKind.COMPLAINT: EventType.COMPLAINED,
    }
)
RETURNED_FOR_NOW: Final = frozenset({BounceKind.SOFT, BounceKind.FULL, BounceKind.EXPIRED})
"""Several of these in a row say that an address does not work."""

_TOLD_ID: Final = re.compile(r"^[>\s]{0,20}Message-ID:\s{0,5}<([^<>\s]{1,998})>", re.IGNORECASE | re.MULTILINE)
_TOLD_LOOK: Final = 100_000
_TOLD_MOST: Final = 10


def references_of(mail: ParsedMail) -> tuple[str, ...]:
    """Returns the Message-IDs of the mails that this one is about, the surest last: what it answers, what is quoted
    with its headers, and the mail that a report returns."""
    text = mail.text[:_TOLD_LOOK]
    quoted = _TOLD_ID.finditer(text) if "message-id:" in text.lower() else iter(())
    told = [found[1] for _, found in zip(range(_TOLD_MOST), quoted, strict=False)]
    reported = [field(mail.disposition, "original-message-id"), field(mail.returned, "message-id")]
    ids = [*told, *mail.references, *mail.in_reply_to, *(id_.strip(" <>") for id_ in reported)]
    return tuple(id_ for id_ in reversed(dict.fromkeys(reversed(ids))) if id_)


class Meaning(NamedTuple):
    """What counts of a verdict: the part that decides which events a mail makes. in_a_row: how many mails in a row came
    back for now, this one included."""

    kind: MailKind
    recipients: tuple[ReturnedRecipient, ...] = ()
    in_a_row: int = 0


def event_ids(message_id: UUID, recipients: int) -> list[str]:
    """Returns the ids of the events that a message can make: one, or one for each address that it names."""
    return [str(message_id), *(f"{message_id}/{n}" for n in range(1, recipients))]


def events_of(
    message_id: UUID, meaning: Meaning, *, enrollment_id: UUID, step_number: int | None, occurred_at: datetime
) -> list[NewEvent]:
    """Returns the events of a message that belongs to an enrollment; none of a kind that changes nothing."""

    def event(kind: EventType, id_: str, email: str | None = None, **details: object) -> NewEvent:
        return NewEvent(
            kind,
            Channel.EMAIL,
            occurred_at,
            enrollment_id=enrollment_id,
            step_number=step_number,
            email=email,
            provider=PROVIDER,
            provider_event_id=id_,
            metadata={"message_id": str(message_id), **details},
            from_provider=True,
        )

    kind = meaning.kind
    if kind is MailKind.BOUNCE:
        return [event(EventType.BOUNCED, *bounce, **details) for bounce, details in _bounces(message_id, meaning)]
    if kind is MailKind.COMPLAINT:
        named = [recipient.address or None for recipient in meaning.recipients] or [None]
        ids = event_ids(message_id, len(named))
        return [event(EventType.COMPLAINED, id_, address) for id_, address in zip(ids, named, strict=True)]
    if kind not in _EVENTS:
        return []
    details = {"automatic": str(kind)} if _EVENTS[kind] is EventType.AUTO_REPLIED else {}
    return [event(_EVENTS[kind], str(message_id), **details)]


def _bounces(message_id: UUID, meaning: Meaning) -> Iterator[tuple[tuple[str, str | None], dict[str, Any]]]:
    """Yields the id and the address of each bounce, and what is told of it. A delay is none: the mail is under way."""
    ids = event_ids(message_id, max(1, len(meaning.recipients)))
    for id_, recipient in zip(ids, meaning.recipients, strict=False):
        if recipient.is_delay:
            continue
        is_hard = recipient.bounce is BounceKind.HARD
        details: dict[str, Any] = {"bounce_type": BounceType.HARD if is_hard else BounceType.SOFT}
        details["bounce"] = str(recipient.bounce)
        if recipient.bounce in RETURNED_FOR_NOW:
            details["in_a_row"] = meaning.in_a_row
        yield (id_, recipient.address or None), details
