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
# Bounces of mails that were not sent, since the address is on a list of Resend or of Amazon SES, by which it sends.
_UNSENT: Final = frozenset({"Suppressed", "OnAccountSuppressionList"})
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
    if type_ is EventType.BOUNCED and fields.word(bounce, "subType") in _UNSENT:
        type_ = EventType.REJECTED
    metadata = fields.details(
        reason=fields.word(bounce, "message") or fields.word(fields.inner(data, "failed"), "reason"),
        url=fields.word(click, "link"),
        user_agent=fields.word(click, "userAgent"),
        ip=fields.word(click, "ipAddress"),
    )
    people = _recipients(data)
    if type_ is EventType.BOUNCED:
        # Of several recipients it does not say which one bounced: none of them may be lost for another's bounce.
        is_soft = len(people) > 1 or fields.word(bounce, "type") in ("Transient", "Undetermined")
        metadata["bounce_type"] = "soft" if is_soft else "hard"
    event = fields.event(
        NAME,
        type_,
        occurred_at=fields.moment(part, "created_at"),
        event_id=delivery.delivery_id or fields.digest(delivery),
        message_id=fields.word(data, "email_id"),
        references=fields.own(_tags(data.get("tags"))),
        email=people[0] if len(people) == 1 else None,
        metadata=metadata,
        received_at=delivery.received_at,
    )
    if type_ is EventType.COMPLAINED and len(people) > 1:
        return fields.of_each(event, people)  # nor who complained: that person must not be written to again
    # It suppresses whom it knows to have bounced or complained, and does not say which.
    is_known = type_ is EventType.REJECTED and len(people) <= 1
    return fields.not_sent(event, next(iter(people), None), EventType.BOUNCED if is_known else None)


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


def _recipients(data: Mapping[str, Any]) -> list[str]:
    """Returns the addresses that the mail went to, copies included."""
    given = [data.get(name) for name in ("to", "cc", "bcc")]
    listed = [cast("list[Json]", value) if isinstance(value, list) else [value] for value in given]
    return list(dict.fromkeys(address for addresses in listed for address in addresses if isinstance(address, str)))


PROVIDER: Final = Provider(
    NAME, verify, normalise, delivery_id=_id, signature_headers=("svix-id", "svix-timestamp", "svix-signature")
)
