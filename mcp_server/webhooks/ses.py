"""Amazon SES, whose events come through an SNS topic. `secret` is the topic's ARN; anybody's topic is signed alike.

A topic asks to be confirmed before it sends. That request is kept for an operator, and its address is never called:
it came from outside.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, cast

from db.domain.events import EventType, NewEvent
from db.domain.webhooks import Normalised, StoredDelivery
from mcp_server.webhooks import fields, signing
from mcp_server.webhooks.base import Forged, Headers, Json, Malformed, Provider, Refusal
from mcp_server.webhooks.certificates import Certificates, check_host
from mcp_server.webhooks.parsing import parse

NAME: Final = "ses"
# What SES itself publishes when a topic is set up, as plain text.
_SET_UP: Final = "Successfully validated SNS topic"
# SES did not send, since the address is on a list of its own or of the account; None is what the event says otherwise.
_UNSENT: Final[Mapping[str | None, EventType | None]] = {
    "Suppressed": None,
    "OnAccountSuppressionList": None,
    "UnsubscribedRecipient": EventType.UNSUBSCRIBED,
}
# SNS tries for an hour, always with the first signature.
_WINDOW: Final = timedelta(hours=2)
# Feedback that no person gives (RFC 5965, RFC 6591): a mail server found a virus, or that SPF or DKIM fail. And that of
# somebody who took the mail out of the spam.
_NO_WISH: Final = frozenset({"virus", "auth-failure", "not-spam"})
_CONFIRMATIONS: Final = ("SubscriptionConfirmation", "UnsubscribeConfirmation")
_SIGNED: Final = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
_SIGNED_TO_CONFIRM: Final = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")

_TYPES: Final[Mapping[str, EventType | None]] = {
    "Send": EventType.SENT,
    "Delivery": EventType.DELIVERED,
    "DeliveryDelay": EventType.DEFERRED,
    "Bounce": EventType.BOUNCED,
    "Complaint": EventType.COMPLAINED,
    "Reject": EventType.REJECTED,
    "Rendering Failure": EventType.FAILED,
    "Open": EventType.OPENED,
    "Click": EventType.CLICKED,
    "Subscription": EventType.UNSUBSCRIBED,
    "AmazonSnsSubscriptionSucceeded": None,
}
# Where what is said of an event stands, and whom it is about; every other event is about the message as a whole.
_PLACES: Final = {"DeliveryDelay": "deliveryDelay", "Rendering Failure": "failure"}
_RECIPIENTS: Final = {
    "Bounce": "bouncedRecipients",
    "Complaint": "complainedRecipients",
    "Delivery": "recipients",
    "DeliveryDelay": "delayedRecipients",
}


def verifier(certificates: Certificates) -> Any:  # noqa: ANN401  a Verify
    """Returns `verify` with the certificates it may use."""

    def verify(body: bytes, headers: Headers, secret: str, now: datetime) -> None:  # noqa: ARG001  the signature is in the body
        _verify(fields.inner(parse(body)), secret, now, certificates)

    return verify


def _verify(envelope: dict[str, Any], topic: str, now: datetime, certificates: Certificates) -> None:
    """Verifies RSA over the fields that SNS names, with its certificate, for the topic of the settings alone."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415  slow; few servers have it
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15  # noqa: PLC0415  as above
    from cryptography.hazmat.primitives.hashes import SHA1, SHA256  # noqa: PLC0415  as above

    if not signing.is_same(_text(envelope, "TopicArn"), topic):
        raise Forged("The topic is another one.")
    version = _text(envelope, "SignatureVersion")
    if version not in ("1", "2"):
        raise Forged("The signature's version is unknown.")
    signature = signing.decoded(_text(envelope, "Signature"))
    key = certificates.key(_text(envelope, "SigningCertURL"), topic_region(topic), now)
    # Version 1 is what SNS uses unless the topic says otherwise.
    algorithm = SHA1() if version == "1" else SHA256()  # noqa: S303  SNS chooses it
    try:
        key.verify(signature, _canonical(envelope), PKCS1v15(), algorithm)
    except InvalidSignature:
        raise Forged("The signature is wrong.") from None
    signed_at = fields.moment(envelope, "Timestamp")
    if signed_at is None:
        raise Malformed("The timestamp is not one.")
    signing.check_moment(signed_at, now, _WINDOW)


def topic_region(topic: str) -> str:
    """Returns the region of a topic's ARN; empty where it has none."""
    parts = topic.split(":")
    return parts[3] if len(parts) > 3 else ""


def _text(envelope: Mapping[str, Any], name: str) -> str:
    value = envelope.get(name)
    if not isinstance(value, str):
        raise Forged(f"{name} is missing.")
    return value


def _canonical(envelope: Mapping[str, Any]) -> bytes:
    """Returns what SNS signs: names and values, a line each, in the order of the names."""
    names = _SIGNED_TO_CONFIRM if envelope.get("Type") in _CONFIRMATIONS else _SIGNED
    present = [name for name in names if name != "Subject" or envelope.get(name) is not None]
    return "".join(f"{name}\n{_text(envelope, name)}\n" for name in present).encode("utf-8", "surrogatepass")


def _id(payload: Json, headers: Headers) -> str | None:  # noqa: ARG001  see Provider.delivery_id
    return fields.word(fields.inner(payload), "MessageId")


def is_held(payload: Json) -> bool:
    """Returns whether it asks an operator to confirm, or tells of the end of, a subscription."""
    return fields.inner(payload).get("Type") in _CONFIRMATIONS


def confirmation_url(body: bytes) -> str | None:
    """Returns the address that confirms a held request; None if it is not one of SNS."""
    try:
        envelope = fields.inner(parse(body))
        url = _text(envelope, "SubscribeURL")
        check_host(url, topic_region(_text(envelope, "TopicArn")))
    except Refusal:
        return None
    return url


def normalise(payload: Json, delivery: StoredDelivery) -> Normalised:
    """Returns an event for each recipient that it tells of; `mail.tags` hold what the sender attached."""
    if (fields.word(fields.inner(payload), "Message") or "").startswith(_SET_UP):
        return Normalised(ignored=1)
    try:
        message = fields.mapping(parse(fields.needed(fields.inner(payload), "Message").encode()))
        name = fields.needed(message, "eventType" if "eventType" in message else "notificationType")
    except (Refusal, UnicodeEncodeError):
        return Normalised(invalid=["Message is not JSON: switch raw message delivery off for the topic"])
    except fields.Unusable as reason:
        return Normalised(invalid=[str(reason)])
    what = fields.inner(message, _PLACES.get(name, name.lower()))
    return fields.each_part(
        _people(name, what, message), lambda index, person: _event(index, person, name, what, message, delivery)
    )


def _people(name: str, what: Mapping[str, Any], message: Json) -> Sequence[Json]:
    """Returns {emailAddress} of each recipient; one alone for what is said of the message as a whole."""
    if name in _RECIPIENTS:
        listed = what.get(_RECIPIENTS[name])
        found = cast("list[Any]", listed) if isinstance(listed, list) else []
        return [recipient if isinstance(recipient, dict) else {"emailAddress": recipient} for recipient in found] or [
            {}
        ]
    destination = fields.inner(message, "mail").get("destination")
    addresses = cast("list[Any]", destination) if isinstance(destination, list) else []
    return [{"emailAddress": addresses[0]}] if len(addresses) == 1 else [{}]


def _event(
    index: int, person: dict[str, Any], name: str, what: dict[str, Any], message: Json, delivery: StoredDelivery
) -> list[NewEvent]:
    type_ = fields.kind(_TYPES, name)
    if type_ is EventType.COMPLAINED and (fields.word(what, "complaintFeedbackType") or "").lower() in _NO_WISH:
        raise fields.Ignored
    known = _known(type_, what)
    type_ = type_ if known is None else EventType.REJECTED
    if name == "Subscription" and fields.inner(what, "newTopicPreferences").get("unsubscribeAll") is not True:
        raise fields.Ignored
    mail = fields.inner(message, "mail")
    metadata = fields.details(
        reason=fields.word(person, "diagnosticCode")
        or fields.word(what, "reason")
        or fields.word(what, "errorMessage")
        or fields.word(what, "complaintFeedbackType"),
        url=fields.word(what, "link"),
        user_agent=fields.word(what, "userAgent"),
        ip=fields.word(what, "ipAddress"),
    )
    if type_ is EventType.BOUNCED:
        metadata["bounce_type"] = "hard" if fields.word(what, "bounceType") == "Permanent" else "soft"
    email = fields.word(person, "emailAddress")
    event = fields.event(
        NAME,
        type_,
        occurred_at=fields.moment(what, "timestamp") or fields.moment(mail, "timestamp"),
        event_id=f"{delivery.delivery_id or delivery.body_hash.hex()}:{index}",
        message_id=fields.word(mail, "messageId"),
        references=fields.own(_tags(mail)),
        email=email,
        metadata=metadata,
        received_at=delivery.received_at,
    )
    return fields.not_sent(event, email, known)


def _known(type_: EventType, what: Mapping[str, Any]) -> EventType | None:
    """Returns what SES knows of the address, if that is why it did not send."""
    found = {fields.word(what, name) for name in ("bounceSubType", "complaintSubType")} & _UNSENT.keys()
    return next((_UNSENT[why] or type_ for why in found), None)


def _tags(mail: Mapping[str, Any]) -> dict[str, Any]:
    """Returns our values. Each tag has a list of values; ours have one."""
    tags = fields.inner(mail.get("tags"))
    return {name: values[0] for name, values in tags.items() if isinstance(values, list) and values}


def make(certificates: Certificates) -> Provider:
    """Returns the provider, with the certificates it may use."""
    return Provider(NAME, verifier(certificates), normalise, delivery_id=_id, is_held=is_held, may_wait=True)
