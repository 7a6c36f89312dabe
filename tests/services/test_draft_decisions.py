"""A person approves drafts or rejects them, and what becomes of the steps that waited."""

from functools import partial
from uuid import uuid4

import pytest

from db.domain.drafts import DraftVerdict
from db.domain.errors import InvalidTransition, Refused
from db.domain.states import ActionOutcome, EnrollmentAction
from db.postgres.database import Database
from db.services.consent.decisions import Given, approve as approve_given
from tests.support.campaigns import NOW, assert_counters_are_exact, state
from tests.support.drafts import (
    approve,
    asking,
    command,
    names,
    reject,
    settings,
    statuses,
    waiting,
    write,
)
from tests.support.steps import claim, report, run_sql


def test_an_approval_of_words_that_have_changed_is_refused_and_the_new_ones_wait(database: Database) -> None:
    campaign_id, (one,) = asking(database)
    claim(database, campaign_id)
    (draft,) = waiting(database)
    names(database, "Ada")
    (refused,) = approve(database, draft)
    assert refused.verdict is DraftVerdict.REFUSED
    assert "drafted again" in (refused.reason or "")
    (fresh,) = waiting(database)
    assert fresh.subject == "One Ada"
    assert state(database, one)["status"] == "paused"
    approve(database, fresh)
    assert [due.text.subject for due in claim(database, campaign_id)] == ["One Ada"]


def test_approvals_are_refused_one_by_one_with_the_reason(database: Database) -> None:
    campaign_id, (one, two, three, four) = asking(database, people=4)
    claim(database, campaign_id)
    first, second, third, fourth = waiting(database)
    approve(database, third)
    reject(database, fourth)
    command(database, second.enrollment_id, EnrollmentAction.COMPLETE)
    given = [
        Given(first.id, "0" * 64),
        Given(second.id, second.fingerprint.hex()),
        Given(third.id, third.fingerprint.hex().upper()),
        Given(fourth.id, fourth.fingerprint.hex()),
        Given(uuid4(), "0" * 64),
    ]
    decided = database.run("approve", partial(approve_given, given=given, by="ada", now=NOW, public_url=None))
    reasons = ["other words", "has ended", None, "rejected", "no draft"]
    assert len({one, two, three, four}) == 4
    for verdict, reason in zip(decided, reasons, strict=True):
        assert (verdict.verdict is DraftVerdict.APPROVED) == (reason is None)
        assert (reason or "") in (verdict.reason or "")


def test_a_draft_that_is_given_twice_is_answered_twice_with_the_same(database: Database) -> None:
    campaign_id, _ = asking(database, people=2)
    claim(database, campaign_id)
    one, two = waiting(database)
    run_sql(
        database,
        "UPDATE contacts SET first_name = 'Ada' "
        "WHERE id = (SELECT contact_id FROM campaign_enrollments WHERE id = :id)",
        id=one.enrollment_id,
    )
    decided = approve(database, one, two, one, two)
    assert [str(each.verdict) for each in decided] == ["refused", "approved"] * 2
    assert decided[:2] == decided[2:]
    assert len(claim(database, campaign_id)) == 1


def test_a_rejected_draft_pauses_its_enrollment_with_the_reason_or_skips_the_step(database: Database) -> None:
    campaign_id, (one, two) = asking(database, people=2)
    claim(database, campaign_id)
    by_person = {draft.enrollment_id: draft for draft in waiting(database)}
    rejected = reject(database, by_person[one])
    assert (rejected.status, rejected.reason, rejected.decided_by) == ("rejected", "Too long", "ada")
    reject(database, by_person[two], "skip")
    assert (state(database, one)["status"], state(database, one)["current_step"]) == ("paused", 0)
    assert (state(database, two)["status"], state(database, two)["current_step"]) == ("active", 1)
    assert run_sql(database, "SELECT pause_reason FROM campaign_enrollments WHERE id = :id", id=one).scalar_one() == (
        "draft_rejected: Too long"
    )
    with pytest.raises(InvalidTransition, match="rejected"):
        reject(database, rejected)
    command(database, one, EnrollmentAction.RESUME)
    claim(database, campaign_id)
    assert [draft.enrollment_id for draft in waiting(database) if draft.step_number == 1] == [one]
    assert_counters_are_exact(database)


def test_who_approved_may_change_their_mind_until_it_is_handed_out(database: Database) -> None:
    campaign_id, (one, two) = asking(database, people=2)
    claim(database, campaign_id)
    by_person = {draft.enrollment_id: draft for draft in waiting(database)}
    approve(database, *by_person.values())
    reject(database, by_person[one])
    (due,) = claim(database, campaign_id)
    assert due.enrollment.id == two
    for refused in (partial(reject, database, by_person[two]), partial(write, database, two)):
        with pytest.raises(Refused, match="is handed out until"):
            refused()
    report(database, due, ActionOutcome.SENT)
    with pytest.raises(Refused, match="was sent"):
        reject(database, by_person[two])
    with pytest.raises(Refused, match="step 1 was passed"):
        write(database, two, step=1)


def test_a_step_that_comes_later_can_be_paused_and_not_skipped(database: Database) -> None:
    _, (one,) = asking(database)
    draft = write(database, one, step=3)
    with pytest.raises(Refused, match="not the next one"):
        reject(database, draft, "skip")
    assert reject(database, draft).status == "rejected"


def test_whoever_waits_goes_on_when_the_campaign_asks_no_more(database: Database) -> None:
    campaign_id, (one, two) = asking(database, people=2)
    claim(database, campaign_id)
    command(database, two, EnrollmentAction.RESUME)
    command(database, two, EnrollmentAction.PAUSE)
    settings(database, campaign_id, approval="none")
    assert [due.enrollment.id for due in claim(database, campaign_id)] == [one]
    assert state(database, two)["status"] == "paused"
    assert_counters_are_exact(database)


def test_who_is_resumed_by_hand_waits_for_the_approval_all_the_same(database: Database) -> None:
    campaign_id, (one,) = asking(database)
    claim(database, campaign_id)
    command(database, one, EnrollmentAction.RESUME)
    assert claim(database, campaign_id) == []
    assert statuses(database, one) == [(1, "waiting")]
