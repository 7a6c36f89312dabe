"""Edits, approvals and claims of the same step at the same moment: what goes out is what a person approved."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from random import Random
from uuid import UUID

import pytest
from sqlalchemy.exc import IntegrityError

from db.domain.drafts import RejectThen
from db.domain.errors import Busy, Refused
from db.domain.states import ActionOutcome
from db.models import ActionDraft
from db.postgres.database import Database
from db.services.campaigns import campaigns
from db.services.consent import decisions, drafts
from db.services.consent.decisions import Decided, Given
from db.services.dispatch import claims
from db.services.dispatch.claims import Claim
from db.services.enrollments import rejecting
from tests.support.campaigns import NOW, assert_counters_are_exact, state
from tests.support.drafts import STEPS, approve, asking, statuses, waiting, write
from tests.support.incoming import OWNER
from tests.support.meeting import meet
from tests.support.outbox import Outbox, new_outbox
from tests.support.patience import PATIENCE
from tests.support.steps import claim, report, run_sql


def edit(enrollment_id: UUID, body: str = "Other words") -> "partial[ActionDraft]":
    words = {"step_number": None, "subject": None, "body": body}
    return partial(drafts.write, enrollment_id=enrollment_id, **words, now=NOW, public_url=None)


def approving(*given: ActionDraft) -> "partial[Sequence[Decided]]":
    words = [Given(draft.id, draft.fingerprint.hex()) for draft in given]
    return partial(decisions.approve, given=words, by="ada", now=NOW, public_url=None)


def claiming(campaign_id: UUID, limit: int = 10) -> "partial[Claim]":
    return partial(claims.claim, campaign_id=campaign_id, channel=None, limit=limit, lease_seconds=300, now=NOW)


def test_an_approval_that_comes_after_an_edit_is_refused(database: Database) -> None:
    campaign_id, (one,) = asking(database)
    draft = write(database, one, "Words that ada saw")
    met = meet(database, edit(one), approving(draft))
    assert met.waited
    assert "stale" in (met.second.result()[0].reason or "")
    assert claim(database, campaign_id) == []
    assert statuses(database, one) == [(1, "stale"), (1, "waiting")]


def test_an_edit_that_comes_after_an_approval_takes_it_back(database: Database) -> None:
    campaign_id, (one,) = asking(database)
    draft = write(database, one, "Words that ada saw")
    met = meet(database, approving(draft), edit(one))
    assert (met.waited, met.second.result().status) == (True, "waiting")
    assert claim(database, campaign_id) == []
    assert statuses(database, one) == [(1, "stale"), (1, "waiting")]


def test_a_claim_beside_an_edit_passes_the_person_over(database: Database) -> None:
    campaign_id, (one,) = asking(database)
    approve(database, write(database, one, "Words that ada saw"))
    met = meet(database, edit(one), claiming(campaign_id))
    assert (met.waited, met.second.result().actions) == (False, [])
    assert claim(database, campaign_id) == []
    approve(database, *waiting(database))
    assert [due.text.body for due in claim(database, campaign_id)] == ["Other words"]


def test_an_edit_of_words_that_are_being_handed_out_is_refused(database: Database) -> None:
    campaign_id, (one,) = asking(database)
    approve(database, write(database, one, "Words that ada saw"))
    met = meet(database, claiming(campaign_id), edit(one))
    assert met.waited
    assert isinstance(met.second.exception(), Refused)
    assert statuses(database, one) == [(1, "approved")]


def test_who_is_approved_while_a_claim_holds_them_back_goes_on(database: Database) -> None:
    campaign_id, (one,) = asking(database)
    draft = write(database, one, "Words that ada saw")
    met = meet(database, claiming(campaign_id), approving(draft))
    assert met.waited
    assert state(database, one)["status"] == "active"
    assert len(claim(database, campaign_id)) == 1
    assert_counters_are_exact(database)


def test_two_claims_draft_a_step_once(database: Database) -> None:
    campaign_id, people = asking(database, people=4, steps=STEPS[:1])
    met = meet(database, claiming(campaign_id, limit=2), claiming(campaign_id, limit=2))
    assert (met.waited, met.second.exception()) == (False, None)
    claim(database, campaign_id)
    assert sorted(draft.enrollment_id for draft in waiting(database)) == sorted(people)


def test_of_two_people_one_approves_and_the_other_is_told_the_same(database: Database) -> None:
    _, (one,) = asking(database)
    draft = write(database, one)
    met = meet(database, approving(draft), approving(draft))
    assert (met.waited, str(met.second.result()[0].verdict)) == (True, "approved")


class Crowd:
    """Agents who write, a person who approves, and claims: all at once, each as it comes."""

    def __init__(self, database: Database, campaign_id: UUID, people: Sequence[UUID]) -> None:
        self.database, self.campaign_id, self.people = database, campaign_id, people

    def work(self, seed: int) -> None:
        random = Random(seed)
        for number in range(25):
            does = random.choice((self._edit, self._approve, self._claim))
            try:
                does(random, f"Words {seed} {number}")
            except (Refused, Busy):
                continue

    def _edit(self, random: Random, body: str) -> None:
        self.database.run("edit", edit(random.choice(self.people), body))

    def _approve(self, random: Random, _: str) -> None:
        seen = waiting(self.database)
        self.database.run("approve", approving(*random.sample(seen, min(len(seen), 3))))

    def _claim(self, _: Random, __: str) -> None:
        for due in self.database.run("claim", claiming(self.campaign_id, limit=2)).actions:
            report(self.database, due, ActionOutcome.SENT)


_SENT = """
    SELECT b.body, m.fingerprint = m.approved_fingerprint, (
        SELECT count(*) FROM action_drafts d
        WHERE d.enrollment_id = m.enrollment_id AND d.fingerprint = m.fingerprint AND d.body = b.body
          AND d.decided_by = 'ada')
    FROM campaign_actions a JOIN messages m ON m.action_id = a.id LEFT JOIN message_bodies b ON b.message_id = m.id
"""


def test_in_a_crowd_nothing_goes_out_that_nobody_approved(database: Database) -> None:
    campaign_id, people = asking(database, people=12, steps=STEPS[:1])
    crowd = Crowd(database, campaign_id, people)
    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(crowd.work, seed) for seed in range(4)]:
            done.result(PATIENCE)
    sent = [tuple(row) for row in run_sql(database, _SENT)]
    assert sent
    assert [body for body, is_approved, decided in sent if not is_approved or not decided] == []
    assert not run_sql(database, "SELECT 1 FROM campaign_actions WHERE is_unapproved").all()
    assert_counters_are_exact(database)


def outbox(database: Database, approval: str) -> Outbox:
    """A sender of a campaign that asks so, whose person waits, approved if need be, with a mail that is queued."""
    box = new_outbox(database)
    ask(database, box, approval)
    assert not box.claim() or approval == "none"
    return box


def ask(database: Database, box: Outbox, approval: str) -> None:
    settings = {"mailboxes": [OWNER], "approval": approval}
    database.run("ask", partial(campaigns.update, campaign_id=box.campaign_id, fields={"settings": settings}, now=NOW))


@pytest.mark.parametrize("does", ["edits", "rejects"])
def test_a_mail_that_is_queued_does_not_begin_once_its_words_are_approved_no_more(
    database: Database, does: str
) -> None:
    box = outbox(database, "all")
    (draft,) = waiting(database)
    approve(database, draft)
    (mail,) = box.claim()
    (one,) = box.enrollments
    change = edit(one) if does == "edits" else rejecting_of(draft)
    met = meet(database, change, box.beginning(mail))
    assert (met.waited, met.second.exception()) == (True, None)
    assert str(met.second.result()) in ("not_approved", "enrollment_not_active")
    assert box.statuses() == ["queued"]
    assert box.claim() == []


def test_words_of_a_mail_that_has_begun_are_changed_no_more(database: Database) -> None:
    box = outbox(database, "all")
    approve(database, *waiting(database))
    (mail,) = box.claim()
    met = meet(database, box.beginning(mail), edit(box.enrollments[0]))
    assert (met.waited, isinstance(met.second.exception(), Refused)) == (True, True)
    assert box.statuses() == ["sending"]


def test_where_nobody_is_asked_other_words_take_the_place_of_a_queued_mail(database: Database) -> None:
    box = new_outbox(database)
    (mail,) = box.claim()
    database.run("edit", edit(box.enrollments[0]))
    assert str(box.begin(mail)) == "not_approved"
    (mail,) = box.claim()
    assert (mail.text, box.begin(mail)) == ("Other words", None)


@pytest.mark.parametrize("approval", ["all", "first_step"])
def test_a_mail_that_is_queued_waits_if_its_campaign_asks_meanwhile(database: Database, approval: str) -> None:
    box = new_outbox(database)
    (mail,) = box.claim()
    ask(database, box, approval)
    assert str(box.begin(mail)) == "not_approved"
    assert box.claim() == []
    assert [draft.body for draft in waiting(database)] == ["Nice to meet you."]


def test_a_later_mail_that_is_queued_goes_out_if_its_campaign_asks_for_the_first_meanwhile(database: Database) -> None:
    box = new_outbox(database)
    box.sent(box.begun())
    (mail,) = box.claim(hours=24)
    ask(database, box, "first_step")
    assert box.begin(mail, hours=24) is None


def test_no_sql_makes_a_mail_begin_that_nobody_approved(database: Database) -> None:
    box = outbox(database, "all")
    approve(database, *waiting(database))
    box.claim()
    begin = "UPDATE messages SET status = 'sending', sending_at = now(), hash = fingerprint"
    nothing = "approval = NULL, fingerprint = NULL"
    for words in ("approved_fingerprint = NULL", "approved_fingerprint = sha256('x')", nothing):
        with pytest.raises(IntegrityError, match="ck_messages_approved"):
            run_sql(database, f"{begin}, {words}")
    run_sql(database, begin)
    assert box.statuses() == ["sending"]


def rejecting_of(draft: ActionDraft) -> "partial[ActionDraft]":
    return partial(rejecting.reject, draft_id=draft.id, reason="No", then=RejectThen.PAUSE, by="ada", now=NOW)
