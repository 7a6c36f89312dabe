"""Brevo's transactional webhooks. It signs nothing: `secret` is user:password of basic auth, or a token."""

from collections.abc import Mapping
from typing import Any, Final, cast

import orjson

from db.domain.events import EventType, NewEvent
from db.domain.webhooks import Normalised, StoredDelivery
from mcp_server.webhooks import fields
from mcp_server.webhooks.base import Json, Provider
from mcp_server.webhooks.signing import check_shared_secret

NAME: Final = "brevo"

_TYPES: Final[Mapping[str, EventType | None]] = {
    "request": None,
    "delivered": EventType.DELIVERED,
    "deferred": EventType.DEFERRED,
    "hard_bounce": EventType.BOUNCED,
    "soft_bounce": EventType.BOUNCED,
    "invalid_email": EventType.BOUNCED,
    "blocked": EventType.REJECTED,
    "error": EventType.FAILED,
    "spam": EventType.COMPLAINED,
    "complaint": EventType.COMPLAINED,
    "opened": EventType.OPENED,
    "unique_opened": EventType.OPENED,
    "proxy_open": EventType.MACHINE_OPENED,
    "unique_proxy_open": EventType.MACHINE_OPENED,
    "click": EventType.CLICKED,
    "unsubscribed": EventType.UNSUBSCRIBED,
}


def normalise(payload: Json, delivery: StoredDelivery) -> Normalised:
    """Returns one event a request, or a list of them; `X-Mailin-custom` holds what the sender attached, else the
    tags."""
    return fields.each_part(fields.as_list(payload), lambda _, part: _event(part, delivery))


def _event(part: dict[str, Any], delivery: StoredDelivery) -> NewEvent:
    name = fields.needed(part, "event")
    type_ = fields.kind(_TYPES, name)
    metadata = fields.details(
        reason=fields.word(part, "reason"),
        url=fields.word(part, "link"),
        user_agent=fields.word(part, "user_agent"),
        ip=fields.word(part, "ip"),
    )
    if type_ is EventType.BOUNCED:
        metadata["bounce_type"] = "soft" if name == "soft_bounce" else "hard"
    message_id = fields.without_brackets(fields.word(part, "message-id"))
    email, link = fields.word(part, "email"), fields.word(part, "link")
    moments = [fields.epoch(part, name) for name in ("ts_event", "ts_epoch", "ts")]
    return fields.event(
        NAME,
        type_,
        occurred_at=next(filter(None, moments), None),
        # A first opening is reported twice, as opened and as unique_opened: by our type they are one.
        event_id=fields.hash_of(type_, name.endswith("bounce"), message_id, email, link, *moments[:2]),
        message_id=message_id,
        references=fields.own(_attached(part)),
        email=email,
        metadata=metadata,
        received_at=delivery.received_at,
    )


def _attached(part: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values of a header with a JSON object or `name:value|name:value`, and of tags `name:value`."""
    custom = fields.word(part, "X-Mailin-custom") or ""
    try:
        given = cast("object", orjson.loads(custom)) if custom.startswith("{") else None
    except orjson.JSONDecodeError:
        given = None
    if isinstance(given, dict):
        return cast("dict[str, Any]", given)
    tags = part.get("tags")
    words = [*custom.split("|"), *(cast("list[Any]", tags) if isinstance(tags, list) else [])]
    pairs = [word.partition(":") for word in words if isinstance(word, str)]
    return {name.strip(): value.strip() for name, _, value in pairs}


# After any 5xx it drops the event; it tries again after a 429.
PROVIDER: Final = Provider(NAME, check_shared_secret, normalise, busy_status=429)
