"""A campaign whose mails this server sends itself, from one mailbox."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy.orm import Session

from db.domain.mail.verdict import BounceKind, Reason
from db.domain.mailboxes import LeaseRole, MailServer, Security
from db.domain.templates import EmailStep
from db.postgres.database import Database
from db.services.mail import leases, mailboxes
from db.services.mail.mailboxes import MailboxChange
from db.services.outgoing import beginnings, outcomes, queue
from db.services.outgoing.beginnings import Beginning
from db.services.outgoing.mails import NotBegun, QueuedMail
from db.services.outgoing.outcomes import Taken
from db.services.outgoing.queue import TakenOver
from tests.support.campaigns import NOW, enroll, make_campaign
from tests.support.incoming import OWNER, look

RAW = b"Message-ID: <one@acme.example>\r\n\r\nNice to meet you.\r\n"
SMTP = MailServer("smtp.acme.example", 587, Security.STARTTLS, None)
_CHANGE = MailboxChange(smtp=SMTP, settings={"min_gap_seconds": 0})


class OwnLease(NamedTuple):
    """The lease of one process."""

    mailbox_id: UUID
    token: UUID


def take_lease(database: Database, mailbox_id: UUID) -> OwnLease:
    """A new lease, whoever has one."""
    with database.transaction("the last holder is gone") as session:
        session.connection().exec_driver_sql("DELETE FROM mailbox_leases WHERE role = 'sender'")
    take = partial(leases.take, mailbox_id=mailbox_id, role=LeaseRole.SENDER, holder="one")
    token = database.run("take", take)
    assert token is not None
    return OwnLease(mailbox_id, token)


@dataclass
class Outbox:
    """The sender of a mailbox. Hours count from the start of the campaign."""

    database: Database
    mailbox_id: UUID
    campaign_id: UUID
    enrollments: list[UUID]
    lease: OwnLease

    def taken_over(self, *, hours: float = 0) -> tuple["Outbox", TakenOver]:
        """Another process that has the mailbox from now on, and what it found."""
        other = Outbox(
            self.database,
            self.mailbox_id,
            self.campaign_id,
            self.enrollments,
            take_lease(self.database, self.mailbox_id),
        )
        work = partial(queue.take_over, lease=other.lease, now=at(hours))
        return other, self.database.run("take over", work)

    def claim(self, *, hours: float = 0, limit: int = 10, public_url: str | None = None) -> Sequence[QueuedMail]:
        work = partial(queue.next_mails, lease=self.lease, limit=limit, now=at(hours), public_url=public_url)
        return self.database.run("next", work).mails

    def begin(self, mail: QueuedMail, *, hours: float = 0) -> NotBegun | None:
        return self.database.run("begin", self.beginning(mail, hours=hours))

    def beginning(self, mail: QueuedMail, *, hours: float = 0) -> Callable[[Session], NotBegun | None]:
        given = [Beginning(self.lease, mail, RAW)]
        return lambda session: beginnings.begin(session, beginnings=given, now=at(hours))[0]

    def begun(self, *, hours: float = 0) -> QueuedMail:
        """One mail that is being sent."""
        (mail,) = self.claim(hours=hours, limit=1)
        assert self.begin(mail, hours=hours) is None
        return mail

    def sent(self, mail: QueuedMail, *, hours: float = 0) -> None:
        self.database.run("sent", self.sending(mail, hours=hours))

    def sending(self, mail: QueuedMail, *, hours: float = 0) -> Any:
        return partial(outcomes.sent, taken=[Taken(mail, "250 taken", at(hours))], now=at(hours))

    def unknown(self, mail: QueuedMail, *, hours: float = 0) -> None:
        self.database.run("unknown", partial(outcomes.unknown, mail=mail, now=at(hours)))

    def deferred(self, mail: QueuedMail, *, hours: float = 0, retry_seconds: float | None = None) -> datetime | None:
        work = partial(outcomes.deferred, mail=mail, said="450 try later", now=at(hours), retry_seconds=retry_seconds)
        return self.database.run("deferred", work)

    def refused(
        self, mail: QueuedMail, kind: BounceKind, *, code: int | None = 550, hours: float = 0
    ) -> datetime | None:
        reason = Reason("a_rule", "550 no")
        work = partial(outcomes.refused, mail=mail, code=code, said="550 no", kind=kind, reason=reason, now=at(hours))
        return self.database.run("refused", work)

    def statuses(self) -> list[str | None]:
        """Of all mails, in their order."""
        return [status for (status,) in look(self.database, "SELECT status FROM messages WHERE direction = 'out'")]


def at(hours: float) -> datetime:
    return NOW + timedelta(hours=hours)


def steps(number: int) -> list[EmailStep]:
    return [
        EmailStep(n, f"Mail {n}", "Nice to meet you.", delay_hours=24 if n > 1 else 0) for n in range(1, number + 1)
    ]


def unknown_mail(database: Database) -> QueuedMail:
    """A mail of which nobody knows whether it went out."""
    outbox = new_outbox(database, ["eve@example.com"], address="cleo@other.example")
    mail = outbox.begun()
    outbox.unknown(mail)
    return mail


def new_outbox(
    database: Database, emails: Sequence[str] = ("bob@example.com",), number: int = 2, address: str = OWNER
) -> Outbox:
    connect = partial(mailboxes.connect, address=address, change=_CHANGE)
    return outbox_of(database, database.run("mailbox", lambda session: connect(session).id), address, emails, number)


def outbox_of(
    database: Database,
    mailbox_id: UUID,
    address: str,
    emails: Sequence[str] = ("bob@example.com",),
    number: int = 2,
) -> Outbox:
    """The sender of a mailbox that is connected, and a campaign that names it."""
    make = partial(make_campaign, email_steps=steps(number), settings={"mailboxes": [address]})
    campaign_id = database.run("campaign", make)
    people = enroll(database, campaign_id, list(emails))
    return Outbox(database, mailbox_id, campaign_id, people, take_lease(database, mailbox_id))
