"""Rows that the database takes: a scene, and of each table one more."""

from collections.abc import Mapping
from typing import Any

NOON = "2026-03-02T12:00:00Z"
NOWHERE = "00000000-0000-7000-8000-0000000000ff"


def uuid(number: int) -> str:
    return f"00000000-0000-7000-8000-{number:012d}"


TEMPLATE, EMAIL_TEMPLATE, CAMPAIGN, ENROLLMENT = uuid(1), uuid(2), uuid(3), uuid(4)
OTHER_CAMPAIGN = uuid(18)
ADA, BEN, CLEO = uuid(5), uuid(6), uuid(7)
PROFILE = "https://www.linkedin.com/in/"

# What stands in the database, in the order of the foreign keys.
SCENE: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("campaign_templates", {"id": TEMPLATE, "name": "Both", "type": "multi_channel", "path_type": "structured"}),
    ("campaign_templates", {"id": EMAIL_TEMPLATE, "name": "Mail", "type": "email", "path_type": "structured"}),
    *(
        (
            "template_steps",
            {"template_id": TEMPLATE, "step_number": number, "channel": channel, "template_type": "multi_channel"},
        )
        for number, channel in ((1, "email"), (2, "linkedin"), (3, "email"), (4, "linkedin"))
    ),
    (
        "email_sequences",
        {"id": uuid(10), "template_id": TEMPLATE, "step_number": 1, "subject": "Hello", "body": "Nice to meet you."},
    ),
    (
        "linkedin_sequences",
        {"id": uuid(11), "template_id": TEMPLATE, "step_number": 2, "type": "message", "message": "Hello"},
    ),
    ("contacts", {"id": ADA, "email": "ada@example.com", "linkedin_url": f"{PROFILE}ada"}),
    ("contacts", {"id": BEN, "email": "ben@example.com"}),
    ("contact_addresses", {"contact_id": ADA, "address": "ada@old.example"}),
    ("consents", {"address": "ada@example.com", "given_at": NOON}),
    ("suppressions", {"id": uuid(12), "email": "stop@example.com", "reason": "manual"}),
    ("suppressions", {"id": uuid(13), "domain": "stop.example.com", "reason": "manual"}),
    ("suppressions", {"id": uuid(14), "linkedin_url": f"{PROFILE}stop", "reason": "manual"}),
    ("suppressions", {"id": uuid(18), "address_hash": b"h" * 32, "reason": "unsubscribed"}),
    ("secrets", {"name": "first", "value": b"k" * 32}),
    ("access_tokens", {"id": uuid(19), "name": "agent", "scopes": ["read"], "token_hash": b"a" * 32}),
    ("used_tickets", {"id": b"t" * 16, "expires_at": NOON}),
    ("audit_log", {"id": uuid(20), "at": NOON, "actor": "agent", "tool": "suppress", "outcome": "ok"}),
    ("campaign_instances", {"id": CAMPAIGN, "template_id": TEMPLATE, "name": "Spring"}),
    ("campaign_instances", {"id": OTHER_CAMPAIGN, "template_id": TEMPLATE, "name": "Summer"}),
    ("campaign_usage", {"instance_id": CAMPAIGN, "quarter": NOON, "backend": 1, "used": 1, "last_at": NOON}),
    (
        "sender_usage",
        {"channel": "email", "account": "sales@example.com", "quarter": NOON, "backend": 1, "used": 1, "last_at": NOON},
    ),
    (
        "campaign_enrollments",
        {"instance_id": CAMPAIGN, "id": ENROLLMENT, "contact_id": ADA, "status": "enrolled"},
    ),
    (
        "campaign_actions",
        {
            "instance_id": CAMPAIGN,
            "id": uuid(15),
            "enrollment_id": ENROLLMENT,
            "step_number": 1,
            "channel": "email",
            "status": "claimed",
        },
    ),
    (
        "campaign_events",
        {
            "instance_id": CAMPAIGN,
            "id": uuid(16),
            "enrollment_id": ENROLLMENT,
            "event_type": "opened",
            "channel": "email",
            "occurred_at": NOON,
            "provider_event_id": "event-1",
        },
    ),
    (
        "campaign_messages",
        {"instance_id": CAMPAIGN, "enrollment_id": ENROLLMENT, "provider_message_id": "message-1"},
    ),
    (
        "orphaned_events",
        {
            "id": uuid(17),
            "reason": "early",
            "event_type": "opened",
            "channel": "email",
            "occurred_at": NOON,
            "enrollment_id": NOWHERE,
            "provider_event_id": "event-1",
        },
    ),
    ("idempotency_keys", {"key": "key-1", "tool": "suppress", "request_hash": "0"}),
    (
        "campaign_metrics",
        {
            "instance_id": CAMPAIGN,
            "step_number": 1,
            "channel": "email",
            "a_b_variant": "",
            "cohort_day": "2026-03-02",
        },
    ),
    ("campaign_enrollment_totals", {"instance_id": CAMPAIGN, "status": "enrolled", "total": 1}),
    (
        "webhook_deliveries",
        {"id": uuid(19), "provider": "postmark", "received_at": NOON, "body": b"{}", "body_hash": b"b" * 32},
    ),
    (
        "webhook_deliveries",
        {
            "id": uuid(20),
            "provider": "resend",
            "delivery_id": "delivery-1",
            "received_at": NOON,
            "body": b"{}",
            "body_hash": b"b" * 32,
        },
    ),
)

# One more row of each table, which the database takes: a case changes it in the columns that it names alone.
_STANDING = dict(reversed(SCENE))
ANOTHER: dict[str, Mapping[str, Any]] = {
    **{table: {**row, "id": uuid(90)} if "id" in row else row for table, row in _STANDING.items()},
    "template_steps": {
        "template_id": TEMPLATE,
        "step_number": 9,
        "channel": "email",
        "template_type": "multi_channel",
    },
    "email_sequences": {**_STANDING["email_sequences"], "id": uuid(90), "step_number": 3},
    "linkedin_sequences": {**_STANDING["linkedin_sequences"], "id": uuid(90), "step_number": 4},
    "contacts": {"id": CLEO, "email": "cleo@example.com", "linkedin_url": f"{PROFILE}cleo"},
    "contact_addresses": {"contact_id": BEN, "address": "ben@old.example"},
    "consents": {"address": "ben@example.com", "given_at": NOON},
    "suppressions": {"id": uuid(90), "email": "cleo@example.com", "reason": "manual"},
    "campaign_enrollments": {**_STANDING["campaign_enrollments"], "id": uuid(90), "contact_id": BEN},
    "campaign_actions": {**_STANDING["campaign_actions"], "id": uuid(90), "step_number": 2},
    "campaign_events": {**_STANDING["campaign_events"], "id": uuid(90), "provider_event_id": "event-2"},
    "campaign_messages": {**_STANDING["campaign_messages"], "provider_message_id": "message-2"},
    "orphaned_events": {**_STANDING["orphaned_events"], "id": uuid(90), "provider_event_id": "event-2"},
    "idempotency_keys": {**_STANDING["idempotency_keys"], "key": "key-2"},
    "secrets": {"name": "second", "value": b"k" * 32},
    "access_tokens": {"id": uuid(90), "name": "other", "scopes": ["ops", "read"], "token_hash": b"b" * 32},
    "used_tickets": {"id": b"u" * 16, "expires_at": NOON},
    "campaign_metrics": {**_STANDING["campaign_metrics"], "step_number": 2},
    "campaign_enrollment_totals": {"instance_id": CAMPAIGN, "status": "active", "total": 1},
    "campaign_usage": {**_STANDING["campaign_usage"], "instance_id": OTHER_CAMPAIGN},
    "sender_usage": {**_STANDING["sender_usage"], "channel": "linkedin"},
    "webhook_deliveries": {**_STANDING["webhook_deliveries"], "id": uuid(90), "body_hash": b"c" * 32},
}
