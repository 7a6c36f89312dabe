"""For every rule of the database, the changes that make it refuse a row of rule_rows."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from db.domain import campaign_settings, field_limits
from db.domain.contacts import CONTACT_ADDRESSES, CONTACT_TEXTS
from db.domain.mailboxes import PACE
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


def conditions(table: str) -> list[Case]:
    wrong = (
        '"text"',
        "null",
        '{"fact": "opened"}',
        '{"fact": "opend", "else": "skip"}',
        '{"fact": "opened", "else": "skip", "who": "Ada"}',
        '{"fact": "opened", "else": "skip", "is": "yes"}',
        '{"fact": "opened", "else": "skip", "step_number": 1.5}',
        '{"fact": "variant", "else": "skip"}',
        '{"fact": "variant", "else": "skip", "is": true}',
        '{"fact": "attribute", "else": "skip", "is": "x"}',
        '{"fact": "attribute", "else": "skip", "name": "city", "is": "x", "not": "y"}',
        '{"fact": "attribute", "else": "skip", "name": "city", "is": 5}',
        '{"fact": "accepted", "else": "skip", "name": "city"}',
        '{"fact": "reply_kind", "else": "skip", "step_number": 1}',
        '{"fact": "opened", "else": "wait"}',
        '{"fact": "opened", "else": "skip", "wait_hours": 5}',
        '{"fact": "opened", "else": "wait", "wait_hours": 721}',
    )
    late = f'{{"fact": "opened", "else": "skip", "step_number": {3 if table == "email_sequences" else 4}}}'
    return [
        *(Case(f"ck_{table}_condition", table, {"condition": given}) for given in wrong),
        Case(f"ck_{table}_condition_before", table, {"condition": late}),
    ]


_REJECTED = {"status": "rejected", "reason": "Too long", "decided_by": "ada", "decided_at": NOON}
_REPLY = {"action_id": None, "thread_id": uuid(21), "replies_to": uuid(23)}
_DRAFT_OF_REPLY = {"step_number": None, "thread_id": uuid(21), "replies_to": uuid(23), "source": "written"}
_COPIES = [f"p{number}@example.com" for number in range(field_limits.MESSAGE_CC_MAX + 1)]
_IMAP = {"imap_host": "imap.example.com", "imap_port": 993, "imap_security": "tls"}
_STEPS = ("email_sequences", "linkedin_sequences")
# Of a condition that is not an object, PostgreSQL looks at another rule first, unless what it holds would do.
_NO_CONDITION = {"condition": '[{"fact": "opened", "else": "skip"}]'}
FORMS = [
    *(Case(f"ck_{table}_condition_object", table, _NO_CONDITION) for table in _STEPS),
    *no_object("campaign_templates", "settings"),
    *no_object("contacts", "attributes"),
    *no_object("campaign_instances", "settings"),
    *no_object("campaign_instances", "provider_config"),
    *no_object("campaign_enrollments", "metadata"),
    *no_object("campaign_events", "metadata"),
    *no_object("orphaned_events", "metadata"),
    *no_object("idempotency_keys", "response"),
    *no_object("audit_log", "ids"),
    *no_object("mailboxes", "settings"),
    unknown_word("mailboxes", "status"),
    unknown_word("mailboxes", "smtp_security"),
    unknown_word("mailboxes", "imap_security", imap_host="x", imap_port=1),
    unknown_word("campaign_templates", "type"),
    unknown_word("campaign_templates", "path_type"),
    unknown_word("template_steps", "channel"),
    unknown_word("linkedin_sequences", "type"),
    unknown_word("suppressions", "reason"),
    unknown_word("campaign_exclusions", "reason"),
    unknown_word("campaign_instances", "status"),
    unknown_word("campaign_enrollments", "status"),
    unknown_word("campaign_enrollments", "stop_reason", status="completed"),
    unknown_word("campaign_actions", "status"),
    unknown_word("campaign_actions", "channel"),
    unknown_word("campaign_actions", "sent_source", status="sent", sent_at=NOON),
    unknown_word("campaign_actions", "reported"),
    unknown_word("campaign_events", "event_type"),
    unknown_word("campaign_events", "channel"),
    unknown_word("messages", "direction"),
    unknown_word("messages", "channel"),
    unknown_word("mailbox_leases", "role"),
    unknown_word("mailbox_folders", "role"),
    unknown_word("messages", "status"),
    unknown_word("messages", "kind", status="recorded"),
    unknown_word("messages", "bounce"),
    unknown_word("messages", "interest"),
    unknown_word("messages", "approval"),
    *(unknown_word("action_drafts", column) for column in ("channel", "source", "status")),
    unknown_word("threads", "state"),
    unknown_word("threads", "last_kind"),
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
    Case("ck_mailboxes_address_length", "mailboxes", {"address": "x" * field_limits.EMAIL_MAX + "@example.com"}),
    *too_short_or_long("mailboxes", "display_name", 1, field_limits.NAME_MAX),
    *too_short_or_long("mailboxes", "signature", 1, field_limits.SIGNATURE_MAX),
    *(
        Case("ck_mailboxes_problem_length", "mailboxes", {"status": "failing", "problem_at": NOON, "problem": problem})
        for problem in ("", "x" * (field_limits.MAILBOX_PROBLEM_MAX + 1))
    ),
    *too_short_or_long("sending_domains", "domain", 1, field_limits.EMAIL_MAX),
    *too_short_or_long("mailboxes", "smtp_host", 1, field_limits.HOST_MAX),
    *too_short_or_long("mailboxes", "smtp_username", 1, field_limits.MAILBOX_USERNAME_MAX),
    *(
        Case(f"ck_mailboxes_imap_{column}_length", "mailboxes", {**_IMAP, f"imap_{column}": value})
        for column, most in (("host", field_limits.HOST_MAX), ("username", field_limits.MAILBOX_USERNAME_MAX))
        for value in ("", "x" * (most + 1))
    ),
    *(
        Case(f"ck_mailboxes_{service}_credential_length", "mailboxes", {f"{service}_credential": credential})
        for service in ("smtp", "imap")
        for credential in (b"", b"x" * (field_limits.CREDENTIAL_BYTES_MAX + 1))
    ),
    *too_short_or_long("mailbox_leases", "holder", 1, field_limits.LEASE_HOLDER_MAX),
    *too_short_or_long("mailbox_folders", "name", 1, field_limits.FOLDER_NAME_MAX),
    *too_short_or_long("unrelated_mails", "folder", 1, field_limits.FOLDER_NAME_MAX),
    *wrong_size("unrelated_mails", "hash"),
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
    *too_short_or_long("contact_addresses", "same_as", 3, field_limits.EMAIL_MAX),
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
    *too_short_or_long("campaign_exclusions", "address", 2, field_limits.EMAIL_MAX + 1),
    *too_short_or_long("campaign_exclusions", "source", 0, field_limits.PROVIDER_ID_MAX),
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
    *too_short_or_long("messages", "internet_message_id", 1, field_limits.INTERNET_MESSAGE_ID_MAX),
    *too_short_or_long("messages", "subject", 1, field_limits.MESSAGE_SUBJECT_MAX),
    *(
        Case(case.constraint, case.table, {**case.changes, "status": "recorded", "kind": "human"})
        for case in (
            *too_short_or_long("messages", "rule", 1, field_limits.MAIL_RULE_MAX),
            *too_short_or_long("messages", "evidence", 1, field_limits.MAIL_EVIDENCE_MAX),
        )
    ),
    *too_short_or_long("messages", "sender", 1, field_limits.EMAIL_MAX),
    *too_short_or_long("messages", "sender_name", 1, field_limits.NAME_MAX),
    *(
        Case(case.constraint, case.table, {**case.changes, "uidvalidity": 1, "uid": 1})
        for case in too_short_or_long("messages", "folder", 1, field_limits.MAIL_FOLDER_MAX)
    ),
    *wrong_size("messages", "hash"),
    *too_short_or_long("messages", "answer", 1, field_limits.MAIL_ANSWER_MAX),
    *wrong_size("messages", "fingerprint"),
    *wrong_size("messages", "approved_fingerprint"),
    *wrong_size("action_drafts", "fingerprint"),
    *too_short_or_long("action_drafts", "subject", 1, field_limits.MESSAGE_SUBJECT_MAX),
    *too_short_or_long("action_drafts", "body", 1, field_limits.BODY_MAX),
    *(
        Case(case.constraint, case.table, {**_REJECTED, **case.changes})
        for case in (
            *too_short_or_long("action_drafts", "decided_by", 1, field_limits.TOKEN_NAME_MAX),
            *too_short_or_long("action_drafts", "reason", 1, field_limits.REJECT_REASON_MAX),
        )
    ),
    *too_short_or_long("threads", "subject", 1, field_limits.MESSAGE_SUBJECT_MAX),
    *too_short_or_long("settings", "timezone", 1, field_limits.TIMEZONE_MAX),
    *out_of_range("settings", "retention_days", 1, field_limits.RETENTION_DAYS_MAX),
    *out_of_range("settings", "days_between_campaigns", 0, field_limits.DAYS_BETWEEN_MAX),
    *out_of_range("settings", "touches_per_week", 0, field_limits.TOUCHES_MAX),
    unknown_word("settings", "colleagues"),
    *out_of_range("settings", "bounce_rate", 0, 1),
    *out_of_range("settings", "complaint_rate", 0, 1),
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
    *out_of_range("mailboxes", "smtp_port", 1, 65_535),
    *(Case("ck_mailboxes_imap_port_range", "mailboxes", {**_IMAP, "imap_port": port}) for port in (0, 65_536)),
    *out_of_range("mailbox_folders", "uidvalidity", 0, field_limits.UID_MAX),
    *out_of_range("mailbox_folders", "last_uid", 0, field_limits.UID_MAX),
    *out_of_range("mailbox_folders", "first_uid", 1, field_limits.UID_MAX + 1),
    *out_of_range("unrelated_mails", "uidvalidity", 0, field_limits.UID_MAX),
    *out_of_range("unrelated_mails", "uid", 1, field_limits.UID_MAX),
    *out_of_range("template_steps", "step_number", 1, field_limits.STEP_NUMBER_MAX),
    *out_of_range("email_sequences", "delay_hours", 0, 720),
    *out_of_range("linkedin_sequences", "delay_hours", 0, 720),
    *out_of_range("campaign_enrollments", "current_step", 0, field_limits.STEP_NUMBER_MAX),
    *out_of_range("campaign_actions", "step_number", 1, field_limits.STEP_NUMBER_MAX),
    *out_of_range("action_drafts", "step_number", 1, field_limits.STEP_NUMBER_MAX),
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
    check("consents", "says_something", given_at=None),
    check("contact_addresses", "address_lower", address="Ada@old.example"),
    check("contacts", "email_or_linkedin_url", email=None, linkedin_url=None),
    check("contacts", "erased_is_empty", linkedin_url=None, erased_at=NOON),
    *(
        check("contacts", "erased_is_empty", **{"email": None, "linkedin_url": None, column: "x", "erased_at": NOON})
        for column in CONTACT_TEXTS
        if column not in CONTACT_ADDRESSES
    ),
    check("contacts", "erased_is_empty", email=None, linkedin_url=None, attributes='{"a": 1}', erased_at=NOON),
    check("contacts", "absence", absent_from=NOON),
    check("contacts", "absence", absent_until=NOON),
    check("contacts", "absence", absent_from=NOON, absent_until=NOON),
    check(
        "contacts",
        "absence_of_nobody",
        **dict.fromkeys(("email", "linkedin_url")),
        erased_at=NOON,
        absent_from="2026-03-01T12:00:00Z",
        absent_until=NOON,
    ),
    check("suppressions", "one_target", email=None),
    check("suppressions", "one_target", domain="example.com"),
    check("suppressions", "one_target", address_hash=b"x" * 32),
    check("suppressions", "only_manual_expires", reason="unsubscribed", expires_at=NOON),
    check("suppressions", "only_manual_expires", reason="bounced", expires_at=NOON),
    check("suppressions", "replaced_whole", replaced_source="phone"),
    check("suppressions", "replaced_whole", replaced_expires_at=NOON),
    check("suppressions", "replaced_only_manual_expires", replaced_reason="bounced", replaced_expires_at=NOON),
    unknown_word("suppressions", "replaced_reason"),
    *too_short_or_long("suppressions", "replaced_source", 0, field_limits.PROVIDER_ID_MAX),
    check("suppressions", "email_lower", email="Cleo@example.com"),
    check("suppressions", "domain_lower", email=None, domain="Example.com"),
    check("campaign_exclusions", "address_lower", address="@Example.com"),
    *(
        check("campaign_instances", f"settings_{name}", settings=f'{{"{name}": null}}')
        for name in campaign_settings.FIELDS
    ),
    check("campaign_instances", "settings_known", settings='{"dayly_limit": 5}'),
    check("campaign_instances", "pause_reason_when_paused", pause_reason="invalid_text"),
    *(check("mailboxes", f"settings_{name}", settings=f'{{"{name}": null}}') for name in PACE),
    check("mailboxes", "settings_known", settings='{"sending_window": {}}'),
    check("mailboxes", "address", address="Ben@example.com"),
    check("mailboxes", "address", address="ben example.com"),
    check("mailboxes", "display_name_line", display_name="Ben\nBcc: x@example.com"),
    check("mailboxes", "problem_when_failing", status="failing"),
    check("mailboxes", "no_problem_when_active", problem="x", problem_at=NOON),
    check("mailboxes", "problem_at", status="failing", problem="x"),
    check("mailboxes", "refusals", refusals=-1),
    check("mailboxes", "imap_whole", imap_host="imap.example.com"),
    check("mailboxes", "imap_whole", imap_username="ben"),
    check("sending_domains", "domain_lower", domain="Other.example.com"),
    check("sending_domains", "absent_whole", absent_since=NOON),
    check("sending_domains", "absent_whole", absent_until=NOON),
    check("sending_domains", "absent_order", absent_since=NOON, absent_until="2026-03-01T12:00:00Z"),
    check("mailbox_leases", "expires_at", renewed_at=NOON),
    check("mailbox_folders", "to_join", to_join=-1),
    *(case for table in _STEPS for case in conditions(table)),
    check("email_sequences", "subject_not_blank", subject="  "),
    check("email_sequences", "subject_one_line", subject="One\nTwo"),
    check("email_sequences", "subject_of_first", step_number=1, subject=None),
    check("email_sequences", "subject_of_first", subject=None, new_thread=True),
    check("campaign_instances", "started_at", status="active"),
    check("campaign_instances", "draft_not_started", status="draft", started_at=NOON),
    check("campaign_instances", "paused_at", status="paused", started_at=NOON),
    check("campaign_instances", "paused_at", status="active", started_at=NOON, paused_at=NOON),
    check("campaign_instances", "completed_at", status="completed", started_at=NOON),
    check("campaign_instances", "served", served_since=NOON),
    check("campaign_instances", "completed_at", status="active", started_at=NOON, completed_at=NOON),
    check("campaign_enrollments", "active_has_next_action", status="active", next_action_at=None),
    check("campaign_enrollments", "next_action_at_finite", next_action_at="-infinity"),
    check("campaign_enrollments", "paused_until_when_paused", status="enrolled", paused_until=NOON),
    check("campaign_enrollments", "paused_until_finite", status="paused", paused_until="infinity"),
    check(
        "campaign_enrollments",
        "due_after_pause",
        status="paused",
        next_action_at=NOON,
        paused_until="2026-03-02T12:00:01Z",
    ),
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
    check("messages", "mailbox_or_action", mailbox_id=None, action_id=None),
    check("messages", "action_of_enrollment", instance_id=None, enrollment_id=None),
    check("messages", "enrollment", instance_id=None),
    check("messages", "incoming_status", direction="in"),
    check("messages", "recorded_kind", status="recorded"),
    check("messages", "recorded_kind", kind="human"),
    Case("ck_messages_rule_of_kind", "messages", {"rule": "reply"}),
    check("messages", "findings", findings=["something_else"]),
    check("messages", "incoming_status", direction="in", status="queued"),
    check("messages", "outgoing_status", status="queued", channel="linkedin"),
    check("messages", "outgoing_status", status="queued", mailbox_id=None),
    check("messages", "outgoing_status", status="queued", internet_message_id=None),
    *(
        check("messages", "begun", status=status, **begun)
        for status in ("sending", "sent", "unknown")
        for begun in ({"hash": b"h" * 32}, {"sending_at": NOON})
    ),
    check("messages", "next_attempt_at", next_attempt_at=NOON),
    check("messages", "next_attempt_at", next_attempt_at=NOON, status="not_sent"),
    check("messages", "attempts", attempts=-1),
    check("messages", "attempts", attempts=1),
    check("messages", "filed_at", filed_at=NOON, status="unknown", hash=b"h" * 32, sending_at=NOON),
    check("messages", "refused_bounce", status="refused"),
    check("messages", "place", folder="INBOX"),
    check("messages", "reply", replies_to=uuid(23)),
    check("messages", "reply", **_REPLY),
    check("messages", "reply", **{**_REPLY, "thread_id": None, "status": "queued"}),
    check("messages", "step_or_reply", status="queued", action_id=None),
    check("messages", "cc", cc=["ben@example.com"]),
    check("messages", "cc", **_REPLY, status="not_sent", cc=_COPIES),
    check("messages", "claim_of_reply", claim_token=uuid(1)),
    check("messages", "claim_of_reply", reserved_at=NOON),
    *(
        check("messages", "approved", status="sending", **given)
        for given in (
            {"approval": None},
            {"approval": "all"},
            {"approval": "first_step", "fingerprint": b"f" * 32},
            {"approval": "all", "approved_fingerprint": b"f" * 32},
            {"approval": "all", "fingerprint": b"f" * 32, "approved_fingerprint": b"g" * 32},
        )
    ),
    check("action_drafts", "subject_of_email", channel="linkedin"),
    check("action_drafts", "has_subject", subject=None, has_subject=True),
    check("action_drafts", "waiting_undecided", decided_at=NOON),
    check("action_drafts", "decided", status="approved"),
    check("action_drafts", "decided", status="rejected", reason="Too long"),
    check("action_drafts", "decided_by", decided_by="ada"),
    check("action_drafts", "reason_of_rejected", status="rejected", decided_at=NOON),
    check("action_drafts", "reason_of_rejected", reason="Too long"),
    check("action_drafts", "forgotten", body=None, subject=None),
    check("action_drafts", "forgotten", body=None, status="stale"),
    check("action_drafts", "step_or_thread", step_number=None),
    check("action_drafts", "step_or_thread", thread_id=uuid(21), replies_to=uuid(23), source="written"),
    check("action_drafts", "reply", **{**_DRAFT_OF_REPLY, "replies_to": None}),
    check("action_drafts", "reply", **{**_DRAFT_OF_REPLY, "source": "template"}),
    check("action_drafts", "cc", cc=["ben@example.com"]),
    check("action_drafts", "cc", **_DRAFT_OF_REPLY, cc=_COPIES),
    check("threads", "messages", messages=-1),
    check("settings", "one_row", id=2),
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
    Case("uq_contacts_email", "contacts", {"email": "ada@example.com"}),
    Case("uq_contacts_linkedin_url", "contacts", {"linkedin_url": f"{PROFILE}ada"}),
    Case("uq_suppressions_email", "suppressions", {"email": "stop@example.com"}),
    Case("uq_suppressions_domain", "suppressions", {"email": None, "domain": "stop.example.com"}),
    Case("uq_suppressions_linkedin_url", "suppressions", {"email": None, "linkedin_url": f"{PROFILE}stop"}),
    Case("uq_suppressions_address_hash", "suppressions", {"email": None, "address_hash": b"h" * 32}),
    Case("uq_campaign_exclusions_instance_id_address", "campaign_exclusions", {"address": "stop@example.com"}),
    Case("uq_campaign_enrollments_contact_id_instance_id", "campaign_enrollments", {"contact_id": ADA}),
    Case("uq_campaign_actions_enrollment_id_step_number_instance_id", "campaign_actions", {"step_number": 1}),
    Case("uq_campaign_events_provider_event", "campaign_events", {"provider_event_id": "event-1"}),
    Case("uq_messages_action_id", "messages", {"action_id": uuid(15)}),
    Case("uq_messages_internet_message_id", "messages", {"internet_message_id": "<one@example.com>"}),
    Case("uq_messages_reply", "messages", {**_REPLY, "status": "unknown", "hash": b"h" * 32, "sending_at": NOON}),
    Case("uq_action_drafts_live", "action_drafts", {"step_number": 1}),
    Case("uq_action_drafts_reply", "action_drafts", _DRAFT_OF_REPLY),
    Case("uq_access_tokens_name", "access_tokens", {"name": "agent"}),
    Case("uq_mailboxes_address", "mailboxes", {"address": "ann@example.com"}),
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
    Case("fk_mailbox_leases_mailboxes", "mailbox_leases", {"mailbox_id": NOWHERE}),
    Case("fk_mailbox_folders_mailboxes", "mailbox_folders", {"mailbox_id": NOWHERE}),
    Case("fk_unrelated_mails_mailboxes", "unrelated_mails", {"mailbox_id": NOWHERE}),
    Case("fk_contact_addresses_contacts", "contact_addresses", {"contact_id": NOWHERE}),
    Case("fk_campaign_enrollments_contacts", "campaign_enrollments", {"contact_id": NOWHERE}),
    Case("fk_conversations_campaign_enrollments", "conversations", {"enrollment_id": NOWHERE}),
    Case("fk_campaign_actions_campaign_enrollments", "campaign_actions", {"enrollment_id": NOWHERE}),
    Case("fk_campaign_events_campaign_enrollments", "campaign_events", {"enrollment_id": NOWHERE}),
    Case("fk_campaign_messages_campaign_enrollments", "campaign_messages", {"enrollment_id": NOWHERE}),
    Case("fk_messages_campaign_enrollments", "messages", {"enrollment_id": NOWHERE}),
    Case("fk_campaign_enrollments_mailboxes", "campaign_enrollments", {"mailbox_id": NOWHERE}),
    Case("fk_action_drafts_campaign_enrollments", "action_drafts", {"enrollment_id": NOWHERE}),
    Case("fk_messages_threads", "messages", {"thread_id": NOWHERE}),
    Case("fk_action_drafts_threads", "action_drafts", {**_DRAFT_OF_REPLY, "thread_id": NOWHERE}),
    Case("fk_threads_campaign_enrollments", "threads", {"enrollment_id": NOWHERE}),
    Case("fk_message_bodies_messages", "message_bodies", {"message_id": NOWHERE}),
    Case("fk_campaign_metrics_campaign_instances", "campaign_metrics", {"instance_id": NOWHERE}),
    Case("fk_campaign_enrollment_totals_campaign_instances", "campaign_enrollment_totals", {"instance_id": NOWHERE}),
    Case("fk_campaign_exclusions_campaign_instances", "campaign_exclusions", {"instance_id": NOWHERE}),
    Case("fk_campaign_usage_campaign_instances", "campaign_usage", {"instance_id": NOWHERE}),
]
# No row can break these alone: the key of template_steps holds the same template, and is looked at first.
IMPLIED = {"fk_email_sequences_campaign_templates", "fk_linkedin_sequences_campaign_templates"}
CASES = [*FORMS, *RELATIONS, *UNIQUE, *KEYS, *REFERENCES]
REQUIRED = [(table.name, column.name) for table in TABLES.values() for column in table.columns if not column.nullable]
