"""The server sends the emails of campaigns with mailboxes itself; agents get what it does not send."""

from collections import Counter
from functools import partial
from uuid import UUID

import pytest

from db.domain.errors import NotFound
from db.domain.holds import HoldReason
from db.domain.states import ActionOutcome, Channel
from db.postgres.database import Database
from db.services.dispatch import explain
from db.services.dispatch.explain import Explanation
from tests.support.campaigns import NOW, enroll, state
from tests.support.outgoing import ANN, BEN, connect, run_sender, running
from tests.support.steps import claim, claim_at, claim_for, report


def explained(database: Database, campaign_id: UUID) -> Explanation:
    return database.run("explain", partial(explain.campaign, campaign_id=campaign_id, now=NOW))


def reasons(explanation: Explanation) -> list[HoldReason]:
    return [hold.reason for hold in explanation.holds]


def test_agents_get_no_email_that_the_server_sends(database: Database) -> None:
    ann = connect(database, ANN)
    campaign_id = running(database, ANN, people=2)
    nothing = claim_at(database, campaign_id, NOW)
    assert (nothing.actions, nothing.next_due_at) == ([], None)
    assert [due.mailbox for due in claim_for(database, ann).actions] == [ANN, ANN]
    assert claim_for(database, ann).actions == []


def test_the_linkedin_steps_of_such_a_campaign_are_for_agents(database: Database) -> None:
    ann = connect(database, ANN)
    campaign_id = running(database, ANN, people=1, linkedin=True)
    for _ in range(2):
        (due,) = claim_for(database, ann).actions
        report(database, due, ActionOutcome.SENT)
    assert claim_for(database, ann).actions == []
    (due,) = claim(database, campaign_id)
    assert (due.step.channel, due.mailbox) == (Channel.LINKEDIN, None)


def test_the_server_sends_nothing_of_a_campaign_whose_emails_agents_claim(database: Database) -> None:
    ann = connect(database, ANN)
    campaign_id = running(database, ANN, people=1, sent_by="agent")
    assert claim_for(database, ann).actions == []
    assert [due.mailbox for due in claim(database, campaign_id)] == [ANN]


def test_each_sender_takes_its_people_and_its_share_of_those_who_have_no_mailbox(database: Database) -> None:
    ann, ben = connect(database, ANN), connect(database, BEN)
    running(database, ANN, BEN, people=6)
    handed = Counter[str | None]()
    for _ in range(6):
        for mailbox_id in (ann, ben):
            for due in claim_for(database, mailbox_id).actions:
                handed[due.mailbox] += 1
                assert due.enrollment.mailbox_id == mailbox_id
                report(database, due, ActionOutcome.SENT)
    assert handed == {ANN: 6, BEN: 6}


def test_a_claim_for_a_mailbox_takes_nobody_of_another(database: Database) -> None:
    ann, ben = connect(database, ANN), connect(database, BEN)
    running(database, ANN, people=1)
    other = connect(database, "cleo@acme.example")
    running(database, BEN, people=1, holidays=["2026-11-02"])
    assert claim_for(database, other).actions == []
    assert claim_for(database, ben).actions == []
    assert len(claim_for(database, ann).actions) == 1
    with pytest.raises(NotFound, match="list_mailboxes"):
        claim_for(database, UUID(int=1))


def test_explain_due_says_who_sends(database: Database) -> None:
    ann = connect(database, ANN)
    campaign_id = running(database, ANN, people=1)
    told = explained(database, campaign_id)
    assert (reasons(told), told.next_at) == ([HoldReason.NO_SENDER_RUNNING], None)
    assert "--send" in told.holds[0].detail
    run_sender(database, ann)
    told = explained(database, campaign_id)
    assert (reasons(told), told.holds[0].until, told.next_at) == ([HoldReason.SENT_BY_SERVER], NOW, NOW)
    (due,) = claim_for(database, ann).actions
    one = partial(explain.enrollment, enrollment_id=due.enrollment.id, now=NOW)
    told = database.run("explain", one)
    assert (reasons(told)[0], reasons(told)[-1]) == (HoldReason.LEASE_HELD, HoldReason.SENT_BY_SERVER)
    assert told.next_at == told.holds[-1].until == due.lease_until
    assert ANN in told.holds[-1].detail


def test_what_agents_may_claim_is_told_before_what_the_server_sends(database: Database) -> None:
    ann = connect(database, ANN)
    campaign_id = running(database, ANN, people=1, linkedin=True)
    for _ in range(2):
        report(database, claim_for(database, ann).actions[0], ActionOutcome.SENT)
    enroll(database, campaign_id, ["later@example.com"])
    assert explained(database, campaign_id).is_due
    assert [due.step.channel for due in claim(database, campaign_id)] == [Channel.LINKEDIN]
    assert reasons(explained(database, campaign_id)) == [HoldReason.NO_SENDER_RUNNING]


def test_people_finish_when_all_is_sent(database: Database) -> None:
    ann = connect(database, ANN)
    campaign_id = running(database, ANN, people=1)
    (first,) = claim_for(database, ann).actions
    report(database, first, ActionOutcome.SENT)
    (second,) = claim_for(database, ann).actions
    report(database, second, ActionOutcome.SENT)
    assert state(database, second.enrollment.id)["status"] == "completed"
    assert claim_for(database, ann).next_due_at is claim_at(database, campaign_id, NOW).next_due_at is None
