"""The words of drafts are kept as long as those of messages; what was approved, and by whom, stays."""

from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

import pytest

from db.domain.states import ActionOutcome, EnrollmentAction
from db.models import ActionDraft
from db.postgres.database import Database
from db.services.consent import drafts
from db.services.enrollments import enrollments
from db.services.state import draft_rows
from tests.support.campaigns import NOW
from tests.support.drafts import approve, asking, reject, statuses, write
from tests.support.incoming import look
from tests.support.replying import new_talk
from tests.support.steps import claim, report, run_sql

LATER = max(datetime.now(UTC), NOW) + timedelta(days=1)
"""Rows are stamped by the clock of the database, and decisions by that of the test: all is old by then."""
EARLIER = min(datetime.now(UTC), NOW) - timedelta(days=1)
GONE = [(1, "stale"), (1, "stale")]
"""Of a person: the words of the template that other words have replaced, and those."""


def forget(database: Database, before: datetime = LATER, limit: int = 100) -> int:
    return database.run("forget", partial(draft_rows.forget_some, before=before, limit=limit))


def kept(database: Database) -> list[str | None]:
    """The words that somebody wrote. A claim has drafted those of the template beside them."""
    return [body for (body,) in look(database, "SELECT body FROM action_drafts WHERE source = 'written' ORDER BY id")]


def end(database: Database, enrollment_id: UUID) -> None:
    work = partial(enrollments.update, enrollment_id=enrollment_id, action=EnrollmentAction.COMPLETE, now=NOW)
    database.run("end", work)


def decide_all(database: Database) -> list[UUID]:
    """Drafts of each kind for people who go on: sent, rejected, stale, approved, waiting. Returns their people."""
    campaign_id, people = asking(database, people=5)
    sent, rejected, stale, approved, waiting = people
    approve(database, write(database, sent, "sent"))
    (due,) = claim(database, campaign_id, hours=1)
    report(database, due, ActionOutcome.SENT, hours=1)
    reject(database, write(database, rejected, "rejected"))
    write(database, stale, "stale")
    approve(database, write(database, stale, "written again"))
    approve(database, write(database, approved, "approved"))
    write(database, waiting, "waiting")
    return people


def test_what_may_still_go_out_keeps_its_words_and_the_rest_loses_them(database: Database) -> None:
    decide_all(database)
    assert forget(database, before=EARLIER) == 0
    forget(database)
    assert kept(database) == [None, None, None, "written again", "approved", "waiting"]
    assert forget(database) == 0
    found = "SELECT status, subject, reason, decided_by FROM action_drafts WHERE body IS NULL AND source = 'written'"
    rows = look(database, f"{found} ORDER BY id")
    assert rows == [("approved", None, None, "ada"), ("rejected", None, None, "ada"), ("stale", None, None, None)]


def test_the_fingerprint_of_what_was_approved_stays(database: Database) -> None:
    decide_all(database)
    before = look(database, "SELECT fingerprint, decided_at, decided_by FROM action_drafts ORDER BY id")
    forget(database)
    assert look(database, "SELECT fingerprint, decided_at, decided_by FROM action_drafts ORDER BY id") == before


def test_the_words_for_people_whose_enrollment_has_ended_go_and_can_not_go_out_any_more(database: Database) -> None:
    *_, approved, waiting = decide_all(database)
    end(database, approved)
    end(database, waiting)
    forget(database)
    assert kept(database) == [None, None, None, "written again", None, None]
    assert (statuses(database, approved), statuses(database, waiting)) == (GONE, GONE)


def test_an_enrollment_that_has_just_ended_keeps_its_words(database: Database) -> None:
    *_, waiting = decide_all(database)
    run_sql(database, "UPDATE action_drafts SET created_at = created_at - interval '9 days'")
    end(database, waiting)
    forget(database, before=datetime.now(UTC) - timedelta(days=1))
    assert kept(database)[-1] == "waiting"


@pytest.mark.parametrize("limit", [1, 2])
def test_drafts_are_forgotten_in_batches(database: Database, limit: int) -> None:
    decide_all(database)
    assert forget(database, limit=limit) == limit
    assert look(database, "SELECT count(*) FROM action_drafts WHERE body IS NULL") == [(limit,)]


def test_replies_lose_their_words_too(database: Database) -> None:
    talk = new_talk(database)
    talk.asks()
    draft = talk.drafted(cc=["boss@example.com"])
    approve(database, draft)
    talk.outbox.sent(talk.begun(), hours=2)
    assert forget(database) == 1
    assert look(database, "SELECT status, subject, body, cc FROM action_drafts") == [("approved", None, None, [])]
    assert talk.statuses() == [("sent", "250 taken")]


def test_a_draft_without_words_is_shown_as_one(database: Database) -> None:
    decide_all(database)
    forget(database)
    with database.transaction("show") as session:
        rows = session.query(ActionDraft).where(ActionDraft.body.is_(None)).all()
        assert {(shown.draft.body, tuple(shown.lint)) for shown in drafts.show(session, drafts=rows)} == {(None, ())}
