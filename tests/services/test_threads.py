"""Threads: which mails that were sent belong together, and what is told of each thread."""

from datetime import timedelta
from uuid import UUID

import pytest

from db.domain.errors import NotFound
from db.domain.states import ActionOutcome, ThreadState
from db.domain.templates import EmailStep
from db.models import Thread
from db.postgres.database import Database
from db.services.mail import threads
from tests.support.campaigns import NOW, enroll, make_campaign
from tests.support.steps import claim, report

STEPS = [
    EmailStep(1, "Hello", "Nice to meet you."),
    EmailStep(2, None, "Still there, I hope.", delay_hours=24),
    EmailStep(3, "Something else", "A new thing.", delay_hours=24, new_thread=True),
    EmailStep(4, None, "Once more.", delay_hours=24),
]


def send_all(database: Database, campaign_id: UUID, steps: int) -> None:
    for number in range(steps):
        for due in claim(database, campaign_id, hours=25 * number):
            report(database, due, ActionOutcome.SENT, hours=25 * number)


def listed(database: Database, **filters: UUID | ThreadState | None) -> list[Thread]:
    given = {"limit": 50, "cursor": None, **filters}
    return list(database.run("list", lambda session: threads.list_(session, **given)).rows)  # pyright: ignore[reportArgumentType]


def test_follow_ups_join_the_thread_of_the_step_before_and_a_new_thread_begins_one(database: Database) -> None:
    campaign_id = database.run("campaign", lambda session: make_campaign(session, email_steps=STEPS))
    enroll(database, campaign_id, ["ada@example.com"])
    send_all(database, campaign_id, 4)
    latest, first = listed(database, campaign_id=campaign_id)
    assert (first.subject, first.messages, first.state) == ("Hello", 2, ThreadState.WAITING)
    assert (latest.subject, latest.messages) == ("Something else", 2)
    assert first.last_message_at == NOW + timedelta(hours=25)
    with database.transaction("look") as session:
        assert [message.subject for message in threads.messages_of(session, thread_id=first.id, limit=10)] == [
            "Hello",
            "Re: Hello",
        ]
        assert first.id == threads.messages_of(session, thread_id=first.id, limit=10)[0].id


def test_a_step_that_is_only_handed_out_is_in_no_thread(database: Database) -> None:
    campaign_id = database.run("campaign", lambda session: make_campaign(session, email_steps=STEPS))
    enroll(database, campaign_id, ["ada@example.com", "ben@example.com"])
    first, second = claim(database, campaign_id)
    report(database, first, ActionOutcome.SENT)
    report(database, first, ActionOutcome.SENT)  # told twice
    report(database, second, ActionOutcome.SKIPPED)
    assert [thread.messages for thread in listed(database)] == [1]


def test_a_closed_thread_is_listed_as_closed(database: Database) -> None:
    campaign_id = database.run("campaign", lambda session: make_campaign(session, email_steps=STEPS))
    enroll(database, campaign_id, ["ada@example.com"])
    send_all(database, campaign_id, 1)
    (thread,) = listed(database)
    database.run("close", lambda session: threads.close(session, thread_id=thread.id))
    assert [row.id for row in listed(database, state=ThreadState.CLOSED)] == [thread.id]
    assert listed(database, state=ThreadState.WAITING) == []
    with pytest.raises(NotFound, match="list_threads"):
        database.run("close", lambda session: threads.close(session, thread_id=UUID(int=1)))
