"""Texts that become a header, or stand in one line, have no line break: none can be slipped in by a person's name."""

from typing import Any

import pytest
from mcp.client import Client

from tests.support.server import call, new_campaign, refusal

pytestmark = pytest.mark.anyio

SLIPPED_IN = "A\r\nBcc: victim@example.com"
STEP = {"step_number": 1, "subject": "Hello {{ first_name }}", "body": "Dear {{ first_name }},\nwelcome"}


async def campaign_of(client: Client, step: dict[str, Any], **settings: Any) -> str:
    template = await call(client, "create_template", name="T", type="email", email_steps=[step])
    made = await call(client, "create_campaign", name="C", template_id=template["template"]["id"], settings=settings)
    await call(client, "start_campaign", campaign_id=made["campaign"]["id"])
    return made["campaign"]["id"]


@pytest.mark.parametrize(
    "breaks", ["\r\n", "\n", "\r", "\x0b", "\x0c", "\x1b", "\x7f", "\x85", "\x9f", "\u2028", "\u2029", "\t\r\n\n"]
)
async def test_a_subject_is_one_line_whatever_fills_it(client: Client, breaks: str) -> None:
    subject = "Hello {{ attributes.city }}, {{ campaign.offer }}"
    campaign_id = await campaign_of(client, {**STEP, "subject": subject}, variables={"offer": f"one{breaks}two"})
    person = {"email": "a@example.com", "first_name": "A", "attributes": {"city": f"A{breaks}Bcc: victim@example.com"}}
    enrolled = await call(client, "enroll_contacts", campaign_id=campaign_id, contacts=[person])
    enrollment_id = enrolled["results"][0]["enrollment_id"]
    preview = await call(client, "preview_action", enrollment_id=enrollment_id)
    (due,) = (await call(client, "claim_due_actions"))["actions"]
    assert due["subject"] == preview["subject"] == "Hello A Bcc: victim@example.com, one two"


@pytest.mark.parametrize("field", ["first_name", "last_name", "company", "title"])
async def test_a_person_is_kept_in_lines(client: Client, field: str) -> None:
    campaign_id = await campaign_of(client, {**STEP, "subject": "Hello", "body": "Good morning, all"})
    person = {"email": "a@example.com", field: f" {SLIPPED_IN}\n"}
    await call(client, "enroll_contacts", campaign_id=campaign_id, contacts=[person])
    await call(client, "upsert_contacts", contacts=[person])
    (due,) = (await call(client, "claim_due_actions"))["actions"]
    assert due["contact"][field] == "A Bcc: victim@example.com"


@pytest.mark.parametrize("tool", ["create_template", "update_template"])
@pytest.mark.parametrize(
    "subject", ["Hello\r\nBcc: victim@example.com", "Hello\n", "{% if first_name %}\nA{% endif %}"]
)
async def test_a_template_with_a_line_break_in_a_subject_is_refused(client: Client, tool: str, subject: str) -> None:
    which = {"name": "T", "type": "email"}
    if tool == "update_template":
        which = {"template_id": (await new_campaign(client))["template_id"]}
    told = await refusal(client, tool, **which, email_steps=[{**STEP, "subject": subject}])
    assert "email_steps.0.subject: must be one line" in told


ONE_LINE: list[tuple[str, dict[str, Any], str]] = [
    ("create_template", {"name": SLIPPED_IN, "type": "email"}, "name"),
    ("create_template", {"name": "T", "type": "email", "idempotency_key": "a\nb"}, "idempotency_key"),
    (
        "create_template",
        {"name": "T", "type": "email", "email_steps": [{**STEP, "a_b_variant": "A\nB"}]},
        "email_steps.0.a_b_variant",
    ),
    ("suppress", {"email": "a@example.com", "source": SLIPPED_IN}, "source"),
]


@pytest.mark.parametrize(("tool", "arguments", "named"), ONE_LINE)
async def test_what_is_shown_in_one_line_is_one(
    client: Client, tool: str, arguments: dict[str, Any], named: str
) -> None:
    assert f"{named}: must be one line" in await refusal(client, tool, **arguments)


async def test_an_account_to_send_from_is_one_line(client: Client) -> None:
    template_id = (await new_campaign(client))["template_id"]
    settings = {"senders": {"email": {"account": SLIPPED_IN}}}
    told = await refusal(client, "create_campaign", name="C", template_id=template_id, settings=settings)
    assert "settings.senders.email.account: must be one line" in told


async def test_texts_of_several_lines_keep_them(client: Client) -> None:
    body = "Dear {{ first_name }},\n\n\twelcome.\n{{ campaign.signature }}"
    campaign_id = await campaign_of(client, {**STEP, "body": body}, variables={"signature": "Zoë\nSales"})
    await call(
        client, "enroll_contacts", campaign_id=campaign_id, contacts=[{"email": "a@example.com", "first_name": "A"}]
    )
    (due,) = (await call(client, "claim_due_actions"))["actions"]
    assert due["body"] == "Dear A,\n\n\twelcome.\nZoë\nSales"
