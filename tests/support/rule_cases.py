"""For every rule of the database, the changes that make it refuse a row of rule_rows."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from db.domain import campaign_settings, field_limits
from db.domain.contacts import CONTACT_ADDRESSES, CONTACT_TEXTS
from db.models import Base
from db.models.webhooks import EVENT_COUNTS
from tests.support.rule_rows import ADA, EMAIL_TEMPLATE, NOON, NOWHERE, PROFILE, SCENE, uuid

TABLES = Base.metadata.tables


class Case(NamedTuple):
    """`constraint` refuses ANOTHER[table] with `changes`."""

    constraint: str
    table: str
    changes: Mapping[str, Any]


def too_short_or_long(table: str, column: str, low: int, high: int) -> list[Case]:
    name = f"ck_{table}_{column}_length"
    short = [Case(name, table, {column: "x" * (low - 1)})] if low else []
    return [*short, Case(name, table, {column: "x" * (high + 1)})]


def wrong_size(table: str, column: str, **others: object) -> list[Case]:
    """A hash or a key is of 32 bytes."""
    return [Case(f"ck_{table}_{column}_length", table, {column: b"x" * size, **others}) for size in (31, 33)]


def out_of_range(table: str, column: str, low: int, high: int) -> list[Case]:
    name = f"ck_{table}_{column}_range"
    return [Case(name, table, {column: low - 1}), Case(name, table, {column: high + 1})]


def unknown_word(table: str, column: str, **others: object) -> Case:
    return Case(f"ck_{table}_{column}", table, {column: "no such word", **others})


def no_object(table: str, column: str) -> list[Case]:
    name = f"ck_{table}_{column}_object"
    return [Case(name, table, {column: value}) for value in ("[1]", '"text"', "7", "null")]


def check(table: str, rule: str, **changes: object) -> Case:
    return Case(f"ck_{table}_{rule}", table, changes)


FORMS = [
    *no_object("campaign_templates", "settings"),
    *no_object("contacts", "attributes"),
    *no_object("campaign_instances", "settings"),
    *no_object("campaign_instances", "provider_config"),
    *no_object("campaign_enrollments", "metadata"),
    *no_object("campaign_events", "metadata"),
    *no_object("orphaned_events", "metadata"),
    *no_object("idempotency_keys", "response"),
    *no_object("audit_log", "ids"),
    unknown_word("campaign_templates", "type"),
    unknown_word("campaign_templates", "path_type"),
    unknown_word("template_steps", "channel"),
    unknown_word("linkedin_sequences", "type"),
    unknown_word("suppressions", "reason"),
    unknown_word("campaign_instances", "status"),
    unknown_word("campaign_enrollments", "status"),
    unknown_word("campaign_enrollments", "stop_reason", status="completed"),
    unknown_word("campaign_actions", "status"),
    unknown_word("campaign_actions", "channel"),
    unknown_word("campaign_actions", "sent_source", status="sent", sent_at=NOON),
    unknown_word("campaign_actions", "reported"),
    unknown_word("campaign_events", "event_type"),
    unknown_word("campaign_events", "channel"),
    unknown_word("orphaned_events", "status"),
    unknown_word("orphaned_events", "event_type"),
    unknown_word("orphaned_events", "channel"),
    unknown_word("campaign_metrics", "channel"),
    unknown_word("campaign_enrollment_totals", "status"),
    unknown_word("sender_usage", "channel"),
    unknown_word("webhook_deliveries", "status"),
    unknown_word("audit_log", "outcome"),
    *too_short_or_long("campaign_templates", "name", 1, field_limits.NAME_MAX),
    *too_short_or_long("campaign_templates", "description", 0, field_limits.DESCRIPTION_MAX),
    *too_short_or_long("email_sequences", "subject", 1, field_limits.SUBJECT_MAX),
    *too_short_or_long("email_sequences", "body", 10, 50_000),
    *too_short_or_long("email_sequences", "a_b_variant", 1, field_limits.VARIANT_MAX),
    *too_short_or_long("linkedin_sequences", "message", 1, 1_500),
    *too_short_or_long("contacts", "first_name", 0, field_limits.PERSON_NAME_MAX),
    *too_short_or_long("contacts", "last_name", 0, field_limits.PERSON_NAME_MAX),
    *too_short_or_long("contacts", "company", 0, field_limits.COMPANY_MAX),
    *too_short_or_long("contacts", "title", 0, field_limits.COMPANY_MAX),
    *too_short_or_long("contacts", "timezone", 1, field_limits.TIMEZONE_MAX),
    Case("ck_contacts_email_length", "contacts", {"email": "a" * field_limits.EMAIL_MAX + "@example.com"}),
    Case(
        "ck_contacts_linkedin_url_length", "contacts", {"linkedin_url": PROFILE + "a" * field_limits.LINKEDIN_URL_MAX}
    ),
    *too_short_or_long("consents", "address", 3, field_limits.EMAIL_MAX),
    *too_short_or_long("campaign_actions", "sent_to", 3, field_limits.EMAIL_MAX),
    *too_short_or_long("contact_addresses", "address", 3, field_limits.EMAIL_MAX),
    *too_short_or_long("suppressions", "email", 3, field_limits.EMAIL_MAX),
    *(
        case._replace(changes={"email": None, **case.changes})
        for case in too_short_or_long("suppressions", "domain", 1, field_limits.EMAIL_MAX)
    ),
    *(
        case._replace(changes={"email": None, **case.changes})
        for case in too_short_or_long("suppressions", "linkedin_url", 1, field_limits.LINKEDIN_URL_MAX)
    ),
    *too_short_or_long("suppressions", "source", 0, field_limits.PROVIDER_ID_MAX),
    *too_short_or_long("campaign_instances", "name", 1, field_limits.NAME_MAX),
    *too_short_or_long("campaign_enrollments", "a_b_variant", 1, field_limits.VARIANT_MAX),
    *too_short_or_long("campaign_enrollments", "pause_reason", 1, field_limits.PAUSE_REASON_MAX),
    *(
        case._replace(changes={"status": "paused", "started_at": NOON, "paused_at": NOON, **case.changes})
        for case in too_short_or_long("campaign_instances", "pause_reason", 1, field_limits.PAUSE_REASON_MAX)
    ),
    *too_short_or_long("campaign_enrollments", "zone", 1, field_limits.TIMEZONE_MAX),
    *too_short_or_long("campaign_actions", "a_b_variant", 1, field_limits.VARIANT_MAX),
    *too_short_or_long("campaign_actions", "provider", 1, field_limits.PROVIDER_MAX),
    *too_short_or_long("campaign_actions", "provider_message_id", 1, field_limits.PROVIDER_ID_MAX),
    *too_short_or_long("campaign_actions", "sender", 1, field_limits.SENDER_MAX),
    *too_short_or_long("sender_usage", "account", 1, field_limits.SENDER_MAX),
    *too_short_or_long("campaign_events", "provider", 1, field_limits.PROVIDER_MAX),
    *too_short_or_long("campaign_events", "provider_event_id", 1, field_limits.PROVIDER_ID_MAX),
    *too_short_or_long("campaign_events", "provider_message_id", 1, field_limits.PROVIDER_ID_MAX),
    *too_short_or_long("campaign_messages", "provider_message_id", 1, field_limits.PROVIDER_ID_MAX),
    *too_short_or_long("campaign_messages", "provider", 1, field_limits.PROVIDER_MAX),
    *too_short_or_long("orphaned_events", "reason", 1, 500),
    *too_short_or_long("orphaned_events", "provider", 1, field_limits.PROVIDER_MAX),
    *too_short_or_long("orphaned_events", "provider_event_id", 1, field_limits.PROVIDER_ID_MAX),
    *too_short_or_long("idempotency_keys", "key", 1, field_limits.IDEMPOTENCY_KEY_MAX),
    *too_short_or_long("orphaned_events", "email", 3, field_limits.EMAIL_MAX),
    *too_short_or_long("orphaned_events", "provider_message_id", 1, field_limits.PROVIDER_ID_MAX),
    *too_short_or_long("secrets", "name", 1, field_limits.SECRET_NAME_MAX),
    *wrong_size("suppressions", "address_hash", email=None),
    *too_short_or_long("access_tokens", "name", 1, field_limits.TOKEN_NAME_MAX),
    *too_short_or_long("audit_log", "actor", 1, field_limits.TOKEN_NAME_MAX),
    *too_short_or_long("audit_log", "tool", 1, field_limits.TOOL_NAME_MAX),
    *too_short_or_long("audit_log", "request_id", 1, field_limits.REQUEST_ID_MAX),
    *(
        case._replace(changes={"outcome": "refused", **case.changes})
        for case in too_short_or_long("audit_log", "error", 1, field_limits.ERROR_NAME_MAX)
    ),
    *wrong_size("access_tokens", "token_hash"),
    *(check("used_tickets", "id_length", id=b"x" * size) for size in (15, 17)),
    *wrong_size("audit_log", "arguments_digest"),
    *wrong_size("secrets", "value"),
    *wrong_size("webhook_deliveries", "body_hash"),
    *too_short_or_long("webhook_deliveries", "provider", 1, field_limits.PROVIDER_MAX),
    *too_short_or_long("webhook_deliveries", "delivery_id", 1, field_limits.PROVIDER_ID_MAX),
    *too_short_or_long("webhook_deliveries", "error", 1, field_limits.DELIVERY_ERROR_MAX),
    *(
        Case("ck_webhook_deliveries_body_length", "webhook_deliveries", {"body": body})
        for body in (b"", b"x" * (field_limits.WEBHOOK_BODY_MAX + 1))
    ),
    *out_of_range("template_steps", "step_number", 1, field_limits.STEP_NUMBER_MAX),
    *out_of_range("email_sequences", "delay_hours", 0, 720),
    *out_of_range("linkedin_sequences", "delay_hours", 0, 720),
    *out_of_range("campaign_enrollments", "current_step", 0, field_limits.STEP_NUMBER_MAX),
    *out_of_range("campaign_actions", "step_number", 1, field_limits.STEP_NUMBER_MAX),
    *out_of_range("campaign_events", "step_number", 1, field_limits.STEP_NUMBER_MAX),
    *out_of_range("orphaned_events", "step_number", 1, field_limits.STEP_NUMBER_MAX),
]
RELATIONS = [
    check(
        "template_steps",
        "channel_of_type",
        template_id=EMAIL_TEMPLATE,
        template_type="email",
        channel="linkedin",
    ),
    check("email_sequences", "channel", channel="linkedin"),
    check("linkedin_sequences", "channel", channel="email"),
    check("linkedin_sequences", "connection_message_length", type="connection_request", message="x" * 301),
    check("linkedin_sequences", "message_required", type="message", message=None),
    check("linkedin_sequences", "message_required", type="voice_message", message=None),
    check("contacts", "email_shape", email="cleo.example.com"),
    check("contacts", "email_shape", email="cleo smith@example.com"),
    check("contacts", "email_lower", email="Cleo@example.com"),
    check("contacts", "linkedin_url_shape", linkedin_url="https://example.com/in/cleo"),
    check("consents", "address_lower", address="Ada@old.example"),
    check("contact_addresses", "address_lower", address="Ada@old.example"),
    check("contacts", "email_or_linkedin_url", email=None, linkedin_url=None),
    check("contacts", "erased_is_empty", linkedin_url=None, erased_at=NOON),
    *(
        check("contacts", "erased_is_empty", **{"email": None, "linkedin_url": None, column: "x", "erased_at": NOON})
        for column in CONTACT_TEXTS
        if column not in CONTACT_ADDRESSES
    ),
    check("contacts", "erased_is_empty", email=None, linkedin_url=None, attributes='{"a": 1}', erased_at=NOON),
    check("suppressions", "one_target", email=None),
    check("suppressions", "one_target", domain="example.com"),
    check("suppressions", "one_target", address_hash=b"x" * 32),
    check("suppressions", "only_manual_expires", reason="unsubscribed", expires_at=NOON),
    check("suppressions", "only_manual_expires", reason="bounced", expires_at=NOON),
    check("suppressions", "email_lower", email="Cleo@example.com"),
    check("suppressions", "domain_lower", email=None, domain="Example.com"),
    *(
        check("campaign_instances", f"settings_{name}", settings=f'{{"{name}": null}}')
        for name in campaign_settings.FIELDS
    ),
    check("campaign_instances", "settings_known", settings='{"dayly_limit": 5}'),
    check("campaign_instances", "pause_reason_when_paused", pause_reason="invalid_text"),
    check("email_sequences", "subject_not_blank", subject="  "),
    check("email_sequences", "subject_one_line", subject="One\nTwo"),
    check("campaign_instances", "started_at", status="active"),
    check("campaign_instances", "draft_not_started", status="draft", started_at=NOON),
    check("campaign_instances", "paused_at", status="paused", started_at=NOON),
    check("campaign_instances", "paused_at", status="active", started_at=NOON, paused_at=NOON),
    check("campaign_instances", "completed_at", status="completed", started_at=NOON),
    check("campaign_instances", "completed_at", status="active", started_at=NOON, completed_at=NOON),
    check("campaign_enrollments", "active_has_next_action", status="active", next_action_at=None),
    check("campaign_enrollments", "next_action_at_finite", next_action_at="-infinity"),
    check("campaign_enrollments", "stop_reason_when_ended", status="unsubscribed"),
    check("campaign_enrollments", "stop_reason_when_ended", status="enrolled", stop_reason="manual"),
    check(
        "campaign_enrollments",
        "no_next_action_when_ended",
        status="completed",
        stop_reason="finished",
        next_action_at=NOON,
    ),
    unknown_word("campaign_actions", "linkedin_type", channel="linkedin"),
    check("campaign_actions", "linkedin_type_of_channel", linkedin_type="message"),
    check("campaign_actions", "sent_at", status="sent"),
    check("campaign_actions", "sent_at", status="claimed", sent_at=NOON),
    check("campaign_actions", "lease", lease_token=uuid(1)),
    check("campaign_actions", "lease", lease_until=NOON),
    check("campaign_actions", "opened_was_delivered", status="sent", sent_at=NOON, opened_at=NOON),
    check("campaign_actions", "delivered_was_sent", delivered_at=NOON),
    check("campaign_actions", "sent_source_of_sent", sent_source="told"),
    check("campaign_actions", "delivery_told_was_delivered", delivery_told_at=NOON),
    check("campaign_actions", "counts", open_count=-1),
    check("campaign_actions", "counts", click_count=-1),
    check("orphaned_events", "reference", enrollment_id=None),
    check("orphaned_events", "reference", enrollment_id=None, email="ada@example.com"),
    check("campaign_metrics", "step_number", step_number=-1),
    check("campaign_metrics", "delivered_sent", delivered=1),
    check("campaign_metrics", "opened_delivered", sent=1, opened=1),
    check("campaign_metrics", "clicked_opened", sent=1, delivered=1, clicked=1, total_clicks=1),
    check("campaign_metrics", "replied_delivered", sent=1, replied=1),
    check("campaign_metrics", "bounced_sent", bounced=1),
    check("campaign_metrics", "hard_bounced_bounced", hard_bounced=1),
    check("campaign_metrics", "clicked_total_clicks", sent=1, delivered=1, opened=1, clicked=1),
    check("campaign_metrics", "not_negative", total_opens=-1),
    check("campaign_enrollment_totals", "total", total=-1),
    check("campaign_usage", "quarter", quarter="2026-03-02T12:01:00Z"),
    check("sender_usage", "quarter", quarter="2026-03-02T12:01:00Z"),
    check("webhook_deliveries", "waiting_has_body", body=None),
    check("webhook_deliveries", "failed_has_error", status="failed"),
    check("webhook_deliveries", "recorded_at", status="recorded"),
    *(check("webhook_deliveries", "counts", **{column: -1}) for column in EVENT_COUNTS),
    check("access_tokens", "scopes", scopes=[]),
    check("access_tokens", "scopes", scopes=["read", "everything"]),
    *(check("access_tokens", "name_not_reserved", name=name) for name in ("default", "local", "stdio", "worker")),
    check("audit_log", "error_when_refused", outcome="refused"),
    check("audit_log", "error_when_refused", error="Refused"),
]
UNIQUE = [
    Case("uq_email_sequences_template_id_step_number_a_b_variant", "email_sequences", {"step_number": 1}),
    Case("uq_linkedin_sequences_template_id_step_number", "linkedin_sequences", {"step_number": 2}),
    Case("uq_contacts_lower_email", "contacts", {"email": "ada@example.com"}),
    Case("uq_contacts_linkedin_url", "contacts", {"linkedin_url": f"{PROFILE}ada"}),
    Case("uq_suppressions_email", "suppressions", {"email": "stop@example.com"}),
    Case("uq_suppressions_domain", "suppressions", {"email": None, "domain": "stop.example.com"}),
    Case("uq_suppressions_linkedin_url", "suppressions", {"email": None, "linkedin_url": f"{PROFILE}stop"}),
    Case("uq_suppressions_address_hash", "suppressions", {"email": None, "address_hash": b"h" * 32}),
    Case("uq_campaign_enrollments_contact_id_instance_id", "campaign_enrollments", {"contact_id": ADA}),
    Case("uq_campaign_actions_enrollment_id_step_number_instance_id", "campaign_actions", {"step_number": 1}),
    Case("uq_campaign_events_provider_event", "campaign_events", {"provider_event_id": "event-1"}),
    Case("uq_access_tokens_name", "access_tokens", {"name": "agent"}),
    Case("uq_access_tokens_token_hash", "access_tokens", {"token_hash": b"a" * 32}),
    Case("uq_orphaned_events_provider_event", "orphaned_events", {"provider_event_id": "event-1"}),
    Case("uq_webhook_deliveries_body_hash", "webhook_deliveries", {"body_hash": b"b" * 32}),
    Case(
        "uq_webhook_deliveries_delivery_id",
        "webhook_deliveries",
        {"provider": "resend", "delivery_id": "delivery-1"},
    ),
]
KEYS = [
    Case(
        f"pk_{name}",
        name,
        {column.name: next(row for of, row in SCENE if of == name)[column.name] for column in table.primary_key},
    )
    for name, table in TABLES.items()
]
REFERENCES = [
    Case("fk_template_steps_campaign_templates", "template_steps", {"template_id": NOWHERE}),
    Case("fk_template_steps_campaign_templates", "template_steps", {"template_id": EMAIL_TEMPLATE}),
    Case("fk_email_sequences_template_steps", "email_sequences", {"step_number": 2}),
    Case("fk_linkedin_sequences_template_steps", "linkedin_sequences", {"step_number": 3}),
    Case("fk_campaign_instances_campaign_templates", "campaign_instances", {"template_id": NOWHERE}),
    Case("fk_campaign_enrollments_campaign_instances", "campaign_enrollments", {"instance_id": NOWHERE}),
    Case("fk_contact_addresses_contacts", "contact_addresses", {"contact_id": NOWHERE}),
    Case("fk_campaign_enrollments_contacts", "campaign_enrollments", {"contact_id": NOWHERE}),
    Case("fk_campaign_actions_campaign_enrollments", "campaign_actions", {"enrollment_id": NOWHERE}),
    Case("fk_campaign_events_campaign_enrollments", "campaign_events", {"enrollment_id": NOWHERE}),
    Case("fk_campaign_messages_campaign_enrollments", "campaign_messages", {"enrollment_id": NOWHERE}),
    Case("fk_campaign_metrics_campaign_instances", "campaign_metrics", {"instance_id": NOWHERE}),
    Case("fk_campaign_enrollment_totals_campaign_instances", "campaign_enrollment_totals", {"instance_id": NOWHERE}),
    Case("fk_campaign_usage_campaign_instances", "campaign_usage", {"instance_id": NOWHERE}),
]
# No row can break these alone: the key of template_steps holds the same template, and is looked at first.
IMPLIED = {"fk_email_sequences_campaign_templates", "fk_linkedin_sequences_campaign_templates"}
CASES = [*FORMS, *RELATIONS, *UNIQUE, *KEYS, *REFERENCES]
REQUIRED = [(table.name, column.name) for table in TABLES.values() for column in table.columns if not column.nullable]
