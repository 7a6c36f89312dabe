"""Whoever waits for an approval goes on once nothing of theirs waits any more, whichever way that came about."""

from dataclasses import replace
from functools import partial
from uuid import UUID

import pytest

from db.domain.events import EventType
from db.domain.states import EnrollmentAction, LinkedInStepType
from db.domain.templates import EmailStep, LinkedInStep
from db.postgres.database import Database
from db.services.campaigns import templates
from db.services.enrollments import moving
from tests.support.campaigns import NOW, assert_counters_are_exact, event, record, state
from tests.support.drafts import approve, asking, command, reject, settings, waiting
from tests.support.steps import claim, run_sql

FIRST = EmailStep(1, "One", "The first of all")
LATER = (EmailStep(2, "Two", "The second of all"), EmailStep(3, "Three", "The last of all", delay_hours=120))
REQUEST = LinkedInStep(1, LinkedInStepType.CONNECTION_REQUEST, "Shall we talk?")


def change(database: Database, email: tuple[EmailStep, ...] = (), linkedin: tuple[LinkedInStep, ...] = ()) -> None:
    template_id = run_sql(database, "SELECT template_id FROM campaign_instances").scalar_one()
    work = partial(templates.update, template_id=template_id, fields={}, email_steps=email, linkedin_steps=linkedin)
    database.run("change", work)


def left(database: Database, campaign_id: UUID, way: str, one: UUID) -> None:
    """Leaves the first step, whose words wait, in that way."""
    if way == "sent":
        record(database, event(EventType.SENT, one, step_number=1))
    elif way == "sent later on":
        record(database, event(EventType.SENT, one, step_number=2))
    elif way == "advanced":
        command(database, one, EnrollmentAction.ADVANCE)
    elif way == "switched off":
        change(database, (replace(FIRST, is_active=False),))
    else:
        settings(database, campaign_id, approval=way)


@pytest.mark.parametrize("way", ["sent", "sent later on", "advanced", "switched off", "none"])
def test_whoever_leaves_a_step_whose_words_wait_goes_on(database: Database, way: str) -> None:
    campaign_id, (one,) = asking(database, steps=(FIRST, *LATER))
    claim(database, campaign_id)
    assert state(database, one)["status"] == "paused"
    left(database, campaign_id, way, one)
    assert state(database, one)["status"] == "active"
    sent = claim(database, campaign_id, hours=24 * 6)
    if way == "none":
        assert [due.step.step_number for due in sent] == [1]
    else:
        steps = {"sent later on": [3], "switched off": [1, 2]}.get(way, [2])
        assert [draft.step_number for draft in waiting(database)] == steps
    assert_counters_are_exact(database)


def test_a_step_that_comes_before_the_one_that_waits_is_drafted(database: Database) -> None:
    campaign_id, (one,) = asking(database, steps=(replace(FIRST, is_active=False), *LATER))
    claim(database, campaign_id)
    assert [draft.step_number for draft in waiting(database)] == [2]
    change(database, (FIRST,))
    claim(database, campaign_id)
    assert (state(database, one)["status"], {draft.step_number for draft in waiting(database)}) == ("paused", {1, 2})


@pytest.mark.parametrize("way", ["tools", "sql"])
def test_a_step_that_says_nothing_any_more_goes_out(database: Database, way: str) -> None:
    campaign_id, (one,) = asking(database, steps=(EmailStep(2, "Two", "The mail after it"),), linkedin=(REQUEST,))
    claim(database, campaign_id)
    (draft,) = waiting(database)
    if way == "tools":
        change(database, linkedin=(LinkedInStep(1, LinkedInStepType.CONNECTION_REQUEST, None),))
    else:
        run_sql(database, "UPDATE linkedin_sequences SET message = NULL")
        approve(database, draft)
    assert [due.enrollment.id for due in claim(database, campaign_id)] == [one]


def test_what_is_known_to_have_been_said_before_lets_the_next_step_go(database: Database) -> None:
    campaign_id, (one,) = asking(database, "first_step")
    claim(database, campaign_id)
    reject(database, waiting(database)[0], "skip")
    assert claim(database, campaign_id, hours=24) == []
    record(database, event(EventType.SENT, one, step_number=1))
    assert [due.step.step_number for due in claim(database, campaign_id, hours=24)] == [2]


def test_whoever_is_moved_to_another_campaign_is_not_paused_there(database: Database) -> None:
    campaign_id, (one,) = asking(database)
    there, _ = asking(database, "none", people=0)
    claim(database, campaign_id)
    moved = database.run("move", partial(moving.move, enrollment_id=one, campaign_id=there, now=NOW))
    assert state(database, moved.enrollment_id)["status"] == "active"


def test_whoever_is_paused_by_hand_meanwhile_stays_so_when_their_words_are_approved(database: Database) -> None:
    campaign_id, (one,) = asking(database)
    claim(database, campaign_id)
    command(database, one, EnrollmentAction.PAUSE)
    approve(database, *waiting(database))
    assert state(database, one)["status"] == "paused"
    command(database, one, EnrollmentAction.RESUME)
    assert len(claim(database, campaign_id)) == 1
    assert_counters_are_exact(database)
