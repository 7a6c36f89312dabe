"""The audit log: every write leaves one row, in its own transaction, and nothing that tells of a person."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from mcp.client import Client
from sqlalchemy import text

from db.domain.access import IDS_OF_A_KIND, Ids
from db.postgres.database import Database
from db.services.ops import audit
from mcp_server.calls.server import build_server
from mcp_server.process.app import App
from mcp_server.process.settings import Settings
from tests.support.server import NOW, call, new_campaign, refusal
from tests.support.traces import EMAIL, LINK, TRACES, everything

pytestmark = pytest.mark.anyio


async def log(client: Client, **filters: Any) -> list[dict[str, Any]]:
    return (await call(client, "list_audit", detail="full", **filters))["records"]


async def test_each_write_leaves_a_row_with_the_ids_it_was_about(client: Client) -> None:
    scene = await new_campaign(client, people=2, start=True)
    event = {"event_type": "opened", "channel": "email", "enrollment_id": scene["enrollment_ids"][0]}
    recorded = await call(client, "record_event", event=event)
    rows = await log(client)
    assert [row["tool"] for row in rows] == [
        "record_event", "enroll_contacts", "start_campaign", "create_campaign", "create_template",
    ]  # fmt: skip
    assert {(row["actor"], row["outcome"], row["is_cut"]) for row in rows} == {("local", "ok", False)}
    assert rows[0]["ids"] == {
        "enrollment": [scene["enrollment_ids"][0]],
        "event": [recorded["results"][0]["event_id"]],
    }
    assert rows[1]["ids"]["enrollment"] == scene["enrollment_ids"]
    assert rows[1]["ids"]["campaign"] == [scene["campaign_id"]]
    assert rows[3]["ids"] == {"campaign": [scene["campaign_id"]], "template": [scene["template_id"]]}
    assert len({row["request_id"] for row in rows}) == len(rows)


async def test_a_refused_write_leaves_a_row_and_a_read_leaves_none(client: Client) -> None:
    missing = str(uuid4())
    await refusal(client, "start_campaign", campaign_id=missing)
    await refusal(client, "get_campaign", campaign_id=missing)
    await call(client, "list_campaigns")
    (row,) = await log(client)
    assert (row["tool"], row["outcome"], row["error"]) == ("start_campaign", "refused", "NotFound")
    assert row["ids"] == {"campaign": [missing]}


async def test_equal_arguments_have_one_digest_which_is_not_their_hash(client: Client) -> None:
    for arguments in (
        {"email": "ann@example.com", "reason": "manual"},
        {"reason": "manual", "email": "ann@example.com"},
    ):
        await call(client, "suppress", **arguments)
    await call(client, "suppress", email="ben@example.com", reason="manual")
    third, second, first = [row["arguments_digest"] for row in await log(client)]
    assert first == second != third
    assert first != audit.digest({"email": "ann@example.com", "reason": "manual"}).hex()
    assert len(first) == 64


async def test_a_repeated_call_with_a_key_is_noted_once(client: Client) -> None:
    for _ in range(2):
        await call(client, "suppress", email="ann@example.com", reason="manual", idempotency_key="k1")
    await refusal(client, "suppress", email="ben@example.com", reason="manual", idempotency_key="k1")
    assert [(row["outcome"], row.get("error")) for row in await log(client)] == [
        ("refused", "Conflict"),
        ("ok", None),
    ]


async def test_the_row_and_the_write_stand_or_fall_together(database: Database, make_app: Callable[..., App]) -> None:
    with database.transaction("break the log") as session:
        session.execute(text("ALTER TABLE audit_log ADD CONSTRAINT full_up CHECK (tool <> 'suppress')"))
    try:
        async with Client(build_server(make_app())) as client:
            result = await client.call_tool("suppress", {"email": "ann@example.com", "reason": "manual"})
            assert result.is_error
            assert (await call(client, "list_suppressions"))["suppressions"] == []
    finally:
        with database.transaction("mend the log") as session:
            session.execute(text("ALTER TABLE audit_log DROP CONSTRAINT full_up"))


async def test_the_log_is_paged_and_narrowed(client: Client) -> None:
    for number in range(5):
        await call(client, "suppress", email=f"p{number}@example.com", reason="manual")
    await new_campaign(client)
    first = await call(client, "list_audit", tool="suppress", limit=3)
    second = await call(client, "list_audit", tool="suppress", limit=3, cursor=first["next_cursor"])
    assert [len(first["records"]), len(second["records"])] == [3, 2]
    assert "next_cursor" not in second
    assert await log(client, actor="stdio") == []
    assert await log(client, until=NOW.isoformat()) == []
    assert len(await log(client, since=NOW.isoformat(), actor="local")) == 7
    assert "since" in await refusal(client, "list_audit", since="2026-11-03T00:00:00Z", until="2026-11-02T00:00:00Z")


async def test_nothing_of_a_person_is_left_in_it_after_they_were_erased(client: Client, database: Database) -> None:
    scene = await new_campaign(client)
    person = {"email": EMAIL, "linkedin_url": LINK, "first_name": "Zoë", "last_name": "Quux", "company": "SecretCorp"}
    enrolled = await call(client, "enroll_contacts", campaign_id=scene["campaign_id"], contacts=[person])
    (row,) = enrolled["results"]
    event = {"event_type": "replied", "channel": "email", "campaign_id": scene["campaign_id"], "email": EMAIL}
    await call(client, "record_event", event={**event, "metadata": {"text": "I am Zoë Quux"}})
    odd = {"contact_id": EMAIL, "enrollment_id": "Zoë Quux"}
    await call(client, "enroll_contacts", campaign_id=scene["campaign_id"], contacts=[odd])
    await refusal(client, "erase_contact", email=f"no-{EMAIL}")
    await call(client, "erase_contact", email=EMAIL)
    rows = await log(client)
    assert (rows[0]["tool"], rows[0]["ids"]) == ("erase_contact", {"contact": [row["contact_id"]]})
    assert (rows[1]["tool"], rows[1]["error"]) == ("erase_contact", "NotFound")
    assert not any("arguments_digest" in row for row in rows[:2])
    found = everything(database)
    assert [trace for trace in TRACES if trace in found] == []


async def test_who_made_a_job_is_kept_and_the_work_on_it_is_not(client: Client) -> None:
    assert await log(client) == []  # the database is up from here on
    job: dict[str, Any] = {"type": "enrichment", "parameters": {}}
    made = [
        await call(client, "create_job", **job),
        await call(client, "create_job", **job, idempotency_key="k1"),
    ]
    claimed = (await call(client, "claim_job", worker_id="w1"))["job"]
    await call(client, "complete_job", job_id=claimed["id"], lease_token=claimed["lease_token"])
    await call(client, "cache_set", namespace="n", key="k", value=1, idempotency_key="k2")
    await refusal(client, "cancel_job", job_id=claimed["id"])
    rows = await log(client)
    assert [(row["tool"], row["outcome"]) for row in rows] == [
        ("cancel_job", "refused"),
        ("create_job", "ok"),
        ("create_job", "ok"),
    ]
    assert [row["ids"]["job"][0] for row in rows[1:]] == [answer["job"]["id"] for answer in reversed(made)]


async def test_jobs_are_made_without_a_database(tmp_path: Path) -> None:
    app = App(
        Settings.model_validate(
            {"database_url": "postgresql://nobody@127.0.0.1:1/x", "home": tmp_path, "toolsets": "jobs"}
        )
    )
    try:
        async with Client(build_server(app)) as client:
            await call(client, "create_job", type="enrichment", parameters={})
    finally:
        app.close()


def test_of_many_ids_the_first_are_kept() -> None:
    ids = Ids()
    ids.look_at({"rows": [{"event_id": str(uuid4())} for _ in range(IDS_OF_A_KIND + 1)]})
    assert (len(ids.found["event"]), ids.is_cut) == (IDS_OF_A_KIND, True)


def test_any_json_has_a_digest() -> None:
    odd = {"n": 2**70, "text": "\ud800", "rows": [None, 1.5, {"a": True}]}
    assert audit.digest(odd) == audit.digest(dict(reversed(odd.items())))
    assert audit.digest(odd) != audit.digest({**odd, "n": 2**70 + 1})


def test_old_rows_can_be_deleted(database: Database) -> None:
    with database.transaction("rows") as session:
        for number in range(4):
            session.execute(
                text("""
                    INSERT INTO audit_log (id, at, actor, tool, outcome)
                    VALUES (:id, CAST('2026-01-01T00:00Z' AS timestamptz) + make_interval(days => :n), 'a', 't', 'ok')
                """),
                {"id": uuid4(), "n": number},
            )
    with database.transaction("prune") as session:
        assert audit.prune_some(session, before=NOW.replace(month=1, day=3, hour=0), limit=9) == 2
        assert session.scalar(text("SELECT count(*) FROM audit_log")) == 2
