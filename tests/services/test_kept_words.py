"""What was handed out is kept in its words, whatever becomes of the template."""

from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

import pytest
from sqlalchemy import text

from db.domain.states import ActionOutcome, EnrollmentAction, LinkedInStepType
from db.domain.templates import EmailStep, LinkedInStep
from db.postgres.database import Database
from db.services.campaigns import campaigns, templates
from db.services.dispatch import actions, claims
from db.services.dispatch.claims import DueAction
from db.services.enrollments import enrollments
from db.services.state import message_rows
from tests.support.campaigns import NOW, enroll, make_campaign

SOON = NOW + timedelta(minutes=1)


def campaign(database: Database, *emails: EmailStep, linkedin: tuple[LinkedInStep, ...] = ()) -> UUID:
    make = partial(make_campaign, email_steps=emails, linkedin_steps=linkedin)
    return database.run("campaign", make)


def claim(database: Database, now: datetime = SOON, limit: int = 500) -> list[DueAction]:
    work = partial(claims.claim, campaign_id=None, channel=None, limit=limit, lease_seconds=60, now=now)
    return database.run("claim", work).actions


def complete(database: Database, due: DueAction, outcome: ActionOutcome, now: datetime) -> None:
    work = partial(
        actions.complete,
        action_id=due.action_id,
        lease_token=due.lease_token,
        outcome=outcome,
        provider=None,
        provider_message_id=None,
        error=None,
        now=now,
    )
    database.run("complete", work)


def edit(database: Database, campaign_id: UUID, *steps: EmailStep) -> None:
    with database.transaction("edit") as session:
        template_id = campaigns.get(session, campaign_id=campaign_id).template_id
        templates.lock_steps(session, template_id=template_id)
        templates.update(session, template_id=template_id, fields={}, email_steps=steps, linkedin_steps=[])


def words(database: Database, enrollment_id: UUID) -> list[tuple[str | None, str | None] | None]:
    """Of each step of the enrollment, in order: (subject, body), None where nothing is kept."""
    with database.transaction("look") as session:
        details = enrollments.get(session, enrollment_id=enrollment_id)
        found = [details.words.get(action.id) for action in details.actions]
        return [said and (said.subject, said.body) for said in found]


def test_an_old_step_shows_what_was_sent_after_the_template_has_changed(database: Database) -> None:
    campaign_id = campaign(database, EmailStep(1, "Dear {{ email }}", "The first of all"))
    ids = enroll(database, campaign_id, [f"p{index}@example.com" for index in range(40)])
    handed = claim(database)
    for due in handed[:2]:
        complete(database, due, ActionOutcome.SENT, SOON)
    edit(database, campaign_id, EmailStep(1, "Other", "Quite another text"))
    assert {due.text.subject for due in handed} == {f"Dear p{index}@example.com" for index in range(40)}
    for index, enrollment_id in enumerate(ids):
        assert words(database, enrollment_id) == [(f"Dear p{index}@example.com", "The first of all")]


@pytest.mark.parametrize("was_reported", [False, True])
def test_a_step_that_is_handed_out_again_shows_the_last_words(database: Database, *, was_reported: bool) -> None:
    campaign_id = campaign(database, EmailStep(1, "First", "The first of all"))
    (enrollment_id,) = enroll(database, campaign_id, ["p@example.com"])
    (due,) = claim(database)
    if was_reported:
        complete(database, due, ActionOutcome.FAILED, SOON)
        resume = partial(enrollments.update, enrollment_id=enrollment_id, action=EnrollmentAction.RESUME, now=SOON)
        database.run("resume", resume)
    edit(database, campaign_id, EmailStep(1, "Second", "The second of all"))
    assert words(database, enrollment_id) == [("First", "The first of all")]
    (again,) = claim(database, SOON + timedelta(minutes=2))
    assert again.action_id == due.action_id
    assert words(database, enrollment_id) == [("Second", "The second of all")]
    with database.transaction("look") as session:
        assert session.execute(text("SELECT count(*), max(occurred_at) FROM messages")).one() == (
            1,
            SOON + timedelta(minutes=2),
        )


def test_a_step_of_linkedin_keeps_its_message_and_a_visit_has_no_words(database: Database) -> None:
    steps = (
        LinkedInStep(1, LinkedInStepType.PROFILE_VISIT, None),
        LinkedInStep(2, LinkedInStepType.CONNECTION_REQUEST, "Glad to meet you"),
    )
    campaign_id = campaign(database, linkedin=steps)
    (enrollment_id,) = enroll(database, campaign_id, ["p@example.com"])
    (visit,) = claim(database)
    complete(database, visit, ActionOutcome.SENT, SOON)
    (request,) = claim(database, SOON + timedelta(minutes=1))
    assert request.step.step_number == 2
    assert words(database, enrollment_id) == [(None, None), (None, "Glad to meet you")]


def forget(database: Database, before: datetime) -> int:
    return database.run("forget", partial(message_rows.forget_some, before=before, limit=10))[0]


def test_words_go_when_they_are_old_and_those_of_a_later_handing_out_stay(database: Database) -> None:
    campaign_id = campaign(database, EmailStep(1, "First", "The first of all"))
    early, late = enroll(database, campaign_id, ["p@example.com", "q@example.com"])
    assert len(claim(database)) == 2
    handed = claim(database, SOON + timedelta(days=3), limit=1)
    kept, gone = (early, late) if handed[0].enrollment.id == early else (late, early)
    assert forget(database, SOON + timedelta(days=1)) == 1
    assert (words(database, gone), words(database, kept)) == ([(None, None)], [("First", "The first of all")])
    with database.transaction("look") as session:
        assert session.scalar(text("SELECT count(*) FROM message_bodies")) == 1


def test_a_follow_up_stays_in_its_thread_when_the_words_of_its_first_mail_are_gone(database: Database) -> None:
    campaign_id = campaign(database, EmailStep(1, "First", "The first of all"), EmailStep(2, None, "The second of all"))
    enroll(database, campaign_id, ["p@example.com"])
    (first,) = claim(database)
    complete(database, first, ActionOutcome.SENT, SOON)
    used = partial(
        message_rows.note_id, action_id=first.action_id, internet_message_id="used@provider.example", now=SOON
    )
    database.run("note", used)
    assert forget(database, SOON + timedelta(days=1)) == 1
    assert words(database, first.enrollment.id) == [(None, None)]
    edit(database, campaign_id, EmailStep(1, "Another", "The first of all"))
    (second,) = claim(database, SOON + timedelta(days=2))
    assert second.text.subject == "Re: First"
    assert (second.text.headers or {}).get("References") == "<used@provider.example>"


def test_nothing_is_kept_of_old_mails_whose_enrollment_has_ended(database: Database) -> None:
    campaign_id = campaign(database, EmailStep(1, "First", "The first of all"), EmailStep(2, None, "The second of all"))
    ended, *running = enroll(database, campaign_id, [f"{name}@example.com" for name in "pqrs"])
    for due in claim(database):
        complete(database, due, ActionOutcome.SENT, SOON)
    for enrollment_id, action in zip(
        [ended, running[0]], [EnrollmentAction.COMPLETE, EnrollmentAction.PAUSE], strict=True
    ):
        move = partial(enrollments.update, enrollment_id=enrollment_id, action=action, now=SOON)
        database.run("move", move)
    later = SOON + timedelta(days=1)
    after, forgotten = message_rows.OLDEST, list[int]()
    while True:
        some = partial(message_rows.forget_some, before=later, after=after, limit=2)
        count, last = database.run("forget", some)
        forgotten.append(count)
        if last is None:
            break
        after = last
    assert (sum(forgotten), max(forgotten)) == (4, 2)
    with database.transaction("look") as session:
        assert set(session.scalars(text("SELECT enrollment_id FROM messages"))) == set(running)
    assert forget(database, later) == 0
