"""Mails that begin, or were sent, at the same moment: each comes to what it would alone."""

from dataclasses import replace
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from db.domain.errors import LeaseLost
from db.domain.states import EnrollmentAction, MessageStatus, SuppressionReason
from db.postgres.database import Database
from db.services.enrollments import enrollments
from db.services.erasure import erasure
from db.services.outgoing import beginnings, outcomes
from db.services.outgoing.beginnings import Beginning
from db.services.outgoing.mails import NotBegun, QueuedMail
from db.services.outgoing.outcomes import Taken
from db.services.people import suppressions
from tests.support.campaigns import NOW, assert_counters_are_exact, state, statements_of, totals
from tests.support.incoming import look
from tests.support.outbox import RAW, Outbox, at, new_outbox
from tests.support.steps import run_sql

NAMES = ("ann", "bob", "cleo", "dan", "eve", "fay")


def outbox_of(database: Database, domain: str = "example.com") -> tuple[Outbox, dict[str, QueuedMail]]:
    """An outbox with a claimed mail for each of the names."""
    outbox = new_outbox(database, [f"{name}@{domain}" for name in NAMES], address=f"owner@{domain}")
    mails = {mail.recipient.address.partition("@")[0]: mail for mail in outbox.claim()}
    assert set(mails) == set(NAMES)
    return outbox, mails


def begin_all(outbox: Outbox, *mails: QueuedMail) -> list[NotBegun | None]:
    given = [Beginning(outbox.lease, mail, RAW + mail.message_id.bytes) for mail in mails]
    return outbox.database.run("begin", partial(beginnings.begin, beginnings=given, now=at(0)))


def send_all(outbox: Outbox, *mails: QueuedMail) -> None:
    taken = [Taken(mail, f"250 {mail.recipient.address}", at(0.1)) for mail in mails]
    outbox.database.run("sent", partial(outcomes.sent, taken=taken, now=at(0.2)))


def meddle(database: Database, mails: dict[str, QueuedMail]) -> None:
    """Something comes between the claim and the beginning of all mails but the last two."""
    database.run(
        "suppress",
        partial(suppressions.suppress, email="ann@example.com", reason=SuppressionReason.MANUAL, source="hand"),
    )
    pause = partial(enrollments.update, enrollment_id=mails["bob"].enrollment_id, action=EnrollmentAction.PAUSE)
    database.run("pause", partial(pause, now=NOW))
    database.run("erase", partial(erasure.erase, contact_id=mails["cleo"].contact_id, now=NOW))
    run_sql(database, "UPDATE contacts SET email = 'dan@other.example' WHERE email = 'dan@example.com'")


def test_of_mails_that_begin_together_each_is_held_for_its_own_reason(database: Database) -> None:
    outbox, mails = outbox_of(database)
    meddle(database, mails)
    assert dict(zip(NAMES, begin_all(outbox, *(mails[name] for name in NAMES)), strict=True)) == {
        "ann": NotBegun.ENROLLMENT,
        "bob": NotBegun.ENROLLMENT,
        "cleo": NotBegun.ERASED,
        "dan": NotBegun.ADDRESS,
        "eve": None,
        "fay": None,
    }
    begun = look(database, "SELECT id, hash FROM messages WHERE status = 'sending'")
    assert {id_ for id_, _ in begun} == {mails["eve"].message_id, mails["fay"].message_id}
    assert len({hash_ for _, hash_ in begun}) == 2, "each has its own bytes"
    assert_counters_are_exact(database)


def test_none_of_a_group_begins_where_one_mailbox_is_somebody_elses(database: Database) -> None:
    outbox, mails = outbox_of(database)
    stale = Beginning(outbox.lease._replace(token=uuid4()), mails["ann"], RAW)
    given = [Beginning(outbox.lease, mails["bob"], RAW), stale]
    with pytest.raises(LeaseLost):
        database.run("begin", partial(beginnings.begin, beginnings=given, now=at(0)))
    assert set(outbox.statuses()) == {MessageStatus.QUEUED}


def state_of(outbox: Outbox, mails: dict[str, QueuedMail]) -> list[Any]:
    rows = look(
        outbox.database,
        "SELECT id, status, answer, occurred_at, thread_id IS NOT NULL FROM messages WHERE direction = 'out'",
    )
    known = {id_: rest for id_, *rest in rows}
    enrolled = {name: state(outbox.database, mail.enrollment_id) for name, mail in mails.items()}
    return [(name, known.get(mail.message_id), enrolled[name]) for name, mail in sorted(mails.items())]


def test_mails_that_were_sent_together_come_to_what_each_comes_to_alone(database: Database) -> None:
    """Also where a step was claimed again since, where its person is paused or erased, and where it was told before."""
    found: list[list[Any]] = []
    for is_together in (True, False):
        outbox, mails = outbox_of(database, "example.com" if is_together else "example.org")
        assert set(begin_all(outbox, *mails.values())) == {None}
        outbox.unknown(mails["ann"])
        send_all(outbox, mails["bob"])
        database.run("erase", partial(erasure.erase, contact_id=mails["cleo"].contact_id, now=NOW))
        mails["dan"] = replace(mails["dan"], lease_token=uuid4())
        for group in [list(mails.values())] if is_together else [[mail] for mail in mails.values()]:
            send_all(outbox, *group)
        found.append(state_of(outbox, mails))
        assert state(database, mails["ann"].enrollment_id)["status"] == "active"
        assert totals(database, outbox.campaign_id)["sent"] == len(NAMES)
    together, alone = ([_without_domain(row) for row in rows] for rows in found)
    assert together == alone
    assert_counters_are_exact(database)


def _without_domain(row: Any) -> str:
    return str(row).replace("example.org", "example.com")


def test_many_mails_take_as_many_statements_as_one(database: Database) -> None:
    counts: dict[int, list[int]] = {}
    for number, name in ((1, "one.example"), (6, "six.example")):
        outbox, mails = outbox_of(database, name)
        chosen = list(mails.values())[:number]
        works = (partial(begin_all, outbox, *chosen), partial(send_all, outbox, *chosen))
        counts[number] = [len(statements_of(database, work)) for work in works]
    assert counts[1] == counts[6]
