"""Standard Webhooks, for any sender: `data` is an event, or a list of them, in the shape that record_event takes."""

from datetime import datetime
from typing import Any, Final

from pydantic import ValidationError

from db.domain import texts
from db.domain.events import EFFECTS, EventType, NewEvent
from db.domain.mail.provider_headers import CAMPAIGN, ENROLLMENT, STEP
from db.domain.webhooks import Normalised, StoredDelivery
from mcp_server.schemas.events import EventIn
from mcp_server.schemas.faults import explain
from mcp_server.webhooks import fields, signing
from mcp_server.webhooks.base import Headers, Json, Provider

NAME: Final = "standard"
_OWN: Final = (CAMPAIGN, ENROLLMENT, STEP)


def verify(body: bytes, headers: Headers, secret: str, now: datetime) -> None:
    """Verifies HMAC-SHA256, with headers that start with webhook-."""
    signing.check_standard("webhook", body, headers, secret, now)


def _id(payload: Json, headers: Headers) -> str | None:  # noqa: ARG001  see Provider.delivery_id
    return headers.get("webhook-id")


def normalise(payload: Json, delivery: StoredDelivery) -> Normalised:
    """Normalises events. `type` and `timestamp` of the request serve an event that has none of its own."""
    whole = fields.inner(payload)
    parts = fields.as_list(whole.get("data"))
    return fields.each_part(parts, lambda index, part: _event(index, part, whole, delivery))


def _event(index: int, part: dict[str, Any], whole: dict[str, Any], delivery: StoredDelivery) -> NewEvent:
    name = fields.word(part, "event_type") or (fields.word(whole, "type") or "").rpartition(".")[2]
    if name not in tuple(EventType):
        raise fields.Unusable("the type of the event is unknown")
    type_ = EventType(name)
    part = {key: texts.one_line(value) if isinstance(value, str) else value for key, value in part.items()}
    told = part.get("occurred_at")
    if isinstance(told, int | float):
        moment = None if isinstance(told, bool) else fields.epoch(part, "occurred_at")
        if moment is None:
            raise fields.Unusable("occurred_at must be a moment with its zone, or seconds since 1970")
        part = {**part, "occurred_at": moment}
    references = {key: value for key, value in fields.own(part).items() if value is not None}
    given = {
        "channel": EFFECTS[type_].channel,
        "provider": NAME,
        "provider_event_id": f"{delivery.delivery_id or delivery.body_hash.hex()}:{index}",
        "occurred_at": fields.moment(whole, "timestamp"),
        **references,
        **{key: value for key, value in part.items() if key not in _OWN},
        "event_type": type_,
    }
    try:
        return EventIn.model_validate(given).to_event(delivery.received_at)
    except ValidationError as error:
        raise fields.Unusable("; ".join(explain(error))) from None


PROVIDER: Final = Provider(
    NAME, verify, normalise, delivery_id=_id, signature_headers=("webhook-id", "webhook-timestamp", "webhook-signature")
)
