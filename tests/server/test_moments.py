"""Moments and days as they come in: a moment has its zone, and a day is not a moment."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from mcp.client import Client

from tests.support.server import NOW, call, new_campaign, refusal

pytestmark = pytest.mark.anyio

ID = str(uuid4())
MOMENT = "must be a moment with its zone, such as 2026-11-02T09:00:00+01:00"
DAY = "must be a day such as 2026-11-02"
EITHER = f"{DAY}, or a moment with its zone, such as 2026-11-02T09:00:00+01:00"
EVENT = {"event_type": "sent", "channel": "email", "enrollment_id": ID}

MOMENTS: list[tuple[str, dict[str, Any], str]] = [
    ("list_events", {"campaign_id": ID}, "since"),
    ("list_orphaned_events", {}, "until"),
    ("list_webhook_deliveries", {}, "since"),
    ("replay_events", {}, "until"),
    ("list_audit", {}, "since"),
    ("suppress", {"email": "a@example.com"}, "expires_at"),
    ("create_job", {"type": "enrichment", "parameters": {}}, "run_at"),
    ("enroll_contacts", {"campaign_id": ID, "contacts": [{"email": "a@example.com"}]}, "start_at"),
]


@pytest.mark.parametrize("value", ["2026-11-02T09:00:00", "2026-11-02T00:00:00", "2026-11-02 09:00", "2026-11-02"])
@pytest.mark.parametrize(("tool", "arguments", "name"), MOMENTS)
async def test_a_moment_without_its_zone_is_refused_in_the_same_words(
    client: Client, tool: str, arguments: dict[str, Any], name: str, value: str
) -> None:
    assert f"{name}: {MOMENT}\n" in await refusal(client, tool, **arguments, **{name: value})


@pytest.mark.parametrize("value", ["2026-11-02T09:00:00", "20261102", "1793610000", 1793610000, 20261102, True])
async def test_a_moment_is_never_guessed_from_a_number(client: Client, value: object) -> None:
    assert f"since: {MOMENT}\n" in await refusal(client, "list_events", campaign_id=ID, since=value)
    assert f"event.occurred_at: {MOMENT}\n" in await refusal(
        client, "record_event", event={**EVENT, "occurred_at": value}
    )


NO_DAYS: list[Any] = [
    "2026-11-02T00:00:00", "2026-11-02 00:00:00", "20261102", 20261102, 1793577600, "2026-11", "2026-W45-1",
    "2026-02-30", "2026-11-02T09:00:00", True, [],
]  # fmt: skip


@pytest.mark.parametrize("value", NO_DAYS)
async def test_what_is_neither_a_day_nor_a_moment_chooses_no_days(client: Client, value: object) -> None:
    told = await refusal(client, "get_metrics", campaign_id=ID, since=value, until=value)
    assert f"since: {EITHER}\nuntil: {EITHER}\n" in told
    holidays = {"holidays": [value]}
    told = await refusal(client, "create_campaign", name="C", template_id=ID, settings=holidays)
    assert f"settings.holidays.0: {DAY}\n" in told


@pytest.mark.parametrize("value", ["0001-01-01", "1969-12-31", "2201-01-01", "9999-12-31"])
async def test_days_and_moments_lie_in_years_that_can_be_meant(client: Client, value: str) -> None:
    years = "must lie between the years 1970 and 2200"
    told = await refusal(client, "get_metrics", campaign_id=ID, since=value, until=f"{value}T12:00:00Z")
    assert f"since: {years}\nuntil: {years}\n" in told
    assert f"since: {years}\n" in await refusal(client, "list_events", campaign_id=ID, since=f"{value}T12:00:00Z")
    told = await refusal(client, "create_campaign", name="C", template_id=ID, settings={"holidays": [value]})
    assert f"settings.holidays.0: {years}\n" in told


@pytest.mark.parametrize(
    ("since", "until", "sent"),
    [
        ("2026-11-02", "2026-11-02", 1),
        ("2026-11-02T00:00:00Z", "2026-11-02T23:59:59Z", 1),
        ("2026-11-03T00:30:00+02:00", None, 1),
        ("2026-11-03", None, 0),
        (None, "2026-11-01", 0),
        ("1970-01-01", "2200-12-31", 1),
    ],
)
async def test_days_and_moments_with_a_zone_choose_days(
    client: Client, since: str | None, until: str | None, sent: int
) -> None:
    scene = await new_campaign(client, people=1, start=True)
    event = {**EVENT, "enrollment_id": scene["enrollment_ids"][0], "step_number": 1, "occurred_at": NOW.isoformat()}
    await call(client, "record_event", event=event)
    metrics = await call(client, "get_metrics", campaign_id=scene["campaign_id"], since=since, until=until)
    assert metrics["totals"]["sent"] == sent


async def test_what_is_said_to_happen_later_than_tomorrow_is_refused_alone(client: Client) -> None:
    scene = await new_campaign(client, people=1, start=True)
    event = {**EVENT, "enrollment_id": scene["enrollment_ids"][0]}
    ahead = {**event, "occurred_at": (NOW + timedelta(days=1, seconds=1)).isoformat()}
    assert "more than a day ahead of the server's clock" in await refusal(client, "record_event", event=ahead)
    fine = {**event, "occurred_at": (NOW + timedelta(days=1)).isoformat()}
    answer = await call(client, "record_events", events=[ahead, fine], detail="full")
    assert [row["status"] for row in answer["results"]] == ["invalid", "recorded"]
