"""A template is changed while its campaigns run."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from mcp.client import Client

from tests.support.server import call, refusal, running

pytestmark = pytest.mark.anyio


def email(number: int, body: str = "The text of this step", **more: Any) -> dict[str, Any]:
    return {"step_number": number, "subject": f"Step {number}", "body": body, **more}


async def send(client: Client) -> dict[str, Any]:
    """Claim one step and report it sent; {step_number, body, enrollment, sent_at, next_action_at}."""
    (due,) = (await call(client, "claim_due_actions", limit=1))["actions"]
    report = {"action_id": due["action_id"], "lease_token": due["lease_token"], "outcome": "sent"}
    done = await call(client, "complete_action", **report)
    moments = {"sent_at": done["action"]["sent_at"], "next_action_at": done["enrollment"].get("next_action_at")}
    return {**due, "enrollment": done["enrollment"], **moments}


async def test_the_text_of_a_step_that_is_to_come_is_changed(client: Client) -> None:
    where = await running(client, email(1), email(2))
    await send(client)
    changed = email(2, "A better text for this step")
    await call(client, "update_template", template_id=where["template_id"], email_steps=[changed])
    assert (await send(client))["body"] == "A better text for this step"


def hours_until_next(sent: dict[str, Any]) -> float:
    done, due = (datetime.fromisoformat(sent[name]) for name in ("sent_at", "next_action_at"))
    return (due - done) / timedelta(hours=1)


async def test_a_new_delay_counts_for_whoever_waits_and_for_whoever_reaches_the_step(client: Client) -> None:
    where = await running(client, email(1), email(2, delay_hours=24), people=2)
    early = await send(client)
    assert hours_until_next(early) == 24
    slower = email(2, delay_hours=72)
    await call(client, "update_template", template_id=where["template_id"], email_steps=[slower])
    late = await send(client)
    assert late["enrollment"]["id"] != early["enrollment"]["id"]
    assert hours_until_next(late) == 72
    waits = await call(client, "get_enrollment", enrollment_id=early["enrollment"]["id"])
    assert waits["enrollment"]["next_action_at"] == late["next_action_at"]


async def test_a_step_added_at_the_end_is_taken_by_whoever_has_not_finished(client: Client) -> None:
    where = await running(client, email(1), people=2)
    assert (await send(client))["enrollment"]["status"] == "completed"
    await call(client, "update_template", template_id=where["template_id"], email_steps=[email(2)])
    second = await send(client)
    assert (second["step_number"], second["enrollment"]["status"]) == (1, "active")
    assert (await send(client))["enrollment"]["status"] == "completed"
    assert (await call(client, "claim_due_actions"))["actions"] == []


async def test_a_step_taken_out_of_use_is_passed_over(client: Client) -> None:
    where = await running(client, email(1), email(2), email(3))
    await send(client)
    off = email(2, is_active=False)
    await call(client, "update_template", template_id=where["template_id"], email_steps=[off])
    last = await send(client)
    assert (last["step_number"], last["enrollment"]["status"]) == (3, "completed")


async def test_whoever_has_no_step_left_after_a_change_is_finished(client: Client) -> None:
    where = await running(client, email(1), email(2))
    await send(client)
    off = email(2, is_active=False)
    await call(client, "update_template", template_id=where["template_id"], email_steps=[off])
    assert (await call(client, "claim_due_actions"))["actions"] == []
    metrics = await call(client, "get_metrics", campaign_id=where["campaign_id"])
    assert metrics["enrollment_status"]["completed"] == 1


async def test_nothing_is_put_before_a_step_that_somebody_has_done(client: Client) -> None:
    where = await running(client, email(2), email(4), people=2)
    await send(client)
    for number in (1, 2):
        new = {"step_number": number, "type": "profile_visit"}
        await refusal(client, "update_template", template_id=where["template_id"], linkedin_steps=[new])
    early = {"template_id": where["template_id"], "email_steps": [email(1)], "name": "Renamed"}
    told = await refusal(client, "update_template", **early)
    assert "somebody has done step 2 already" in told
    shown = await call(client, "get_template", template_id=where["template_id"])
    assert shown["template"]["name"] == "T"
    assert [step["step_number"] for step in shown["template"]["email_steps"]] == [2, 4]
    # What comes after everybody is fine.
    await call(client, "update_template", template_id=where["template_id"], email_steps=[email(3)])
    assert [(await send(client))["step_number"] for _ in range(2)] == [3, 4]


@pytest.mark.parametrize("settings", [{}, {"senders": {"email": {"account": "sales@example.com"}}}])
@pytest.mark.parametrize("channel", [None, "email"])
async def test_whoever_has_no_step_left_is_finished_where_channels_are_worked_off_apart(
    client: Client, settings: dict[str, Any], channel: str | None
) -> None:
    where = await running(client, email(1), email(2))
    await call(client, "update_campaign", campaign_id=where["campaign_id"], settings=settings)
    await send(client)
    off = email(2, is_active=False)
    await call(client, "update_template", template_id=where["template_id"], email_steps=[off])
    chosen = {"channel": channel} if channel else {}
    assert (await call(client, "claim_due_actions", **chosen))["actions"] == []
    metrics = await call(client, "get_metrics", campaign_id=where["campaign_id"])
    assert metrics["enrollment_status"]["completed"] == 1


@pytest.mark.parametrize("settings", [{}, {"daily_limit": 1, "senders": {"email": {"account": "sales@example.com"}}}])
async def test_a_campaign_whose_steps_are_all_out_of_use_holds_up_no_other(
    client: Client, settings: dict[str, Any]
) -> None:
    emptied = await running(client, email(1), people=2)
    await call(client, "update_campaign", campaign_id=emptied["campaign_id"], settings=settings)
    off = email(1, is_active=False)
    await call(client, "update_template", template_id=emptied["template_id"], email_steps=[off])
    await running(client, email(1, "The text of the other"))
    told = await call(client, "explain_due", campaign_id=emptied["campaign_id"])
    assert [hold["reason"] for hold in told["holds"]] == ["no_step_left"]
    assert (await send(client))["body"] == "The text of the other"
    assert (await call(client, "claim_due_actions", channel="email"))["actions"] == []
    metrics = await call(client, "get_metrics", campaign_id=emptied["campaign_id"])
    assert metrics["enrollment_status"]["completed"] == 2


async def test_enrolling_where_every_step_is_out_of_use_warns(client: Client) -> None:
    where = await running(client, email(1), people=1)
    off = email(1, is_active=False)
    await call(client, "update_template", template_id=where["template_id"], email_steps=[off])
    newcomer = {"campaign_id": where["campaign_id"], "contacts": [{"email": "new@example.com"}]}
    told = await call(client, "enroll_contacts", **newcomer)
    assert len(told["warnings"]) == 1
    assert "warnings" not in await call(client, "enroll_contacts", **newcomer)


async def test_a_change_of_steps_tells_whom_it_concerns(client: Client) -> None:
    where = await running(client, email(1), email(2), email(3), people=3)
    await send(client)
    off = email(2, is_active=False)
    changed = await call(client, "update_template", template_id=where["template_id"], email_steps=[off])
    assert changed["affects"] == [
        {"step_number": 2, "is_in_use": False, "will_get": 0, "will_not_get": 3, "waiting": 0}
    ]
    later = {**email(3), "delay_hours": 5}
    changed = await call(client, "update_template", template_id=where["template_id"], email_steps=[later])
    # The one to whom the first step went waits for the third, the others will.
    assert changed["affects"] == [{"step_number": 3, "is_in_use": True, "will_get": 3, "will_not_get": 0, "waiting": 1}]
    same = await call(client, "update_template", template_id=where["template_id"], name="Renamed")
    assert "affects" not in same
