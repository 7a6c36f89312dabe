"""Postmark's webhooks. It signs nothing: `secret` is user:password of basic auth, or a token in a header you add."""

from collections.abc import Mapping
from typing import Any, Final

from db.domain.events import EventType, NewEvent
from db.domain.webhooks import Normalised, StoredDelivery
from mcp_server.webhooks import fields
from mcp_server.webhooks.base import Json, Provider
from mcp_server.webhooks.signing import check_shared_secret

NAME: Final = "postmark"

_TYPES: Final[Mapping[str, EventType | None]] = {
    "Delivery": EventType.DELIVERED,
    "Open": EventType.OPENED,
    "Click": EventType.CLICKED,
    "SpamComplaint": EventType.COMPLAINED,
    "SubscriptionChange": EventType.UNSUBSCRIBED,
    "Bounce": EventType.BOUNCED,
    "Inbound": None,
}
_HARD: Final = frozenset({"HardBounce", "BadEmailAddress"})
# Bounces that are something else; every other one is soft.
_BOUNCES: Final[Mapping[str, EventType | None]] = {
    "Transient": EventType.DEFERRED,
    "AutoResponder": EventType.AUTO_REPLIED,
    "AddressChange": EventType.AUTO_REPLIED,
    "ChallengeVerification": EventType.AUTO_REPLIED,
    "SpamComplaint": EventType.COMPLAINED,
    "Unsubscribe": EventType.UNSUBSCRIBED,
    "Subscribe": None,
    "OpenRelayTest": None,
    "InboundError": None,
    "ManuallyDeactivated": EventType.REJECTED,
    "SMTPApiError": EventType.FAILED,
    "TemplateRenderingFailed": EventType.FAILED,
}
_SUPPRESSIONS: Final[Mapping[str, EventType | None]] = {
    "ManualSuppression": EventType.UNSUBSCRIBED,
    "HardBounce": EventType.BOUNCED,
    "SpamComplaint": EventType.COMPLAINED,
}
_MOMENTS: Final = ("DeliveredAt", "ReceivedAt", "BouncedAt", "ChangedAt")


def normalise(payload: Json, delivery: StoredDelivery) -> Normalised:
    """Returns one event a request; `Metadata` holds what the sender attached."""
    return fields.each_part([payload], lambda _, part: _event(part, delivery))


def _event(part: dict[str, Any], delivery: StoredDelivery) -> list[NewEvent]:
    record = fields.needed(part, "RecordType")
    type_ = _type(record, part)
    metadata = fields.details(
        reason=fields.word(part, "Description") or fields.word(part, "Details"),
        url=fields.word(part, "OriginalLink"),
        user_agent=fields.word(part, "UserAgent"),
        ip=fields.word(fields.inner(part, "Geo"), "IP"),
    )
    if type_ is EventType.BOUNCED:
        is_hard = record == "SubscriptionChange" or fields.word(part, "Type") in _HARD
        metadata["bounce_type"] = "hard" if is_hard else "soft"
    id_ = fields.word(part, "ID") if record in ("Bounce", "SpamComplaint") else None
    email = fields.word(part, "Recipient") or fields.word(part, "Email")
    event = fields.event(
        NAME,
        type_,
        occurred_at=next(filter(None, (fields.moment(part, name) for name in _MOMENTS)), None),
        event_id=f"{record}:{id_}" if id_ else fields.digest(delivery),
        message_id=fields.word(part, "MessageID"),
        references=fields.own(fields.inner(part, "Metadata")),
        email=email,
        metadata=metadata,
        received_at=delivery.received_at,
    )
    # Somebody has switched the address off at Postmark, which sends it nothing any more.
    return fields.not_sent(event, email, EventType.BOUNCED if type_ is EventType.REJECTED else None)


def _type(record: str, part: dict[str, Any]) -> EventType:
    type_ = fields.kind(_TYPES, record)
    if record == "SubscriptionChange":
        if part.get("SuppressSending") is not True:
            raise fields.Ignored
        return fields.kind(_SUPPRESSIONS, fields.needed(part, "SuppressionReason"))
    if record == "Bounce":
        bounce = fields.needed(part, "Type")
        return fields.kind(_BOUNCES, bounce) if bounce in _BOUNCES else type_
    return type_


PROVIDER: Final = Provider(NAME, check_shared_secret, normalise)
