"""A campaign that names mailboxes: each person is written to from one of them, the same all along."""

from collections import Counter
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from db.domain.errors import InvalidInput, NotFound, Refused
from db.domain.states import ActionOutcome
from db.postgres.database import Database
from db.services.campaigns import campaigns
from db.services.dispatch import actions
from db.services.mail import mailboxes
from db.services.mail.mailboxes import MailboxChange
from tests.support import outgoing
from tests.support.campaigns import NOW, enroll, make_campaign
from tests.support.incoming import id_of, look, steps
from tests.support.outgoing import ANN, BEN, CLEO
from tests.support.steps import claim, report


def connect(database: Database, *addresses: str) -> None:
    for address in addresses:
        outgoing.connect(database, address)


def campaign(database: Database, *pool: str, people: int, number: int = 3) -> UUID:
    make = partial(make_campaign, email_steps=steps(number), settings={"mailboxes": list(pool), "sent_by": "agent"})
    campaign_id = database.run("campaign", make)
    enroll(database, campaign_id, [f"p{n}@example.com" for n in range(people)])
    return campaign_id


def test_people_are_shared_out_evenly_and_keep_their_mailbox(database: Database) -> None:
    connect(database, ANN, BEN, CLEO)
    campaign_id = campaign(database, ANN, BEN, CLEO, people=9)
    first: dict[str | None, str | None] = {}
    for _ in range(3):
        for due in claim(database, campaign_id, limit=3):
            first[due.contact.email] = due.mailbox
            assert id_of(due).endswith(f"@{(due.mailbox or '').partition('@')[2]}")
            report(database, due, ActionOutcome.SENT)
    assert Counter(first.values()) == {ANN: 3, BEN: 3, CLEO: 3}
    assert {due.contact.email: due.mailbox for due in claim(database, campaign_id, hours=25)} == first


def test_a_mailbox_that_rests_gets_nobody_new_and_holds_its_people(database: Database) -> None:
    connect(database, ANN, BEN)
    campaign_id = campaign(database, ANN, BEN, people=4)
    for due in claim(database, campaign_id, limit=2):
        report(database, due, ActionOutcome.SENT)
    pause = partial(mailboxes.update, mailbox=BEN, change=MailboxChange(), is_paused=True)
    database.run("pause", pause)
    later = claim(database, campaign_id, hours=25)
    assert Counter(due.mailbox for due in later if due.step.step_number == 1) == {ANN: 2}
    assert Counter(due.mailbox for due in later if due.step.step_number == 2) == {ANN: 1}


def test_a_mailbox_that_nobody_has_connected_is_named(database: Database) -> None:
    connect(database, ANN)
    with pytest.raises(NotFound, match=r"nobody@acme\.example.*list_mailboxes"):
        campaign(database, ANN, "nobody@acme.example", people=0)
    campaign_id = campaign(database, ANN, people=0)
    change = partial(campaigns.update, campaign_id=campaign_id, fields={"settings": {"mailboxes": [BEN]}}, now=NOW)
    with pytest.raises(NotFound, match="ben@acme"):
        database.run("update", change)


def test_a_mailbox_in_use_is_removed_only_if_another_takes_over_in_new_threads(database: Database) -> None:
    connect(database, ANN, BEN)
    campaign_id = campaign(database, ANN, people=1)
    (due,) = claim(database, campaign_id)
    report(database, due, ActionOutcome.SENT)
    with pytest.raises(Refused, match="--move-to"):
        database.run("remove", partial(mailboxes.remove, mailbox=ANN))
    with pytest.raises(InvalidInput, match="another mailbox"):
        database.run("remove", partial(mailboxes.remove, mailbox=ANN, move_to=ANN))
    assert database.run("remove", partial(mailboxes.remove, mailbox=ANN, move_to=BEN)) == (ANN, 1)
    assert look(database, "SELECT settings -> 'mailboxes' FROM campaign_instances") == [([BEN],)]
    (again,) = claim(database, campaign_id, hours=25)
    assert (again.mailbox, again.text.subject, again.text.references) == (BEN, "Hello", ())
    report(database, again, ActionOutcome.SENT, hours=25)
    (last,) = claim(database, campaign_id, hours=50)
    assert (last.text.subject, last.text.references) == ("Re: Hello", (id_of(again),))
    assert look(database, "SELECT count(*) FROM threads") == [(2,)]


def test_a_mailbox_that_is_named_only_is_in_use(database: Database) -> None:
    connect(database, ANN, BEN)
    campaign(database, ANN, people=0)
    with pytest.raises(Refused, match="1 campaigns name it"):
        database.run("remove", partial(mailboxes.remove, mailbox=ANN))
    assert database.run("remove", partial(mailboxes.remove, mailbox=BEN)) == (BEN, 0)


def test_an_agent_that_tells_one_message_id_for_two_steps_is_not_refused(database: Database) -> None:
    connect(database, ANN)
    campaign_id = campaign(database, ANN, people=2)
    for due in claim(database, campaign_id):
        told: Any = {"provider": None, "provider_message_id": None, "error": None, "now": NOW}
        done = partial(
            actions.complete,
            action_id=due.action_id,
            lease_token=due.lease_token,
            outcome=ActionOutcome.SENT,
            internet_message_id="one@provider.example",
            **told,
        )
        database.run("complete", done)
    with database.transaction("look") as session:
        used = session.scalars(text("SELECT internet_message_id FROM messages ORDER BY id")).all()
    assert "one@provider.example" in used
