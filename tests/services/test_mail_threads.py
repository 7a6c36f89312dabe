"""Follow-ups answer the mails that were really sent before them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from db.domain.contacts import SuppressionTarget
from db.domain.errors import InvalidInput
from db.domain.states import ActionOutcome, EnrollmentAction, LinkedInStepType
from db.domain.templates import EmailStep, LinkedInStep
from db.postgres.database import Database
from db.services.campaigns import campaigns, templates
from db.services.campaigns.step_texts import Text
from db.services.dispatch import actions, claims
from db.services.dispatch.claims import DueAction
from db.services.enrollments import enrollments
from db.services.erasure import erasure
from tests.support.campaigns import NOW, enroll, make_campaign

SENT, SKIPPED, FAILED = ActionOutcome.SENT, ActionOutcome.SKIPPED, ActionOutcome.FAILED
PLAIN = (
    EmailStep(1, "For {{ email }}", "The first of all"),
    EmailStep(2, None, "The second of all"),
    EmailStep(3, "Other things", "The third of all", new_thread=True),
    EmailStep(4, None, "The last of all"),
)


class Walk:
    """One person of a campaign, whose steps are claimed and reported one after the other."""

    def __init__(
        self,
        database: Database,
        steps: Sequence[EmailStep],
        settings: dict[str, Any] | None = None,
        linkedin: Sequence[LinkedInStep] = (),
    ) -> None:
        self.database, self.now = database, NOW
        make = partial(make_campaign, email_steps=steps, linkedin_steps=linkedin, settings=settings)
        self.campaign_id: UUID = database.run("make", make)
        (self.enrollment_id,) = enroll(database, self.campaign_id, ["p@example.com"])

    def later(self) -> datetime:
        self.now += timedelta(hours=1)
        return self.now

    def claim(self, public_url: str | None = None) -> DueAction:
        work = partial(
            claims.claim, campaign_id=self.campaign_id, channel=None, limit=1, lease_seconds=60, now=self.later()
        )
        (due,) = self.database.run("claim", partial(work, public_url=public_url)).actions
        return due

    def complete(self, due: DueAction, outcome: ActionOutcome = SENT, **more: Any) -> dict[str, Any]:
        work = partial(
            actions.complete,
            action_id=due.action_id,
            lease_token=due.lease_token,
            outcome=outcome,
            provider=None,
            provider_message_id=None,
            error=None,
            now=self.later(),
        )
        return self.database.run("complete", partial(work, **more)).action

    def command(self, action: EnrollmentAction) -> None:
        work = partial(enrollments.update, enrollment_id=self.enrollment_id, action=action, now=self.later())
        self.database.run("command", work)

    def step(self, outcome: ActionOutcome = SENT) -> Text:
        due = self.claim()
        self.complete(due, outcome)
        if outcome is FAILED:
            self.command(EnrollmentAction.ADVANCE)
            self.command(EnrollmentAction.RESUME)
        return due.text

    def edit(self, *steps: EmailStep) -> None:
        with self.database.transaction("edit") as session:
            template_id = campaigns.get(session, campaign_id=self.campaign_id).template_id
            templates.lock_steps(session, template_id=template_id)
            templates.update(session, template_id=template_id, fields={}, email_steps=steps, linkedin_steps=[])

    def preview(self, step_number: int | None = None, *, is_enrolled: bool = True) -> Text:
        with self.database.transaction("preview") as session:
            found = enrollments.get(session, enrollment_id=self.enrollment_id)
            _, text, _ = actions.preview(
                session,
                enrollment_id=self.enrollment_id if is_enrolled else None,
                campaign_id=None if is_enrolled else self.campaign_id,
                contact_id=None if is_enrolled else found.contact.id,
                step_number=step_number,
                a_b_variant=None,
            )
        return text


@pytest.mark.parametrize(
    ("outcomes", "subjects"),
    [
        ([SENT, SENT, SENT, SENT], ["For p@example.com", "Re: For p@example.com", "Other things", "Re: Other things"]),
        ([SKIPPED, SENT, SENT, SENT], ["For p@example.com", "For p@example.com", "Other things", "Re: Other things"]),
        ([FAILED, FAILED, SKIPPED, SENT], ["For p@example.com", "For p@example.com", "Other things", "Other things"]),
        (
            [SENT, SKIPPED, FAILED, SENT],
            ["For p@example.com", "Re: For p@example.com", "Other things", "Other things"],
        ),
    ],
)
def test_a_follow_up_goes_under_the_subject_of_the_first_mail_that_was_sent(
    database: Database, outcomes: list[ActionOutcome], subjects: list[str]
) -> None:
    walk = Walk(database, PLAIN)
    assert [walk.step(outcome).subject for outcome in outcomes] == subjects


def test_the_subject_that_was_sent_is_answered_whatever_the_template_says_now(database: Database) -> None:
    walk = Walk(
        database, [EmailStep(1, "re:  Your question", "The first of all"), EmailStep(2, None, "The second one")]
    )
    assert [walk.preview(2).subject, walk.preview(2, is_enrolled=False).subject] == ["re:  Your question"] * 2
    walk.step()
    walk.edit(EmailStep(1, "Quite other", "The first of all"))
    assert walk.preview().subject == "re:  Your question"
    assert walk.step().subject == "re:  Your question"


def test_a_preview_of_a_later_step_takes_those_before_it_for_sent(database: Database) -> None:
    walk = Walk(database, PLAIN)
    for is_enrolled in (True, False):
        said = [walk.preview(number, is_enrolled=is_enrolled).subject for number in (1, 2, 3, 4)]
        assert said == ["For p@example.com", "Re: For p@example.com", "Other things", "Re: Other things"]
    walk.step(SKIPPED)
    assert walk.preview(2).subject == "For p@example.com"


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        ([EmailStep(1, None, "The first of all")], "step_number 1 is the first email"),
        ([EmailStep(2, None, "The first of all")], "step_number 2 is the first email"),
        ([EmailStep(1, "A", "First of all", is_active=False), EmailStep(2, None, "The second")], "step_number 2 is"),
        (
            [EmailStep(1, "A", "The first", a_b_variant="A"), EmailStep(1, None, "The first", a_b_variant="B")],
            "step_number 1 is the first email",
        ),
        (
            [EmailStep(1, "A", "First of all"), EmailStep(2, None, "The second", new_thread=True)],
            "new_thread and no su",
        ),
    ],
)
def test_a_mail_that_begins_a_thread_needs_a_subject(database: Database, steps: list[EmailStep], problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        Walk(database, steps)


def test_the_first_email_is_not_taken_from_follow_ups_that_answer_it(database: Database) -> None:
    walk = Walk(database, PLAIN)
    with pytest.raises(InvalidInput, match="step_number 2 is the first email"):
        walk.edit(EmailStep(1, "For all", "The first of all", is_active=False))
    assert walk.step().subject == "For p@example.com"


PUBLIC = "https://mail.example.org"
SALES = {"senders": {"email": {"account": "Ann <ann@Bücher.example>"}}}


def ids_of(text: Text, name: str) -> list[str]:
    return ((text.headers or {}).get(name) or "").split()


@pytest.mark.parametrize(
    ("settings", "public_url", "domain"),
    [(SALES, PUBLIC, "xn--bcher-kva.example"), (None, PUBLIC, "mail.example.org"), (None, None, None)],
)
def test_a_message_id_is_made_of_the_action_and_of_the_sender(
    database: Database, settings: dict[str, Any] | None, public_url: str | None, domain: str | None
) -> None:
    walk = Walk(database, PLAIN, settings)
    assert ids_of(walk.preview(), "Message-ID") == []
    due = walk.claim(public_url)
    assert ids_of(due.text, "Message-ID") == ([] if domain is None else [f"<{due.action_id}@{domain}>"])
    assert ids_of(walk.preview(), "Message-ID") == ids_of(due.text, "Message-ID")


def test_a_step_that_is_handed_out_again_keeps_its_message_id(database: Database) -> None:
    walk = Walk(database, PLAIN)
    first = walk.claim(PUBLIC)
    again = walk.claim("https://other.example.org")
    assert again.action_id == first.action_id
    assert (
        ids_of(again.text, "Message-ID")
        == ids_of(first.text, "Message-ID")
        == [f"<{first.action_id}@mail.example.org>"]
    )


def test_a_follow_up_refers_to_every_mail_of_its_thread_that_was_sent(database: Database) -> None:
    steps = [
        EmailStep(1, "First", "The first of all", a_b_variant="A"),
        EmailStep(1, "First", "The first of all", a_b_variant="B"),
        *(EmailStep(number, None, f"The text of step {number}") for number in (2, 3, 4, 5)),
        EmailStep(6, "Fresh", "The text of step six", new_thread=True),
        EmailStep(7, None, "The text of step seven"),
    ]
    walk = Walk(database, steps, SALES)
    sent: list[str] = []
    for outcome in (SENT, SKIPPED, SENT, FAILED, SENT, SENT, SENT):
        previewed = walk.preview()
        text = walk.step(outcome)
        sent = [] if text.subject == "Fresh" else sent
        assert ids_of(text, "References") == ids_of(previewed, "References") == sent
        assert ids_of(text, "In-Reply-To") == sent[-1:]
        if outcome is SENT:
            sent += ids_of(text, "Message-ID")
    assert len(sent) == 2


def test_the_next_step_refers_to_the_id_that_was_really_used(database: Database) -> None:
    walk = Walk(database, [EmailStep(1, "First", "The first of all"), EmailStep(2, None, "The last of all")], SALES)
    due = walk.claim()
    walk.complete(due)
    walk.complete(due, internet_message_id="0102-made-by-ses@eu.example")  # told later
    walk.complete(due)
    assert ids_of(walk.step(), "References") == ["<0102-made-by-ses@eu.example>"]
    with database.transaction("look") as session:
        details = enrollments.get(session, enrollment_id=walk.enrollment_id)
        said = [details.words[action.id].internet_message_id for action in details.actions]
    assert said == ["0102-made-by-ses@eu.example", f"{details.actions[1].id}@xn--bcher-kva.example"]


def test_the_id_of_a_mail_that_was_not_sent_is_not_kept(database: Database) -> None:
    walk = Walk(database, PLAIN, SALES)
    due = walk.claim()
    walk.complete(due, SKIPPED, internet_message_id="another@example.com")
    assert ids_of(walk.preview(1), "Message-ID") == ids_of(due.text, "Message-ID")


def test_a_step_of_linkedin_has_no_message_id(database: Database) -> None:
    visit = LinkedInStep(1, LinkedInStepType.PROFILE_VISIT, None)
    walk = Walk(database, [], SALES, linkedin=[visit])
    due = walk.claim(PUBLIC)
    assert due.text.headers is None
    with pytest.raises(InvalidInput, match="this step is not one"):
        walk.complete(due, internet_message_id="a@example.com")


def test_a_thread_that_was_begun_stays_one_whatever_the_template_says_now(database: Database) -> None:
    walk = Walk(database, PLAIN, SALES)
    *_, fresh = (walk.step() for _ in range(3))
    walk.edit(EmailStep(3, "Other things", "The third of all"))
    last = walk.step()
    assert (last.subject, ids_of(last, "References")) == ("Re: Other things", ids_of(fresh, "Message-ID"))


def test_the_id_that_a_mail_went_out_with_is_kept_where_its_words_are_not(database: Database) -> None:
    walk = Walk(database, [*PLAIN[:2], EmailStep(3, None, "The third of all")], SALES)
    due = walk.claim()
    with database.transaction("as before there were messages") as session:
        session.execute(text("DELETE FROM messages"))
    walk.complete(due, internet_message_id="used@provider.example")
    second = walk.step()
    assert ids_of(second, "References") == ["<used@provider.example>"]
    assert second.subject == "Re: For p@example.com"
    with database.transaction("look") as session:
        shown = enrollments.get(session, enrollment_id=walk.enrollment_id).words[due.action_id]
    assert shown[:3] == (None, None, "used@provider.example")


def test_no_id_is_kept_of_a_mail_to_who_was_erased(database: Database) -> None:
    walk = Walk(database, PLAIN, SALES)
    due = walk.claim()
    target = SuppressionTarget(email="p@example.com")
    database.run("erase", lambda session: erasure.erase(session, target=target, now=NOW))
    walk.complete(due, internet_message_id="used@provider.example")
    with database.transaction("look") as session:
        assert session.scalar(text("SELECT count(*) FROM messages")) == 0
