"""Resend's webhooks, signed as Svix signs. `secret` is the signing secret, whsec_..."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, cast

from db.domain.events import EventType, NewEvent
from db.domain.webhooks import Normalised, StoredDelivery
from mcp_server.webhooks import fields, signing
from mcp_server.webhooks.base import Headers, Json, Provider

NAME: Final = "resend"

_TYPES: Final[Mapping[str, EventType | None]] = {
    "email.sent": EventType.SENT,
    "email.scheduled": None,
    "email.delivered": EventType.DELIVERED,
    "email.delivery_delayed": EventType.DEFERRED,
    "email.bounced": EventType.BOUNCED,
    "email.complained": EventType.COMPLAINED,
    "email.opened": EventType.OPENED,
    "email.clicked": EventType.CLICKED,
    "email.failed": EventType.FAILED,
    "email.suppressed": EventType.REJECTED,
    "email.received": None,
}
_CONTACT_UPDATED: Final = "contact.updated"


def verify(body: bytes, headers: Headers, secret: str, now: datetime) -> None:
    """Verifies Standard Webhooks, with headers that start with svix-."""
    signing.check_standard("svix", body, headers, secret, now)


def _id(payload: Json, headers: Headers) -> str | None:  # noqa: ARG001  see Provider.delivery_id
    return headers.get("svix-id")


def normalise(payload: Json, delivery: StoredDelivery) -> Normalised:
    """Returns one event a request; `data.tags` hold what the sender attached."""
    return fields.each_part([payload], lambda _, part: _event(part, delivery))


def _event(part: dict[str, Any], delivery: StoredDelivery) -> NewEvent | list[NewEvent]:
    name = fields.needed(part, "type")
    if name == _CONTACT_UPDATED:
        return _refused(part, delivery)
    if not name.startswith("email."):
        raise fields.Ignored
    type_ = fields.kind(_TYPES, name)
    data = fields.inner(part, "data")
    bounce, click = fields.inner(data, "bounce"), fields.inner(data, "click") or fields.inner(data, "open")
    metadata = fields.details(
        reason=fields.word(bounce, "message") or fields.word(fields.inner(data, "failed"), "reason"),
        url=fields.word(click, "link"),
        user_agent=fields.word(click, "userAgent"),
        ip=fields.word(click, "ipAddress"),
    )
    if type_ is EventType.BOUNCED:
        metadata["bounce_type"] = "soft" if fields.word(bounce, "type") in ("Transient", "Undetermined") else "hard"
    email = _recipient(data.get("to"))
    event = fields.event(
        NAME,
        type_,
        occurred_at=fields.moment(part, "created_at"),
        event_id=delivery.delivery_id or fields.digest(delivery),
        message_id=fields.word(data, "email_id"),
        references=fields.own(_tags(data.get("tags"))),
        email=email,
        metadata=metadata,
        received_at=delivery.received_at,
    )
    # It suppresses whom it knows to have bounced or complained, and does not say which.
    return fields.not_sent(event, email, EventType.BOUNCED if type_ is EventType.REJECTED else None)


def _refused(part: dict[str, Any], delivery: StoredDelivery) -> NewEvent:
    """A contact who wants no more mail. Ignored for every other change of one."""
    data = fields.inner(part, "data")
    if data.get("unsubscribed") is not True:
        raise fields.Ignored
    return fields.about_address(
        NAME,
        EventType.UNSUBSCRIBED,
        fields.word(data, "email"),
        delivery.delivery_id or fields.digest(delivery),
        fields.moment(data, "updated_at") or fields.moment(part, "created_at") or delivery.received_at,
    )


def _tags(tags: Json) -> dict[str, Any]:
    """Returns an object, or a list of {name, value} as they are sent."""
    if isinstance(tags, list):
        pairs = [fields.inner(tag) for tag in cast("list[Any]", tags)]
        return {str(pair.get("name")): pair.get("value") for pair in pairs}
    return fields.inner(tags)


def _recipient(to: Json) -> str | None:
    """Returns the address, where there is one alone."""
    if isinstance(to, list):
        listed = cast("list[Any]", to)
        to = listed[0] if len(listed) == 1 else None
    return to if isinstance(to, str) else None


PROVIDER: Final = Provider(
    NAME, verify, normalise, delivery_id=_id, signature_headers=("svix-id", "svix-timestamp", "svix-signature")
)
