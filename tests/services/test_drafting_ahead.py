"""Which steps are drafted ahead, and what is told of those that wait for a person."""

from dataclasses import replace
from datetime import timedelta
from functools import partial
from uuid import UUID

import pytest

from db.domain.states import ActionOutcome, EnrollmentAction
from db.domain.templates import EmailStep
from db.postgres.database import Database
from db.services.campaigns import templates
from db.services.consent import drafts
from db.services.dispatch import drafting, explain
from tests.support.campaigns import NOW
from tests.support.drafts import (
    STEPS,
    approve,
    asking,
    command,
    connect,
    names,
    settings,
    statuses,
    waiting,
    write,
)
from tests.support.steps import claim, report, run_sql


def test_whoever_nothing_can_be_drafted_for_lets_the_others_come_first(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drafting, "_MOST", 2)
    steps = (EmailStep(1, "One", "Hello {{ first_name }}", delay_hours=24),)
    campaign_id, people = asking(database, steps=steps, people=5)
    names(database, "Ada")
    nameless = (
        "UPDATE contacts SET first_name = NULL WHERE id IN (SELECT contact_id FROM campaign_enrollments WHERE {})"
    )
    first = " OR ".join(f"id = '{id_}'" for id_ in sorted(people)[:3])
    run_sql(database, nameless.format(first))
    found: list[int] = []
    for _ in range(3):
        claim(database, campaign_id)
        found.append(len(waiting(database)))
    assert found == [0, 1, 2]


def test_a_draft_of_a_later_step_keeps_the_next_from_no_draft(database: Database) -> None:
    steps = (replace(STEPS[0], is_active=False, delay_hours=24), replace(STEPS[1], subject="Two"), STEPS[2])
    campaign_id, (one,) = asking(database, steps=(replace(STEPS[0], delay_hours=24), *steps[1:]))
    write(database, one, step=3)
    claim(database, campaign_id)
    assert statuses(database, one) == [(3, "waiting"), (1, "waiting")]
    template_id = run_sql(database, "SELECT template_id FROM campaign_instances").scalar_one()
    off = partial(templates.update, template_id=template_id, fields={}, email_steps=steps[:1], linkedin_steps=[])
    database.run("off", off)
    for _ in range(2):
        claim(database, campaign_id)
    assert statuses(database, one) == [(3, "waiting"), (1, "waiting"), (2, "waiting")]


def settled(database: Database) -> list[UUID]:
    """Who is not looked at again, since they have a draft or need none."""
    late = "SELECT id FROM campaign_enrollments WHERE draft_again_at > :soon ORDER BY id"
    return list(run_sql(database, late, soon=NOW + timedelta(days=100)).scalars())


def test_those_who_have_a_draft_are_read_once(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drafting, "_LOOKED", 2)
    first, *later = (replace(STEPS[0], delay_hours=24), *STEPS[1:])
    campaign_id, people = asking(database, steps=(first, *later), people=5)
    people.sort()
    found: list[tuple[int, int]] = []
    for _ in range(6):
        claim(database, campaign_id)
        found.append((len(waiting(database)), len(settled(database))))
    assert found == [(2, 0), (2, 2), (4, 2), (4, 4), (5, 4), (5, 5)]
    command(database, people[0], EnrollmentAction.PAUSE)
    command(database, people[0], EnrollmentAction.RESUME)
    assert settled(database) == people[1:]


def test_those_who_were_addressed_are_read_once_until_the_campaign_asks_for_all(database: Database) -> None:
    campaign_id, people = asking(database, "first_step", people=2)
    claim(database, campaign_id)
    approve(database, *waiting(database))
    for due in claim(database, campaign_id):
        report(database, due, ActionOutcome.SENT)
    claim(database, campaign_id)
    assert (settled(database), waiting(database)) == (sorted(people), [])
    settings(database, campaign_id, approval="all")
    claim(database, campaign_id)
    assert {draft.step_number for draft in waiting(database)} == {2}
    claim(database, campaign_id)
    for asked, late in (("none", sorted(people)), ("all", [])):
        settings(database, campaign_id, approval=asked)
        assert settled(database) == late


def test_a_campaign_whose_people_all_wait_for_an_approval_says_so(database: Database) -> None:
    campaign_id, people = asking(database, people=2)
    claim(database, campaign_id)
    look = partial(explain.campaign, campaign_id=campaign_id, now=NOW)
    (hold,) = database.run("explain", look, read_only=True).holds
    assert (hold.reason, hold.detail.partition(" until")[0]) == ("waiting_for_approval", "2 people wait")
    approve(database, *waiting(database))
    assert database.run("explain", look, read_only=True).holds == []
    assert len(claim(database, campaign_id)) == len(people)


def test_the_queue_of_a_person_begins_with_the_oldest_draft(database: Database) -> None:
    _, people = asking(database, people=3)
    written = [write(database, one) for one in people]
    command(database, people[0], EnrollmentAction.COMPLETE)
    found, has_more = database.run("queue", partial(drafts.oldest, limit=1), read_only=True)
    assert ([draft.id for draft in found], has_more) == ([written[1].id], True)


def test_a_mailbox_gets_no_more_people_than_it_can_write_to_in_two_days(database: Database) -> None:
    connect(database, "ann@acme.example")
    connect(database, "ben@acme.example")
    run_sql(database, "UPDATE mailboxes SET settings = settings || '{\"daily_limit\": 1}' WHERE address LIKE 'ann%'")
    for people in (3, 5):
        campaign_id, _ = asking(
            database, mailboxes=["ann@acme.example", "ben@acme.example"], sent_by="agent", people=people
        )
        claim(database, campaign_id)
    found = run_sql(
        database,
        "SELECT left(m.address, 3), count(*) FROM campaign_enrollments e JOIN mailboxes m ON m.id = e.mailbox_id "
        "GROUP BY 1 ORDER BY 1",
    )
    assert [tuple(row) for row in found] == [("ann", 2), ("ben", 6)]
