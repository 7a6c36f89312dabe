"""A row that can't be handled is paused with a reason, and holds up no other; no report moves anybody back."""

import logging
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from uuid import UUID

import pytest

from db.domain.events import EventType
from db.domain.holds import HoldReason
from db.domain.states import ActionOutcome, EnrollmentAction
from db.postgres.database import Database
from db.services.dispatch import explain
from db.services.enrollments import enrollments
from mcp_server.process.logs import JsonLines
from tests.support.campaigns import NOW, assert_counters_are_exact, enroll, event, new_scene, record, state, totals
from tests.support.steps import claim, report, run_sql


def holds_of(database: Database, enrollment_id: UUID, *, hours: float = 0) -> list[str]:
    now = NOW + timedelta(hours=hours)
    with database.transaction("explain", read_only=True) as session:
        found = explain.enrollment(session, enrollment_id=enrollment_id, now=now)
    return [str(hold.reason) for hold in found.holds]


def pause_reason(database: Database, enrollment_id: UUID) -> str | None:
    with database.transaction("look") as session:
        return enrollments.get(session, enrollment_id=enrollment_id).enrollment.pause_reason


@contextmanager
def refused_for(database: Database, table: str, rule: str) -> Generator[None]:
    """A rule that only rows to come must keep."""
    run_sql(database, f"ALTER TABLE {table} ADD CONSTRAINT for_one_test CHECK ({rule}) NOT VALID")
    try:
        yield
    finally:
        run_sql(database, f"ALTER TABLE {table} DROP CONSTRAINT for_one_test")


@pytest.mark.parametrize("outcome", [ActionOutcome.SKIPPED, ActionOutcome.FAILED])
def test_a_late_report_moves_nobody_back(database: Database, outcome: ActionOutcome) -> None:
    scene = new_scene(database, 1)
    (one,) = scene.enrollments
    (first,) = claim(database, scene.campaign_id)
    record(database, event(EventType.CONNECTION_SENT, one, step_number=2))
    after_second = state(database, one)
    assert after_second["current_step"] == 2
    report(database, first, outcome)
    assert state(database, one) == after_second
    assert claim(database, scene.campaign_id, hours=47) == []
    (third,) = claim(database, scene.campaign_id, hours=48)
    assert third.step.step_number == 3
    assert totals(database, scene.campaign_id)["sent"] == 1
    assert_counters_are_exact(database)


def test_a_step_that_was_sent_and_is_next_again_is_held_back_alone(database: Database) -> None:
    scene = new_scene(database, 3)
    one, *others = scene.enrollments
    record(database, event(EventType.SENT, one, step_number=1))
    run_sql(database, "UPDATE campaign_enrollments SET current_step = 0, next_action_at = :now WHERE id = :id",
            now=NOW, id=one)  # fmt: skip
    assert holds_of(database, one) == [HoldReason.INTERNAL_FAULT]
    assert {due.enrollment.id for due in claim(database, scene.campaign_id)} == set(others)
    assert holds_of(database, one)[:2] == [HoldReason.ENROLLMENT_PAUSED, HoldReason.INTERNAL_FAULT]
    assert_counters_are_exact(database)


@pytest.mark.parametrize("bad", [1, 3])
@pytest.mark.parametrize("table", ["campaign_actions", "campaign_enrollments"])
def test_rows_that_the_database_refuses_are_paused_and_the_others_handed_out(
    database: Database, caplog: pytest.LogCaptureFixture, table: str, bad: int
) -> None:
    scene = new_scene(database, 7)
    refused = scene.enrollments[1 : 1 + bad]
    listed = ", ".join(f"'{id_}'" for id_ in refused)
    id_column, when = {
        "campaign_actions": ("enrollment_id", "true"),
        "campaign_enrollments": ("id", "status = 'active'"),
    }[table]
    with refused_for(database, table, f"NOT ({when} AND {id_column} IN ({listed}))"), caplog.at_level(logging.INFO):
        handed = claim(database, scene.campaign_id)
    assert {due.enrollment.id for due in handed} == set(scene.enrollments) - set(refused)
    shown = [JsonLines().format(entry) for entry in caplog.records]
    tokens = {str(due.lease_token) for due in handed}
    assert not any(token in line for token in tokens for line in shown)
    for id_ in refused:
        assert state(database, id_)["status"] == "paused"
        reason = pause_reason(database, id_)
        assert reason is not None
        assert reason.startswith("internal_fault: ")
        assert any(f'"fault": "{reason.split("fault as ")[1][:12]}"' in line for line in shown)
        assert holds_of(database, id_)[:2] == [HoldReason.ENROLLMENT_PAUSED, HoldReason.INTERNAL_FAULT]
    assert_counters_are_exact(database)
    with database.transaction("resume") as session:
        enrollments.update(session, enrollment_id=refused[0], action=EnrollmentAction.RESUME, now=NOW)
    assert [due.enrollment.id for due in claim(database, scene.campaign_id)] == [refused[0]]
    assert pause_reason(database, refused[0]) is None


def test_who_can_not_even_be_paused_holds_up_nobody(database: Database) -> None:
    scene = new_scene(database, 4)
    one = scene.enrollments[0]
    with refused_for(database, "campaign_enrollments", f"id <> '{one}'"):
        handed = [due.enrollment.id for _ in range(3) for due in claim(database, scene.campaign_id, limit=1)]
    assert sorted(handed) == sorted(scene.enrollments[1:])
    assert_counters_are_exact(database)


def test_a_person_whose_values_can_not_be_read_is_paused_alone(database: Database) -> None:
    scene = new_scene(database, 3)
    deep = '{"a":' * 3_000 + "1" + "}" * 3_000
    run_sql(database, "UPDATE contacts SET attributes = CAST(:deep AS jsonb) WHERE email = 'p1@example.com'", deep=deep)
    one = scene.enrollments[1]
    assert holds_of(database, one) == [HoldReason.INTERNAL_FAULT]
    assert {due.enrollment.id for due in claim(database, scene.campaign_id)} == set(scene.enrollments) - {one}
    assert state(database, one)["status"] == "paused"


def test_a_fault_takes_no_reservation(database: Database) -> None:
    scene = new_scene(database, 0)
    run_sql(database, """UPDATE campaign_instances SET settings = '{"daily_limit": 2}'""")
    people = enroll(database, scene.campaign_id, [f"q{number}@example.com" for number in range(3)])
    with refused_for(database, "campaign_actions", f"enrollment_id <> '{people[0]}'"):
        handed = claim(database, scene.campaign_id)
    assert len(handed) == 2
    assert_counters_are_exact(database)
