"""SendGrid's Event Webhook, signed with ECDSA. `secret` is its verification key, base64 as the console shows it."""

import base64
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from db.domain.events import EventType, NewEvent
from db.domain.webhooks import Normalised, StoredDelivery
from mcp_server.webhooks import fields, signing
from mcp_server.webhooks.base import Forged, Headers, Json, Provider, Unverifiable

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

NAME: Final = "sendgrid"
_SIGNATURE: Final = "x-twilio-email-event-webhook-signature"
_TIMESTAMP: Final = "x-twilio-email-event-webhook-timestamp"

_TYPES: Final[Mapping[str, EventType | None]] = {
    "processed": None,
    "delivered": EventType.DELIVERED,
    "deferred": EventType.DEFERRED,
    "bounce": EventType.BOUNCED,
    "dropped": EventType.REJECTED,
    "open": EventType.OPENED,
    "click": EventType.CLICKED,
    "spamreport": EventType.COMPLAINED,
    "unsubscribe": EventType.UNSUBSCRIBED,
    "group_unsubscribe": EventType.UNSUBSCRIBED,
    "group_resubscribe": None,
    "account_status_change": None,
}


# Why it did not send a mail (the reason of "dropped"), where that is something that it knows of the address.
_DROPPED: Final[Mapping[str, EventType]] = {
    "bounced address": EventType.BOUNCED,
    "invalid": EventType.BOUNCED,
    "unsubscribed address": EventType.UNSUBSCRIBED,
    "spam reporting address": EventType.COMPLAINED,
}


def verify(body: bytes, headers: Headers, secret: str, now: datetime) -> None:
    """Verifies ECDSA on P-256 with SHA-256, over the timestamp and the body."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415  slow; few servers have it
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA  # noqa: PLC0415  as above
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415  as above

    signature = signing.decoded(signing.header(headers, _SIGNATURE))
    timestamp = signing.header(headers, _TIMESTAMP)
    try:
        _key(secret).verify(signature, timestamp.encode("utf-8", "surrogatepass") + body, ECDSA(SHA256()))
    except InvalidSignature:
        raise Forged("The signature is wrong.") from None
    signing.check_age(timestamp, now)


@lru_cache(maxsize=4)
def _key(secret: str) -> "EllipticCurvePublicKey":
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415  slow; few servers have it
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey  # noqa: PLC0415  as above
    from cryptography.hazmat.primitives.serialization import load_der_public_key  # noqa: PLC0415  as above

    try:
        key = load_der_public_key(base64.b64decode(secret))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, EllipticCurvePublicKey):
        raise Unverifiable("SALES_AUTOMATION_WEBHOOK_SENDGRID is not the key that SendGrid's console shows.")
    return key


def normalise(payload: Json, delivery: StoredDelivery) -> Normalised:
    """Normalises events. Custom arguments stand at the top level of each event, beside SendGrid's own fields."""
    return fields.each_part(fields.as_list(payload), lambda index, part: _event(index, part, delivery))


def _event(index: int, part: dict[str, Any], delivery: StoredDelivery) -> list[NewEvent]:
    type_ = fields.kind(_TYPES, fields.needed(part, "event"))
    metadata = fields.details(
        reason=fields.word(part, "reason"),
        url=fields.word(part, "url"),
        user_agent=fields.word(part, "useragent"),
        ip=fields.word(part, "ip"),
        sg_machine_open=part.get("sg_machine_open"),
    )
    if type_ is EventType.BOUNCED:
        metadata["bounce_type"] = "soft" if part.get("type") == "blocked" else "hard"
    message_id = fields.word(part, "sg_message_id")
    email = fields.word(part, "email")
    event = fields.event(
        NAME,
        type_,
        occurred_at=fields.epoch(part, "timestamp"),
        event_id=fields.word(part, "sg_event_id") or fields.digest(delivery, index),
        # The rest after the first dot names the servers that the message went through.
        message_id=message_id.partition(".")[0] if message_id else None,
        references=fields.own(part),
        email=email,
        metadata=metadata,
        received_at=delivery.received_at,
    )
    reason = (fields.word(part, "reason") or "").lower()
    return fields.not_sent(event, email, _DROPPED.get(reason) if type_ is EventType.REJECTED else None)


PROVIDER: Final = Provider(NAME, verify, normalise, signature_headers=(_SIGNATURE, _TIMESTAMP))
