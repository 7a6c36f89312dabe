"""How the server is: /metrics for Prometheus, and get_health with the same facts."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from platform import python_version
from threading import Event, Thread
from typing import Any
from uuid import uuid4

import httpx2 as httpx
import pytest
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from mcp_types import ResourceTemplateReference
from sqlalchemy import text
from sqlalchemy.orm import Session

from db.domain.access import Scope
from db.embedded.locks import wait_until
from db.postgres.database import Database
from db.services.campaigns import campaigns
from db.services.mail import stopping
from db.services.reports import typeahead
from mcp_server import __version__
from mcp_server.calls.server import build_server
from mcp_server.http.metrics import READINGS
from mcp_server.process import health
from mcp_server.process.app import App
from mcp_server.process.settings import Settings
from mcp_server.process.telemetry import BUCKETS, CallOutcome, DatabaseState
from migrations import HEAD
from tests.support.campaigns import new_scene
from tests.support.patience import PATIENCE
from tests.support.processes import TOKEN, http_server
from tests.support.scraping import named, scrape
from tests.support.server import NOW, call, new_campaign, refusal
from tests.support.tokens import bearer, new_token

pytestmark = pytest.mark.anyio


async def use(client: Client) -> None:
    """Two events of one provider, one of them twice, one of nobody; a refusal; and a job."""
    scene = await new_campaign(client, people=1, start=True)
    event: dict[str, Any] = {"event_type": "opened", "channel": "email", "provider": "ses"}
    known = {**event, "enrollment_id": scene["enrollment_ids"][0], "provider_event_id": "e1"}
    await call(client, "record_events", events=[known, known, {**event, "provider_message_id": "unknown"}])
    await refusal(client, "start_campaign", campaign_id=scene["template_id"])
    await call(client, "create_job", type="enrichment", parameters={})


async def test_metrics_tell_what_happened(database_url: str, tmp_path: Path) -> None:
    with http_server(database_url, "--no-worker", SALES_AUTOMATION_HOME=str(tmp_path)) as base:
        async with Client(f"{base}/mcp") as client:
            await use(client)
        assert httpx.get(f"{base}/no/such/page", timeout=PATIENCE).status_code == 404
        found = scrape(base)
        again = scrape(base)
    for verdict in ("recorded", "duplicate", "orphaned"):
        assert found[named("events_total", provider="ses", verdict=verdict)] == 1, verdict
    assert found[named("tool_call_seconds_count", tool="record_events", outcome="ok")] == 1
    assert found[named("tool_call_seconds_count", tool="start_campaign", outcome="refused")] == 1
    assert found[named("tool_call_seconds_bucket", tool="record_events", outcome="ok", le="+Inf")] == 1
    assert found[named("tool_call_seconds_sum", tool="record_events", outcome="ok")] > 0
    assert found[named("orphaned_events_waiting")] == 1
    assert found[named("jobs", status="pending")] == 1
    assert found[named("database_up")] == 1
    versions = {"version": __version__, "schema": HEAD, "python": python_version()}
    assert found[named("build_info", **versions)] == 1
    assert found[named("due_steps")] == 0
    assert found[named("oldest_due_age_seconds")] == 0
    assert found[named("http_requests_total", part="mcp", status="200")] >= 1
    assert found[named("http_requests_total", part="other", status="404")] == 1
    assert found[named("pool_connections_limit")] == 15
    assert found[named("pool_waiting")] == 0
    assert found[named("process_resident_memory_bytes")] > 1e6
    assert again[named("http_requests_total", part="metrics", status="200")] == 1
    assert again[named("events_total", provider="ses", verdict="recorded")] == 1
    assert not [name for name, _ in found if name.endswith("_created")]


async def test_get_health_tells_the_same(client: Client) -> None:
    await use(client)
    answer = await call(client, "get_health")
    assert (answer["status"], answer["database"]) == ("ok", "ok")
    assert {(row["provider"], row["verdict"]): row["count"] for row in answer["events"]} == {
        ("ses", "recorded"): 1,
        ("ses", "duplicate"): 1,
        ("ses", "orphaned"): 1,
    }
    calls = {(row["tool"], row["outcome"]): row for row in answer["calls"]}
    assert calls["record_events", "ok"]["calls"] == 1
    assert calls["record_events", "ok"]["p95_seconds"] in BUCKETS
    assert calls["start_campaign", "refused"]["calls"] == 1
    assert (answer["orphans_waiting"], answer["jobs"]["pending"]) == (1, 1)
    assert answer["pool"]["limit"] == 15
    assert (answer["due_steps"], answer["oldest_due_seconds"]) == (0, 0)


async def test_due_steps_of_active_campaigns_are_counted_and_the_oldest_tells_its_age(
    make_app: Callable[..., App], database: Database
) -> None:
    scene, paused = new_scene(database, 5), new_scene(database, 1)
    with database.transaction("due") as session:
        given = {
            "now": NOW,
            "waiting": scene.enrollments[:3],
            "later": scene.enrollments[3:],
            "paused": paused.campaign_id,
        }
        session.execute(text(_DUE), given)
    app = make_app()
    app.database()
    facts = health.facts(app)
    assert facts.stored is not None
    assert (facts.stored.due, facts.due_age) == (3, 7200)


_DUE = """
    WITH waits AS (UPDATE campaign_enrollments SET next_action_at = :now - interval '2 hours' WHERE id = ANY(:waiting)),
         comes AS (UPDATE campaign_enrollments SET next_action_at = :now + interval '1 second' WHERE id = ANY(:later))
    UPDATE campaign_instances SET status = 'paused', paused_at = :now WHERE id = :paused
"""


async def test_every_event_that_is_refused_is_counted(client: Client) -> None:
    scene = await new_campaign(client, people=1, start=True)
    event: dict[str, Any] = {"event_type": "opened", "channel": "email", "enrollment_id": scene["enrollment_ids"][0]}
    unknown_step = {**event, "provider": "ses", "step_number": 40}
    await refusal(client, "record_event", event=unknown_step)
    await refusal(client, "record_event", event=unknown_step, idempotency_key="k")
    await call(client, "record_events", events=[unknown_step, {**event, "event_type": "sneezed"}])
    await refusal(client, "record_event", event={**event, "event_type": "sneezed"})
    answer = await call(client, "get_health")
    assert {(row["provider"], row["verdict"]): row["count"] for row in answer["events"]} == {
        ("ses", "invalid"): 3,
        ("none", "invalid"): 2,
    }


def test_metrics_need_the_scope_ops(database: Database, database_url: str) -> None:
    reader, operator = new_token(database, "reader", Scope.READ), new_token(database, "operator", Scope.OPS)
    with http_server(database_url, SALES_AUTOMATION_TOKEN=TOKEN) as base:
        assert httpx.get(f"{base}/metrics", timeout=PATIENCE).status_code == 401
        refused = httpx.get(f"{base}/metrics", headers=bearer(reader), timeout=PATIENCE)
        assert refused.status_code == 403
        assert "scope ops" in refused.json()["message"]
        found = scrape(base, operator)
        assert found[named("refused_requests_total", part="auth", reason="unauthorized")] == 1
        assert found[named("http_requests_total", part="metrics", status="401")] == 1
        assert scrape(base, TOKEN)[named("database_up")] == 1


async def test_names_from_outside_do_not_make_metrics_without_end(make_app: Callable[..., App]) -> None:
    app = make_app()
    async with Client(build_server(app)) as client:
        for number in range(3):
            result = await client.call_tool(f"no_such_tool_{number}", {})
            assert result.is_error
    assert [(tool, latency.calls) for (tool, _), latency in app.telemetry.calls().items()] == [("unknown", 3)]
    events = app.telemetry.events
    for number in range(300):
        events.add(f"provider {number}", "recorded")
    assert len(events.counts()) == 101
    assert events.counts()["other", "recorded"] == 200


async def test_who_waits_for_a_connection_is_seen(make_app: Callable[..., App], database: Database) -> None:
    app = make_app(pool_size=1, pool_overflow=0)
    taken, leave = Event(), Event()

    def hold() -> None:
        with app.database().transaction("hold") as session:
            session.execute(text("SELECT 1"))
            taken.set()
            leave.wait(PATIENCE)

    def wait() -> None:
        app.run("wait", lambda session: session.execute(text("SELECT 1")))

    holder, waiter = Thread(target=hold), Thread(target=wait)
    holder.start()
    assert taken.wait(PATIENCE)
    waiter.start()
    try:
        assert wait_until(lambda: app.database().pool_state().waiting == 1, PATIENCE)
        state = app.database().pool_state()
        assert (state.in_use, state.idle, state.limit) == (1, 0, 1)
    finally:
        leave.set()
        holder.join()
        waiter.join()
    assert app.database().pool_state() == (0, 1, 1, 0)


async def test_slow_queries_are_counted(make_app: Callable[..., App]) -> None:
    app = make_app(slow_query_seconds=0.05)
    app.run("slow", lambda session: session.execute(text("SELECT pg_sleep(0.1)")))
    assert health.facts(app).slow_queries >= 1  # where the machine is slow, others are slow as well


async def test_repeated_transactions_are_counted(make_app: Callable[..., App]) -> None:
    app = make_app()
    tries: list[int] = []

    def fail_once(session: Session) -> None:
        tries.append(len(tries))
        if len(tries) == 1:
            session.execute(text("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = 'serialization_failure'; END $$"))

    app.run("fail once", fail_once)
    assert len(tries) == 2
    (retries,) = [reading for reading in READINGS if reading.name == "retries"]
    assert retries.read(health.facts(app)) == 1


async def test_health_is_answered_without_a_database(tmp_path: Path) -> None:
    app = App(
        Settings.model_validate(
            {"database_url": "postgresql://nobody@127.0.0.1:1/x", "home": tmp_path, "start_attempts": 1}
        )
    )
    try:
        async with Client(build_server(app)) as client:
            first = await call(client, "get_health")
            assert first["status"] == "degraded"
            assert first["database"] in ("starting", "unavailable")
            await refusal(client, "list_campaigns")
            later = await call(client, "get_health")
        assert later["database"] == DatabaseState.UNAVAILABLE
        assert "orphans_waiting" not in later
        assert later["jobs"]["pending"] == 0
        assert {row["outcome"] for row in later["calls"] if row["tool"] == "list_campaigns"} == {CallOutcome.REFUSED}
    finally:
        await asyncio.to_thread(app.close)


async def test_an_error_that_nobody_expected_is_told_as_a_fault_of_the_server(
    make_app: Callable[..., App], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("SELECT secret FROM /var/lib")

    monkeypatch.setattr(campaigns, "get", broken)
    async with Client(build_server(make_app())) as client:
        told = await refusal(client, "get_campaign", campaign_id=str(uuid4()))
        assert "This is a fault of the server, not of your call. Nothing was changed." in told
        assert "secret" not in told
        (fault,) = re.findall(r"the fault ([0-9a-f]{8})", told)
        assert fault in {getattr(record, "fault", None) for record in caplog.records}
        health = await call(client, "get_health")
        monkeypatch.setattr(typeahead, "campaigns", broken)
        reads = (
            client.read_resource(f"campaign://{uuid4()}"),
            client.complete(ResourceTemplateReference(uri="campaign://{id}"), {"name": "id", "value": "a"}),
        )
        for read in reads:
            with pytest.raises(MCPError) as caught:
                await read
            assert "This is a fault of the server, not of your call. Nothing was changed." in str(caught.value)
            assert "secret" not in str(caught.value)
    assert {(row["tool"], row["outcome"]) for row in health["calls"]} >= {("get_campaign", "failed")}


async def test_get_health_tells_that_all_sending_is_stopped(client: Client, database: Database) -> None:
    await call(client, "get_settings")
    assert "sending_stopped_at" not in await call(client, "get_health")
    database.run("stop", lambda session: stopping.stop(session, now=NOW))
    assert (await call(client, "get_health"))["sending_stopped_at"] == NOW.isoformat().replace("+00:00", "Z")
