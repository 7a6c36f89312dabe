"""Who may approve: a person who was given the scope, and nobody by the way, whichever way in is taken."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx2 as httpx
import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client

from db.domain.access import Scope
from db.postgres.database import Database
from mcp_server.calls.server import build_server
from tests.support.patience import PATIENCE
from tests.support.processes import COMMAND, ERAS, TOKEN, environment, http_server
from tests.support.server import MakeApp, approving_server, call, new_campaign, refusal
from tests.support.tokens import connected, new_token

pytestmark = pytest.mark.anyio

STEP = {"step_number": 1, "subject": "Hello {{ first_name | default: 'you' }}", "body": "Good morning, all"}
WAYS = ("drafts list", "drafts approve", "drafts reject", "sales-automation-mcp dashboard")


async def waiting(client: Client) -> dict[str, Any]:
    """The draft of a campaign that asks, due and claimed for."""
    template = await call(client, "create_template", name="T", type="email", email_steps=[STEP])
    settings = {"approval": "all"}
    made = await call(client, "create_campaign", name="C", template_id=template["template"]["id"], settings=settings)
    campaign = {"campaign_id": made["campaign"]["id"]}
    await call(client, "start_campaign", **campaign)
    await call(client, "enroll_contacts", **campaign, contacts=[{"email": "ada@example.com"}])
    claimed = await call(client, "claim_due_actions", **campaign)
    assert claimed["actions"] == []
    assert claimed["set_aside"][0]["reason"] == "waiting_for_approval"
    (draft,) = (await call(client, "list_drafts", **campaign))["drafts"]
    return draft


async def is_kept_out(client: Client, draft: dict[str, Any]) -> None:
    """Neither decision is open to this client, which is told who can take it."""
    approval = {"drafts": [{"draft_id": draft["id"], "fingerprint": draft["fingerprint"]}]}
    for said in (
        await refusal(client, "approve_drafts", **approval),
        await refusal(client, "reject_draft", draft_id=draft["id"], reason="Too long", then="skip"),
    ):
        assert "needs the scope approve" in said
        assert all(way in said for way in WAYS)
    assert (await call(client, "list_drafts"))["drafts"] == [draft]


@asynccontextmanager
async def without_token(base: str, era: str) -> AsyncGenerator[Client]:
    async with (
        httpx.AsyncClient(timeout=PATIENCE) as http,
        Client(streamable_http_client(f"{base}/mcp", http_client=http), mode=era) as client,
    ):
        yield client


@pytest.mark.parametrize("era", ERAS)
async def test_whoever_has_the_pipes_may_not_approve(database: Database, database_url: str, era: str) -> None:
    parameters = StdioServerParameters(command=COMMAND[0], args=COMMAND[1:], env=environment(database_url))
    async with Client(stdio_client(parameters), mode=era) as client:
        await is_kept_out(client, await waiting(client))


@pytest.mark.parametrize("era", ERAS)
async def test_this_machine_may_not_approve_where_no_token_is_asked_for(
    database: Database, database_url: str, era: str
) -> None:
    with http_server(database_url) as base:
        async with without_token(base, era) as client:
            await is_kept_out(client, await waiting(client))


@pytest.mark.parametrize("how", [*ERAS, "sse"])
async def test_only_a_token_that_was_given_the_scope_may_approve(
    database: Database, database_url: str, how: str
) -> None:
    others = new_token(database, "agent", Scope.READ, Scope.WRITE, Scope.OPS)
    person = new_token(database, "ada", Scope.READ, Scope.APPROVE)
    with http_server(database_url, SALES_AUTOMATION_TOKEN=TOKEN) as base:
        async with connected(base, TOKEN, how) as client:
            draft = await waiting(client)
            await is_kept_out(client, draft)
        async with connected(base, others, how) as client:
            await is_kept_out(client, draft)
        async with connected(base, person, how) as client:
            assert "needs the scope write" in await refusal(
                client, "draft_action", enrollment_id=draft["enrollment_id"], body="Mine"
            )
            approval = {"drafts": [{"draft_id": draft["id"], "fingerprint": draft["fingerprint"]}]}
            answer = await call(client, "approve_drafts", **approval)
            assert answer["results"] == [{"draft_id": draft["id"], "status": "approved"}]
            (approved,) = (await call(client, "list_drafts", status="approved"))["drafts"]
            assert approved["decided_by"] == "ada"
        async with connected(base, TOKEN, how) as client:
            (action,) = (await call(client, "claim_due_actions"))["actions"]
            assert action["body"] == "Good morning, all"
            records = (await call(client, "list_audit", tool="approve_drafts", detail="full"))["records"]
    assert [(record["actor"], record["outcome"]) for record in records] == [
        ("ada", "ok"),
        ("agent", "refused"),
        ("default", "refused"),
    ]
    assert records[0]["ids"]["draft"] == [draft["id"]]


async def test_only_who_may_approve_lets_a_campaign_ask_for_less(make_app: MakeApp) -> None:
    app = make_app()
    async with Client(build_server(app)) as agent, Client(approving_server(app)) as person:
        campaign = {"campaign_id": (await new_campaign(agent))["campaign_id"]}

        async def asked() -> str | None:
            return (await call(agent, "get_campaign", **campaign))["campaign"]["settings"].get("approval")

        async def sets(client: Client, **settings: Any) -> dict[str, Any]:
            return await call(client, "update_campaign", **campaign, settings=settings)

        await sets(agent, daily_limit=5)
        assert await asked() is None
        await sets(agent, approval="first_step")
        raised = await sets(agent, approval="all", daily_limit=7)
        assert '"approval":"first_step"' in raised["undo"]
        await sets(agent, daily_limit=9)
        assert await asked() == "all"
        for less in ("none", "first_step"):
            said = await refusal(agent, "update_campaign", **campaign, settings={"approval": less})
            assert f"campaigns approval {campaign['campaign_id']} {less}" in said
        assert await asked() == "all"
        lowered = await sets(person, approval="first_step")
        assert '"approval":"all"' in lowered["undo"]
        await sets(person, approval="none")
        assert await asked() == "none"


async def test_words_that_an_agent_writes_are_looked_over_and_wait(make_app: MakeApp) -> None:
    async with Client(approving_server(make_app())) as client:
        draft = await waiting(client)
        body = "Hi Bob,\ncongratulations on 42 million at Umbrella. See [First Name] and https://nowhere."
        answer = await call(client, "draft_action", enrollment_id=draft["enrollment_id"], body=body)
        written = answer["draft"]
        assert (written["status"], written["source"], written["subject"]) == ("waiting", "written", "Hello you")
        assert [warning.partition(":")[0] for warning in written["lint"]] == [
            "placeholder",
            "name",
            "fact",
            "fact",
            "link",
        ]
        approval = {"draft_id": draft["id"], "fingerprint": draft["fingerprint"]}
        fresh = {"draft_id": written["id"], "fingerprint": written["fingerprint"]}
        answer = await call(client, "approve_drafts", drafts=[approval, fresh])
        assert [row["status"] for row in answer["results"]] == ["refused", "approved"]
        assert "stale" in answer["results"][0]["reason"]
        rejected = await call(client, "reject_draft", draft_id=written["id"], reason="Not Bob", then="pause")
        assert (rejected["draft"]["status"], rejected["draft"]["reason"]) == ("rejected", "Not Bob")
        shown = (await call(client, "get_enrollment", enrollment_id=draft["enrollment_id"]))["enrollment"]
        assert shown["pause_reason"] == "draft_rejected: Not Bob"
        assert "must be the fingerprint" in await refusal(
            client, "approve_drafts", drafts=[{**fresh, "fingerprint": "0" * 63}]
        )


async def test_a_send_that_nobody_approved_is_shown_as_such(make_app: MakeApp) -> None:
    async with Client(build_server(make_app())) as client:
        draft = await waiting(client)
        event = {"event_type": "sent", "channel": "email", "step_number": 1, "enrollment_id": draft["enrollment_id"]}
        await call(client, "record_event", event=event)
        shown = (await call(client, "get_enrollment", enrollment_id=draft["enrollment_id"]))["enrollment"]
        assert [action["unapproved"] for action in shown["actions"]] == [True]
