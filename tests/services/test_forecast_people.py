"""A forecast minds that a person hears from one campaign at a time, and so often in a week."""

from collections import Counter
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from db.domain.forecast import Forecast
from db.domain.templates import EmailStep
from db.postgres.database import Database
from db.services.dispatch import forecast
from tests.support.campaigns import NOW
from tests.support.shared_people import Workspace, drawn, lived_in
from tests.support.steps import run_sql

DAY = timedelta(days=1)


def told(database: Database, now: datetime = NOW, days: int = 30, campaign_id: UUID | None = None) -> Forecast:
    look = partial(forecast.read, campaign_id=campaign_id, mailbox=None, days=days, now=now)
    return database.run("forecast", look, read_only=True)()


def assert_it_happens(workspace: Workspace, start: datetime, days: int) -> None:
    """What a forecast says, of all campaigns, is what then goes out, row by row."""
    found = told(workspace.database, start, days)
    expected = Counter({(day.date, day.mailbox): day.planned for day in found.days if day.planned})
    happened = workspace.run(start, start + (days + 1) * DAY)
    last = min(start.astimezone(ZoneInfo(zone)).date() for zone in workspace.zones.values()) + (days - 1) * DAY
    wrong = {
        row: (expected[row], happened.get(row, 0))
        for row in {*expected, *happened}
        if row[0] <= last and expected[row] != happened.get(row, 0)
    }
    assert not wrong, f"row: (forecast, what happened): {dict(sorted(wrong.items(), key=str))}"
    assert sum(happened.values()) > 0


@pytest.mark.parametrize("seed", range(3))
def test_what_happens_to_people_of_several_campaigns_is_what_was_forecast(database: Database, seed: int) -> None:
    workspace = drawn(database, seed, people=40)
    assert_it_happens(workspace, lived_in(workspace), days=10)


def steps(*delays: int) -> list[EmailStep]:
    return [EmailStep(n, "Hello", "A text for everybody", delay) for n, delay in enumerate((0, *delays), start=1)]


def rows(found: Forecast) -> list[tuple[int, int]]:
    return [((day.date - NOW.date()).days, day.planned) for day in found.days if day.planned]


@pytest.mark.parametrize(
    ("rules", "of_both", "of_second"),
    [
        ({}, [(0, 1), (2, 2), (4, 1)], [(2, 1), (4, 1)]),
        ({"days_between_campaigns": 3}, [(0, 1), (2, 1), (5, 1), (7, 1)], [(5, 1), (7, 1)]),
        ({"touches_per_week": 2}, [(0, 1), (2, 1), (7, 1), (9, 1)], [(7, 1), (9, 1)]),
        ({"touches_per_week": 1}, [(0, 1), (7, 1), (14, 1), (21, 1)], [(14, 1), (21, 1)]),
    ],
)
def test_the_second_campaign_of_a_person_waits_for_the_first(
    database: Database, rules: dict[str, Any], of_both: list[tuple[int, int]], of_second: list[tuple[int, int]]
) -> None:
    workspace = Workspace(database)
    workspace.rule(**rules)
    one, other = (workspace.add_campaign(steps(48), "UTC") for _ in "AB")
    for campaign_id in (one, other):
        workspace.enroll(campaign_id, [1])
    assert rows(told(database)) == of_both
    second = told(database, campaign_id=other)
    assert rows(second) == of_second, "of one campaign, the others are looked at as well"
    assert (second.ends_on or NOW.date()) - NOW.date() == timedelta(of_second[-1][0])
    assert {day.binding_limit for day in second.days if not day.planned} == {"contact_busy"}


def test_nobody_waits_for_a_campaign_that_is_over_and_everybody_for_one_that_is_paused(database: Database) -> None:
    workspace = Workspace(database)
    workspace.rule(days_between_campaigns=5)
    one, other = (workspace.add_campaign(steps(48), "UTC") for _ in "AB")
    workspace.enroll(one, [1])
    workspace.run(NOW, NOW + timedelta(hours=1))
    workspace.enroll(other, [1])
    start = NOW + timedelta(hours=2)
    set_status = "UPDATE campaign_instances SET status = :status, paused_at = :paused_at, completed_at = :ended_at"
    for status, paused_at, ended_at, expected in (
        ("paused", NOW, None, []),
        ("completed", None, NOW, [(5, 1), (7, 1)]),
    ):
        values = {"status": status, "paused_at": paused_at, "ended_at": ended_at, "id": one}
        run_sql(database, f"{set_status} WHERE id = :id", **values)
        found = told(database, start)
        assert rows(found) == expected, status
        assert (found.ends_on is None) == (status == "paused"), "nobody knows when a person lets it go on"
