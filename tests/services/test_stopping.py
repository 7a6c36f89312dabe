"""The switch that stops all sending: after it, no mail begins, not even one that was about to."""

from functools import partial
from threading import Event, Thread
from typing import Any

import pytest
from sqlalchemy import text

from db.domain.mailboxes import LeaseRole, MailServer, Security
from db.embedded.locks import wait_until
from db.postgres.database import Database
from db.services.mail import leases, mailboxes, stopping
from db.services.mail.mailboxes import MailboxChange
from tests.support.campaigns import NOW
from tests.support.patience import PATIENCE

SERVER = MailServer("smtp.example.com", 587, Security.STARTTLS)
WAITS = text("""
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
""")


def stopped(database: Database) -> Any:
    return database.run("look", stopping.stopped_at)


def test_sending_is_stopped_once_and_for_all_until_it_is_started(database: Database) -> None:
    assert stopped(database) is None
    database.run("start", stopping.start)
    database.run("stop", partial(stopping.stop, now=NOW))
    database.run("stop again", partial(stopping.stop, now=NOW.replace(year=NOW.year + 1)))
    assert stopped(database) == NOW
    database.run("start", stopping.start)
    assert stopped(database) is None


@pytest.mark.parametrize("is_known", [True, False])
def test_a_stop_waits_for_mails_that_are_about_to_begin(database: Database, is_known: bool) -> None:
    """is_known: whether the settings have a row already."""
    if is_known:
        database.run("stop", partial(stopping.stop, now=NOW))
        database.run("start", stopping.start)
    change = MailboxChange(smtp=SERVER)
    mailbox_id = database.run("connect", partial(mailboxes.connect, address="ann@example.com", change=change)).id
    take = partial(leases.take, mailbox_id=mailbox_id, role=LeaseRole.SENDER, holder="one")
    token = database.run("take", take)
    assert token is not None
    hold = partial(leases.hold, mailbox_id=mailbox_id, role=LeaseRole.SENDER, token=token)
    looked, may_go, done = Event(), Event(), list[str]()

    def begin(session: Any) -> None:
        hold(session)
        assert stopping.stopped_at(session) is None
        looked.set()
        assert may_go.wait(PATIENCE)
        done.append("begun")

    def stop() -> None:
        database.run("stop", partial(stopping.stop, now=NOW))
        database.run("await", stopping.await_begun)
        done.append("stopped")

    sender, stopper = Thread(target=database.run, args=("begin", begin)), Thread(target=stop)
    sender.start()
    assert looked.wait(PATIENCE)
    stopper.start()
    try:
        assert wait_until(lambda: database.run("look", lambda session: session.scalar(WAITS)) == 1, PATIENCE)
    finally:
        may_go.set()
        sender.join()
        stopper.join()
    assert done == ["begun", "stopped"]
