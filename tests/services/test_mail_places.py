"""How far folders are read, and what is kept of unrelated mail."""

from functools import partial
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from db.domain.mailboxes import FolderRole, MailServer, Security
from db.postgres.database import Database
from db.services.mail import mailboxes, reading
from db.services.mail.mailboxes import MailboxChange
from db.services.mail.reading import FolderPosition, UnrelatedPlace
from tests.support.campaigns import NOW


@pytest.fixture
def mailbox(database: Database) -> UUID:
    change = MailboxChange(smtp=MailServer("smtp.example.com", 587, Security.STARTTLS))
    return database.run("connect", partial(mailboxes.connect, address="ann@example.com", change=change)).id


def rows(database: Database) -> list[Any]:
    found = text("SELECT folder, uidvalidity, uid, hash FROM unrelated_mails ORDER BY uid")
    return database.run("look", lambda session: [tuple(row) for row in session.execute(found)])


def test_a_position_is_kept_and_what_the_server_lost_is_forgotten(database: Database, mailbox: UUID) -> None:
    begun = FolderPosition("INBOX", FolderRole.INBOX, 7, 10, 11, NOW)
    for position in (begun, begun._replace(name="Sent", role=FolderRole.SENT), begun._replace(last_uid=12, to_join=3)):
        database.run("save", partial(reading.save, mailbox_id=mailbox, position=position))
    found = database.run("look", partial(reading.positions, mailbox_id=mailbox))
    assert found["INBOX"] == begun._replace(last_uid=12, to_join=3)
    assert set(found) == {"INBOX", "Sent"}
    database.run("forget", partial(reading.forget_others, mailbox_id=mailbox, names=["INBOX"]))
    assert set(database.run("look", partial(reading.positions, mailbox_id=mailbox))) == {"INBOX"}


def test_an_unrelated_mail_is_counted_once_in_whatever_folder(database: Database, mailbox: UUID) -> None:
    places = [UnrelatedPlace("INBOX", 7, 1, b"a" * 32), UnrelatedPlace("INBOX", 7, 2, b"b" * 32)]
    moved = [UnrelatedPlace("Junk", 1, 5, b"a" * 32), UnrelatedPlace("Junk", 1, 6, b"a" * 32)]
    for given in (places, moved, []):
        database.run("pass over", partial(reading.pass_over, mailbox_id=mailbox, places=given))
    assert rows(database) == [("INBOX", 7, 1, b"a" * 32), ("INBOX", 7, 2, b"b" * 32)]
    database.run("take back", partial(reading.take_back, mailbox_id=mailbox, hashes=[b"a" * 32, b"c" * 32]))
    assert rows(database) == [("INBOX", 7, 2, b"b" * 32)]
    database.run("remove", lambda session: mailboxes.remove(session, mailbox=mailbox))
    assert rows(database) == []
