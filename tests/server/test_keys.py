"""Every tool that writes keeps to its idempotency key."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from anyio import to_thread
from mcp.client import Client
from sqlalchemy import text

from db.postgres.database import Database
from db.services.outgoing.mails import QueuedMail
from mcp_server.calls.toolsets import TOOLSETS
from mcp_server.process.app import App
from tests.support.incoming import Inbox, answered
from tests.support.mail_servers import smtp_server
from tests.support.outbox import take_lease, unknown_mail
from tests.support.server import approving_server, call, refusal

pytestmark = pytest.mark.anyio

WRITES = {tool.name for toolset in TOOLSETS for tool in toolset.tools if not tool.read_only}
STEP = {"step_number": 1, "subject": "Hello", "body": "Good morning, all"}
PEOPLE = [{"email": f"{name}@example.com"} for name in ("ann", "ben", "cid")]
ME = "me@example.com"
NEW_ID = str(uuid4())
MARK = text("UPDATE idempotency_keys SET response = response || '{\"kept\": true}' WHERE key = :key")


class Keyed:
    """Calls a tool under a key of its own: once, again, with the `other` arguments, and as another tool."""

    def __init__(self, client: Client, database: Database) -> None:
        self.client = client
        self.database = database
        self.seen: set[str] = set()

    async def __call__(self, tool: str, other: dict[str, Any], /, **arguments: Any) -> dict[str, Any]:
        key = {"idempotency_key": f"key of {tool}"}
        answer = await call(self.client, tool, **arguments, **key)
        # What is done again may well be answered in the same words; the answer that was kept shows the mark.
        with self.database.transaction("mark") as session:
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
    enrolled = await keyed("enroll_contacts", {"contacts": PEOPLE[:2]}, **campaign, contacts=PEOPLE, detail="full")
    enrollment = {"enrollment_id": enrolled["results"][0]["enrollment_id"]}
    await use_steps(keyed, campaign, enrollment)
    await keyed("update_enrollment", {"action": "complete"}, **enrollment, action="unsubscribe")
    await use_drafts(keyed, campaign)
    await keyed("pause_campaign", {"campaign_id": NEW_ID}, **campaign)
    await keyed("complete_campaign", {"campaign_id": NEW_ID}, **campaign)
    await keyed("archive_template", {"template_id": NEW_ID}, **template)


async def use_steps(keyed: Keyed, campaign: dict[str, str], enrollment: dict[str, str]) -> None:
    due = await keyed("claim_due_actions", {"limit": 2}, **campaign, limit=1)
    lease = {name: due["actions"][0][name] for name in ("action_id", "lease_token")}
    await keyed("complete_action", {"outcome": "failed"}, **lease, outcome="sent")
    (thread,) = (await call(keyed.client, "list_threads"))["threads"]
    await keyed("close_thread", {"thread_id": NEW_ID}, thread_id=thread["id"])
    report = {**lease, "outcome": "sent"}
    await keyed("complete_actions", {"reports": [{**report, "outcome": "failed"}]}, reports=[report])
    event = {"event_type": "opened", "channel": "email", "step_number": 1, **enrollment}
    clicked = {**event, "event_type": "clicked"}
    await keyed("record_event", {"event": clicked}, event=event)
    await keyed("record_events", {"events": [event]}, events=[clicked])
    await keyed("replay_events", {"provider": "mailgun"}, provider="sendgrid")


async def use_drafts(keyed: Keyed, campaign: dict[str, str]) -> None:
    dee = await call(
        keyed.client, "enroll_contacts", **campaign, contacts=[{"email": "dee@example.com"}], detail="full"
    )
    enrollment_id = dee["results"][0]["enrollment_id"]
    words = {"enrollment_id": enrollment_id, "body": "Words for one person"}
    drafted = await keyed("draft_action", {"body": "Other words"}, **words)
    draft = {"draft_id": drafted["draft"]["id"], "fingerprint": drafted["draft"]["fingerprint"]}
    await keyed("approve_drafts", {"drafts": [{**draft, "fingerprint": "0" * 64}]}, drafts=[draft])
    rejected = {"draft_id": draft["draft_id"], "reason": "Too long"}
    await keyed("reject_draft", {"then": "skip"}, **rejected, then="pause")


async def use_people(keyed: Keyed) -> None:
    await keyed("upsert_contacts", {"contacts": PEOPLE[:1]}, contacts=PEOPLE)
    ann, ben = PEOPLE[:2]
    await keyed("import_contacts", {"csv": "email\nann@example.com\n"}, csv="email\nben@example.com\n")
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
    # A host that is nowhere.
    mailbox = {"address": "ann@example.com", "smtp": {"host": "smtp.example.invalid"}}
    await keyed("connect_mailbox", {"daily_limit": 9}, **mailbox)
    await keyed("update_mailbox", {"daily_limit": 9}, mailbox="ann@example.com", daily_limit=8)
    await keyed("update_settings", {"retention_days": 8}, retention_days=9)


async def use_mail(keyed: Keyed, inbox: Inbox) -> None:
    (message,) = inbox.messages()
    take_lease(keyed.database, inbox.mailbox_id)  # as of a process that sends
    await keyed("reply_in_thread", {"body": "Wednesday"}, thread_id=str(message.thread_id), body="Tuesday")
    await keyed("sort_reply", {"kind": "human"}, message_id=str(message.id), kind="auto_reply")
    await keyed("replay_mail", {"since": "2026-11-03T00:00:00Z"})


async def use_unknown_mail(keyed: Keyed, mail: QueuedMail) -> None:
    await keyed("settle_message", {"outcome": "not_sent"}, message_id=str(mail.message_id), outcome="sent")


async def use_mailboxes(keyed: Keyed) -> None:
    template = (await call(keyed.client, "create_template", name="M", type="email", email_steps=[STEP]))["template"]
    campaign = (await call(keyed.client, "create_campaign", name="M", template_id=template["id"]))["campaign"]
    with smtp_server({ME: "secret"}) as server:
        smtp = {"host": "127.0.0.1", "port": server.port, "security": "none"}
        await call(keyed.client, "connect_mailbox", address=ME, smtp=smtp)
        test = {"campaign_id": campaign["id"], "step_number": 1, "mailbox": ME, "to": ME}
        await keyed("send_test", {"step_number": 2}, **test)
    assert len(server.taken) == 1


async def test_every_tool_that_writes_keeps_to_its_key(
    make_app: Callable[..., App], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SALES_AUTOMATION_MAILBOX_PASSWORD_ME_EXAMPLE_COM", "secret")
    async with Client(approving_server(make_app(allow_private_hosts=True))) as client:
        keyed = Keyed(client, database)
        for use in (use_campaigns, use_people, use_jobs, use_cache_and_ops, use_mailboxes):
            await use(keyed)
        await use_mail(keyed, await to_thread.run_sync(answered, database))
        await use_unknown_mail(keyed, await to_thread.run_sync(unknown_mail, database))
        assert keyed.seen == WRITES
