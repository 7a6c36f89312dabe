"""A queued reply is withdrawn by settle_message: it does not go out, its place is free again, and of the sender and a
withdrawal one wins."""

from functools import partial
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.orm import Session

from db.domain.errors import Refused
from db.domain.states import MessageStatus, SettledAs
from db.models import Message
from db.postgres.database import Database
from db.services.outgoing import queue, settling
from db.services.outgoing.mails import NotBegun
from tests.support.drafts import approve
from tests.support.incoming import look
from tests.support.meeting import meet
from tests.support.outbox import at
from tests.support.replying import Talk, new_talk

WITHDRAWN = [("not_sent", "A person withdrew it.")]


def withdrawing(message_id: UUID, outcome: SettledAs = SettledAs.NOT_SENT) -> Any:
    def work(session: Session) -> Message:
        return settling.settle_message(session, message_id=message_id, outcome=outcome, now=at(2))

    return work


def claiming(talk: Talk) -> Any:
    return partial(queue.next_mails, lease=talk.outbox.lease, limit=10, now=at(2), public_url=None)


def used(database: Database) -> int:
    """Sends that are counted: that of the first mail, and what is reserved."""
    ((count,),) = look(database, "SELECT sum(used)::int FROM sender_usage")
    return count


def test_a_queued_reply_is_withdrawn_and_another_can_be_written(database: Database) -> None:
    talk = new_talk(database)
    made = talk.queued()
    for _ in range(2):
        assert database.run("withdraw", withdrawing(made.id)).status == MessageStatus.NOT_SENT
    assert (talk.statuses(), talk.state(), talk.outbox.claim(hours=3)) == (WITHDRAWN, "needs_answer", [])
    talk.queued("Once more")
    assert [mail.text for mail in talk.outbox.claim(hours=3)] == ["Once more"]


def test_the_place_of_a_reply_that_waits_for_its_next_attempt_is_free_again(database: Database) -> None:
    talk = new_talk(database)
    made = talk.queued()
    (mail,) = talk.outbox.claim(hours=2)
    talk.outbox.deferred(mail, hours=2)
    assert used(database) == 2
    database.run("withdraw", withdrawing(made.id))
    assert (talk.statuses(), used(database)) == (WITHDRAWN, 1)


def test_a_reply_that_is_being_sent_is_not_withdrawn_and_goes_out(database: Database) -> None:
    talk = new_talk(database)
    made = talk.queued()
    mail = talk.begun()
    with pytest.raises(Refused, match=r"being sent.*get_thread"):
        database.run("withdraw", withdrawing(made.id))
    talk.outbox.sent(mail, hours=2)
    assert talk.statuses() == [("sent", "250 taken")]
    with pytest.raises(Refused, match="sent"):
        database.run("withdraw", withdrawing(made.id))


def test_a_withdrawal_waits_for_the_sender_that_begins_the_reply_and_is_refused(database: Database) -> None:
    talk = new_talk(database)
    made = talk.queued()
    (mail,) = talk.outbox.claim(hours=2)
    met = meet(database, talk.outbox.beginning(mail, hours=2), withdrawing(made.id))
    assert met.waited
    assert isinstance(met.second.exception(), Refused)
    assert talk.statuses() == [("sending", None)]


def test_a_sender_that_waits_for_the_withdrawal_does_not_begin_the_reply(database: Database) -> None:
    talk = new_talk(database)
    made = talk.queued()
    (mail,) = talk.outbox.claim(hours=2)
    met = meet(database, withdrawing(made.id), talk.outbox.beginning(mail, hours=2))
    assert met.waited
    assert met.second.result() is NotBegun.CLAIMED_ANEW
    assert (talk.statuses(), used(database)) == (WITHDRAWN, 1)


@pytest.mark.parametrize("is_claim_first", [True, False])
def test_a_claim_and_a_withdrawal_at_the_same_moment_reserve_nothing(database: Database, is_claim_first: bool) -> None:
    talk = new_talk(database)
    made = talk.queued()
    both = [claiming(talk), withdrawing(made.id)]
    met = meet(database, *(both if is_claim_first else reversed(both)))
    assert met.waited == is_claim_first
    met.second.result()
    assert (talk.statuses(), used(database)) == (WITHDRAWN, 1)


def test_an_approved_reply_is_withdrawn_with_its_draft(database: Database) -> None:
    talk = new_talk(database)
    talk.asks()
    draft = talk.drafted()
    approve(database, draft)
    database.run("withdraw", withdrawing(draft.id))
    assert talk.statuses() == WITHDRAWN
    assert look(database, "SELECT status FROM action_drafts") == [("stale",)]


def test_only_a_reply_is_withdrawn_and_nobody_says_that_a_queued_one_was_sent(database: Database) -> None:
    talk = new_talk(database, ["bob@example.com", "eve@example.com"])
    (step,) = talk.outbox.claim(hours=1)
    with pytest.raises(Refused, match=r"queued.*update_enrollment"):
        database.run("withdraw", withdrawing(step.message_id))
    made = talk.queued()
    with pytest.raises(Refused, match=r"queued.*not_sent withdraws it"):
        database.run("settle", withdrawing(made.id, SettledAs.SENT))
    assert talk.statuses() == [("queued", None)]
