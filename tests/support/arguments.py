"""Arguments with shapes inside, and what a call says of wrong ones."""

from typing import Any, cast
from uuid import uuid4

from mcp_types import CallToolResult

from tests.support.server import text_of

ID = str(uuid4())
STEP = {"step_number": 1, "subject": "Hello", "body": "Good morning, all", "delay_hours": 0, "a_b_variant": "A"}
PERSON = {"email": "a@example.com", "first_name": "A", "timezone": "UTC", "attributes": {"a": [{"b": "c"}]}}
EVENT = {"event_type": "opened", "channel": "email", "enrollment_id": ID, "occurred_at": "2026-11-02T09:00:00Z"}
SETTINGS = {
    "timezone": "UTC",
    "sending_window": {"days": ["mon"], "start": "09:00", "end": "17:00"},
    "holidays": ["2026-12-25"],
    "daily_limit": 3,
    "ramp_up": {"start": 1, "increase": 1},
    "senders": {"email": {"account": "a@example.com", "daily_limit": 1}},
    "variables": {"offer": "x"},
}
# Arguments with shapes inside; those of all the other tools are made by their type.
SHAPED: dict[str, dict[str, Any]] = {
    "create_template": {"email_steps": [STEP], "linkedin_steps": [{"step_number": 2, "type": "message"}]},
    "create_campaign": {"settings": SETTINGS},
    "enroll_contacts": {"contacts": [PERSON]},
    "upsert_contacts": {"contacts": [PERSON]},
    "connect_mailbox": {"smtp": {"host": "smtp.example.com"}, "imap": {"host": "imap.example.com"}},
    "approve_drafts": {"drafts": [{"draft_id": ID, "fingerprint": "0" * 64}]},
    "record_event": {"event": EVENT},
    "record_events": {"events": [EVENT]},
}


def told(result: CallToolResult) -> list[str]:
    """All that a call says of what is wrong, a line each."""
    if result.is_error:
        head, *lines = text_of(result).splitlines()
        return [line for line in lines if not line.startswith("It takes: ")] or [head]
    answer = cast("dict[str, Any]", result.structured_content or {})
    rows = cast("list[dict[str, str]]", answer.get("results", []))
    return [reason for row in rows for reason in row.get("reason", "").split("; ") if reason]
