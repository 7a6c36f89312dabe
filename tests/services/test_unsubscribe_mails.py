"""Where the server has no public address, people unsubscribe by a mail to the mailbox, which names theirs."""

import re
from functools import partial

import pytest

from db.domain.mail.verdict import MailKind
from db.domain.mailboxes import MailServer, Security
from db.mail.envelope import envelope_of
from db.postgres.database import Database
from db.services.mail import mailboxes, matching
from db.services.mail.mailboxes import MailboxChange
from tests.support.campaigns import state
from tests.support.incoming import OWNER, Inbox, look, mail
from tests.support.outbox import SMTP, Outbox, at, outbox_of

IMAP = MailServer("imap.acme.example", 993, Security.TLS, None)
BOTH = MailboxChange(smtp=SMTP, imap=IMAP, settings={"min_gap_seconds": 0})


@pytest.fixture
def outbox(database: Database) -> Outbox:
    connect = partial(mailboxes.connect, address=OWNER, change=BOTH)
    mailbox_id = database.run("mailbox", lambda session: connect(session).id)
    return outbox_of(database, mailbox_id, OWNER)


def sent(outbox: Outbox) -> str:
    """Sends the first mail to Bob; the subject that its header asks for."""
    (first,) = outbox.claim(limit=1)
    assert outbox.begin(first) is None
    outbox.sent(first)
    assert first.enrollment_id == outbox.enrollments[0]
    asked = re.fullmatch(r"<mailto:ann@acme\.example\?subject=(.+)>", first.headers["List-Unsubscribe"])
    assert asked is not None
    assert "List-Unsubscribe-Post" not in first.headers
    return asked[1].replace("%20", " ")


def bring(outbox: Outbox, subject: str, sender: str = "other@elsewhere.example") -> Inbox:
    inbox = Inbox(outbox.database, outbox.mailbox_id, outbox.campaign_id, outbox.enrollments)
    inbox.bring(mail("", subject=subject, sender=sender))
    return inbox


def is_wanted(outbox: Outbox, subject: str) -> bool:
    head = f"From: other@elsewhere.example\r\nTo: {OWNER}\r\nSubject: {subject}\r\n\r\n".encode()
    wanted = partial(matching.wanted, envelopes=[envelope_of(head)], now=at(1))
    return outbox.database.run("wanted", wanted)[0]


def test_a_mail_by_the_link_unsubscribes_its_person_whoever_sends_it(outbox: Outbox) -> None:
    subject = sent(outbox)
    assert is_wanted(outbox, subject)
    inbox = bring(outbox, subject)
    ((kind, rule),) = look(outbox.database, "SELECT kind, rule FROM messages WHERE kind IS NOT NULL")
    assert (kind, rule) == (MailKind.UNSUBSCRIBE, "unsubscribe_link")
    assert state(outbox.database, outbox.enrollments[0])["status"] == "unsubscribed"
    assert look(outbox.database, "SELECT email FROM suppressions") == [("bob@example.com",)]
    assert inbox.unrelated() == 0


@pytest.mark.parametrize("place", [0, 30])
def test_a_token_that_nobody_signed_is_nothing(outbox: Outbox, place: int) -> None:
    word, token = sent(outbox).split()
    other = "A" if token[place] != "A" else "B"
    subject = f"{word} {token[:place]}{other}{token[place + 1 :]}"
    assert not is_wanted(outbox, subject)
    assert bring(outbox, subject).unrelated() == 1
    assert look(outbox.database, "SELECT 1 FROM suppressions") == []


def test_a_public_address_has_links_instead(outbox: Outbox) -> None:
    (first,) = outbox.claim(limit=1, public_url="https://mail.acme.example")
    assert first.headers["List-Unsubscribe"].startswith("<https://mail.acme.example/unsubscribe/")


def test_a_mailbox_that_is_not_read_asks_for_no_mail(database: Database) -> None:
    change = MailboxChange(smtp=SMTP, settings={"min_gap_seconds": 0})
    connect = partial(mailboxes.connect, address=OWNER, change=change)
    outbox = outbox_of(database, database.run("mailbox", lambda session: connect(session).id), OWNER)
    (first,) = outbox.claim()
    assert first.headers == {}
