"""A call of each tool, as the reference shows it. The tests hold each against the model of the tool's arguments."""

from collections.abc import Mapping
from typing import Any

_CAMPAIGN = "0199a1b2-0000-7000-8000-000000000001"
_TEMPLATE = "0199a1b2-0000-7000-8000-000000000002"
_ENROLLMENT = "0199a1b2-0000-7000-8000-000000000003"
_CONTACT = "0199a1b2-0000-7000-8000-000000000004"
_ACTION = "0199a1b2-0000-7000-8000-000000000005"
_OTHER_ACTION = "01979c2e-5b1f-7d7e-8f43-0c8f6f5a9d11"
_LEASE = "0199a1b2-0000-7000-8000-000000000006"
_THREAD = "0199a1b2-0000-7000-8000-000000000007"
_MESSAGE = "0199a1b2-0000-7000-8000-000000000008"
_DRAFT = "0199a1b2-0000-7000-8000-000000000009"
_FINGERPRINT = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_JOB = "job_17"

EXAMPLES: Mapping[str, Mapping[str, Any]] = {
    "create_template": {
        "name": "Warehouse tour",
        "type": "multi_channel",
        "email_steps": [
            {"step_number": 1, "subject": "A question, {{ first_name }}", "body": "Hello {{ first_name }}, may I ..."},
            {"step_number": 3, "subject": "Once more", "body": "Did my last mail reach you?", "delay_hours": 72},
        ],
        "linkedin_steps": [{"step_number": 2, "type": "connection_request", "delay_hours": 48}],
        "idempotency_key": "warehouse-tour-template",
    },
    "get_template": {"template_id": _TEMPLATE},
    "list_templates": {"type": "email"},
    "update_template": {
        "template_id": _TEMPLATE,
        "email_steps": [{"step_number": 3, "subject": "A last word", "body": "Shall I close this?", "delay_hours": 96}],
    },
    "archive_template": {"template_id": _TEMPLATE},
    "create_campaign": {
        "name": "Warehouses, spring",
        "template_id": _TEMPLATE,
        "settings": {"timezone": "Europe/Berlin", "sending_window": {"start": "09:00", "end": "17:00"}},
    },
    "get_campaign": {"campaign_id": _CAMPAIGN},
    "list_campaigns": {"status": "active"},
    "update_campaign": {"campaign_id": _CAMPAIGN, "settings": {"timezone": "Europe/Berlin", "daily_limit": 50}},
    "start_campaign": {"campaign_id": _CAMPAIGN},
    "pause_campaign": {"campaign_id": _CAMPAIGN},
    "complete_campaign": {"campaign_id": _CAMPAIGN},
    "enroll_contacts": {
        "campaign_id": _CAMPAIGN,
        "contacts": [
            {"email": "ada@example.com", "first_name": "Ada", "attributes": {"city": "Bonn"}},
            {"contact_id": _CONTACT},
        ],
        "start_at": "2026-11-02T09:00:00+01:00",
    },
    "find_overlaps": {"contacts": [{"email": "ada@example.com"}], "campaign_id": _CAMPAIGN},
    "list_enrollments": {"campaign_id": _CAMPAIGN, "status": "paused"},
    "get_enrollment": {"enrollment_id": _ENROLLMENT},
    "update_enrollment": {"enrollment_id": _ENROLLMENT, "action": "resume"},
    "find_contacts": {"search": "example.com"},
    "upsert_contacts": {"contacts": [{"email": "ada@example.com", "title": "Head of Sales"}]},
    "import_contacts": {
        "path": "/srv/imports/connections.csv",
        "campaign_id": _CAMPAIGN,
        "mapping": {"email": "Mail"},
        "dry_run": True,
    },
    "suppress": {"addresses": ["example.org", "ada@example.com"], "source": "a list of competitors"},
    "unsuppress": {"domain": "example.org"},
    "list_suppressions": {"reason": "unsubscribed"},
    "erase_contact": {"email": "ada@example.com"},
    "claim_due_actions": {"campaign_id": _CAMPAIGN, "limit": 25},
    "complete_action": {
        "action_id": _ACTION,
        "lease_token": _LEASE,
        "outcome": "sent",
        "provider": "postmark",
        "provider_message_id": "0a129aee-e1cd-480d-b08d-4f48548ff48d",
    },
    "complete_actions": {
        "reports": [
            {"action_id": _ACTION, "lease_token": _LEASE, "outcome": "sent"},
            {"action_id": _OTHER_ACTION, "lease_token": _LEASE, "outcome": "skipped"},
        ]
    },
    "preview_action": {"campaign_id": _CAMPAIGN, "contact_id": _CONTACT, "step_number": 1},
    "explain_due": {"campaign_id": _CAMPAIGN},
    "forecast": {"campaign_id": _CAMPAIGN, "days": 7},
    "record_event": {
        "event": {
            "event_type": "replied",
            "channel": "email",
            "enrollment_id": _ENROLLMENT,
            "step_number": 1,
            "provider": "postmark",
            "provider_event_id": "reply-4711",
        }
    },
    "record_events": {
        "events": [
            {"event_type": "delivered", "channel": "email", "provider": "postmark", "provider_message_id": "0a129aee"},
            {
                "event_type": "bounced",
                "channel": "email",
                "campaign_id": _CAMPAIGN,
                "email": "old@example.com",
                "metadata": {"bounce_type": "hard"},
            },
        ]
    },
    "list_events": {"campaign_id": _CAMPAIGN, "event_type": "replied", "since": "2026-11-01T00:00:00Z"},
    "list_orphaned_events": {"status": "waiting"},
    "list_webhook_deliveries": {"provider": "ses", "status": "held", "detail": "full"},
    "replay_events": {"provider": "postmark", "since": "2026-11-01T00:00:00Z"},
    "get_metrics": {"campaign_id": _CAMPAIGN, "group_by": "variant"},
    "create_job": {
        "type": "import",
        "parameters": {"csv": "email,first_name\nada@example.com,Ada\n"},
        "dedupe_key": "import-ada",
    },
    "connect_mailbox": {
        "address": "ann@example.com",
        "smtp": {"host": "smtp.example.com", "port": 465},
        "imap": {"host": "imap.example.com"},
        "timezone": "Europe/Paris",
        "window": {"start": "09:00", "end": "17:00"},
    },
    "update_mailbox": {"mailbox": "ann@example.com", "status": "paused"},
    "list_mailboxes": {},
    "get_mailbox": {"mailbox": "ann@example.com"},
    "check_mailbox": {"mailbox": "ann@example.com"},
    "send_test": {"campaign_id": _CAMPAIGN, "step_number": 1, "mailbox": "ann@example.com", "to": "me@example.com"},
    "list_threads": {"state": "needs_answer"},
    "get_thread": {"thread_id": _THREAD},
    "reply_in_thread": {"thread_id": _THREAD, "body": "Tuesday at ten suits me.", "cc": ["ben@example.com"]},
    "close_thread": {"thread_id": _THREAD},
    "sort_reply": {"message_id": _MESSAGE, "kind": "absence", "until": "2026-11-16"},
    "settle_message": {"message_id": _MESSAGE, "outcome": "sent"},
    "replay_mail": {"mailbox": "ann@example.com", "since": "2026-11-01T00:00:00Z"},
    "get_job": {"job_id": _JOB},
    "list_jobs": {"status": "failed"},
    "claim_job": {"worker_id": "enricher-1", "types": ["enrichment"]},
    "heartbeat_job": {"job_id": _JOB, "lease_token": _LEASE, "progress": {"done": 40, "of": 100}},
    "complete_job": {"job_id": _JOB, "lease_token": _LEASE, "result": {"found": 12}},
    "fail_job": {"job_id": _JOB, "lease_token": _LEASE, "error": "The service answered 503."},
    "cancel_job": {"job_id": _JOB},
    "retry_job": {"job_id": _JOB},
    "update_job": {"job_id": _JOB, "priority": "high", "run_at": "2026-11-02T09:00:00Z"},
    "get_job_stats": {},
    "cache_get": {"namespace": "companies", "key": "example.com"},
    "cache_set": {"namespace": "companies", "key": "example.com", "value": {"employees": 120}, "ttl_seconds": 86400},
    "cache_delete": {"namespace": "companies"},
    "cache_stats": {},
    "get_health": {},
    "list_audit": {"tool": "erase_contact", "since": "2026-11-01T00:00:00Z"},
    "run_maintenance": {},
    "get_settings": {},
    "update_settings": {"retention_days": 365, "days_between_campaigns": 30},
    "draft_action": {
        "enrollment_id": _ENROLLMENT,
        "subject": "Your talk in Bonn",
        "body": "Hello Ada, your talk on cranes stayed with me. May I ask you one question about it?",
    },
    "list_drafts": {"campaign_id": _CAMPAIGN},
    "approve_drafts": {"drafts": [{"draft_id": _DRAFT, "fingerprint": _FINGERPRINT}]},
    "reject_draft": {"draft_id": _DRAFT, "reason": "She gave no talk in Bonn.", "then": "pause"},
}
