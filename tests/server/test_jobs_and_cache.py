"""The queue and the cache as agents see them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client
from sqlalchemy import text

from db.postgres.database import Database
from mcp_server.calls.server import build_server
from mcp_server.process.app import App
from mcp_server.process.settings import Settings
from tests.support.server import NOW, call, new_campaign, refusal

pytestmark = pytest.mark.anyio


async def test_a_job_is_claimed_kept_and_completed_by_its_holder(client: Client) -> None:
    created = await call(client, "create_job", type="outreach", parameters={"a": [1, None]}, priority="high")
    claimed = (await call(client, "claim_job", worker_id="w1"))["job"]
    assert claimed["id"] == created["job"]["id"]
    assert claimed["parameters"] == {"a": [1, None]}
    assert (await call(client, "claim_job", worker_id="w2"))["job"] is None
    lease = {"job_id": claimed["id"], "lease_token": claimed["lease_token"]}
    beat = await call(client, "heartbeat_job", **lease, progress={"done": 1})
    assert beat["cancel_requested"] is False
    done = await call(client, "complete_job", **lease, result={"sent": 3})
    assert done["job"]["status"] == "completed"
    assert done["job"]["result"] == {"sent": 3}
    assert "lease" in await refusal(client, "complete_job", **lease)
    stats = (await call(client, "get_job_stats"))["stats"]
    assert stats["by_status"]["completed"] == 1


async def test_no_answer_about_an_import_repeats_its_csv(client: Client) -> None:
    csv = "email\n" + "".join(f"person{n}@example.com\n" for n in range(1_000))
    made = await call(client, "create_job", type="import", parameters={"csv": csv, "mapping": {}})
    job = {"job_id": made["job"]["id"]}
    shown = [
        (await call(client, "get_job", **job))["job"],
        (await call(client, "update_job", **job, priority="high"))["job"],
        *(await call(client, "list_jobs", detail="full"))["jobs"],
        (await call(client, "cancel_job", **job))["job"],
    ]
    for answer in shown:
        assert (answer["parameters"], answer["csv_characters"]) == ({"mapping": {}}, len(csv))
    other = await call(client, "create_job", type="enrichment", parameters={"csv": "a note of their own"})
    kept = (await call(client, "get_job", job_id=other["job"]["id"]))["job"]
    assert kept["parameters"] == {"csv": "a note of their own"}
    assert "csv_characters" not in kept


async def test_a_failed_job_keeps_its_history_and_can_be_retried(client: Client) -> None:
    await call(client, "create_job", type="enrichment", parameters={}, max_attempts=1)
    claimed = (await call(client, "claim_job", worker_id="w1", types=["enrichment"]))["job"]
    lease = {"job_id": claimed["id"], "lease_token": claimed["lease_token"]}
    failed = await call(client, "fail_job", **lease, error="no answer")
    assert failed["job"]["status"] == "failed"
    assert [attempt["error"] for attempt in failed["job"]["history"]] == ["no answer"]
    assert (await call(client, "retry_job", job_id=claimed["id"]))["job"]["status"] == "pending"
    assert (await call(client, "cancel_job", job_id=claimed["id"]))["job"]["status"] == "cancelled"
    listed = await call(client, "list_jobs", status="cancelled", detail="full")
    assert [job["id"] for job in listed["jobs"]] == [claimed["id"]]


async def test_a_pending_job_can_be_changed_and_a_claimed_one_not(client: Client) -> None:
    made = (await call(client, "create_job", type="outreach", parameters={"a": 1}))["job"]
    changes = {"priority": "high", "run_at": "2026-11-02T09:00:00Z", "max_attempts": 9, "parameters": {"b": 2}}
    changed = (await call(client, "update_job", job_id=made["id"], **changes))["job"]
    assert (changed["priority"], changed["max_attempts"], changed["parameters"]) == ("high", 9, {"b": 2})
    assert "started_at" not in changed
    claimed = (await call(client, "claim_job", worker_id="w1"))["job"]
    assert claimed["parameters"] == {"b": 2}
    for job in [
        (await call(client, "get_job", job_id=made["id"]))["job"],
        *(await call(client, "list_jobs"))["jobs"],
        *(await call(client, "list_jobs", detail="full"))["jobs"],
    ]:
        assert job["started_at"]
    told = await refusal(client, "update_job", job_id=made["id"], priority="low")
    assert "processing" in told
    assert "complete_job" in told
    assert "changes may name" in await refusal(client, "update_job", job_id=made["id"])


async def test_a_job_that_fails_may_leave_a_result(client: Client) -> None:
    await call(client, "create_job", type="outreach", parameters={})
    claimed = (await call(client, "claim_job", worker_id="w1"))["job"]
    lease = {"job_id": claimed["id"], "lease_token": claimed["lease_token"]}
    failed = await call(client, "fail_job", **lease, error="half done", retry=False, result={"sent": 3})
    assert (failed["job"]["status"], failed["job"]["result"]) == ("failed", {"sent": 3})


async def test_a_key_replays_the_answer_of_a_local_write(client: Client) -> None:
    first = await call(client, "create_job", type="import", parameters={}, idempotency_key="j1")
    again = await call(client, "create_job", type="import", parameters={}, idempotency_key="j1")
    assert again == first
    assert (await call(client, "get_job_stats"))["stats"]["total"] == 1


async def test_a_value_is_cached_until_it_is_deleted(client: Client) -> None:
    assert await call(client, "cache_get", namespace="n", key="k") == {"hit": False, "value": None, "warnings": []}
    await call(client, "cache_set", namespace="n", key="k", value={"x": 1.5})
    assert (await call(client, "cache_get", namespace="n", key="k"))["value"] == {"x": 1.5}
    stats = await call(client, "cache_stats")
    assert (stats["hits"], stats["misses"], stats["hit_rate"]) == (1, 1, 0.5)
    assert (await call(client, "cache_delete", namespace="n"))["deleted"] == 1
    assert (await call(client, "cache_get", namespace="n", key="k"))["hit"] is False


@pytest.mark.parametrize("number", ["18446744073709551616", "-9223372036854775809", "1e400", "9" * 4_000])
async def test_a_key_is_no_hindrance_to_large_numbers(client: Client, number: str) -> None:
    scene = await new_campaign(client)
    row = f'[{{"email": "ann@example.com", "attributes": {{"n": {number}}}}}]'  # as Claude Desktop sends lists
    arguments: dict[str, Any] = {"campaign_id": scene["campaign_id"], "contacts": row, "idempotency_key": "big"}
    first = await call(client, "enroll_contacts", **arguments)
    assert first["invalid"] == 1
    assert await call(client, "enroll_contacts", **arguments) == first
    other = row.replace('"n"', '"m"')
    assert "another call" in await refusal(client, "enroll_contacts", **{**arguments, "contacts": other})


NO_JSON = [2**64, "half of \ud800 a pair", {"\ud800": 1}]


@pytest.mark.parametrize("value", NO_JSON)
async def test_what_the_local_store_refuses_is_said_with_a_key_too(client: Client, value: Any) -> None:
    held = json.dumps({"v": value})
    for key in ({}, {"idempotency_key": "k"}):
        said = await refusal(client, "create_job", type="import", parameters=held, **key)
        assert "64-bit" in said or "Unicode" in said or "UTF-8" in said


async def test_a_key_is_no_hindrance_to_rows_that_are_nested_too_deep(client: Client) -> None:
    rows = f"[{'[' * 900}{']' * 900}]"
    said = await refusal(client, "upsert_contacts", contacts=rows, idempotency_key="deep")
    assert "nested too deep" in said
    assert (await call(client, "upsert_contacts", contacts=rows))["invalid"] == 1


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("create_job", {"type": "fax", "parameters": {}}, "type"),
    ("create_job", {"type": "import", "parameters": {}, "priority": "urgent"}, "priority"),
    ("create_job", {"type": "import", "parameters": {"x": "y" * 2_097_152}}, "parameters"),
    ("create_job", {"type": "import", "parameters": {}, "run_at": "2026-11-02T09:00:00"}, "run_at"),
    ("list_jobs", {"status": "lost"}, "status"),
    ("list_jobs", {"limit": 0}, "limit"),
    ("list_jobs", {"limit": 10**9}, "limit"),
    ("list_jobs", {"cursor": "made-up"}, "cursor"),
    ("claim_job", {"worker_id": "w", "lease_seconds": 0}, "lease_seconds"),
    ("claim_job", {"worker_id": "w", "lease_seconds": 31_536_000}, "lease_seconds"),
    ("get_job", {"job_id": "job_999"}, "job_999"),
    ("cache_set", {"namespace": "n", "key": "k", "value": "v" * 2_097_152}, "value"),
    ("cache_set", {"namespace": "n", "key": "k", "value": 1, "ttl_seconds": 0}, "ttl_seconds"),
    ("cache_set", {"namespace": "n", "key": "k", "value": ["a\x00b"]}, "value[0] holds a NUL"),
    ("create_job", {"type": "import", "parameters": {"a\x00b": 1}}, "a name in parameters holds a NUL"),
    ("cache_get", {"namespace": "n", "key": "k" * 513}, "key: must have at most 512 characters"),
    ("cache_get", {"namespace": "", "key": "k"}, "namespace: must not be empty"),
    ("cache_delete", {"namespace": "n", "key": "a\x00b"}, "key: holds a NUL"),
    ("cache_delete", {"namespace": "n", "key": "a\ud800b"}, "key: holds a NUL or half of a surrogate pair"),
    ("cache_get", {"namespace": "n", "key": "a\nb"}, "key: must be one line"),
    ("create_job", {"type": "import", "parameters": {}, "dedupe_key": " "}, "dedupe_key: must not be blank"),
    ("create_job", {"type": "import", "parameters": {}, "idempotency_key": "k" * 201}, "at most 200 characters"),
]


@pytest.mark.parametrize(("tool", "arguments", "named"), BAD)
async def test_bad_arguments_are_refused_by_name(
    client: Client, tool: str, arguments: dict[str, Any], named: str
) -> None:
    assert named in await refusal(client, tool, **arguments)


async def test_a_key_that_another_call_holds_is_told_and_nothing_was_done(
    database: Database, make_app: Callable[..., App]
) -> None:
    async with Client(build_server(make_app(lock_timeout=0.1))) as client:
        with database.engine.connect() as other:
            other.execute(text("INSERT INTO idempotency_keys (key, tool, request_hash) VALUES ('k', 't', :hash)"), HASH)
            said = await refusal(client, "create_job", type="import", parameters={}, idempotency_key="k")
        assert "Nothing was done: call again" in said
        assert (await call(client, "get_job_stats"))["stats"]["total"] == 0


async def test_what_was_done_but_can_not_be_replayed_is_told(database: Database, make_app: Callable[..., App]) -> None:
    async with Client(build_server(make_app(lock_timeout=0.1))) as client:
        with database.transaction("break") as session:
            session.execute(text(FAIL_AT_COMMIT))
        try:
            said = await refusal(client, "create_job", type="import", parameters={}, idempotency_key="k")
        finally:
            with database.transaction("mend") as session:
                session.execute(text("DROP FUNCTION fail CASCADE"))
        assert "create_job was done" in said
        assert "Look before you repeat it" in said
        assert (await call(client, "get_job_stats"))["stats"]["total"] == 1


HASH = {"hash": "0" * 64}
FAIL_AT_COMMIT = """
    CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'provoked' USING ERRCODE = 'lock_not_available'; END $$;
    CREATE CONSTRAINT TRIGGER fail AFTER INSERT ON idempotency_keys DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION fail()
"""


async def test_jobs_need_no_database(tmp_path: Path) -> None:
    app = App(Settings(home=tmp_path, toolsets="jobs"), clock=lambda: NOW)
    async with Client(build_server(app)) as client:
        await call(client, "create_job", type="import", parameters={})
    app.close()
    assert (tmp_path / "postgres").exists() is False


async def test_two_servers_share_one_queue(make_app: Callable[..., App]) -> None:
    async with Client(build_server(make_app())) as one, Client(build_server(make_app())) as two:
        created = await call(one, "create_job", type="import", parameters={})
        claimed = await call(two, "claim_job", worker_id="w")
        assert claimed["job"]["id"] == created["job"]["id"]
