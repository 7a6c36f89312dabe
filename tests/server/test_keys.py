"""Every tool that writes keeps to its idempotency key."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from mcp.client import Client
from sqlalchemy import text

from db.postgres.database import Database
from mcp_server.calls.server import build_server
from mcp_server.calls.toolsets import TOOLSETS
from mcp_server.process.app import App
from tests.support.server import call, refusal

pytestmark = pytest.mark.anyio

WRITES = {tool.name for toolset in TOOLSETS for tool in toolset.tools if not tool.read_only}
STEP = {"step_number": 1, "subject": "Hello", "body": "Good morning, all"}
PEOPLE = [{"email": f"{name}@example.com"} for name in ("ann", "ben", "cid")]
NEW_ID = str(uuid4())
MARK = text("UPDATE idempotency_keys SET response = response || '{\"kept\": true}' WHERE key = :key")


class Keyed:
    """Calls a tool under a key of its own: once, again, with the `other` arguments, and as another tool."""

    def __init__(self, client: Client, database: Database) -> None:
        self.client = client
        self._database = database
        self.seen: set[str] = set()

    async def __call__(self, tool: str, other: dict[str, Any], /, **arguments: Any) -> dict[str, Any]:
        key = {"idempotency_key": f"key of {tool}"}
        answer = await call(self.client, tool, **arguments, **key)
        # What is done again may well be answered in the same words; the answer that was kept shows the mark.
        with self._database.transaction("mark") as session:
            session.execute(MARK, {"key": key["idempotency_key"]})
        assert await call(self.client, tool, **arguments, **key) == {**answer, "kept": True}, tool
        if other:
            said = await refusal(self.client, tool, **{**arguments, **other}, **key)
            assert f"another call of {tool}" in said
        assert f"another call of {tool}" in await refusal(self.client, "cache_delete", namespace="none", **key)
        self.seen.add(tool)
        return answer


async def use_campaigns(keyed: Keyed) -> None:
    made = await keyed("create_template", {"name": "U"}, name="T", type="email", email_steps=[STEP])
    template = {"template_id": made["template"]["id"]}
    await keyed("update_template", {"name": "V"}, **template, name="U")
    created = await keyed("create_campaign", {"name": "D"}, **template, name="C")
    campaign = {"campaign_id": created["campaign"]["id"]}
    await keyed("update_campaign", {"name": "E"}, **campaign, name="D")
    await keyed("start_campaign", {"campaign_id": NEW_ID}, **campaign)
    enrolled = await keyed("enroll_contacts", {"contacts": PEOPLE[:2]}, **campaign, contacts=PEOPLE)
    enrollment = {"enrollment_id": enrolled["results"][0]["enrollment_id"]}
    await use_steps(keyed, campaign, enrollment)
    await keyed("update_enrollment", {"action": "complete"}, **enrollment, action="unsubscribe")
    await keyed("pause_campaign", {"campaign_id": NEW_ID}, **campaign)
    await keyed("complete_campaign", {"campaign_id": NEW_ID}, **campaign)
    await keyed("archive_template", {"template_id": NEW_ID}, **template)


async def use_steps(keyed: Keyed, campaign: dict[str, str], enrollment: dict[str, str]) -> None:
    due = await keyed("claim_due_actions", {"limit": 2}, **campaign, limit=1)
    lease = {name: due["actions"][0][name] for name in ("action_id", "lease_token")}
    await keyed("complete_action", {"outcome": "failed"}, **lease, outcome="sent")
    event = {"event_type": "opened", "channel": "email", "step_number": 1, **enrollment}
    clicked = {**event, "event_type": "clicked"}
    await keyed("record_event", {"event": clicked}, event=event)
    await keyed("record_events", {"events": [event]}, events=[clicked])
    await keyed("replay_events", {"provider": "mailgun"}, provider="sendgrid")


async def use_people(keyed: Keyed) -> None:
    await keyed("upsert_contacts", {"contacts": PEOPLE[:1]}, contacts=PEOPLE)
    ann, ben = PEOPLE[:2]
    await keyed("suppress", ann, **ben)
    await keyed("unsuppress", ann, **ben)
    await keyed("erase_contact", ann, **ben)


async def use_jobs(keyed: Keyed) -> None:
    job: dict[str, Any] = {"type": "import", "parameters": {}}
    ids = [(await call(keyed.client, "create_job", **job))["job"]["id"] for _ in range(3)]
    other = {"job_id": ids[0]}
    held = [(await call(keyed.client, "claim_job", worker_id="w"))["job"] for _ in ids]
    first, second = ({"job_id": job["id"], "lease_token": job["lease_token"]} for job in held[:2])
    await keyed("create_job", {"priority": "low"}, **job)
    await keyed("claim_job", {"worker_id": "v"}, worker_id="w")
    await keyed("heartbeat_job", {"progress": 2}, **first, progress=1)
    await keyed("complete_job", {"result": 2}, **first, result=1)
    await keyed("fail_job", {"error": "Other"}, **second, error="Broken", retry=False)
    await keyed("retry_job", other, job_id=second["job_id"])
    await keyed("update_job", {"priority": "low"}, job_id=second["job_id"], priority="high")
    await keyed("cancel_job", other, job_id=second["job_id"])


async def use_cache_and_ops(keyed: Keyed) -> None:
    await keyed("cache_set", {"value": 2}, namespace="n", key="k", value=1)
    await keyed("cache_delete", {"key": "other"}, namespace="n", key="k")
    await keyed("run_maintenance", {})


async def test_every_tool_that_writes_keeps_to_its_key(make_app: Callable[..., App], database: Database) -> None:
    async with Client(build_server(make_app())) as client:
        keyed = Keyed(client, database)
        for use in (use_campaigns, use_people, use_jobs, use_cache_and_ops):
            await use(keyed)
        assert keyed.seen == WRITES
