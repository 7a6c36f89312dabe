"""What providers report pauses a campaign before the report is answered."""

import pytest
from mcp.client import Client

from tests.support.server import call, new_campaign, refusal

pytestmark = pytest.mark.anyio


async def test_the_third_bounce_pauses_the_campaign_at_once(client: Client) -> None:
    scene = await new_campaign(client, people=60, start=True)
    enrollments, campaign_id = scene["enrollment_ids"], scene["campaign_id"]
    told = [{"event_type": "sent", "channel": "email", "enrollment_id": id_, "step_number": 1} for id_ in enrollments]
    bounces = [{**event, "event_type": "bounced"} for event in told[:3]]
    await call(client, "record_events", events=[*told, *bounces[:2]])
    assert (await call(client, "get_campaign", campaign_id=campaign_id))["campaign"]["status"] == "active"
    await call(client, "record_event", event=bounces[2])
    campaign = (await call(client, "get_campaign", campaign_id=campaign_id))["campaign"]
    assert (campaign["status"], campaign["pause_reason"][:45]) == (
        "paused",
        "guardrail: 3 of 60 mails came back since 2026",
    )
    assert campaign["pause_reason"] in await refusal(client, "claim_due_actions", campaign_id=campaign_id)
    holds = (await call(client, "explain_due", campaign_id=campaign_id))["holds"]
    assert "guardrail" in [hold["reason"] for hold in holds]
    assert campaign_id in (await call(client, "get_health"))["paused_campaigns"]
    await call(client, "start_campaign", campaign_id=campaign_id)
    assert (await call(client, "get_campaign", campaign_id=campaign_id))["campaign"]["status"] == "active"
    await call(client, "update_settings", guardrails={"bounce_rate": 0})
