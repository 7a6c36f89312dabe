"""Mailgun's webhooks. `secret` is the HTTP webhook signing key.

The signature covers a timestamp and a token, not the body: whoever has seen one request could send another body with
it. So each token is taken once, and remembered with the request.
"""

import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from db.domain.events import EventType, NewEvent
from db.domain.webhooks import Normalised, StoredDelivery
from mcp_server.webhooks import fields, signing
from mcp_server.webhooks.base import Forged, Headers, Json, Malformed, Provider
from mcp_server.webhooks.parsing import parse

NAME: Final = "mailgun"
# It tries again for eight hours. A token is valid once, however long it is valid.
_WINDOW: Final = timedelta(hours=9)

_TYPES: Final[Mapping[str, EventType | None]] = {
    "accepted": None,
    "stored": None,
    "delivered": EventType.DELIVERED,
    "failed": EventType.BOUNCED,
    "rejected": EventType.REJECTED,
    "opened": EventType.OPENED,
    "clicked": EventType.CLICKED,
    "unsubscribed": EventType.UNSUBSCRIBED,
    "complained": EventType.COMPLAINED,
}


# Reasons of a permanent failure that say something of the sender or of the moment, and nothing of the address.
_SOFT: Final = frozenset({"espblock", "old", "generic"})
# Reasons for which it did not even try, since it knows this of the address.
_SUPPRESSED: Final[Mapping[str, EventType]] = {
    "suppress-bounce": EventType.BOUNCED,
    "suppress-unsubscribe": EventType.UNSUBSCRIBED,
    "suppress-complaint": EventType.COMPLAINED,
}


def verify(body: bytes, headers: Headers, secret: str, now: datetime) -> None:  # noqa: ARG001  the signature is in the body
    """Verifies HMAC-SHA256 over timestamp and token, in hexadecimal."""
    signature = fields.inner(parse(body), "signature")
    timestamp, token, given = (fields.word(signature, name) for name in ("timestamp", "token", "signature"))
    if timestamp is None or token is None or given is None:
        raise Forged("The signature is missing.")
    expected = signing.keyed_hash(secret.encode(), f"{timestamp}{token}".encode("utf-8", "surrogatepass")).hex()
    if not hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode()):
        raise Forged("The signature is wrong.")
    signing.check_age(timestamp, now, _WINDOW)


def token_of(payload: Json, headers: Headers) -> str | None:  # noqa: ARG001  see Provider.delivery_id
    """Returns the token of the signature."""
    token = fields.word(fields.inner(payload, "signature"), "token")
    if token is None or len(token) > 200:
        raise Malformed("The token is not one.")
    return token


def normalise(payload: Json, delivery: StoredDelivery) -> Normalised:
    """Returns one event a request, under `event-data`; `user-variables` hold what the sender attached."""
    token = fields.word(fields.inner(payload, "signature"), "token")
    data = fields.inner(payload, "event-data") or None
    return fields.each_part([data], lambda _, part: _event(part, token, delivery))


def _event(part: dict[str, Any], token: str | None, delivery: StoredDelivery) -> list[NewEvent]:
    type_ = fields.kind(_TYPES, fields.needed(part, "event"))
    metadata = fields.details(
        reason=fields.word(part, "reason") or fields.word(fields.inner(part, "delivery-status"), "message"),
        url=fields.word(part, "url"),
        user_agent=fields.word(fields.inner(part, "client-info"), "user-agent"),
        bot=fields.word(fields.inner(part, "client-info"), "bot"),
        ip=fields.word(part, "ip"),
    )
    reason, email = fields.word(part, "reason") or "", fields.word(part, "recipient")
    known = _SUPPRESSED.get(reason) if type_ is EventType.BOUNCED else None
    if known is not None:
        type_ = EventType.REJECTED
    elif type_ is EventType.BOUNCED and fields.word(part, "severity") == "temporary":
        type_ = EventType.DEFERRED
    elif type_ is EventType.BOUNCED:
        metadata["bounce_type"] = "soft" if reason in _SOFT else "hard"
    id_ = fields.word(part, "id")
    occurred_at = fields.epoch(part, "timestamp")
    event = fields.event(
        NAME,
        type_,
        occurred_at=occurred_at,
        # Its ids are unique within a day. A token belongs to a request, and another try may come with another token.
        event_id=f"{id_}:{occurred_at.date()}" if id_ and occurred_at else token or fields.digest(delivery),
        message_id=fields.word(fields.inner(part, "message", "headers"), "message-id"),
        references=fields.own(fields.inner(part, "user-variables")),
        email=email,
        metadata=metadata,
        received_at=delivery.received_at,
    )
    return fields.not_sent(event, email, known)


PROVIDER: Final = Provider(NAME, verify, normalise, delivery_id=token_of)
