"""Brevo's transactional webhooks. It signs nothing: `secret` is user:password of basic auth, or a token."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, cast

import orjson

from db.domain.events import EventType, NewEvent
from db.domain.webhooks import Normalised, StoredDelivery
from mcp_server.webhooks import fields
from mcp_server.webhooks.base import Json, Provider
from mcp_server.webhooks.signing import check_shared_secret

NAME: Final = "brevo"

# By name in lower case and without underscores: transactional webhooks say hard_bounce, those of campaigns hardBounce.
_TYPES: Final[Mapping[str, EventType | None]] = {
    "request": None,
    "sent": None,
    "delivered": EventType.DELIVERED,
    "deferred": EventType.DEFERRED,
    "hardbounce": EventType.BOUNCED,
    "softbounce": EventType.BOUNCED,
    "invalidemail": EventType.BOUNCED,
    "invalid": EventType.BOUNCED,
    "blocked": EventType.REJECTED,
    "error": EventType.FAILED,
    "spam": EventType.COMPLAINED,
    "complaint": EventType.COMPLAINED,
    "opened": EventType.OPENED,
    "uniqueopened": EventType.OPENED,
    "proxyopen": EventType.MACHINE_OPENED,
    "uniqueproxyopen": EventType.MACHINE_OPENED,
    "click": EventType.CLICKED,
    "unsubscribe": EventType.UNSUBSCRIBED,
    "unsubscribed": EventType.UNSUBSCRIBED,
    "reply": EventType.REPLIED,
    "inboundemailprocessed": None,
    "contactupdated": None,
    "contactdeleted": None,
    "listaddition": None,
}
_CONTACT_UPDATED: Final = "contactupdated"


def normalise(payload: Json, delivery: StoredDelivery) -> Normalised:
    """Returns one event a request, or a list of them; `X-Mailin-custom` holds what the sender attached, else the
    tags."""
    return fields.each_part(fields.as_list(payload), lambda _, part: _events(part, delivery))


def _events(part: dict[str, Any], delivery: StoredDelivery) -> list[NewEvent]:
    name = fields.needed(part, "event").replace("_", "").lower()
    return _refused(part, delivery) if name == _CONTACT_UPDATED else _event(name, part, delivery)


def _refused(part: dict[str, Any], delivery: StoredDelivery) -> list[NewEvent]:
    """Those of the contacts that were changed to whom no mail may go. Ignored where there are none."""
    content = part.get("content")
    people = [fields.inner(person) for person in cast("list[Any]", content)] if isinstance(content, list) else []
    occurred_at = _moment(part) or delivery.received_at
    found = [
        fields.about_address(
            NAME, EventType.UNSUBSCRIBED, fields.word(person, "email"), f"contact:{occurred_at}", occurred_at
        )
        for person in people
        if person.get("emailBlacklist") is True
    ]
    if not found:
        raise fields.Ignored
    return found


def _moment(part: Mapping[str, Any]) -> datetime | None:
    """`ts_epoch` is in UTC; the others are in the time zone of the account, as clocks there show it."""
    moments = (fields.epoch(part, name) for name in ("ts_epoch", "ts_event", "ts"))
    return next(filter(None, moments), None)


def _event(name: str, part: dict[str, Any], delivery: StoredDelivery) -> list[NewEvent]:
    type_ = fields.kind(_TYPES, name)
    metadata = fields.details(
        reason=fields.word(part, "reason"),
        url=fields.word(part, "link"),
        user_agent=fields.word(part, "user_agent"),
        ip=fields.word(part, "ip"),
    )
    if type_ is EventType.BOUNCED:
        metadata["bounce_type"] = "soft" if name == "softbounce" else "hard"
    message_id = fields.without_brackets(fields.word(part, "message-id"))
    email, link = fields.word(part, "email"), fields.word(part, "link")
    moments = [fields.epoch(part, name) for name in ("ts_event", "ts_epoch")]
    event = fields.event(
        NAME,
        type_,
        occurred_at=_moment(part),
        # A first opening is reported twice, as opened and as unique_opened: by our type they are one.
        event_id=fields.hash_of(type_, name.endswith("bounce"), message_id, email, link, *moments),
        message_id=message_id,
        references=fields.own(_attached(part)),
        email=email,
        metadata=metadata,
        received_at=delivery.received_at,
    )
    # It blocks what is on its list of those who bounced, complained or unsubscribed, and does not say which.
    return fields.not_sent(event, email, EventType.BOUNCED if type_ is EventType.REJECTED else None)


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
