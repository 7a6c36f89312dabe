"""lemlist's webhooks. `secret` is the one that was given when the webhook was made; it comes back in the body."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from db.domain.events import EventType, NewEvent
from db.domain.webhooks import Normalised, StoredDelivery
from mcp_server.webhooks import fields, signing
from mcp_server.webhooks.base import Forged, Headers, Json, Provider
from mcp_server.webhooks.parsing import parse

NAME: Final = "lemlist"

_TYPES: Final[Mapping[str, EventType]] = {
    "emailsSent": EventType.SENT,
    "emailsOpened": EventType.OPENED,
    "emailsClicked": EventType.CLICKED,
    "emailsReplied": EventType.REPLIED,
    "emailsBounced": EventType.BOUNCED,
    "emailsFailed": EventType.FAILED,
    "emailsSendFailed": EventType.FAILED,
    "emailsUnsubscribed": EventType.UNSUBSCRIBED,
    "linkedinVisitDone": EventType.PROFILE_VISITED,
    "linkedinInviteDone": EventType.CONNECTION_SENT,
    "linkedinInviteAccepted": EventType.CONNECTION_ACCEPTED,
    "linkedinSent": EventType.MESSAGE_SENT,
    "linkedinVoiceNoteDone": EventType.VOICE_MESSAGE_SENT,
    "linkedinReplied": EventType.MESSAGE_REPLIED,
}


def verify(body: bytes, headers: Headers, secret: str, now: datetime) -> None:  # noqa: ARG001  the secret is in the body
    """Verifies the shared secret, under `secret`."""
    given = fields.word(fields.inner(parse(body)), "secret")
    if given is None or not signing.is_same(given, secret):
        raise Forged("The secret is missing or wrong.")


def normalise(payload: Json, delivery: StoredDelivery) -> Normalised:
    """Returns one event a request; the lead's own variables stand at its top level."""
    return fields.each_part([payload], lambda _, part: _event(part, delivery))


def _event(part: dict[str, Any], delivery: StoredDelivery) -> NewEvent:
    name = fields.needed(part, "type")
    if name not in _TYPES:
        raise fields.Ignored  # of its seventy types, these are the ones that say what happened to a step
    metadata = fields.details(reason=fields.word(part, "errorMessage"), url=fields.word(part, "url"))
    if _TYPES[name] is EventType.BOUNCED:
        metadata["bounce_type"] = "hard"
    return fields.event(
        NAME,
        _TYPES[name],
        occurred_at=fields.moment(part, "createdAt"),
        event_id=fields.word(part, "_id") or fields.digest(delivery),
        message_id=_message(part),
        references=fields.own({**fields.inner(part, "variables"), **part}),
        email=fields.word(part, "leadEmail") or fields.word(part, "email"),
        metadata=metadata,
        received_at=delivery.received_at,
    )


def _message(part: Mapping[str, Any]) -> str | None:
    """Returns the lead and the step: what it calls a message is not known to whoever hands it the lead."""
    lead, step = fields.word(part, "leadId"), fields.word(part, "stepId")
    return f"{lead}:{step}" if lead and step else lead


PROVIDER: Final = Provider(NAME, verify, normalise, has_secret_in_body=True)
