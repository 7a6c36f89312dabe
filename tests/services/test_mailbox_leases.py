"""Leases of mailboxes: one process at a time, and one that comes too late writes nothing."""

from functools import partial
from uuid import UUID

import pytest
from sqlalchemy import text

from db.domain.errors import LeaseLost
from db.domain.mailboxes import LeaseRole, MailServer, Security
from db.postgres.database import Database
from db.services.mail import leases, mailboxes
from db.services.mail.mailboxes import MailboxChange

READER, SENDER = LeaseRole.READER, LeaseRole.SENDER


@pytest.fixture
def mailbox(database: Database) -> UUID:
    change = MailboxChange(smtp=MailServer("smtp.example.com", 587, Security.STARTTLS))
    return database.run(
        "connect", lambda session: mailboxes.connect(session, address="ann@example.com", change=change)
    ).id


def take(database: Database, mailbox_id: UUID, holder: str = "one", role: LeaseRole = READER) -> UUID | None:
    work = partial(leases.take, mailbox_id=mailbox_id, role=role, holder=holder)
    return database.run("take", work)


def hold(database: Database, mailbox_id: UUID, token: UUID | None, role: LeaseRole = READER) -> None:
    assert token is not None
    database.run("hold", partial(leases.hold, mailbox_id=mailbox_id, role=role, token=token))


def expire(database: Database) -> None:
    moved = "UPDATE mailbox_leases SET renewed_at = now() - interval '1 hour', expires_at = now() - interval '1 second'"
    database.run("expire", lambda session: session.execute(text(moved)))


def test_one_process_reads_and_one_sends(database: Database, mailbox: UUID) -> None:
    assert take(database, mailbox) is not None
    assert take(database, mailbox, "two") is None
    assert take(database, mailbox, "two", SENDER) is not None
    assert database.run("look", leases.holders) == {(mailbox, READER): "one", (mailbox, SENDER): "two"}


def test_a_lease_that_ran_out_is_taken_and_its_former_holder_writes_nothing(database: Database, mailbox: UUID) -> None:
    first = take(database, mailbox)
    expire(database)
    hold(database, mailbox, first)  # nobody else wanted it, so it is renewed
    assert take(database, mailbox, "two") is None
    expire(database)
    second = take(database, mailbox, "two")
    hold(database, mailbox, second)
    with pytest.raises(LeaseLost):
        hold(database, mailbox, first)
    assert first is not None
    assert second is not None
    assert database.run("renew", partial(leases.renew, tokens=[first, second])) == {second}


def test_renewing_keeps_others_out(database: Database, mailbox: UUID) -> None:
    token = take(database, mailbox)
    assert token is not None
    expire(database)
    assert database.run("renew", partial(leases.renew, tokens=[token])) == {token}
    assert take(database, mailbox, "two") is None


def test_a_lease_that_is_given_back_is_free_at_once(database: Database, mailbox: UUID) -> None:
    first = take(database, mailbox)
    assert first is not None
    database.run("give back", partial(leases.give_back, mailbox_id=mailbox, role=READER, token=first))
    second = take(database, mailbox, "two")
    assert second is not None
    database.run("again", partial(leases.give_back, mailbox_id=mailbox, role=READER, token=first))
    hold(database, mailbox, second)


def test_a_transaction_that_holds_a_lease_keeps_takers_waiting_and_goes_first(
    database: Database, mailbox: UUID
) -> None:
    token = take(database, mailbox)
    assert token is not None
    expire(database)
    with database.transaction("write") as session:
        leases.hold(session, mailbox_id=mailbox, role=READER, token=token)
        # A renewal passes over a row that is locked, instead of waiting for it.
        with database.engine.connect() as other:
            waiting = other.execute(text("SELECT FROM mailbox_leases FOR UPDATE SKIP LOCKED")).all()
            assert waiting == []
    assert take(database, mailbox, "two") is None


def test_a_mailbox_that_is_removed_has_no_lease(database: Database, mailbox: UUID) -> None:
    token = take(database, mailbox)
    database.run("remove", lambda session: mailboxes.remove(session, mailbox=mailbox))
    with pytest.raises(LeaseLost):
        hold(database, mailbox, token)
    assert take(database, mailbox) is None
