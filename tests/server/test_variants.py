"""A/B tests whose steps call their variants differently: each step is split evenly, and every tool tells the same."""

from collections import Counter
from typing import Any

import pytest
from mcp.client import Client

from tests.support.server import call, running

# One era is enough: they differ in how calls travel, and these are a thousand.
pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("client", ["auto"], indirect=True)]

PEOPLE = 400
# Six standard deviations and a bit to either side of the half: missed by chance less than once in 1e9.
EVEN = range(PEOPLE // 2 - 62, PEOPLE // 2 + 63)


def varied(step_number: int, *names: str) -> list[dict[str, Any]]:
    text = {"subject": "Hello", "body": "Good morning, all", "step_number": step_number}
    return [{**text, "a_b_variant": name} for name in names]


async def enrolled(client: Client, steps: list[dict[str, Any]]) -> tuple[str, str]:
    """(campaign_id, template_id) of a running campaign with PEOPLE in it."""
    where = await running(client, *steps, people=PEOPLE)
    return where["campaign_id"], where["template_id"]


async def claim_all(client: Client, campaign_id: str) -> list[dict[str, Any]]:
    claimed: list[dict[str, Any]] = []
    while len(claimed) < PEOPLE:
        answer = await call(client, "claim_due_actions", campaign_id=campaign_id, limit=100)
        assert answer["actions"]
        claimed += answer["actions"]
    return claimed


async def send_all(client: Client, campaign_id: str) -> Counter[str | None]:
    """Claim and complete the next step of everybody: variant -> how many it was sent to."""
    claimed = await claim_all(client, campaign_id)
    for index, action in enumerate(claimed):
        if index % 40 == 0:
            shown = await call(
                client, "preview_action", enrollment_id=action["enrollment_id"], step_number=action["step_number"]
            )
            assert shown.get("a_b_variant") == action.get("a_b_variant")
        lease = {"action_id": action["action_id"], "lease_token": action["lease_token"]}
        done = await call(client, "complete_action", **lease, outcome="sent")
        assert done["action"].get("a_b_variant") == action.get("a_b_variant")
    return Counter(action.get("a_b_variant") for action in claimed)


async def test_steps_whose_variants_have_different_names_are_split_evenly(client: Client) -> None:
    campaign_id, _ = await enrolled(client, [*varied(1, "A", "B"), *varied(2, "X", "Y")])
    first = await send_all(client, campaign_id)
    assert first["A"] in EVEN
    assert first["A"] + first["B"] == PEOPLE
    metrics = await call(client, "get_metrics", campaign_id=campaign_id, group_by="variant")
    assert {group["key"]: group["totals"]["sent"] for group in metrics["groups"]} == first
    second = Counter(action.get("a_b_variant") for action in await claim_all(client, campaign_id))
    assert second["X"] in EVEN
    assert second["X"] + second["Y"] == PEOPLE


async def test_a_test_that_is_added_to_a_running_campaign_is_split_evenly(client: Client) -> None:
    plain = {"step_number": 1, "subject": "Hello", "body": "Good morning, all"}
    campaign_id, template_id = await enrolled(client, [plain])
    await call(client, "update_template", template_id=template_id, email_steps=varied(2, "A", "B"))
    assert await send_all(client, campaign_id) == {None: PEOPLE}
    second = Counter(action.get("a_b_variant") for action in await claim_all(client, campaign_id))
    assert second["A"] in EVEN
    assert second["A"] + second["B"] == PEOPLE
