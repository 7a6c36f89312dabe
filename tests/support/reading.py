"""Mailboxes that are read in tests: connected to a server, with people who were written to."""

from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import text

from db.domain.events import EventType, NewEvent
from db.domain.mailboxes import MailServer, Security, Service
from db.domain.states import Channel
from db.domain.templates import EmailStep
from db.services.dispatch import claims
from db.services.events import events
from db.services.mail import mailboxes, progress
from db.services.mail.mailboxes import MailboxChange
from db.services.mail.progress import MailboxProgress
from mcp_server.mail.credentials import KeyRing, Password
from mcp_server.mail.lease_keeper import LeaseKeeper
from mcp_server.mail.reader import MailboxReader
from mcp_server.process.app import App
from tests.support.campaigns import NOW, enroll, make_campaign

ANN = "ann@example.com"
SECRET = "secret"
LATER = NOW + timedelta(hours=1)
"""When mails come in, by the server's clock."""


def connect(app: App, port: int, *, address: str = ANN, password: str = SECRET, username: str | None = None) -> UUID:
    """Connects a mailbox that is read from a server on loopback, and gives it a password."""
    server = MailServer("127.0.0.1", port, Security.NONE, username)
    change = MailboxChange(smtp=MailServer("127.0.0.1", 1, Security.NONE), imap=server)
    row = app.run("connect", partial(mailboxes.connect, address=address, change=change))
    give_password(app, password, address)
    return row.id


def give_password(app: App, password: str, address: str = ANN) -> None:
    """Gives a mailbox a password for all its servers."""
    keys = KeyRing.open(app.settings, is_made=True)

    def work(session: Any) -> None:
        row = mailboxes.find(session, mailbox=address)
        servers = {service: server for service in Service if (server := mailboxes.server_of(row, service))}
        given = {
            service: keys.encrypt(Password(password), server=server, address=address)
            for service, server in servers.items()
        }
        mailboxes.store_credentials(session, row=row, given=given)

    app.run("store", work)


def written_to(app: App, emails: list[str]) -> dict[str, tuple[UUID, str]]:
    """Writes the first step to these people. Returns address -> the enrollment and the Message-ID of its mail."""
    steps = [EmailStep(1, "Hello", "How are you today?"), EmailStep(2, None, "Did you see this?", delay_hours=48)]
    campaign_id = app.run("campaign", partial(make_campaign, email_steps=steps))
    ids = enroll(app.database(), campaign_id, emails)
    claim = partial(claims.claim, campaign_id=campaign_id, channel=None, limit=500, lease_seconds=60, now=NOW)
    while app.run("claim", claim).actions:
        pass
    for start in range(0, len(ids), 500):
        some = ids[start : start + 500]
        sent = [NewEvent(EventType.SENT, Channel.EMAIL, NOW, id_, step_number=1) for id_ in some]
        app.run("send", partial(events.record_events, events=sent))
    # As by an agent that sends with ids of its own, an hour ago.
    app.run("ids", lambda session: session.execute(_IDS))
    rows = app.run("look", lambda session: session.execute(_KNOWN).all())
    known: dict[UUID, str] = {enrollment_id: own_id for enrollment_id, own_id in rows}  # noqa: C416  rows are no pairs
    return {email: (id_, known[id_]) for email, id_ in zip(emails, ids, strict=True)}


_IDS = text("""
    UPDATE messages SET internet_message_id = CAST(action_id AS text) || '@example.com',
                        occurred_at = occurred_at - interval '1 hour'
    WHERE direction = 'out'
""")
_KNOWN = text("SELECT enrollment_id, internet_message_id FROM messages WHERE direction = 'out'")


def letter(
    sender: str,
    *,
    answers: str | None = None,
    words: str = "Yes, call me on Monday.",
    own_id: str | None = None,
    at: datetime = LATER,
    size: int = 0,
) -> bytes:
    """A mail to the mailbox. `answers`: the Message-ID that it refers to; `size`: of the file attached to it."""
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = sender, ANN, "Re: Hello" if answers else "Something else"
    mail["Message-ID"] = f"<{own_id or sender.replace('@', '-at-')}@mail.example.net>"
    mail["Date"] = format_datetime(at)
    if answers:
        mail["In-Reply-To"] = f"<{answers}>"
    mail.set_content(f"{words}\n")
    if size:
        mail.add_attachment(b"%PDF" + b"x" * size, maintype="application", subtype="pdf", filename="file.pdf")
    return mail.as_bytes().replace(b"\n", b"\r\n")


@contextmanager
def reader_of(app: App, mailbox_id: UUID, address: str = ANN) -> Generator[MailboxReader]:
    with LeaseKeeper(app) as keeper:
        reader = MailboxReader(app, keeper, mailbox_id, address)
        try:
            yield reader
        finally:
            reader.stop()
            reader.join(20)


def read_once(app: App, mailbox_id: UUID) -> str | None:
    """Reads all that is there. Returns why that fails; None where it does not."""
    with reader_of(app, mailbox_id) as reader:
        assert reader.run_once()
        return reader.problem


def reached(app: App, address: str = ANN) -> MailboxProgress:
    def work(session: Any) -> MailboxProgress:
        row = mailboxes.find(session, mailbox=address)
        return progress.of_mailboxes(session, rows=[row], now=NOW)[row.id]

    return app.run("look", work)


def counts(app: App, address: str = ANN) -> tuple[int, int, int]:
    """Recorded, unrelated and pending."""
    now = reached(app, address)
    return now.recorded, now.unrelated, now.pending


def status_of(app: App, enrollment_id: UUID) -> tuple[str, str | None]:
    found = text("SELECT status, stop_reason FROM campaign_enrollments WHERE id = :id")
    return app.run("look", lambda session: tuple(session.execute(found, {"id": enrollment_id}).one()))


def replies_of(app: App) -> int:
    """Events of answers that are recorded."""
    found = text("SELECT count(*) FROM campaign_events WHERE event_type = 'replied'")
    return app.run("look", lambda session: session.scalar(found) or 0)


def expire_leases(app: App) -> None:
    """As if fifteen seconds had passed since a process was killed."""
    moved = text(
        "UPDATE mailbox_leases SET renewed_at = now() - interval '1 hour', expires_at = now() - interval '1 s'"
    )
    app.run("expire", lambda session: session.execute(moved))
