"""Upkeep: what waited is matched, what is old is given up or forgotten, and what is unusual is said."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from mcp.client import Client
from sqlalchemy import TextClause, text

from db.embedded.locks import wait_until
from db.postgres.database import Database
from mcp_server.calls.server import build_server
from mcp_server.jobs.worker import Worker
from mcp_server.process.app import App
from tests.support.patience import PATIENCE
from tests.support.server import call, new_campaign, refusal

pytestmark = pytest.mark.anyio

# Rows are stamped by the database, so this clock starts with it.
NOTHING = {
    "matched": 0,
    "expired": 0,
    "deleted_orphans": 0,
    "idempotency_keys": 0,
    "webhook_bodies": 0,
    "audit_records": 0,
    "messages": 0,
    "jobs": 0,
    "cache_entries": 0,
    "recounted": 0,
    "respelled": 0,
    "shared_addresses": 0,
}


class Clock:
    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def app(make_app: Callable[..., App], clock: Clock) -> App:
    made = make_app()
    made.clock = clock
    return made


def opened(message_id: str) -> dict[str, Any]:
    return {"event_type": "opened", "channel": "email", "provider_message_id": message_id}


async def test_an_event_whose_action_has_come_without_a_word_is_matched(app: App, database: Database) -> None:
    async with Client(build_server(app)) as client:
        scene = await new_campaign(client, people=1, start=True)
        assert (await call(client, "record_event", event=opened("m-1")))["orphaned"] == 1
        assert await call(client, "run_maintenance") == NOTHING
        # As a restore or another program would: no service has seen the message id.
        with database.transaction("action") as session:
            session.execute(
                text("""
                    INSERT INTO campaign_actions (instance_id, id, enrollment_id, step_number, channel, status,
                                                  provider_message_id)
                    SELECT instance_id, gen_random_uuid(), id, 1, 'email', 'claimed', 'm-1' FROM campaign_enrollments
                """)
            )
        assert (await call(client, "run_maintenance")) == {**NOTHING, "matched": 1}
        metrics = await call(client, "get_metrics", campaign_id=scene["campaign_id"])
        assert metrics["totals"]["opened"] == 1


async def test_what_has_waited_too_long_is_given_up_and_kept_for_a_while(
    app: App, clock: Clock, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async with Client(build_server(app)) as client:
        await call(client, "record_event", event=opened("m-1"))
        clock.now += timedelta(days=29)
        assert (await call(client, "run_maintenance"))["expired"] == 0
        clock.now += timedelta(days=2)
        assert (await call(client, "run_maintenance"))["expired"] == 1
        assert "1 events waited 30 days for nobody: none: 1" in caplog.text
        with database.transaction("look") as session:
            assert session.scalars(text("SELECT status FROM orphaned_events")).all() == ["expired"]
        clock.now += timedelta(days=89)
        assert (await call(client, "run_maintenance"))["deleted_orphans"] == 0
        clock.now += timedelta(days=2)
        assert (await call(client, "run_maintenance"))["deleted_orphans"] == 1


async def test_counters_that_sql_has_made_wrong_are_mended(app: App, database: Database) -> None:
    async with Client(build_server(app)) as client:
        await new_campaign(client, people=2, start=True)
        with database.transaction("by hand") as session:
            session.execute(text("UPDATE campaign_enrollments SET status = 'paused'"))
        assert await call(client, "run_maintenance") == {**NOTHING, "recounted": 1}
        assert await call(client, "run_maintenance") == NOTHING
    assert is_value(database, text("SELECT total FROM campaign_enrollment_totals WHERE status = 'paused'"), 2)


async def test_the_next_run_recounts_other_campaigns(
    app: App, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_server.jobs.maintenance._RECOUNTED_ROWS", 1)
    async with Client(build_server(app)) as client:
        for _ in range(2):
            await new_campaign(client, people=1, start=True)
        with database.transaction("by hand") as session:
            session.execute(text("UPDATE campaign_enrollments SET status = 'paused'"))
        for expected in (1, 1, 0):
            assert (await call(client, "run_maintenance"))["recounted"] == expected


async def test_words_are_kept_as_long_as_retention_days_says(app: App, clock: Clock) -> None:
    async with Client(build_server(app)) as client:
        scene = await new_campaign(client, people=1, start=True)
        clock.now += timedelta(hours=1)
        await call(client, "claim_due_actions")
        first = await call(client, "get_settings")
        assert first["settings"] == {
            "timezone": "UTC",
            "retention_days": 1_095,
            "days_between_campaigns": 0,
            "touches_per_week": 0,
            "colleagues": "nothing",
            "guardrails": {"bounce_rate": 0.05, "complaint_rate": 0.001},
        }
        clock.now += timedelta(days=1_094)
        assert (await call(client, "run_maintenance"))["messages"] == 0
        changed = await call(client, "update_settings", retention_days=1_000)
        assert changed["settings"] == {**first["settings"], "retention_days": 1_000}
        shown = await call(client, "get_enrollment", enrollment_id=scene["enrollment_ids"][0])
        (action,) = shown["enrollment"]["actions"]
        assert (action["subject"], action["body"]) == ("Hello", "Good morning, all")
        assert (await call(client, "run_maintenance"))["messages"] == 1
        shown = await call(client, "get_enrollment", enrollment_id=scene["enrollment_ids"][0])
        (action,) = shown["enrollment"]["actions"]
        assert action.keys().isdisjoint({"subject", "body"})


async def test_words_of_drafts_are_kept_as_long_and_no_longer(app: App, clock: Clock, database: Database) -> None:
    async with Client(build_server(app)) as client:
        scene = await new_campaign(client, people=1, start=True)
        for body in ("The first words", "The words that go out"):
            await call(client, "draft_action", enrollment_id=scene["enrollment_ids"][0], body=body)
        clock.now += timedelta(days=1_094)
        await call(client, "run_maintenance")
        stale = text("SELECT body FROM action_drafts WHERE status = 'stale'")
        assert is_value(database, stale, "The first words")
        clock.now += timedelta(days=2)
        await call(client, "run_maintenance")
    assert is_value(database, stale, None)
    assert is_value(database, text("SELECT body FROM action_drafts WHERE status = 'approved'"), "The words that go out")


async def test_campaigns_that_name_no_zone_get_that_of_the_workspace(app: App) -> None:
    async with Client(build_server(app)) as client:
        before = await new_campaign(client)
        await call(client, "update_settings", timezone="Europe/Berlin")
        assert (await call(client, "update_settings", retention_days=7))["settings"]["timezone"] == "Europe/Berlin"
        after = await new_campaign(client)
        named = await call(
            client, "create_campaign", name="C", template_id=after["template_id"], settings={"timezone": "Asia/Tokyo"}
        )
        zones = [
            (await call(client, "get_campaign", campaign_id=id_))["campaign"]["settings"].get("timezone")
            for id_ in (before["campaign_id"], after["campaign_id"], named["campaign"]["id"])
        ]
        assert zones == ["UTC", "Europe/Berlin", "Asia/Tokyo"]
        for settings in ({"daily_limit": 5}, {}):
            await call(client, "update_campaign", campaign_id=named["campaign"]["id"], settings=settings)
            shown = await call(client, "get_campaign", campaign_id=named["campaign"]["id"])
            assert shown["campaign"]["settings"] == {"timezone": "Europe/Berlin", **settings}
        for given in ({"timezone": "Berlin"}, {"retention_days": 0}, {"retention_days": 36_501}):
            assert next(iter(given)) in await refusal(client, "update_settings", **given)


_PUNYCODE = "xn--bcher-kva.example"
_WRITTEN = "INSERT INTO contacts (id, email) SELECT gen_random_uuid(), unnest(CAST(:emails AS text[]))"


async def test_addresses_in_another_spelling_are_put_into_their_normal_form(
    app: App, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async with Client(build_server(app)) as client:
        await call(client, "upsert_contacts", contacts=[{"email": "ann@bücher.example"}])
        with database.transaction("by hand") as session:
            session.execute(text(_WRITTEN), {"emails": [f"{name}@{_PUNYCODE}" for name in ("ann", "bob")]})
        assert await call(client, "run_maintenance") == {**NOTHING, "respelled": 1, "shared_addresses": 1}
        assert await call(client, "run_maintenance") == {**NOTHING, "shared_addresses": 1}
        assert len((await call(client, "find_contacts", email="bob@bücher.example"))["contacts"]) == 1
        # Told once, and by their ids alone.
        assert caplog.text.count("two contacts share an address") == 1
        assert "bücher" not in caplog.text
        assert _PUNYCODE not in caplog.text
        await call(client, "suppress", email="ann@bücher.example", reason="unsubscribed")
    assert is_value(database, text("SELECT count(*) FROM suppressions WHERE email LIKE 'ann@%'"), 2)


async def test_one_run_looks_at_some_contacts_and_the_next_hour_at_others(
    app: App, clock: Clock, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_server.jobs.maintenance._CHUNK", 2)
    monkeypatch.setattr("mcp_server.jobs.maintenance._SPELLED", 2)
    with database.transaction("by hand") as session:
        session.execute(text(_WRITTEN), {"emails": [f"n{number}@{_PUNYCODE}" for number in range(10)]})
    respelled: list[int] = []
    async with Client(build_server(app)) as client:
        for _ in range(3):
            respelled.append((await call(client, "run_maintenance"))["respelled"])
            clock.now += timedelta(hours=1)
    assert sorted(respelled) == [2, 4, 4]


async def test_old_answers_and_finished_jobs_are_forgotten(app: App, clock: Clock) -> None:
    async with Client(build_server(app)) as client:
        people = {"contacts": [{"email": "ann@example.com"}], "idempotency_key": "k"}
        first = await call(client, "upsert_contacts", **people)
        job = await call(client, "create_job", type="outreach", parameters={})
        await call(client, "cancel_job", job_id=job["job"]["id"])
        await call(client, "create_job", type="outreach", parameters={})
        assert await call(client, "run_maintenance") == NOTHING
        assert await call(client, "upsert_contacts", **people) == first
        clock.now += timedelta(days=31)
        assert await call(client, "run_maintenance") == {**NOTHING, "idempotency_keys": 1, "jobs": 1}
        assert await call(client, "upsert_contacts", **people) != first


_RECEIVED = """
    INSERT INTO webhook_deliveries (id, provider, received_at, body, body_hash, status, recorded_at)
    SELECT gen_random_uuid(), 'resend', :at, 'body', sha256(CAST(status AS bytea)), status, :at
    FROM unnest(ARRAY['recorded', 'waiting']) status
"""


async def test_old_bodies_of_requests_are_deleted_and_their_rows_stay(
    app: App, clock: Clock, database: Database
) -> None:
    with database.transaction("received") as session:
        session.execute(text(_RECEIVED), {"at": clock.now})
    clock.now += timedelta(days=91)
    async with Client(build_server(app)) as client:
        assert (await call(client, "run_maintenance"))["webhook_bodies"] == 1
    with database.transaction("look") as session:
        rows = session.execute(text("SELECT status, body IS NULL FROM webhook_deliveries ORDER BY status")).all()
    assert [tuple(row) for row in rows] == [("recorded", True), ("waiting", False)]


async def test_old_rows_of_the_audit_log_are_deleted(app: App, clock: Clock) -> None:
    async with Client(build_server(app)) as client:
        await call(client, "upsert_contacts", contacts=[{"email": "ann@example.com"}])
        clock.now += timedelta(days=364)
        assert (await call(client, "run_maintenance"))["audit_records"] == 0
        clock.now += timedelta(days=2)
        assert (await call(client, "run_maintenance"))["audit_records"] == 1


async def test_cached_values_that_have_expired_are_deleted(app: App, clock: Clock) -> None:
    async with Client(build_server(app)) as client:
        for key, seconds in (("short", 60), ("long", 7200)):
            await call(client, "cache_set", namespace="n", key=key, value=1, ttl_seconds=seconds)
        clock.now += timedelta(hours=1)
        assert await call(client, "run_maintenance") == {**NOTHING, "cache_entries": 1}
        assert (await call(client, "cache_stats"))["entries"] == 1


async def test_an_unusual_share_of_orphans_is_told(app: App, caplog: pytest.LogCaptureFixture) -> None:
    async with Client(build_server(app)) as client:
        await call(client, "record_events", events=[opened(f"m-{number}") for number in range(30)])
        assert "list_orphaned_events" in (await call(client, "run_maintenance"))["warning"]
    assert "unusual share of orphaned events: 30 of 30" in caplog.text


async def test_a_few_orphans_among_many_events_are_not_worth_a_word(app: App) -> None:
    async with Client(build_server(app)) as client:
        scene = await new_campaign(client, people=25, start=True)
        known = [{"event_type": "opened", "channel": "email", "enrollment_id": who} for who in scene["enrollment_ids"]]
        for _ in range(5):
            await call(client, "record_events", events=known)
        await call(client, "record_events", events=[opened(f"m-{number}") for number in range(25)])
        assert "warning" not in await call(client, "run_maintenance")


AGES = {
    "orphan_days": 1,
    "orphan_keep_days": 1,
    "idempotency_key_days": 1,
    "job_days": 1,
    "audit_days": 1,
    "webhook_body_days": 1,
}


async def test_every_age_is_a_setting(make_app: Callable[..., App], clock: Clock, database: Database) -> None:
    app = make_app(**AGES)
    app.clock = clock
    async with Client(build_server(app)) as client:
        await call(client, "record_event", event=opened("m-1"))
        await call(client, "upsert_contacts", contacts=[{"email": "ann@example.com"}], idempotency_key="k")
        job = await call(client, "create_job", type="outreach", parameters={})
        await call(client, "cancel_job", job_id=job["job"]["id"])
        await call(client, "create_job", type="outreach", parameters={})  # the newest is kept for its number
        with database.transaction("received") as session:
            session.execute(text(_RECEIVED), {"at": clock.now})
        assert await call(client, "run_maintenance") == NOTHING
        clock.now += timedelta(days=1, minutes=1)
        done = await call(client, "run_maintenance")
        assert {name for name in NOTHING if done[name]} == {*NOTHING} - {
            "matched",
            "cache_entries",
            "recounted",
            "respelled",
            "shared_addresses",
            "deleted_orphans",
            "messages",
        }
        clock.now += timedelta(days=1, minutes=1)
        assert (await call(client, "run_maintenance"))["deleted_orphans"] == 1


def is_value(database: Database, statement: TextClause, wanted: object) -> bool:
    return database.run("look", lambda session: session.scalar(statement)) == wanted


async def test_the_worker_does_it_again_each_time_that_the_hour_is_over(
    app: App, clock: Clock, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_server.jobs.worker.MAINTENANCE_SECONDS", 0.01)
    expired = text("SELECT count(*) FROM orphaned_events WHERE status = 'expired'")
    async with Client(build_server(app)) as client:
        worker = Worker(app, poll_seconds=0.01)
        worker.start()
        try:
            for wanted in (1, 2):
                await call(client, "record_event", event=opened(f"m-{wanted}"))
                clock.now += timedelta(days=31)
                assert wait_until(partial(is_value, database, expired, wanted), PATIENCE)
        finally:
            worker.stop()


@pytest.mark.parametrize(("minutes", "is_due"), [(59, False), (61, True)])
async def test_an_hour_lies_between_two_of_its_runs(app: App, minutes: int, is_due: bool) -> None:
    app.database()
    worker = Worker(app)
    worker._maintained_at = before = time.monotonic() - 60 * minutes  # pyright: ignore[reportPrivateUsage]
    worker._maintain()  # pyright: ignore[reportPrivateUsage]
    assert (worker._maintained_at != before) is is_due  # pyright: ignore[reportPrivateUsage]


async def test_the_worker_does_it_by_itself(app: App, clock: Clock, database: Database) -> None:
    async with Client(build_server(app)) as client:
        await call(client, "record_event", event=opened("m-1"))
    clock.now += timedelta(days=31)
    worker = Worker(app, poll_seconds=0.01)
    worker.start()
    try:
        statement = text("SELECT count(*) FROM orphaned_events WHERE status = 'expired'")
        assert wait_until(lambda: database.run("look", lambda session: session.scalar(statement)) == 1, PATIENCE)
    finally:
        worker.stop()
