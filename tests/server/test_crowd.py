"""More callers than the pool has connections: they are answered or told to come again, and all is well afterwards."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import anyio
import httpx2 as httpx
import pytest
from mcp.client import Client
from sqlalchemy import text

from db.postgres.database import Database
from tests.support.campaigns import assert_counters_are_exact
from tests.support.patience import PATIENCE
from tests.support.processes import http_server
from tests.support.server import call, new_campaign
from tests.support.signed_events import SECRET, signed

pytestmark = pytest.mark.anyio

CALLERS = 200
SMALL_POOL = {
    "SALES_AUTOMATION_POOL_SIZE": "5",
    "SALES_AUTOMATION_POOL_OVERFLOW": "0",
    "SALES_AUTOMATION_POOL_TIMEOUT": "0.5",
    "SALES_AUTOMATION_LOCK_TIMEOUT": "0.5",
    "SALES_AUTOMATION_WEBHOOK_STANDARD": SECRET,
}


async def post_all(base: str, callers: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
    """One webhook of every caller (number, enrollment id), all at once; who was told to come again."""
    refused: list[tuple[int, str]] = []

    async def post(client: httpx.AsyncClient, number: int, enrollment_id: str) -> None:
        body, headers = signed(number, enrollment_id, "opened")
        answer = await client.post(f"{base}/webhooks/standard", content=body, headers=headers)
        if answer.status_code == 503:
            assert int(answer.headers["retry-after"]) > 0
            refused.append((number, enrollment_id))
        else:
            assert answer.status_code == 200

    async with httpx.AsyncClient(timeout=PATIENCE) as client, anyio.create_task_group() as group:
        for number, enrollment_id in callers:
            group.start_soon(post, client, number, enrollment_id)
    return refused


async def count_all(base: str, campaign_id: str) -> tuple[int, list[str]]:
    """get_metrics of every caller, all at once: (how many were answered, the texts of the others)."""
    refused: list[str] = []
    answered: list[Any] = []

    async with Client(f"{base}/mcp") as client, anyio.create_task_group() as group:

        async def ask() -> None:
            result = await client.call_tool("get_metrics", {"campaign_id": campaign_id})
            (refused if result.is_error else answered).append(str(result.content))

        for _ in range(CALLERS):
            group.start_soon(ask)
    return len(answered), refused


async def test_a_crowd_at_a_small_pool_is_answered_or_told_to_come_again(database: Database, database_url: str) -> None:
    with http_server(database_url, **SMALL_POOL) as base:
        async with Client(f"{base}/mcp") as client:
            scene = await new_campaign(client, people=CALLERS, start=True)
        ids: list[str] = scene["enrollment_ids"]
        everybody = list(enumerate(ids))
        with database.transaction("hold everybody up") as session:
            session.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
            session.execute(text("LOCK TABLE webhook_deliveries, campaign_metrics IN ACCESS EXCLUSIVE MODE"))
            assert sorted(await post_all(base, everybody)) == sorted(everybody)
            answered, refused = await count_all(base, scene["campaign_id"])
            assert (answered, len(refused)) == (0, CALLERS)
            assert all("again" in answer for answer in refused)
        # Half a second for a connection is little, so some may be told to come again.
        with anyio.fail_after(PATIENCE):
            left = everybody
            while left:
                left = await post_all(base, left)
        answered, refused = await count_all(base, scene["campaign_id"])
        assert answered + len(refused) == CALLERS
        assert answered
        assert all("again" in answer for answer in refused)
        with anyio.fail_after(PATIENCE):
            opened = 0
            while opened < CALLERS:
                with database.transaction("look") as session:
                    opened = session.scalar(text("SELECT count(*) FROM campaign_events")) or 0
                await anyio.lowlevel.checkpoint()
        assert_counters_are_exact(database)
        async with Client(f"{base}/mcp") as client:
            metrics = await call(client, "get_metrics", campaign_id=scene["campaign_id"])
        assert metrics["totals"]["opened"] == CALLERS


async def test_two_servers_that_get_the_same_events_at_once_count_each_once(
    database: Database, database_url: str
) -> None:
    with http_server(database_url, "--no-worker") as one, http_server(database_url, "--no-worker") as other:
        async with Client(f"{one}/mcp") as client:
            scene = await new_campaign(client, people=40, start=True)
        verdicts = Counter[str]()

        async def tell(base: str) -> None:
            async with Client(f"{base}/mcp") as client, anyio.create_task_group() as group:
                for number, enrollment_id in enumerate(scene["enrollment_ids"]):
                    group.start_soon(tell_of, client, number, enrollment_id)

        async def tell_of(client: Client, number: int, enrollment_id: str) -> None:
            event = {"event_type": "opened", "channel": "email", "enrollment_id": enrollment_id, "step_number": 1}
            told = {**event, "provider": "p", "provider_event_id": f"e-{number}"}
            (row,) = (await call(client, "record_event", event=told))["results"]
            verdicts[row["status"]] += 1

        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                for base in (one, other, one, other):
                    group.start_soon(tell, base)
        assert verdicts == {"recorded": 40, "duplicate": 120}
        async with Client(f"{other}/mcp") as client:
            metrics = await call(client, "get_metrics", campaign_id=scene["campaign_id"])
        assert (metrics["totals"]["opened"], metrics["totals"]["total_opens"]) == (40, 40)
        assert_counters_are_exact(database)
