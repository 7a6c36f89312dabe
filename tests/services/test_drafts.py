"""The words of steps are drafted, and where the campaign asks, nothing goes out but what a person has approved."""

from functools import partial
from uuid import UUID, uuid4

import pytest

from db.domain.drafts import DraftVerdict
from db.domain.errors import InvalidInput, NotFound, Refused
from db.domain.events import EventType
from db.domain.states import ActionOutcome, EnrollmentAction, LinkedInStepType
from db.domain.templates import EmailStep, LinkedInStep
from db.models import ActionDraft
from db.postgres.database import Database
from db.services.campaigns import campaigns, templates
from db.services.dispatch import actions, claims
from db.services.dispatch.claims import DueAction
from db.services.erasure import erasure
from tests.support.campaigns import NOW, assert_counters_are_exact, enroll, event, record, state
from tests.support.drafts import (
    STEPS,
    approve,
    asking,
    command,
    connect,
    holds_of,
    message,
    names,
    reject,
    settings,
    shown,
    statuses,
    waiting,
    write,
)
from tests.support.steps import claim, claim_at, report, run_sql

ANN, BEN = "ann@acme.example", "ben@acme.example"


def unapproved(database: Database) -> dict[int, bool]:
    rows = run_sql(database, "SELECT step_number, is_unapproved FROM campaign_actions ORDER BY step_number")
    return dict(tuple(row) for row in rows)


def test_a_step_waits_until_its_words_are_approved_and_goes_out_in_these(database: Database) -> None:
    campaign_id, (one,) = asking(database)
    claimed = claim_at(database, campaign_id, NOW)
    assert claimed.actions == []
    assert [str(aside.reason) for aside in claimed.set_aside] == ["waiting_for_approval"]
    (draft,) = waiting(database, campaign_id)
    assert (draft.subject, draft.body, draft.source) == ("One you", "The first of all", "template")
    assert holds_of(database, one) == ["waiting_for_approval"]
    assert [one.verdict for one in approve(database, draft)] == [DraftVerdict.APPROVED]
    assert holds_of(database, one) == []
    (due,) = claim(database, campaign_id)
    assert (due.text.subject, due.text.body) == ("One you", "The first of all")
    kept = message(database, one)
    assert kept["approval"] == "all"
    assert kept["fingerprint"] == kept["approved_fingerprint"] == draft.fingerprint
    report(database, due, ActionOutcome.SENT)
    assert unapproved(database) == {1: False}
    assert_counters_are_exact(database)


def test_the_words_of_a_template_are_drafted_two_days_ahead_once(database: Database) -> None:
    campaign_id, (one,) = asking(database)
    claim(database, campaign_id)
    approve(database, *waiting(database))
    (due,) = claim(database, campaign_id)
    report(database, due, ActionOutcome.SENT)
    for _ in range(2):
        claim(database, campaign_id)
    second = waiting(database)
    assert [(draft.step_number, draft.subject) for draft in second] == [(2, "Re: One you")]
    assert state(database, one)["status"] == "active"
    assert holds_of(database, one) == ["step_delay", "waiting_for_approval"]
    approve(database, *second)
    assert [due.text.subject for due in claim(database, campaign_id, hours=24)] == ["Re: One you"]


def test_a_step_further_ahead_is_not_drafted_yet(database: Database) -> None:
    steps = (EmailStep(1, "One", "The first of all", delay_hours=72),)
    campaign_id, _ = asking(database, steps=steps)
    claim(database, campaign_id, hours=23)
    assert waiting(database) == []
    claim(database, campaign_id, hours=25)
    assert len(waiting(database)) == 1


def test_only_the_first_words_to_a_person_are_asked_for_where_the_campaign_says_so(database: Database) -> None:
    visit = LinkedInStep(1, LinkedInStepType.PROFILE_VISIT, None)
    steps = (EmailStep(2, "Two", "The first words"), EmailStep(3, "Three", "The last words"))
    campaign_id, (one,) = asking(database, "first_step", steps=steps, linkedin=(visit,))
    (due,) = claim(database, campaign_id)
    assert due.text.step_type == "profile_visit"
    report(database, due, ActionOutcome.SENT)
    assert claim(database, campaign_id) == []
    (draft,) = waiting(database)
    approve(database, draft)
    (due,) = claim(database, campaign_id)
    report(database, due, ActionOutcome.SENT)
    (due,) = claim(database, campaign_id)
    assert (due.text.body, message(database, one)["approval"]) == ("The last words", "none")


@pytest.mark.parametrize("message", [None, "Shall we talk?"])
def test_a_request_to_connect_says_something_if_it_has_a_message(database: Database, message: str | None) -> None:
    request = LinkedInStep(1, LinkedInStepType.CONNECTION_REQUEST, message)
    steps = (EmailStep(2, "Two", "The mail after it", delay_hours=24), EmailStep(3, "Three", "The last of all"))
    campaign_id, (one,) = asking(database, "first_step", steps=steps, linkedin=(request,))
    if message is not None:
        claim(database, campaign_id)
        approve(database, *waiting(database))
    (due,) = claim(database, campaign_id)
    report(database, due, ActionOutcome.SENT)
    claim(database, campaign_id)
    assert [draft.step_number for draft in waiting(database)] == ([2] if message is None else [])
    record(database, event(EventType.SENT, one, hours=1, step_number=2))
    record(database, event(EventType.SENT, one, hours=2, step_number=3))
    assert unapproved(database) == {1: False, 2: message is None, 3: False}


def test_a_request_to_connect_with_words_for_one_person_says_something(database: Database) -> None:
    request = LinkedInStep(1, LinkedInStepType.CONNECTION_REQUEST, None)
    campaign_id, (one,) = asking(
        database, "first_step", steps=(EmailStep(2, "Two", "The mail after it"),), linkedin=(request,)
    )
    approve(database, write(database, one, "Shall we talk?"))
    (due,) = claim(database, campaign_id)
    report(database, due, ActionOutcome.SENT)
    assert [due.text.body for due in claim(database, campaign_id)] == ["The mail after it"]


def test_the_step_after_a_skipped_first_one_is_the_first_to_be_asked_for(database: Database) -> None:
    campaign_id, (one,) = asking(database, "first_step")
    claim(database, campaign_id)
    (draft,) = waiting(database)
    reject(database, draft, "skip")
    assert state(database, one)["current_step"] == 1
    assert claim(database, campaign_id, hours=24) == []
    assert [draft.step_number for draft in waiting(database)] == [2]


def test_a_campaign_that_asks_nobody_hands_out_and_drafts_nothing(database: Database) -> None:
    campaign_id, (one,) = asking(database, "none")
    assert len(claim(database, campaign_id)) == 1
    assert waiting(database) == []
    assert message(database, one)["approval"] == "none"


def test_words_for_one_person_stand_as_they_are_and_count_as_approved_where_nobody_is_asked(database: Database) -> None:
    campaign_id, (one, other) = asking(database, "none", people=2)
    draft = write(database, one, "Words {{ with }} braces", subject="Only yours")
    assert (draft.status, draft.decided_by) == ("approved", None)
    texts = {due.enrollment.id: (due.text.subject, due.text.body) for due in claim(database, campaign_id)}
    assert texts == {one: ("Only yours", "Words {{ with }} braces"), other: ("One you", "The first of all")}


def test_words_written_while_nobody_was_asked_wait_for_a_person_once_somebody_is(database: Database) -> None:
    campaign_id, (one,) = asking(database, "none")
    write(database, one, "Words of an agent")
    settings(database, campaign_id, approval="all")
    assert claim(database, campaign_id) == []
    (draft,) = waiting(database)
    assert (draft.body, draft.source, statuses(database, one)) == (
        "Words of an agent",
        "written",
        [(1, "stale"), (1, "waiting")],
    )
    approve(database, draft)
    assert [due.text.body for due in claim(database, campaign_id)] == ["Words of an agent"]


def test_new_words_make_the_former_draft_stale_also_an_approved_one(database: Database) -> None:
    campaign_id, (one,) = asking(database)
    first = write(database, one, "The first words")
    approve(database, first)
    second = write(database, one, "The second words")
    assert statuses(database, one) == [(1, "stale"), (1, "waiting")]
    assert claim(database, campaign_id) == []
    (refused,) = approve(database, first)
    assert "stale" in (refused.reason or "")
    approve(database, second)
    assert [due.text.body for due in claim(database, campaign_id)] == ["The second words"]


def test_words_can_be_written_before_a_campaign_starts_and_while_it_rests(database: Database) -> None:
    campaign_id, (one,) = asking(database, start_at=None)
    draft = write(database, one, step=2)
    assert (draft.step_number, draft.subject, draft.status) == (2, "Re: One you", "waiting")
    approve(database, write(database, one))
    database.run("start", partial(campaigns.start, campaign_id=campaign_id, now=NOW))
    database.run("pause", partial(campaigns.pause, campaign_id=campaign_id, now=NOW))
    approve(database, write(database, one, "Words while it rests"))
    database.run("start", partial(campaigns.start, campaign_id=campaign_id, now=NOW))
    assert [due.text.body for due in claim(database, campaign_id)] == ["Words while it rests"]


@pytest.mark.parametrize("change", ["text", "name", "address", "mailbox", "signature"])
def test_what_reads_otherwise_than_it_was_approved_waits_again(database: Database, change: str) -> None:
    connect(database, ANN, "Ann")
    connect(database, BEN)
    campaign_id, (one,) = asking(database, mailboxes=[ANN], sent_by="agent")
    claim(database, campaign_id)
    (draft,) = waiting(database)
    told = shown(database, draft)
    assert (told.mailbox, told.signature, told.contact.email) == (ANN, "Ann", "p0@example.com")
    approve(database, draft)
    if change == "text":
        template_id = run_sql(database, "SELECT template_id FROM campaign_instances").scalar_one()
        step = EmailStep(1, "One", "Something else altogether")
        edit = partial(templates.update, template_id=template_id, fields={}, email_steps=[step], linkedin_steps=[])
        database.run("edit", edit)
    elif change == "name":
        names(database, "Ada")
    elif change == "address":
        run_sql(database, "UPDATE contacts SET email = 'ada@example.com'")
    elif change == "mailbox":
        ben = run_sql(database, "SELECT id FROM mailboxes WHERE address = :ben", ben=BEN).scalar_one()
        run_sql(database, "UPDATE campaign_enrollments SET mailbox_id = :ben", ben=ben)
    else:
        run_sql(database, "UPDATE mailboxes SET signature = 'Ann, Acme' WHERE address = :ann", ann=ANN)
    assert claim(database, campaign_id) == []
    assert statuses(database, one) == [(1, "stale"), (1, "waiting")]
    (fresh,) = waiting(database)
    assert fresh.fingerprint != draft.fingerprint
    approve(database, fresh)
    assert len(claim(database, campaign_id)) == 1


def test_written_words_stay_when_the_person_gets_another_address(database: Database) -> None:
    campaign_id, (one,) = asking(database)
    approve(database, write(database, one, "Words for Ada", subject="Yours"))
    run_sql(database, "UPDATE contacts SET email = 'ada@example.com'")
    assert claim(database, campaign_id) == []
    (fresh,) = waiting(database)
    assert (fresh.source, fresh.subject, fresh.body) == ("written", "Yours", "Words for Ada")


@pytest.mark.parametrize(
    ("step", "subject", "body", "refusal"),
    [
        (1, "Hello", "Hello", "is a connection_request and has none"),
        (1, None, "x" * 301, "301 characters, and a connection_request has 1 to 300"),
        (2, None, "Hello", "profile_visit and says nothing"),
        (4, None, "Hello", "no such active step"),
        (3, "x" * 256, "Hello", "one line of 1 to 255"),
        (3, "Two\nlines", "Hello", "one line of 1 to 255"),
        (3, None, " \n ", "has 1 to 50,000"),
    ],
)
def test_words_that_a_step_cannot_say_are_refused(
    database: Database, step: int, subject: str | None, body: str, refusal: str
) -> None:
    linkedin = (
        LinkedInStep(1, LinkedInStepType.CONNECTION_REQUEST, None),
        LinkedInStep(2, LinkedInStepType.PROFILE_VISIT, None),
    )
    _, (one,) = asking(database, steps=(EmailStep(3, "Three", "The last of all"),), linkedin=linkedin)
    with pytest.raises(InvalidInput, match=refusal):
        write(database, one, body, step=step, subject=subject)


def test_nothing_is_written_for_whom_nothing_goes_out_to(database: Database) -> None:
    campaign_id, (one, _) = asking(database, people=2)
    with pytest.raises(NotFound):
        write(database, uuid4())
    command(database, one, EnrollmentAction.COMPLETE)
    with pytest.raises(Refused, match="completed"):
        write(database, one)
    database.run("end", partial(campaigns.complete, campaign_id=campaign_id, now=NOW))
    with pytest.raises(Refused, match="for good"):
        write(database, one)


def test_a_preview_shows_the_words_that_were_written(database: Database) -> None:
    _, (one,) = asking(database)
    write(database, one, "Words for you alone")
    look = partial(
        actions.preview, enrollment_id=one, campaign_id=None, contact_id=None, step_number=None, a_b_variant=None
    )
    _, text, _ = database.run("preview", look, read_only=True)
    assert (text.subject, text.body) == ("One you", "Words for you alone")


@pytest.mark.parametrize("approval", ["all", "first_step"])
def test_what_others_send_without_an_approval_is_recorded_and_marked(database: Database, approval: str) -> None:
    _, (one,) = asking(database, approval)
    record(database, event(EventType.DELIVERED, one, step_number=1, provider="esp", provider_event_id="1"))
    record(database, event(EventType.SENT, one, hours=1, step_number=2))
    record(database, event(EventType.OPENED, one, hours=2, step_number=2))
    assert unapproved(database) == {1: True, 2: approval == "all"}
    assert state(database, one)["current_step"] == 2


def test_what_was_handed_out_before_the_campaign_asked_is_not_marked(database: Database) -> None:
    campaign_id, _ = asking(database, "none")
    (due,) = claim(database, campaign_id)
    settings(database, campaign_id, approval="all")
    report(database, due, ActionOutcome.SENT)
    assert unapproved(database) == {1: False}


def test_drafts_of_an_erased_person_are_gone(database: Database) -> None:
    campaign_id, (one,) = asking(database)
    claim(database, campaign_id)
    person = run_sql(database, "SELECT contact_id FROM campaign_enrollments WHERE id = :id", id=one).scalar_one()
    database.run("erase", partial(erasure.erase, contact_id=person, now=NOW))
    assert statuses(database, one) == []


def test_who_gets_a_draft_gets_a_mailbox_with_it_and_evenly(database: Database) -> None:
    connect(database, ANN)
    connect(database, BEN)
    campaign_id, people = asking(database, mailboxes=[ANN, BEN], sent_by="agent", people=4)
    claim(database, campaign_id)
    per_mailbox = run_sql(database, "SELECT count(*) FROM campaign_enrollments GROUP BY mailbox_id").scalars().all()
    assert per_mailbox == [2, 2]
    approve(database, *waiting(database))
    assert len(claim(database, campaign_id)) == len(people)


def test_people_without_words_or_an_address_do_not_hold_up_the_drafts_of_others(database: Database) -> None:
    steps = (EmailStep(1, "One", "Hello {{ first_name }}", delay_hours=24),)
    campaign_id, people = asking(database, steps=steps, people=3)
    run_sql(
        database,
        "UPDATE contacts SET first_name = 'Ada' "
        "WHERE id = (SELECT contact_id FROM campaign_enrollments WHERE id = :id)",
        id=people[2],
    )
    claim(database, campaign_id)
    assert [draft.enrollment_id for draft in waiting(database)] == [people[2]]
    enroll(database, campaign_id, ["late@example.com"])
    names(database, "Ada")
    claim(database, campaign_id)
    assert len(waiting(database)) == 2
    claim(database, campaign_id, hours=1)
    assert len(waiting(database)) == 4


def test_a_page_of_drafts_is_followed_by_the_next(database: Database) -> None:
    campaign_id, _ = asking(database, people=5, steps=STEPS[:1])
    claim(database, campaign_id)
    seen: list[ActionDraft] = waiting(database, campaign_id)
    assert len(seen) == 5
    assert waiting(database, None, "approved") == []


def test_the_senders_of_mailboxes_hand_out_only_what_was_approved(database: Database) -> None:
    connect(database, ANN)
    connect(database, BEN)
    campaign_id, people = asking(database, mailboxes=[ANN, BEN], people=4)
    ids = run_sql(database, "SELECT id FROM mailboxes ORDER BY address").scalars().all()

    def claimed(mailbox_id: UUID) -> list[DueAction]:
        work = partial(claims.claim_for_mailbox, mailbox_id=mailbox_id, limit=10, lease_seconds=60, now=NOW)
        return database.run("claim", work).actions

    assert [claimed(id_) for id_ in ids] == [[], []]
    drafts = waiting(database, campaign_id)
    assert sorted(draft.enrollment_id for draft in drafts) == sorted(people)
    approve(database, *drafts[:3])
    handed = [due for id_ in ids for due in claimed(id_)]
    assert sorted(due.enrollment.id for due in handed) == sorted(draft.enrollment_id for draft in drafts[:3])
    assert all(due.consent.is_given and due.consent.approved for due in handed)
