"""Claimed steps are reported: in how many statements, and whether the answer is what the database holds then."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import partial
from time import monotonic
from typing import Any

import pytest
from sqlalchemy import text

from db.domain.events import EventType
from db.domain.states import ActionOutcome, Channel, EnrollmentStatus
from db.domain.templates import EmailStep
from db.postgres.config import DatabaseConfig
from db.postgres.database import Database
from db.services.dispatch.claims import DueAction
from db.services.events import events
from tests.support.campaigns import (
    NOW,
    assert_counters_are_exact,
    enroll,
    event,
    make_campaign,
    new_scene,
    record,
    statements_of,
    totals,
)
from tests.support.patience import PATIENCE
from tests.support.steps import claim, report, report_at


def stored(database: Database, due: DueAction) -> tuple[dict[str, Any], dict[str, Any]]:
    """The rows of a step and of its enrollment, by column."""
    with database.transaction("look") as session:
        action = session.execute(text("SELECT * FROM campaign_actions WHERE id = :id"), {"id": due.action_id})
        enrollment = session.execute(
            text("SELECT *, instance_id AS campaign_id FROM campaign_enrollments WHERE id = :id"),
            {"id": due.enrollment.id},
        )
        return dict(action.mappings().one()), dict(enrollment.mappings().one())


@pytest.mark.parametrize("outcome", ActionOutcome)
@pytest.mark.parametrize("channel", Channel)
def test_the_answer_to_a_report_is_what_the_database_holds(
    database: Database, channel: Channel, outcome: ActionOutcome
) -> None:
    scene = new_scene(database, 1)
    (due,) = claim(database, scene.campaign_id)
    hours = 1
    if channel is Channel.LINKEDIN:
        report(database, due, ActionOutcome.SENT)
        hours = 30
        (due,) = claim(database, scene.campaign_id, hours=hours)
    assert due.step.channel is channel
    for done in (report(database, due, outcome, hours=hours), report(database, due, outcome, hours=hours + 1)):
        action, enrollment = stored(database, due)
        assert done.action == {name: action[name] for name in done.action}
        assert done.enrollment == {name: enrollment[name] for name in done.enrollment}
        # What the answer leaves out is what never happened, and what the claim and the rows are about.
        happened = {name for name in action if name.endswith("_at") and action[name]}
        assert happened - done.action.keys() <= {"created_at", "updated_at", "claimed_at", "reserved_at"}
    assert_counters_are_exact(database)


def test_a_report_about_somebody_who_left_meanwhile_counts_and_moves_nothing(database: Database) -> None:
    scene = new_scene(database, 1)
    (due,) = claim(database, scene.campaign_id)
    record(database, event(EventType.UNSUBSCRIBED, scene.enrollments[0], step_number=1))
    before = stored(database, due)[1]
    done = report(database, due, ActionOutcome.SENT, hours=1)
    after = stored(database, due)[1]
    assert done.enrollment == {name: after[name] for name in done.enrollment}
    # When the step was sent is kept, for whoever may be enrolled again; nothing falls due.
    assert {name for name in after if after[name] != before[name]} == {"delay_from", "updated_at"}
    assert totals(database, scene.campaign_id)["sent"] == 1


def test_a_message_id_is_kept_though_the_provider_told_of_the_step_first(database: Database) -> None:
    scene = new_scene(database, 1)
    (due,) = claim(database, scene.campaign_id)
    record(database, event(EventType.DELIVERED, scene.enrollments[0], step_number=1))
    (early,) = record(database, event(EventType.OPENED, None, hours=1, provider_message_id=f"m-{due.action_id}"))
    assert str(early.verdict) == "orphaned"
    done = report(database, due, ActionOutcome.SENT)
    assert done.action["provider_message_id"] == f"m-{due.action_id}"
    assert stored(database, due)[0]["provider_message_id"] == f"m-{due.action_id}"
    sums = totals(database, scene.campaign_id)
    assert (sums["sent"], sums["opened"]) == (1, 1)
    assert_counters_are_exact(database)


def sent_events(database: Database) -> list[tuple[int, str | None]]:
    """Step and message of each send that was told."""
    with database.transaction("look") as session:
        statement = "SELECT step_number, provider_message_id FROM campaign_events WHERE event_type = 'sent' ORDER BY id"
        return [tuple(row) for row in session.execute(text(statement))]


def test_a_second_report_names_the_message_of_a_step_once(database: Database) -> None:
    scene = new_scene(database, 1)
    (due,) = claim(database, scene.campaign_id)
    opened = event(EventType.OPENED, None, hours=1, provider_message_id="m-1")
    assert [str(outcome.verdict) for outcome in record(database, opened)] == ["orphaned"]
    for message in (None, "m-1", "m-1", "m-2", "m-2"):
        report_at(database, due, ActionOutcome.SENT, NOW, provider_message_id=message)
    assert sent_events(database) == [(1, None), (1, "m-1"), (1, "m-2")]
    (late,) = record(database, event(EventType.CLICKED, None, hours=2, provider_message_id="m-2"))
    assert str(late.verdict) == "recorded"
    sums = totals(database, scene.campaign_id)
    assert (sums["sent"], sums["opened"], sums["clicked"], sums["total_opens"]) == (1, 1, 1, 1)
    assert stored(database, due)[0]["provider_message_id"] == "m-1"
    assert_counters_are_exact(database)


@pytest.mark.parametrize("is_reported_first", [False, True])
def test_a_message_of_two_steps_is_of_the_first_whether_a_report_or_an_event_comes_first(
    database: Database, is_reported_first: bool
) -> None:
    scene = new_scene(database, 1)
    (due,) = claim(database, scene.campaign_id)
    told = event(EventType.SENT, scene.enrollments[0], hours=1, step_number=3, provider_message_id="m-1")
    opened = event(EventType.OPENED, None, hours=2, provider_message_id="m-1")
    if is_reported_first:
        report_at(database, due, ActionOutcome.SENT, NOW, provider_message_id="m-1")
    record(database, told)
    record(database, opened)
    if not is_reported_first:
        report_at(database, due, ActionOutcome.SENT, NOW, provider_message_id="m-1")
    with database.transaction("look") as session:
        statement = "SELECT step_number, provider_message_id, open_count FROM campaign_actions ORDER BY step_number"
        known = [tuple(row) for row in session.execute(text(statement))]
    assert known == [(1, "m-1", 1), (3, None, 0)]
    assert_counters_are_exact(database)


def test_what_waited_for_a_message_is_counted_once_its_step_is_reported(database: Database) -> None:
    scene = new_scene(database, 1)
    (due,) = claim(database, scene.campaign_id)
    (early,) = record(database, event(EventType.OPENED, None, hours=1, provider_message_id=f"m-{due.action_id}"))
    assert str(early.verdict) == "orphaned"
    report(database, due, ActionOutcome.SENT)
    assert totals(database, scene.campaign_id)["opened"] == 1
    assert_counters_are_exact(database)


def wait_until_somebody_waits(database: Database) -> None:
    statement = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    began = monotonic()
    with database.engine.connect() as look:
        while not look.scalar(statement):
            assert monotonic() < began + PATIENCE
            look.rollback()


def test_a_report_that_waits_for_the_enrollment_finds_it_as_it_was_left(database: Database) -> None:
    scene = new_scene(database, 1)
    (due,) = claim(database, scene.campaign_id)
    with ThreadPoolExecutor(1) as agent:
        with database.transaction("record") as session:
            events.record_events(session, events=[event(EventType.UNSUBSCRIBED, scene.enrollments[0])])
            reported = agent.submit(report, database, due, ActionOutcome.SENT)
            wait_until_somebody_waits(database)
        done = reported.result(PATIENCE)
    assert done.enrollment["status"] == EnrollmentStatus.UNSUBSCRIBED
    assert done.enrollment == {name: stored(database, due)[1][name] for name in done.enrollment}
    assert_counters_are_exact(database)


def test_a_reservation_is_released_without_waiting_for_who_counts(database: Database) -> None:
    settings = {"daily_limit": 9, "senders": {"email": {"account": "ada@example.com", "daily_limit": 9}}}
    make = partial(make_campaign, email_steps=[EmailStep(1, "One", "The first of all")], settings=settings)
    campaign_id = database.run("scene", make)
    enroll(database, campaign_id, ["p@example.com"])
    (due,) = claim(database, campaign_id)
    with ThreadPoolExecutor(1) as agent, database.transaction("claim") as session:
        session.execute(text("SELECT used FROM campaign_usage FOR NO KEY UPDATE"))
        session.execute(text("SELECT used FROM sender_usage FOR NO KEY UPDATE"))
        skipped = agent.submit(report, database, due, ActionOutcome.SKIPPED)
        assert skipped.result(PATIENCE).action["status"] == ActionOutcome.SKIPPED
    with database.transaction("look") as session:
        statement = text("SELECT sum(used) FROM campaign_usage UNION ALL SELECT sum(used) FROM sender_usage")
        assert session.scalars(statement).all() == [0, 0]


def test_a_sent_step_is_reported_in_three_statements(database: Database) -> None:
    scene = new_scene(database, 8)
    claimed = claim(database, scene.campaign_id)
    ((variant, _),) = Counter(due.step.a_b_variant for due in claimed).most_common(1)
    last = next(due for due in claimed if due.step.a_b_variant == variant)
    for due in claimed:
        if due is not last:  # which makes the counter rows of the day, also that of its variant
            report(database, due, ActionOutcome.SENT)
    assert len(statements_of(database, lambda: report(database, last, ActionOutcome.SENT))) == 3


def test_the_statements_of_a_claim_do_not_grow_with_it(database: Database) -> None:
    scene = new_scene(database, 40)
    small = len(statements_of(database, lambda: claim(database, scene.campaign_id, limit=2)))
    large = len(statements_of(database, lambda: claim(database, scene.campaign_id, limit=30)))
    assert large == small <= 15


# PostgreSQL plans a prepared statement for its parameters five times, before it may keep a plan for all.
_PLANNED_ANEW = text("SELECT statement FROM pg_prepared_statements WHERE custom_plans > 5")


def test_what_is_done_for_each_step_is_not_planned_each_time(database: Database, database_url: str) -> None:
    # Enough people that a plan for one row would look better than one for any number.
    scene = new_scene(database, 0)
    enroll(database, scene.campaign_id, [f"p{n}@example.com" for n in range(20_000)])

    def work_off(at: Database, count: int) -> None:
        for _ in range(count):
            (due,) = claim(at, scene.campaign_id, limit=1)
            told = report(at, due, ActionOutcome.SENT)
            opened = event(EventType.OPENED, told.enrollment["id"], hours=1, provider="mail")
            record(at, replace(opened, provider_event_id=str(due.action_id)))

    work_off(database, 3)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
    alone = Database(DatabaseConfig(url=database_url, pool_size=1, max_overflow=0))
    try:
        work_off(alone, 12)
        planned = alone.run("look", lambda session: session.scalars(_PLANNED_ANEW).all())
    finally:
        alone.close()
    assert planned == []
    assert totals(database, scene.campaign_id)["opened"] == 15


TOLD = [EventType.FAILED, EventType.REJECTED, EventType.SENT, EventType.DELIVERED]


def ends(database: Database, kind: EventType, outcome: ActionOutcome, *, event_first: bool) -> dict[str, Any]:
    """What is known of a step that a provider tells of and its holder reports, and of its place under the limit."""
    campaign_id = database.run(
        "scene",
        partial(
            make_campaign,
            email_steps=[EmailStep(1, "One", "The first of all"), EmailStep(2, "Two", "The second", delay_hours=48)],
            settings={"daily_limit": 3},
        ),
    )
    (who,) = enroll(database, campaign_id, [f"{kind}-{outcome}-{event_first}@example.com".lower()])
    (due,) = claim(database, campaign_id)
    told = event(kind, who, hours=0.5, step_number=1, provider="p", provider_event_id=f"{kind}-{outcome}-{event_first}")
    if event_first:
        assert [str(answer.verdict) for answer in record(database, told)] == ["recorded"]
    done = report(database, due, outcome, hours=1)
    if not event_first:
        record(database, told)
    action, enrollment = stored(database, due)
    if event_first:
        assert done.action == {name: action[name] for name in done.action}
        assert done.enrollment == {name: enrollment[name] for name in done.enrollment}
    again = report(database, due, outcome, hours=2)
    assert again.action == {name: action[name] for name in again.action}
    assert_counters_are_exact(database)
    with database.transaction("look") as session:
        used = session.scalar(
            text("SELECT sum(used)::int FROM campaign_usage WHERE instance_id = :id"), {"id": campaign_id}
        )
    known = ("status", "reported", "error", "sent_at", "sent_source", "delivered_at", "failed_at")
    moved = ("status", "current_step", "next_action_at", "stop_reason")
    return {
        "action": [action[name] for name in known], "enrollment": [enrollment[name] for name in moved], "used": used,
    }  # fmt: skip


@pytest.mark.parametrize("outcome", ActionOutcome)
@pytest.mark.parametrize("kind", TOLD)
def test_a_report_and_what_the_provider_tells_end_alike_in_both_orders(
    database: Database, kind: EventType, outcome: ActionOutcome
) -> None:
    known, other = (ends(database, kind, outcome, event_first=event_first) for event_first in (True, False))
    assert known == other
    action_status, enrollment_status = known["action"][0], known["enrollment"][0]
    was_sent = outcome is ActionOutcome.SENT or kind in (EventType.SENT, EventType.DELIVERED)
    assert action_status == ("sent" if was_sent else outcome)
    assert enrollment_status == ("paused" if outcome is ActionOutcome.FAILED else "active")
    assert known["used"] == (1 if was_sent else 0)


def test_a_step_that_only_its_provider_calls_failed_stays_claimed_and_keeps_its_reservation(database: Database) -> None:
    scene = new_scene(database, 1)
    (due,) = claim(database, scene.campaign_id)
    record(database, event(EventType.REJECTED, scene.enrollments[0], step_number=1))
    assert stored(database, due)[0]["status"] == "claimed"
    assert totals(database, scene.campaign_id)["failed"] == 1


def test_the_report_of_the_holder_says_when_a_step_was_sent(database: Database) -> None:
    scene = new_scene(database, 1)
    (due,) = claim(database, scene.campaign_id)
    record(
        database,
        event(EventType.DELIVERED, scene.enrollments[0], hours=-24 * 365, step_number=1),
        event(EventType.SENT, scene.enrollments[0], hours=-24 * 30, step_number=1),
    )
    done = report(database, due, ActionOutcome.SENT, hours=1)
    record(
        database,
        event(EventType.OPENED, scene.enrollments[0], hours=-24 * 365 * 50, step_number=1),
        event(EventType.SENT, scene.enrollments[0], hours=-24 * 30, step_number=1),
    )
    action, enrollment = stored(database, due)
    assert action["sent_at"] == done.action["sent_at"] == NOW + timedelta(hours=1)
    assert enrollment["next_action_at"] == done.enrollment["next_action_at"] == NOW + timedelta(hours=25)
