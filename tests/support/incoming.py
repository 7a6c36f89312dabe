"""A mailbox whose mails tests write themselves, and the campaign that they answer."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from hashlib import sha256
from itertools import count
from typing import Any
from uuid import UUID

from sqlalchemy import text

from db.domain.mailboxes import MailServer, Security
from db.domain.states import ActionOutcome
from db.domain.templates import EmailStep
from db.models import Message, Thread
from db.postgres.database import Database
from db.services.dispatch.claims import DueAction
from db.services.mail import incoming, mailboxes, recording, threads
from db.services.mail.incoming import FetchedMail
from db.services.mail.mailboxes import MailboxChange
from tests.support.campaigns import NOW, enroll, make_campaign
from tests.support.steps import claim, report

OWNER = "ann@acme.example"
SETTINGS = {"senders": {"email": {"account": OWNER}}}


def steps(number: int) -> list[EmailStep]:
    first = EmailStep(1, "Hello", "Nice to meet you.")
    return [first, *(EmailStep(n, None, "Still there?", delay_hours=24) for n in range(2, number + 1))]


@dataclass
class Inbox:
    """One mailbox, and a campaign of email steps that it sends. Hours count from the start of the campaign."""

    database: Database
    mailbox_id: UUID
    campaign_id: UUID
    enrollments: list[UUID]
    numbers: Any = field(default_factory=lambda: count(1))

    def send(self, *, hours: float = 0, limit: int = 10) -> list[DueAction]:
        """Sends what is due."""
        sent = claim(self.database, self.campaign_id, hours=hours, limit=limit)
        for due in sent:
            report(self.database, due, ActionOutcome.SENT, hours=hours)
        return sent

    def bring(self, *raws: bytes, hours: float = 1, folder: str = "INBOX") -> None:
        """Keeps mails, and records them."""
        at = NOW + timedelta(hours=hours)
        mails = [FetchedMail(raw, sha256(raw).digest(), folder, "inbox", 1, next(self.numbers), at) for raw in raws]
        self.database.run("keep", partial(incoming.keep, mailbox_id=self.mailbox_id, mails=mails))
        self.record(at)

    def record(self, now: datetime) -> int:
        work = partial(recording.record_some, mailbox_id=self.mailbox_id, limit=100, now=now)
        return self.database.run("record", work)

    def messages(self) -> list[Message]:
        """What came in, or was written by hand, in its order."""
        with self.database.transaction("look") as session:
            ids = session.scalars(text("SELECT id FROM messages WHERE mailbox_id IS NOT NULL ORDER BY id")).all()
            return [session.get_one(Message, id_) for id_ in ids]

    def threads(self) -> list[Thread]:
        with self.database.transaction("look") as session:
            return list(threads.list_(session, limit=100, cursor=None).rows)

    def unrelated(self) -> int:
        with self.database.transaction("look") as session:
            return int(session.scalar(text("SELECT count(*) FROM unrelated_mails")) or 0)


def new_inbox(database: Database, emails: Sequence[str] = ("bob@example.com",), number: int = 2) -> Inbox:
    mailbox_id = database.run("mailbox", lambda session: mailboxes.connect(session, address=OWNER, change=_CHANGE).id)
    make = partial(make_campaign, email_steps=steps(number), settings=SETTINGS)
    campaign_id = database.run("campaign", make)
    return Inbox(database, mailbox_id, campaign_id, enroll(database, campaign_id, list(emails)))


_SMTP = MailServer("smtp.acme.example", 587, Security.STARTTLS, None)
_CHANGE = MailboxChange(smtp=_SMTP, settings={"min_gap_seconds": 0})


def mail(
    body: str,
    *,
    sender: str = "Bob <bob@example.com>",
    to: str = OWNER,
    subject: str = "Re: Hello",
    answers: str | None = None,
    id_: str | None = "one@example.com",
    date: str = "Mon, 02 Nov 2026 10:00:00 +0000",
    **headers: str,
) -> bytes:
    """A mail as a person's program writes it."""
    fields = {"From": sender, "To": to, "Subject": subject, "Date": date}
    if id_ is not None:
        fields["Message-ID"] = f"<{id_}>"
    if answers is not None:
        fields["In-Reply-To"] = fields["References"] = f"<{answers}>"
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{head}\r\n{body}\r\n".encode()


def answered(database: Database, body: str = "Sounds good.", **more: str) -> Inbox:
    """The inbox of a campaign with one person, who has answered the first mail."""
    inbox = new_inbox(database)
    (due,) = inbox.send()
    inbox.bring(mail(body, answers=id_of(due), **more))
    return inbox


def bounce(answers: str | None, *, recipient: str = "bob@example.com", status: str = "5.1.1", id_: str = "b1") -> bytes:
    """A report on a mail that could not be delivered (RFC 3464)."""
    texts = {"5": "550 5.1.1 User unknown", "4": "451 4.2.2 Mailbox is busy, try again later"}
    returned = f"Message-ID: <{answers}>\r\n" if answers else ""
    return (
        f"From: Mail Delivery System <mailer-daemon@example.com>\r\nTo: {OWNER}\r\nSubject: Undelivered Mail\r\n"
        f"Date: Mon, 02 Nov 2026 10:00:00 +0000\r\nMessage-ID: <{id_}@example.com>\r\nReturn-Path: <>\r\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\nMIME-Version: 1.0\r\n\r\n'
        f"--b\r\nContent-Type: text/plain\r\n\r\nYour mail could not be delivered.\r\n\r\n"
        f"--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example.com\r\n\r\n"
        f"Final-Recipient: rfc822; {recipient}\r\nAction: failed\r\nStatus: {status}\r\n"
        f"Diagnostic-Code: smtp; {texts[status[0]]}\r\n\r\n"
        f"--b\r\nContent-Type: text/rfc822-headers\r\n\r\n{returned}Subject: Hello\r\nTo: {recipient}\r\n\r\n--b--\r\n"
    ).encode()


def id_of(due: DueAction) -> str:
    """The Message-ID that a step was handed out with."""
    assert due.text.internet_message_id is not None
    return due.text.internet_message_id


def look(database: Database, statement: str) -> list[Any]:
    """The rows of a statement, each as a tuple."""
    with database.transaction("look") as session:
        return [tuple(row) for row in session.execute(text(statement))]
