"""What a claim tells of the people whose due steps it does not hand out."""

from datetime import timedelta
from functools import partial
from uuid import UUID

from db.domain.aside import Fate
from db.domain.holds import HoldReason
from db.domain.states import SuppressionReason
from db.domain.templates import EmailStep
from db.postgres.database import Database
from tests.support.campaigns import NOW, enroll, make_campaign
from tests.support.steps import claim_at, run_sql

STEPS = [EmailStep(1, "Hello {{ first_name }}", "Nice to meet you."), EmailStep(2, "Again", "Still there?")]
Told = list[tuple[Fate, HoldReason, int]]


def campaign(database: Database, *, people: int, steps: list[EmailStep] | None = None) -> UUID:
    make = partial(make_campaign, email_steps=steps or [*STEPS[1:], EmailStep(1, "One", "The first of all")])
    campaign_id = database.run("campaign", make)
    enroll(database, campaign_id, [f"p{number}@example.com" for number in range(people)])
    return campaign_id


def told(database: Database, campaign_id: UUID, *, hours: float = 0) -> Told:
    found = claim_at(database, campaign_id, NOW + timedelta(hours=hours))
    return [(aside.fate, aside.reason, aside.count) for aside in found.set_aside]


def test_people_who_lack_a_variable_are_paused(database: Database) -> None:
    campaign_id = campaign(database, people=3, steps=STEPS)
    assert told(database, campaign_id) == [(Fate.PAUSED, HoldReason.MISSING_VARIABLE, 3)]
    assert told(database, campaign_id) == []


def test_suppressed_people_are_ended(database: Database) -> None:
    campaign_id = campaign(database, people=3)
    # As somebody suppresses by SQL, whom no command has stopped.
    for number in range(2):
        run_sql(
            database,
            "INSERT INTO suppressions (id, email, reason) VALUES (gen_random_uuid(), :email, :reason)",
            email=f"p{number}@example.com",
            reason=SuppressionReason.MANUAL,
        )
    assert told(database, campaign_id) == [(Fate.ENDED, HoldReason.SUPPRESSED, 2)]


def test_people_who_are_away_are_moved(database: Database) -> None:
    campaign_id = campaign(database, people=2)
    away = "UPDATE contacts SET absent_from = :now, absent_until = :until WHERE email = 'p0@example.com'"
    run_sql(database, away, now=NOW, until=NOW + timedelta(days=3))
    assert told(database, campaign_id) == [(Fate.MOVED, HoldReason.ABSENT, 1)]


def test_a_campaign_whose_text_is_broken_is_paused_as_a_whole(database: Database) -> None:
    campaign_id = campaign(database, people=3)
    run_sql(database, "UPDATE email_sequences SET body = '{% if broken' WHERE step_number = 1")
    assert told(database, campaign_id) == [(Fate.CAMPAIGN_PAUSED, HoldReason.INVALID_TEXT, 1)]


def test_the_most_frequent_is_told_first(database: Database) -> None:
    campaign_id = campaign(database, people=4)
    run_sql(database, "INSERT INTO suppressions (id, email, reason) SELECT gen_random_uuid(), email, 'manual' "
                      "FROM contacts WHERE email IN ('p0@example.com', 'p1@example.com')")  # fmt: skip
    run_sql(database, "UPDATE contacts SET absent_from = :now, absent_until = :until WHERE email = 'p2@example.com'",
            now=NOW, until=NOW + timedelta(days=3))  # fmt: skip
    assert [aside[0] for aside in told(database, campaign_id)] == [Fate.ENDED, Fate.MOVED]
