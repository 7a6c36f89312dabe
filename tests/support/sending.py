"""Mailboxes that send in tests, by servers on loopback."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text

from db.domain.mailboxes import MailServer, Security
from db.domain.templates import EmailStep
from db.services.mail import mailboxes
from db.services.mail.mailboxes import MailboxChange
from mcp_server.mail.books import Books
from mcp_server.mail.lease_keeper import LeaseKeeper
from mcp_server.mail.sender import MailboxSender
from mcp_server.process.app import App
from tests.support.campaigns import NOW, enroll, make_campaign
from tests.support.processes import environment
from tests.support.reading import ANN, SECRET, give_password

STEPS = (EmailStep(1, "Hello", "How are you today?"), EmailStep(2, None, "Did you see this?", delay_hours=48))


def sender_environment(url: str, home: Path, **more: str) -> dict[str, str]:
    """Returns the environment of a process that sends by servers on loopback. Its time stands still at NOW."""
    (home / "clock").write_text(NOW.isoformat())
    return environment(
        url,
        SALES_AUTOMATION_HOME=str(home),
        SALES_AUTOMATION_MAILBOX_KEY_FILE=str(home / "mailbox.key"),
        SALES_AUTOMATION_ALLOW_PRIVATE_HOSTS="true",
        SALES_AUTOMATION_CLOCK_FILE=str(home / "clock"),
        **more,
    )


class Clock:
    """The time of a test, which moves when it is told to."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def move(self, **more: float) -> None:
        self.now += timedelta(**more)


def connect(
    app: App,
    smtp_port: int,
    imap_port: int | None = None,
    *,
    address: str = ANN,
    password: str = SECRET,
    imap_user: str | None = None,
    security: Security = Security.NONE,
    **settings: Any,
) -> UUID:
    """Connects a mailbox without a pace, and gives it a password for both servers. security: of SMTP."""
    imap = None if imap_port is None else MailServer("127.0.0.1", imap_port, Security.NONE, imap_user)
    pace = {"min_gap_seconds": 0, "daily_limit": 100_000, **settings}
    change = MailboxChange(smtp=MailServer("127.0.0.1", smtp_port, security), imap=imap, settings=pace)
    row = app.run("connect", partial(mailboxes.connect, address=address, change=change))
    give_password(app, password, address)
    return row.id


def enrolled(
    app: App, people: int | Sequence[str], *addresses: str, steps: Sequence[EmailStep] = STEPS, **settings: Any
) -> list[UUID]:
    """Enrolls people in a campaign that is sent from these mailboxes. Their first step is due now."""
    emails = [f"p{number}@example.net" for number in range(people)] if isinstance(people, int) else list(people)
    given = {"mailboxes": list(addresses or (ANN,)), **settings}
    campaign_id = app.run("campaign", partial(make_campaign, email_steps=list(steps), settings=given))
    found: list[UUID] = []
    for start in range(0, len(emails), 1_000):
        found += enroll(app.database(), campaign_id, emails[start : start + 1_000])
    return found


@contextmanager
def sender_of(app: App, mailbox_id: UUID, address: str = ANN, **more: Any) -> Generator[MailboxSender]:
    with LeaseKeeper(app) as keeper:
        sender = MailboxSender(app, keeper, Books(app), mailbox_id, address, **more)
        try:
            yield sender
        finally:
            sender.stop()
            sender.join(20)


def send_once(app: App, mailbox_id: UUID, address: str = ANN, **more: Any) -> str | None:
    """Sends all that is due. Returns why that fails; None where it does not."""
    with sender_of(app, mailbox_id, address, **more) as sender:
        assert sender.run_once()
        return sender.problem


class Sent(NamedTuple):
    """A mail as the books have it. is_filed: whether its copy in Sent is settled."""

    email: str
    status: str
    internet_message_id: str
    is_filed: bool
    next_attempt_at: datetime | None
    answer: str | None
    enrollment: str
    current_step: int
    pause_reason: str | None


_BOOKS = text("""
    SELECT c.email, m.status, m.internet_message_id, m.filed_at IS NOT NULL, m.next_attempt_at, m.answer,
           e.status, e.current_step, e.pause_reason
    FROM messages m
    JOIN campaign_enrollments e ON e.id = m.enrollment_id
    JOIN contacts c ON c.id = e.contact_id
    WHERE m.direction = 'out' AND m.status IS NOT NULL
    ORDER BY m.id
""")


def books(app: App) -> list[Sent]:
    """All mails of this server, in the order of their claims."""
    return [Sent(*row) for row in app.run("look", lambda session: session.execute(_BOOKS).all())]


def statuses(app: App) -> list[str]:
    return [sent.status for sent in books(app)]
