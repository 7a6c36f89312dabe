"""Many reports in one call: each is what complete_action would make of it, and none holds up another."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest

from db.domain.states import ActionOutcome, EnrollmentAction, ReportVerdict
from db.postgres.database import Database
from db.services.dispatch import actions
from db.services.dispatch.claims import DueAction
from db.services.dispatch.reports import Report, Result, complete_all
from db.services.enrollments import enrollments
from tests.support.campaigns import NOW, assert_counters_are_exact, new_scene, statements_of
from tests.support.incoming import look
from tests.support.steps import claim, run_sql

SENT, SKIPPED, FAILED = ActionOutcome
COMPLETED, REPEATED, REFUSED = ReportVerdict
LATER = NOW + timedelta(minutes=1)


def of(due: DueAction, outcome: ActionOutcome = SENT, **more: Any) -> Report:
    return Report(due.action_id, due.lease_token, outcome, **more)


def together(database: Database, reports: Sequence[Report]) -> list[Result]:
    return database.run("report", partial(complete_all, reports=reports, now=LATER))


def verdicts(results: Sequence[Result]) -> list[ReportVerdict]:
    return [result.verdict for result in results]


STATE = """
    SELECT e.status, e.current_step, e.next_action_at, e.stop_reason, e.pause_reason, a.status, a.reported, a.sent_at,
           a.failed_at, a.error, a.provider, a.provider_message_id, a.sent_to
    FROM campaign_enrollments e JOIN campaign_actions a ON a.enrollment_id = e.id ORDER BY e.id, a.step_number
"""


def test_many_reports_do_what_each_does_alone(database: Database) -> None:
    outcomes = [SENT, SKIPPED, FAILED, SENT, FAILED, SKIPPED]
    scenes = [new_scene(database, 6, domain=f"{name}.example.com") for name in ("one", "two")]
    states: list[list[Any]] = []
    for number, scene in enumerate(scenes):
        taken = sorted(claim(database, scene.campaign_id), key=lambda due: due.enrollment.id)
        reports = [
            of(due, outcome, provider="mail", provider_message_id=f"{number}-{n}" if outcome is SENT else None,
               error="full" if outcome is FAILED else None)
            for n, (due, outcome) in enumerate(zip(taken, outcomes, strict=True))
        ]  # fmt: skip
        if number == 0:
            assert verdicts(together(database, reports)) == [COMPLETED] * 6
        for report in reports if number == 1 else ():
            given = {name: getattr(report, name) for name in report.__slots__ if name != "at"}
            database.run("alone", partial(actions.complete, **given, now=LATER))
        rows = look(database, STATE)
        states.append([row[:11] for row in rows[-6:]] if number else [row[:11] for row in rows])
    assert states[0] == states[1]
    assert_counters_are_exact(database)


def test_one_bad_report_holds_up_no_other(database: Database) -> None:
    scene = new_scene(database, 4)
    first, second, third, fourth = claim(database, scene.campaign_id)
    results = together(
        database,
        [
            of(first),
            replace(of(second), lease_token=uuid4()),
            replace(of(third), action_id=UUID(int=1)),
            of(third, FAILED, error="full"),
            of(fourth),
        ],
    )
    assert verdicts(results) == [COMPLETED, REFUSED, REFUSED, COMPLETED, COMPLETED]
    assert "claim_due_actions" in (results[1].reason or "")
    assert "no action" in (results[2].reason or "").lower()
    assert_counters_are_exact(database)


def test_a_row_that_the_database_refuses_holds_up_no_other(database: Database) -> None:
    scene = new_scene(database, 3)
    due = claim(database, scene.campaign_id)
    run_sql(database, "ALTER TABLE campaign_actions ADD CONSTRAINT no_bad CHECK (provider_message_id <> 'bad')")
    results = together(database, [of(due[0]), of(due[1], provider_message_id="bad"), of(due[2])])
    assert verdicts(results) == [COMPLETED, REFUSED, COMPLETED]
    assert "fault of the server" in (results[1].reason or "")
    run_sql(database, "ALTER TABLE campaign_actions DROP CONSTRAINT no_bad")
    assert_counters_are_exact(database)


def test_the_same_reports_again_are_answered_and_change_nothing(database: Database) -> None:
    scene = new_scene(database, 3)
    reports = [of(due) for due in claim(database, scene.campaign_id)]
    together(database, reports)
    before = look(database, STATE)
    assert verdicts(together(database, reports)) == [REPEATED] * 3
    assert verdicts(together(database, [replace(reports[0], outcome=FAILED)])) == [REFUSED]
    assert look(database, STATE) == before


def test_one_step_reported_twice_in_a_call_is_reported_once(database: Database) -> None:
    scene = new_scene(database, 1)
    (due,) = claim(database, scene.campaign_id)
    assert verdicts(together(database, [of(due), of(due), of(due, FAILED)])) == [COMPLETED, REPEATED, REFUSED]
    assert_counters_are_exact(database)


def test_a_step_that_was_advanced_past_meanwhile_is_reported_all_the_same(database: Database) -> None:
    scene = new_scene(database, 2)
    due = claim(database, scene.campaign_id)
    for one in due:
        advance = partial(
            enrollments.update, enrollment_id=one.enrollment.id, action=EnrollmentAction.ADVANCE, now=LATER
        )
        database.run("advance", advance)
    assert verdicts(together(database, [of(due[0], FAILED), of(due[1], SENT)])) == [COMPLETED, COMPLETED]
    assert [row[0] for row in look(database, STATE)] == ["active", "active"]
    assert_counters_are_exact(database)


@pytest.mark.parametrize("people", [1, 60])
def test_the_number_of_statements_does_not_grow_with_the_reports(
    database: Database, people: int, request: pytest.FixtureRequest
) -> None:
    scene = new_scene(database, people)
    reports = [of(due, provider_message_id=str(due.action_id)) for due in claim(database, scene.campaign_id, limit=60)]
    assert len(statements_of(database, lambda: together(database, reports))) <= 16, request.node.name


def test_campaigns_are_reported_together(database: Database) -> None:
    scenes = [new_scene(database, 2, domain=f"d{n}.example.com") for n in range(3)]
    due = [one for scene in scenes for one in claim(database, scene.campaign_id)]
    assert verdicts(together(database, [of(one) for one in due])) == [COMPLETED] * 6
    for scene in scenes:
        assert look(database, f"SELECT sum(sent) FROM campaign_metrics WHERE instance_id = '{scene.campaign_id}'") == [
            (2,)
        ]
