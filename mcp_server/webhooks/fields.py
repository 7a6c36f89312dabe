"""Reads the payloads of providers, which may hold anything, and makes events of them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from typing import Any, Final, cast
from uuid import UUID

from pydantic import TypeAdapter, ValidationError

from db.domain import events, texts
from db.domain.events import EFFECTS, EventType, NewEvent
from db.domain.field_limits import PROVIDER_ID_MAX, STEP_NUMBER_MAX
from db.domain.mail.provider_headers import CAMPAIGN, ENROLLMENT, STEP
from db.domain.webhooks import Normalised, StoredDelivery
from mcp_server.schemas.contacts import Email
from mcp_server.schemas.events import EventIn
from mcp_server.schemas.faults import explain
from mcp_server.webhooks.base import Json

_DETAIL_MAX: Final = 1_000
_MILLISECONDS_FROM: Final = 1e11


class Unusable(Exception):
    """A part of a payload that is not an event, and why. The text holds no value of the payload."""


class Ignored(Exception):
    """A part of a payload that is of no interest here."""


def each_part(
    parts: Iterable[Json], read: Callable[[int, dict[str, Any]], NewEvent | Sequence[NewEvent]]
) -> Normalised:
    """Returns `read` of every part by its index; one that it refuses hinders no other."""
    result = Normalised()
    for index, part in enumerate(parts):
        try:
            found = read(index, mapping(part))
            result.events += [found] if isinstance(found, NewEvent) else found
        except Ignored:
            result.ignored += 1
        except Unusable as reason:
            result.invalid.append(str(reason))
    return result


def as_list(payload: Json) -> list[Json]:
    """Returns a batch, or the one object that stands for a batch of one."""
    return cast("list[Json]", payload) if isinstance(payload, list) else [payload]


def mapping(value: Json) -> dict[str, Any]:
    """Returns the object itself. Unusable where it is none."""
    if not isinstance(value, dict):
        raise Unusable("an object was expected")
    return cast("dict[str, Any]", value)


def inner(payload: Json, *path: str) -> dict[str, Any]:
    """Returns the object under `path`, or an empty one."""
    for name in path:
        payload = cast("dict[str, Any]", payload).get(name) if isinstance(payload, dict) else None
    return cast("dict[str, Any]", payload) if isinstance(payload, dict) else {}


def word(payload: Mapping[str, Any], name: str) -> str | None:
    """Returns a text or a whole number as text, without spaces around it; None for everything else, and for nothing."""
    value = payload.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not texts.is_storable(value):
        return None
    return value.strip() or None


def needed(payload: Mapping[str, Any], name: str) -> str:
    """Returns the text under `name`. Unusable where there is none."""
    value = word(payload, name)
    if value is None:
        raise Unusable(f"{name} is missing")
    return value


def epoch(payload: Mapping[str, Any], name: str) -> datetime | None:
    """Returns a Unix time in seconds or milliseconds; None where there is none."""
    value = payload.get(name)
    try:
        number = float(value) if isinstance(value, int | float | str) else None
        if number is None:
            return None
        return datetime.fromtimestamp(number / 1000 if number > _MILLISECONDS_FROM else number, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def moment(payload: Mapping[str, Any], name: str) -> datetime | None:
    """Returns an RFC 3339 time; one without a zone is in UTC. None where there is none."""
    value = word(payload, name)
    if value is None:
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def kind(types: Mapping[str, EventType | None], name: str) -> EventType:
    """Returns what `name` is to us. Ignored for one of no interest, Unusable for one that is unknown."""
    if name not in types:
        raise Unusable("the type of the event is unknown")
    found = types[name]
    if found is None:
        raise Ignored
    return found


def own(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the references that the sender attached. What is none is left out, since another reference may do."""
    return {
        "campaign_id": _uuid(metadata.get(CAMPAIGN)),
        "enrollment_id": _uuid(metadata.get(ENROLLMENT)),
        "step_number": _step(metadata.get(STEP)),
    }


def _uuid(value: Json) -> UUID | None:
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _step(value: Json) -> int | None:
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else 0
    return number if 1 <= number <= STEP_NUMBER_MAX else None


def digest(delivery: StoredDelivery, index: int = 0) -> str:
    """Returns an id for an event that has none: of its request and its place there."""
    return f"{delivery.body_hash.hex()}:{index}"


def hash_of(*values: object) -> str:
    """Returns an id made of what tells an event from others."""
    return sha256("\n".join(str(value) for value in values).encode("utf-8", "replace")).hexdigest()


def without_brackets(message_id: str | None) -> str | None:
    """Returns a Message-ID as it is compared: without its angle brackets."""
    return events.message_id(texts.one_line(message_id)) or None if message_id else None


def details(**values: Json) -> dict[str, Any]:
    """Returns what of a payload is kept with the event: short texts and flags."""
    kept = {
        name: texts.storable_part(value)[:_DETAIL_MAX] if isinstance(value, str) else value
        for name, value in values.items()
    }
    return {name: value for name, value in kept.items() if isinstance(value, str | bool) and value != ""}


def event(
    provider: str,
    type_: EventType,
    *,
    occurred_at: datetime | None,
    event_id: str,
    message_id: str | None,
    references: Mapping[str, Any],
    email: str | None,
    metadata: dict[str, Any],
    received_at: datetime,
) -> NewEvent:
    """Returns the event, checked as those of record_event are. Unusable says what is wrong with it.

    The address is a reference only within a campaign, and is kept for nothing else but to suppress it: for that it is
    enough by itself.
    """
    found = NewEvent(
        event_type=type_,
        channel=EFFECTS[type_].channel,
        occurred_at=occurred_at or received_at,
        provider=provider,
        provider_event_id=texts.one_line(event_id) if len(event_id) <= PROVIDER_ID_MAX else hash_of(event_id),
        provider_message_id=without_brackets(message_id),
        email=_address(email),
        metadata=metadata,
        **references,
    )
    if found.suppresses and found.email and not found.has_reference:
        return found
    if not (found.campaign_id or found.suppresses):
        found.email = None
    try:
        return EventIn(**{name: getattr(found, name) for name in EventIn.model_fields}).to_event(received_at)
    except ValidationError as error:
        raise Unusable("; ".join(explain(error))) from None


def not_sent(event: NewEvent, email: str | None, known: EventType | None) -> list[NewEvent]:
    """Returns the events of a mail that a provider did not send. `event` is of the mail; `known`, if any, is what the
    provider knows of its recipient, and is told of the address alone, so that the person is stopped and nothing is
    counted of the mail. Without an address it is told of the mail."""
    if known is None:
        return [event]
    metadata = {**event.metadata, "bounce_type": "hard"} if known is EventType.BOUNCED else event.metadata
    told = replace(
        event, event_type=known, provider_event_id=hash_of(event.provider_event_id, known), metadata=metadata
    )
    if (address := _address(email)) is not None:
        told.forget_references()
        told.email = address
    return [event, told]


def of_each(event: NewEvent, addresses: Sequence[str]) -> list[NewEvent]:
    """Returns the event of a mail for each of its recipients, any of whom it may be of; the event itself where no
    address can be read."""
    people = dict.fromkeys(filter(None, map(_address, addresses)))
    return [
        replace(event, email=person, provider_event_id=hash_of(event.provider_event_id, person)) for person in people
    ] or [event]


def about_address(provider: str, known: EventType, email: str | None, event_id: str, occurred_at: datetime) -> NewEvent:
    """Returns the event of an address alone, of a provider that keeps a list of contacts. Unusable where it names
    none."""
    address = _address(email)
    if address is None:
        raise Unusable("email is missing or no address")
    return NewEvent(
        event_type=known,
        channel=EFFECTS[known].channel,
        occurred_at=occurred_at,
        provider=provider,
        provider_event_id=hash_of(event_id, known, address),
        email=address,
    )


def _address(text: str | None) -> str | None:
    """Returns the address as contacts have it; None for what is none, since another reference may do."""
    if text is None:
        return None
    try:
        return _email().validate_python(text)
    except ValidationError:
        return None


@cache
def _email() -> TypeAdapter[str]:
    return TypeAdapter(Email)
