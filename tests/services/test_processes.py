"""Races between processes: nothing is lost, nothing counts twice, and no deadlock reaches a caller."""

import random
from collections import Counter
from itertools import permutations
from typing import Any

import pytest
from sqlalchemy import text

from db.postgres.database import Database
from tests.support.campaigns import assert_counters_are_exact, new_scene, state, totals
from tests.support.races import race


def test_four_processes_recording_the_same_events_count_each_once(database: Database, database_url: str) -> None:
    scene = new_scene(database, 500)
    kinds = ("sent", "delivered", "opened", "clicked")
    given = [[kind, str(who), f"{kind}-{who}"] for who in scene.enrollments for kind in kinds]
    works: list[dict[str, Any]] = []
    for seed in range(4):
        mine = random.Random(seed).sample(given, len(given))
        works.append({"do": "record", "batches": [mine[at : at + 250] for at in range(0, len(mine), 250)]})
    counted = Counter(verdict for answer in race(database_url, *works) for verdict in answer)
    assert counted == {"recorded": 2_000, "duplicate": 6_000}
    after = totals(database, scene.campaign_id)
    assert [after[name] for name in kinds] == [500] * 4
    assert_counters_are_exact(database)


@pytest.mark.parametrize("order", list(permutations(["unsubscribed", "bounced", "replied"])))
def test_stops_that_meet_end_in_the_unsubscribe(database: Database, database_url: str, order: tuple[str, ...]) -> None:
    one, two = new_scene(database, 20), new_scene(database, 20)
    works: list[dict[str, Any]] = []
    for index, kind in enumerate(order):
        people = (one if index % 2 else two).enrollments + (two if index % 2 else one).enrollments
        works.append({"do": "record", "batches": [[[kind, str(who), f"{kind}-{who}"]] for who in people]})
    race(database_url, *works)
    for who in one.enrollments + two.enrollments:
        assert state(database, who)["status"] == "unsubscribed"
    counted = totals(database, one.campaign_id)
    assert [counted[kind] for kind in order] == [20] * 3
    assert_counters_are_exact(database)


def test_two_processes_enroll_the_same_people_once(database: Database, database_url: str) -> None:
    scene = new_scene(database, 0)
    emails = [f"new{i}@example.com" for i in range(300)]
    works = [
        {"do": "enroll", "campaign": str(scene.campaign_id), "emails": order}
        for order in (emails, emails[::-1], emails)
    ]
    first, second, third = race(database_url, *works)
    assert first == second[::-1] == third
    assert len(set(first)) == 300
    assert_counters_are_exact(database)


def test_advances_that_meet_each_pass_a_step(database: Database, database_url: str) -> None:
    scene = new_scene(database, 1)
    work = {"do": "advance", "enrollment": str(scene.enrollments[0])}
    race(database_url, work, work)
    assert state(database, scene.enrollments[0])["current_step"] == 2


def test_nobody_who_unsubscribes_while_being_enrolled_stays_active(database: Database, database_url: str) -> None:
    one, two = new_scene(database, 100), new_scene(database, 0)
    people = one.enrollments
    unsubscribe = {"do": "record", "batches": [[["unsubscribed", str(who), f"u-{who}"]] for who in people]}
    enrol = {"do": "enroll", "campaign": str(two.campaign_id), "emails": [f"p{i}@example.com" for i in range(100)]}
    race(database_url, unsubscribe, enrol)
    with database.transaction("look") as session:
        statement = text("SELECT count(*) FROM campaign_enrollments WHERE status NOT IN ('unsubscribed')")
        assert session.scalar(statement) == 0
    assert_counters_are_exact(database)
