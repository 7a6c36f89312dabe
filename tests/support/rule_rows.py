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
    (
        "campaign_exclusions",
        {"instance_id": CAMPAIGN, "id": uuid(21), "address": "stop@example.com", "reason": "manual"},
    ),
    ("campaign_usage", {"instance_id": CAMPAIGN, "quarter": NOON, "backend": 1, "used": 1, "last_at": NOON}),
    (
        "sender_usage",
        {"channel": "email", "account": "sales@example.com", "quarter": NOON, "backend": 1, "used": 1, "last_at": NOON},
    ),
    (
        "campaign_enrollments",
        {"instance_id": CAMPAIGN, "id": ENROLLMENT, "contact_id": ADA, "status": "enrolled"},
    ),
    ("conversations", {"contact_id": ADA, "instance_id": CAMPAIGN, "enrollment_id": ENROLLMENT}),
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
        "messages",
        {
            "id": uuid(21),
            "direction": "out",
            "channel": "email",
            "mailbox_id": uuid(22),
            "approval": "none",
            "internet_message_id": "<one@example.com>",
            "instance_id": CAMPAIGN,
            "enrollment_id": ENROLLMENT,
            "action_id": uuid(15),
            "occurred_at": NOON,
        },
    ),
    (
        "messages",
        {
            "id": uuid(23),
            "direction": "in",
            "channel": "email",
            "mailbox_id": uuid(22),
            "occurred_at": NOON,
            "status": "pending",
        },
    ),
    (
        "threads",
        {
            "id": uuid(21),
            "instance_id": CAMPAIGN,
            "enrollment_id": ENROLLMENT,
            "contact_id": ADA,
            "last_message_at": NOON,
        },
    ),
    (
        "messages",
        {
            "id": uuid(24),
            "direction": "out",
            "channel": "email",
            "mailbox_id": uuid(22),
            "internet_message_id": "<reply@example.com>",
            "instance_id": CAMPAIGN,
            "enrollment_id": ENROLLMENT,
            "thread_id": uuid(21),
            "replies_to": uuid(23),
            "status": "queued",
            "occurred_at": NOON,
        },
    ),
    ("message_bodies", {"message_id": uuid(21), "body": "Hello"}),
    (
        "action_drafts",
        {
            "id": uuid(21),
            "instance_id": CAMPAIGN,
            "enrollment_id": ENROLLMENT,
            "step_number": 1,
            "channel": "email",
            "source": "template",
            "status": "waiting",
            "subject": "Hello",
            "body": "Nice to meet you.",
            "fingerprint": b"f" * 32,
        },
    ),
    (
        "action_drafts",
        {
            "id": uuid(24),
            "instance_id": CAMPAIGN,
            "enrollment_id": ENROLLMENT,
            "thread_id": uuid(21),
            "replies_to": uuid(23),
            "channel": "email",
            "source": "written",
            "status": "waiting",
            "subject": "Re: Hello",
            "body": "Tuesday.",
            "fingerprint": b"f" * 32,
        },
    ),
    ("settings", {"id": 1}),
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
    (
        "mailboxes",
        {
            "id": uuid(21),
            "address": "ann@example.com",
            "smtp_host": "smtp.example.com",
            "smtp_port": 465,
            "smtp_security": "tls",
        },
    ),
    (
        "mailbox_leases",
        {
            "mailbox_id": uuid(21),
            "role": "reader",
            "holder": "host 1",
            "token": uuid(24),
            "renewed_at": "2026-03-02T11:59:00Z",
            "expires_at": NOON,
        },
    ),
    (
        "mailbox_folders",
        {
            "mailbox_id": uuid(21),
            "name": "INBOX",
            "role": "inbox",
            "uidvalidity": 1,
            "last_uid": 4,
            "first_uid": 2,
            "joined_back_to": NOON,
        },
    ),
    (
        "unrelated_mails",
        {"mailbox_id": uuid(21), "hash": b"m" * 32, "folder": "INBOX", "uidvalidity": 1, "uid": 3},
    ),
    ("sending_domains", {"domain": "example.com", "looked_at": NOON}),
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

# It has one row: another is taken in its place.
ONE_ROW = "settings"

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
    "campaign_exclusions": {**_STANDING["campaign_exclusions"], "id": uuid(90), "address": "@example.com"},
    "campaign_enrollments": {**_STANDING["campaign_enrollments"], "id": uuid(90), "contact_id": BEN},
    "conversations": {**_STANDING["conversations"], "contact_id": BEN},
    "campaign_actions": {**_STANDING["campaign_actions"], "id": uuid(90), "step_number": 2},
    "campaign_events": {**_STANDING["campaign_events"], "id": uuid(90), "provider_event_id": "event-2"},
    "campaign_messages": {**_STANDING["campaign_messages"], "provider_message_id": "message-2"},
    "messages": {
        **_STANDING["messages"],
        "id": uuid(90),
        "internet_message_id": "<two@example.com>",
        "action_id": uuid(91),
    },
    "message_bodies": {"message_id": uuid(23)},
    "action_drafts": {**_STANDING["action_drafts"], "id": uuid(90), "step_number": 2},
    "threads": {**_STANDING["threads"], "id": uuid(90)},
    "settings": {"id": 1},
    "orphaned_events": {**_STANDING["orphaned_events"], "id": uuid(90), "provider_event_id": "event-2"},
    "sending_domains": {"domain": "other.example.com", "looked_at": NOON},
    "mailboxes": {**_STANDING["mailboxes"], "id": uuid(90), "address": "ben@example.com"},
    "mailbox_leases": {**_STANDING["mailbox_leases"], "role": "sender"},
    "mailbox_folders": {**_STANDING["mailbox_folders"], "name": "Sent"},
    "unrelated_mails": {**_STANDING["unrelated_mails"], "hash": b"n" * 32},
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
