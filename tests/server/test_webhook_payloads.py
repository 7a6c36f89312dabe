"""What each provider's payloads mean, in the shapes that it documents."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

import pytest

from db.domain.events import NewEvent
from db.domain.webhooks import Normalised, StoredDelivery
from mcp_server.webhooks.providers import Normaliser, providers
from tests.support.server import NOW
from tests.support.webhook_senders import MESSAGE, notification, ses_mail
from tests.support.webhooks import SENDERS, message_of

CAMPAIGN, ENROLLMENT = (f"00000000-0000-7000-8000-00000000000{n}" for n in (1, 2))
ATTACHED = {"sales_campaign_id": CAMPAIGN, "sales_enrollment_id": ENROLLMENT, "sales_step": "3"}
WHO = "Ann@Example.com"
normalise = Normaliser(providers())


def read(name: str, payload: Any, *, delivery_id: str | None = "d-1") -> Normalised:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return normalise(StoredDelivery(UUID(int=1), name, delivery_id, NOW, body, b"h" * 32))


def one(name: str, payload: Any) -> NewEvent:
    result = read(name, payload)
    assert (result.invalid, result.ignored, len(result.events)) == ([], 0, 1)
    return result.events[0]


def opened(name: str, attached: Mapping[str, Any] = ATTACHED) -> Any:
    payload = SENDERS[name].opened(NOW, dict(attached), WHO)
    return notification(payload, NOW) if name == "ses" else payload


def changed(name: str, **changes: Any) -> Any:
    """The opening as another kind of event."""
    payload = SENDERS[name].opened(NOW, {}, WHO)
    match name:
        case "sendgrid":
            return [{**payload[0], **changes}]
        case "mailgun":
            return {"signature": {"token": "t"}, "event-data": {**payload["event-data"], **changes}}
        case "resend":
            return {**payload, "type": changes.pop("type"), "data": {**payload["data"], **changes}}
        case "ses":
            return notification({"mail": payload["mail"], **changes}, NOW)
        case _:
            return {**payload, **changes}


@pytest.mark.parametrize("name", SENDERS)
def test_an_opening_is_read_whole(name: str) -> None:
    event = one(name, opened(name))
    assert (event.event_type, event.channel, event.provider) == ("opened", "email", name)
    assert event.provider_message_id == message_of(SENDERS[name])
    assert (event.campaign_id, event.enrollment_id, event.step_number) == (UUID(CAMPAIGN), UUID(ENROLLMENT), 3)
    assert abs(event.occurred_at - NOW) < timedelta(seconds=1)
    assert event.provider_event_id
    assert event.email == (None if name == "standard" else "ann@example.com")
    again = one(name, opened(name))
    assert (again.provider_event_id, again.occurred_at) == (event.provider_event_id, event.occurred_at)


@pytest.mark.parametrize("name", SENDERS)
def test_without_a_campaign_the_address_is_not_kept(name: str) -> None:
    event = one(name, opened(name, {}))
    assert (event.campaign_id, event.enrollment_id, event.step_number, event.email) == (None, None, None, None)
    assert "example.com" not in json.dumps(event.metadata).lower()


REPLIED = {"event_type": "message_replied", "enrollment_id": ENROLLMENT}
HARD, SOFT = {"bounce_type": "hard"}, {"bounce_type": "soft"}
IGNORED = "ignored"


def complaint(feedback: str) -> dict[str, Any]:
    people = [{"emailAddress": WHO}]
    return {"eventType": "Complaint", "complaint": {"complainedRecipients": people, "complaintFeedbackType": feedback}}


MEANINGS: list[tuple[str, dict[str, Any], str, dict[str, str]]] = [
    ("sendgrid", {"event": "processed"}, IGNORED, {}),
    ("sendgrid", {"event": "delivered", "response": "250 OK"}, "delivered", {}),
    ("sendgrid", {"event": "deferred", "response": "400"}, "deferred", {}),
    ("sendgrid", {"event": "bounce", "type": "bounce", "reason": "500"}, "bounced", HARD),
    ("sendgrid", {"event": "bounce", "type": "blocked", "reason": "500"}, "bounced", SOFT),
    ("sendgrid", {"event": "dropped", "reason": "Spam Content"}, "rejected", {"reason": "Spam Content"}),
    ("sendgrid", {"event": "dropped", "reason": "Invalid SMTPAPI header"}, "rejected", {}),
    ("sendgrid", {"event": "click", "url": "https://example.com/"}, "clicked", {"url": "https://example.com/"}),
    ("sendgrid", {"event": "spamreport"}, "complained", {}),
    ("sendgrid", {"event": "unsubscribe"}, "unsubscribed", {}),
    ("sendgrid", {"event": "group_unsubscribe"}, "unsubscribed", {}),
    ("sendgrid", {"event": "group_resubscribe"}, IGNORED, {}),
    ("postmark", {"RecordType": "Delivery", "DeliveredAt": "2026-11-02T09:00:00Z"}, "delivered", {}),
    ("postmark", {"RecordType": "Click", "OriginalLink": "https://example.com/"}, "clicked", {}),
    ("postmark", {"RecordType": "SpamComplaint", "ID": 42, "Email": WHO}, "complained", {}),
    ("postmark", {"RecordType": "Bounce", "ID": 42, "Type": "HardBounce", "Email": WHO}, "bounced", HARD),
    ("postmark", {"RecordType": "Bounce", "ID": 42, "Type": "BadEmailAddress", "Email": WHO}, "bounced", HARD),
    ("postmark", {"RecordType": "Bounce", "ID": 42, "Type": "SoftBounce", "Email": WHO}, "bounced", SOFT),
    ("postmark", {"RecordType": "Bounce", "ID": 42, "Type": "Blocked", "Email": WHO}, "bounced", SOFT),
    ("postmark", {"RecordType": "Bounce", "ID": 42, "Type": "Transient", "Email": WHO}, "deferred", {}),
    ("postmark", {"RecordType": "Bounce", "ID": 42, "Type": "AutoResponder", "Email": WHO}, "auto_replied", {}),
    ("postmark", {"RecordType": "Bounce", "ID": 42, "Type": "AddressChange", "Email": WHO}, "auto_replied", {}),
    ("postmark", {"RecordType": "Bounce", "ID": 42, "Type": "ChallengeVerification", "Email": WHO}, "auto_replied", {}),
    ("postmark", {"RecordType": "Bounce", "ID": 42, "Type": "SMTPApiError", "Email": WHO}, "failed", {}),
    ("postmark", {"RecordType": "Bounce", "ID": 42, "Type": "TemplateRenderingFailed", "Email": WHO}, "failed", {}),
    ("postmark", {"RecordType": "Bounce", "ID": 42, "Type": "SpamComplaint", "Email": WHO}, "complained", {}),
    ("postmark", {"RecordType": "Bounce", "ID": 42, "Type": "OpenRelayTest", "Email": WHO}, IGNORED, {}),
    ("postmark", {"RecordType": "Bounce", "ID": 42, "Type": "InboundError", "Email": WHO}, IGNORED, {}),
    ("postmark", {"RecordType": "Inbound"}, IGNORED, {}),
    (
        "postmark",
        {"RecordType": "SubscriptionChange", "SuppressSending": True, "SuppressionReason": "SpamComplaint"},
        "complained",
        {},
    ),
    ("postmark", {"RecordType": "Bounce", "ID": 42, "Type": "Unsubscribe", "Email": WHO}, "unsubscribed", {}),
    ("postmark", {"RecordType": "Bounce", "ID": 42, "Type": "Subscribe", "Email": WHO}, IGNORED, {}),
    (
        "postmark",
        {"RecordType": "SubscriptionChange", "SuppressSending": True, "SuppressionReason": "ManualSuppression"},
        "unsubscribed",
        {},
    ),
    (
        "postmark",
        {"RecordType": "SubscriptionChange", "SuppressSending": True, "SuppressionReason": "HardBounce"},
        "bounced",
        HARD,
    ),
    (
        "postmark",
        {"RecordType": "SubscriptionChange", "SuppressSending": False, "SuppressionReason": None},
        IGNORED,
        {},
    ),
    ("mailgun", {"event": "accepted"}, IGNORED, {}),
    ("mailgun", {"event": "delivered"}, "delivered", {}),
    ("mailgun", {"event": "clicked", "url": "https://example.com/"}, "clicked", {"url": "https://example.com/"}),
    ("mailgun", {"event": "unsubscribed"}, "unsubscribed", {}),
    ("mailgun", {"event": "complained"}, "complained", {}),
    ("mailgun", {"event": "rejected"}, "rejected", {}),
    ("mailgun", {"event": "failed", "severity": "permanent", "reason": "bounce"}, "bounced", HARD),
    ("mailgun", {"event": "failed", "severity": "temporary", "reason": "generic"}, "deferred", {}),
    ("mailgun", {"event": "failed", "severity": "permanent", "reason": "espblock"}, "bounced", SOFT),
    ("mailgun", {"event": "failed", "severity": "permanent", "reason": "generic"}, "bounced", SOFT),
    ("mailgun", {"event": "failed", "severity": "permanent", "reason": "old"}, "bounced", SOFT),
    ("ses", complaint("not-spam"), IGNORED, {}),
    ("ses", complaint("auth-failure"), IGNORED, {}),
    ("ses", complaint("virus"), IGNORED, {}),
    ("ses", complaint("Virus"), IGNORED, {}),
    ("ses", complaint("abuse"), "complained", {"reason": "abuse"}),
    ("ses", complaint("fraud"), "complained", {}),
    ("ses", complaint("other"), "complained", {}),
    ("ses", {"eventType": "Send", "send": {}}, "sent", {}),
    ("ses", {"eventType": "Delivery", "delivery": {"recipients": [WHO]}}, "delivered", {}),
    ("ses", {"eventType": "Reject", "reject": {"reason": "Bad content"}}, "rejected", {"reason": "Bad content"}),
    ("ses", {"eventType": "Click", "click": {"link": "https://example.com/"}}, "clicked", {}),
    ("ses", {"eventType": "Rendering Failure", "failure": {"errorMessage": "No name"}}, "failed", {}),
    (
        "ses",
        {"eventType": "DeliveryDelay", "deliveryDelay": {"delayedRecipients": [{"emailAddress": WHO}]}},
        "deferred",
        {},
    ),
    (
        "ses",
        {
            "notificationType": "Bounce",
            "bounce": {
                "bounceType": "Permanent",
                "bouncedRecipients": [{"emailAddress": WHO, "diagnosticCode": "550 no such user"}],
            },
        },
        "bounced",
        {**HARD, "reason": "550 no such user"},
    ),
    (
        "ses",
        {"eventType": "Bounce", "bounce": {"bounceType": "Transient", "bouncedRecipients": [{"emailAddress": WHO}]}},
        "bounced",
        SOFT,
    ),
    (
        "ses",
        {"eventType": "Complaint", "complaint": {"complainedRecipients": [{"emailAddress": WHO}]}},
        "complained",
        {},
    ),
    (
        "ses",
        {"eventType": "Subscription", "subscription": {"newTopicPreferences": {"unsubscribeAll": True}}},
        "unsubscribed",
        {},
    ),
    (
        "ses",
        {"eventType": "Subscription", "subscription": {"newTopicPreferences": {"unsubscribeAll": False}}},
        IGNORED,
        {},
    ),
    ("resend", {"type": "email.sent"}, "sent", {}),
    ("resend", {"type": "email.delivered"}, "delivered", {}),
    ("resend", {"type": "email.delivery_delayed"}, "deferred", {}),
    ("resend", {"type": "email.bounced", "bounce": {"type": "Permanent", "message": "No"}}, "bounced", HARD),
    ("resend", {"type": "email.bounced", "bounce": {"type": "Transient", "message": "No"}}, "bounced", SOFT),
    ("resend", {"type": "email.complained"}, "complained", {}),
    ("resend", {"type": "email.clicked", "click": {"link": "https://example.com/"}}, "clicked", {}),
    ("resend", {"type": "email.failed", "failed": {"reason": "no quota"}}, "failed", {"reason": "no quota"}),
    ("resend", {"type": "email.scheduled"}, IGNORED, {}),
    ("resend", {"type": "email.received"}, IGNORED, {}),
    ("resend", {"type": "contact.created"}, IGNORED, {}),
    ("brevo", {"event": "request"}, IGNORED, {}),
    ("brevo", {"event": "inboundEmailProcessed"}, IGNORED, {}),
    ("brevo", {"event": "reply"}, "replied", {}),
    ("brevo", {"event": "delivered"}, "delivered", {}),
    ("brevo", {"event": "hard_bounce", "reason": "550"}, "bounced", HARD),
    ("brevo", {"event": "soft_bounce", "reason": "450"}, "bounced", SOFT),
    ("brevo", {"event": "hardBounce", "reason": "550"}, "bounced", HARD),
    ("brevo", {"event": "softBounce", "reason": "450"}, "bounced", SOFT),
    ("brevo", {"event": "invalid_email"}, "bounced", HARD),
    ("brevo", {"event": "invalid"}, "bounced", HARD),
    ("brevo", {"event": "error", "reason": "no credits"}, "failed", {"reason": "no credits"}),
    ("brevo", {"event": "deferred"}, "deferred", {}),
    ("brevo", {"event": "complaint"}, "complained", {}),
    ("brevo", {"event": "uniqueOpened"}, "opened", {}),
    ("brevo", {"event": "unsubscribe"}, "unsubscribed", {}),
    ("brevo", {"event": "contact_updated", "content": [{"email": WHO, "emailBlacklist": False}]}, IGNORED, {}),
    ("brevo", {"event": "contact_deleted"}, IGNORED, {}),
    ("resend", {"type": "contact.updated", "unsubscribed": False}, IGNORED, {}),
    ("brevo", {"event": "spam"}, "complained", {}),
    ("brevo", {"event": "proxy_open"}, "machine_opened", {}),
    ("brevo", {"event": "unique_proxy_open"}, "machine_opened", {}),
    ("brevo", {"event": "click", "link": "https://example.com/"}, "clicked", {}),
    ("brevo", {"event": "unsubscribed"}, "unsubscribed", {}),
    ("lemlist", {"type": "emailsSent"}, "sent", {}),
    ("lemlist", {"type": "emailsClicked"}, "clicked", {}),
    ("lemlist", {"type": "emailsReplied"}, "replied", {}),
    ("lemlist", {"type": "emailsBounced"}, "bounced", HARD),
    ("lemlist", {"type": "emailsFailed"}, "failed", {}),
    ("lemlist", {"type": "emailsSendFailed"}, "failed", {}),
    ("lemlist", {"type": "linkedinVoiceNoteDone"}, "voice_message_sent", {}),
    ("lemlist", {"type": "emailsUnsubscribed"}, "unsubscribed", {}),
    ("lemlist", {"type": "linkedinInviteDone"}, "connection_sent", {}),
    ("lemlist", {"type": "linkedinInviteAccepted"}, "connection_accepted", {}),
    ("lemlist", {"type": "linkedinSent"}, "message_sent", {}),
    ("lemlist", {"type": "linkedinReplied"}, "message_replied", {}),
    ("lemlist", {"type": "linkedinVisitDone"}, "profile_visited", {}),
    ("lemlist", {"type": "campaignComplete"}, IGNORED, {}),
    ("standard", {"type": "bounced", "data": {"provider_message_id": "m", "metadata": SOFT}}, "bounced", SOFT),
    (
        "standard",
        {"type": "x", "data": [{"event_type": "message_replied", "enrollment_id": ENROLLMENT}]},
        "message_replied",
        {},
    ),
]


@pytest.mark.parametrize(
    ("name", "changes", "meaning", "metadata"),
    MEANINGS,
    ids=[f"{name}-{json.dumps(changes)[:70]}" for name, changes, _, _ in MEANINGS],
)
def test_a_native_event_has_its_meaning(
    name: str, changes: dict[str, Any], meaning: str, metadata: dict[str, str]
) -> None:
    result = read(name, changed(name, **changes))
    assert result.invalid == []
    if meaning == IGNORED:
        assert (result.events, result.ignored) == ([], 1)
        return
    (event,) = result.events
    assert event.event_type == meaning
    assert metadata.items() <= event.metadata.items()
    assert ("bounce_type" in event.metadata) is (meaning == "bounced")


def unsent(why: str) -> dict[str, Any]:
    """The bounce of a mail that Amazon SES did not send."""
    people = [{"emailAddress": f"Ann <{WHO}>"}]
    bounce = {"bounceType": "Permanent", "bounceSubType": why, "bouncedRecipients": people}
    return {"eventType": "Bounce", "bounce": bounce}


KNOWN: list[tuple[str, dict[str, Any], str]] = [
    ("sendgrid", {"event": "dropped", "reason": "Bounced Address"}, "bounced"),
    ("sendgrid", {"event": "dropped", "reason": "Invalid"}, "bounced"),
    ("sendgrid", {"event": "dropped", "reason": "Unsubscribed Address"}, "unsubscribed"),
    ("sendgrid", {"event": "dropped", "reason": "Spam Reporting Address"}, "complained"),
    ("mailgun", {"event": "failed", "severity": "permanent", "reason": "suppress-bounce"}, "bounced"),
    ("mailgun", {"event": "failed", "severity": "permanent", "reason": "suppress-unsubscribe"}, "unsubscribed"),
    ("mailgun", {"event": "failed", "severity": "permanent", "reason": "suppress-complaint"}, "complained"),
    ("brevo", {"event": "blocked"}, "bounced"),
    ("resend", {"type": "email.suppressed"}, "bounced"),
    ("postmark", {"RecordType": "Bounce", "ID": 42, "Type": "ManuallyDeactivated", "Email": WHO}, "bounced"),
    (
        "resend",
        {"type": "email.bounced", "bounce": {"type": "Permanent", "subType": "Suppressed", "message": "No"}},
        "bounced",
    ),
    ("ses", unsent("Suppressed"), "bounced"),
    ("ses", unsent("OnAccountSuppressionList"), "bounced"),
    ("ses", unsent("UnsubscribedRecipient"), "unsubscribed"),
    (
        "ses",
        {
            "eventType": "Complaint",
            "complaint": {
                "complaintSubType": "OnAccountSuppressionList",
                "complainedRecipients": [{"emailAddress": WHO}],
            },
        },
        "complained",
    ),
]


@pytest.mark.parametrize(
    ("name", "changes", "known"), KNOWN, ids=[f"{name}-{json.dumps(changes)[:70]}" for name, changes, _ in KNOWN]
)
def test_what_a_provider_knows_of_an_address_is_told_of_the_address_alone(
    name: str, changes: dict[str, Any], known: str
) -> None:
    result = read(name, changed(name, **changes))
    assert (result.invalid, result.ignored) == ([], 0)
    mail, address = result.events
    assert mail.event_type == "rejected"
    assert mail.provider_message_id is not None
    assert (address.event_type, address.email, address.has_reference) == (known, "ann@example.com", False)
    assert address.suppresses
    assert address.provider_event_id != mail.provider_event_id
    assert read(name, changed(name, **changes)).events[1].provider_event_id == address.provider_event_id


def test_contacts_that_a_provider_may_not_write_to_are_unsubscribed() -> None:
    content = [{"email": WHO, "emailBlacklist": True}, {"email": "ben@example.com", "emailBlacklist": False}]
    brevo = one("brevo", {"event": "contact_updated", "ts": 1793606400, "content": content})
    resend = one("resend", {"type": "contact.updated", "data": {"email": WHO, "unsubscribed": True}})
    for event in (brevo, resend):
        assert (event.event_type, event.email, event.has_reference) == ("unsubscribed", "ann@example.com", False)


def test_amazons_notice_of_a_new_topic_is_no_event() -> None:
    told = "Successfully validated SNS topic for Amazon SES event publishing."
    for message in (told, json.dumps({"notificationType": "AmazonSnsSubscriptionSucceeded", "message": told})):
        result = read("ses", {"Type": "Notification", "MessageId": "1", "Message": message})
        assert (result.events, result.invalid, result.ignored) == ([], [], 1)


def test_brevos_clock_in_utc_is_believed_before_those_of_the_account() -> None:
    ahead = int((NOW + timedelta(hours=9)).timestamp())
    event = one("brevo", changed("brevo", ts=ahead, ts_event=ahead, ts_epoch=int(NOW.timestamp() * 1000)))
    assert abs(event.occurred_at - NOW) < timedelta(seconds=1)


def test_an_event_for_each_recipient_that_amazon_tells_of() -> None:
    people = [{"emailAddress": f"p{n}@example.com"} for n in range(3)]
    message = {
        "eventType": "Bounce",
        "mail": ses_mail(NOW, ATTACHED, "p0@example.com", "p1@example.com", "p2@example.com"),
        "bounce": {"bounceType": "Permanent", "bouncedRecipients": people, "timestamp": "2026-11-02T08:59:59.000Z"},
    }
    result = read("ses", notification(message, NOW), delivery_id="22b80b92")
    assert [event.provider_event_id for event in result.events] == ["22b80b92:0", "22b80b92:1", "22b80b92:2"]
    assert [event.email for event in result.events] == [f"p{n}@example.com" for n in range(3)]
    assert {event.occurred_at for event in result.events} == {datetime(2026, 11, 2, 8, 59, 59, tzinfo=UTC)}


def test_an_opening_of_a_message_to_several_counts_once() -> None:
    mail = ses_mail(NOW, ATTACHED, "p0@example.com", "p1@example.com")
    event = one("ses", notification({"eventType": "Open", "mail": mail, "open": {}}, NOW))
    assert event.email is None


@pytest.mark.parametrize("custom", [json.dumps(ATTACHED), "|".join(f"{k}:{v}" for k, v in ATTACHED.items()), None])
def test_brevos_header_or_tags_hold_what_was_attached(custom: str | None) -> None:
    tags = ["spring", *(f"{name}:{value}" for name, value in ATTACHED.items())]
    changes = {"X-Mailin-custom": custom} if custom else {"X-Mailin-custom": "", "tags": tags}
    event = one("brevo", changed("brevo", **changes))
    assert (event.enrollment_id, event.step_number) == (UUID(ENROLLMENT), 3)


def test_resends_tags_can_be_a_list() -> None:
    tags = [{"name": name, "value": value} for name, value in ATTACHED.items()]
    assert one("resend", changed("resend", type="email.opened", tags=tags)).enrollment_id == UUID(ENROLLMENT)


def test_brevos_two_reports_of_one_opening_are_one_event() -> None:
    first, again = (one("brevo", changed("brevo", event=name)) for name in ("opened", "unique_opened"))
    later = one("brevo", changed("brevo", ts_event=int(NOW.timestamp()) + 60))
    assert first.provider_event_id == again.provider_event_id
    assert later.provider_event_id != first.provider_event_id


def test_an_event_of_sendgrid_without_an_id_gets_one_of_its_place() -> None:
    (part,) = opened("sendgrid")
    del part["sg_event_id"]
    first, second = read("sendgrid", [part, part]).events
    assert first.provider_event_id != second.provider_event_id
    assert read("sendgrid", [part, part]).events[1].provider_event_id == second.provider_event_id


def test_a_sender_can_name_its_own_provider_and_ids() -> None:
    data = {"provider": "our-smtp", "provider_event_id": "e-1", "provider_message_id": MESSAGE}
    event = one("standard", {"type": "email.delivered", "data": data})
    assert (event.provider, event.provider_event_id, event.occurred_at) == ("our-smtp", "e-1", NOW)


@pytest.mark.parametrize("told", ["2026-11-02T08:00:00Z", 1793606400, 1793606400.0, 1793606400000])
def test_a_sender_may_tell_when_in_unix_time(told: object) -> None:
    event = one("standard", {"type": "email.delivered", "data": {"provider_message_id": MESSAGE, "occurred_at": told}})
    assert event.occurred_at == datetime(2026, 11, 2, 8, tzinfo=UTC)


@pytest.mark.parametrize("told", [True, 1e30, -5e12])
def test_a_number_that_is_no_time_spoils_the_event_instead_of_its_moment(told: object) -> None:
    data = {"provider_message_id": MESSAGE, "occurred_at": told}
    result = read("standard", {"type": "email.delivered", "timestamp": "2026-11-02T08:00:00Z", "data": data})
    assert (result.events, len(result.invalid)) == ([], 1)


@pytest.mark.parametrize("spoilt", [r"\u0000", r"\ud83d", r"\udc00\ud800", r"\n"])
@pytest.mark.parametrize("name", SENDERS)
def test_characters_that_nobody_can_keep_cost_no_event(name: str, spoilt: str) -> None:
    text = json.dumps(SENDERS[name].opened(NOW, dict(ATTACHED), WHO))
    spoilt_text = text.replace(MESSAGE, spoilt + MESSAGE).replace("act_", f"act_{spoilt}")
    assert spoilt_text != text
    body = json.dumps({**notification({}, NOW), "Message": spoilt_text}) if name == "ses" else spoilt_text
    (event,) = read(name, body.encode()).events
    assert event.enrollment_id == UUID(ENROLLMENT)
    assert (event.provider_message_id or "").lstrip("\ufffd ") == (message_of(SENDERS[name]) or "")


ODD: list[Any] = [None, 7, 1e308, -1, True, "", "\x00", "\ud800", "x" * 5_000, [], [[]], {}, {"a": {}}, [None]]


def spoiled(payload: Any, value: Any) -> list[Any]:
    """`value` itself, and the payload with each of its parts, at any depth, replaced by it."""
    made: list[Any] = [value]
    if isinstance(payload, dict):
        whole = cast("dict[str, Any]", payload)
        made += [{**whole, key: variant} for key, old in whole.items() for variant in spoiled(old, value)]
    if isinstance(payload, list):
        parts = cast("list[Any]", payload)
        made += [
            [*parts[:n], variant, *parts[n + 1 :]] for n, old in enumerate(parts) for variant in spoiled(old, value)
        ]
    return made


@pytest.mark.parametrize("name", SENDERS)
def test_no_payload_whatever_breaks_the_normaliser(name: str) -> None:
    payload = opened(name)
    variants = [variant for value in ODD for variant in spoiled(payload, value)]
    if name == "ses":
        message = json.loads(payload["Message"])
        variants += [
            {**payload, "Message": json.dumps(variant)} for value in ODD for variant in spoiled(message, value)
        ]
    assert len(variants) > 100
    empty: list[Any] = [[], {**payload, "data": []} if name == "standard" else []]
    for variant in variants:
        result = read(name, variant)
        assert variant in empty or len(result.events) + len(result.invalid) + result.ignored > 0
        for event in result.events:
            assert event.enrollment_id or event.provider_message_id or (event.campaign_id and event.email)
            assert event.provider_event_id
        assert not any("ann@example" in reason.lower() for reason in result.invalid)


def test_what_no_version_knows_is_a_reason() -> None:
    stored = StoredDelivery(UUID(int=1), "nobody", None, NOW, b"{}", b"h" * 32)
    assert normalise(stored).invalid
    assert normalise(replace(stored, provider="brevo", body=b"{")).invalid
