"""Sends all that is due from all mailboxes, or reads all that is there in them, once."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Final, NamedTuple

from db.domain.errors import NotFound
from db.services.mail import mailboxes, progress
from db.services.mail.progress import MailboxProgress
from mcp_server.mail import domain_looks
from mcp_server.mail.books import Books
from mcp_server.mail.lease_keeper import LeaseKeeper
from mcp_server.mail.reader import MailboxReader
from mcp_server.mail.sender import MailboxSender
from mcp_server.mail.unknown_mails import UnknownMails
from mcp_server.process.app import App

if TYPE_CHECKING:
    from db.models import Mailbox
    from db.services import Session
    from mcp_server.mail.mailbox_loop import MailboxLoop

_READ_AT_ONCE: Final = 4
_SENT_AT_ONCE: Final = 16
_PATIENCE: Final = 6.0


class Outcome(NamedTuple):
    """How a mailbox is after it was read, or after what was due was sent from it. problem: why it could not be done.
    is_elsewhere: another process does it. sent: mails that its server took; None if it was read."""

    address: str
    progress: MailboxProgress | None
    problem: str | None
    is_elsewhere: bool = False
    sent: int | None = None


def read_all(app: App) -> list[Outcome]:
    """Reads every mailbox that has an IMAP server and is not paused, until nothing is left. Returns how each is, by
    address."""
    rows = app.run("look for mailboxes", mailboxes.list_read, read_only=True)
    with LeaseKeeper(app) as keeper:
        unknown = UnknownMails(app)
        readers = [MailboxReader(app, keeper, row.id, row.address, unknown) for row in rows]
        are_done = _run(readers, _READ_AT_ONCE)
    return _outcomes(app, rows, readers, are_done, [None for _ in rows])


def send_all(app: App, *, include_overdue: bool = False) -> list[Outcome]:
    """Sends from every mailbox that is not paused what is due and what its pace allows now. Returns how each is, by
    address. include_overdue: also what is due for so long that it waits for a person."""
    rows = app.run("look for mailboxes", mailboxes.list_sending, read_only=True)
    with LeaseKeeper(app) as keeper:
        books = Books(app)
        senders = [
            MailboxSender(app, keeper, books, row.id, row.address, include_overdue=include_overdue) for row in rows
        ]
        are_done = _run(senders, _SENT_AT_ONCE)
    domain_looks.look_all(app)  # for the next run: a server that does not answer holds nothing up now
    return _outcomes(app, rows, senders, are_done, [sender.sent for sender in senders])


def _run(loops: "Sequence[MailboxLoop]", at_once: int) -> list[bool]:
    """Runs the loops once each. Returns of each whether it is done; False if another process has the mailbox. When it
    is interrupted, what is under way has seconds to end."""
    pool = ThreadPoolExecutor(at_once, thread_name_prefix="mail")
    running = [pool.submit(_run_one, loop) for loop in loops]
    try:
        return [one.result() for one in running]
    finally:
        for loop in loops:
            loop.stop()
        pool.shutdown(wait=False, cancel_futures=True)
        wait(running, _PATIENCE)
        for loop in loops:
            loop.cut()
        pool.shutdown()


def _run_one(loop: "MailboxLoop") -> bool:
    try:
        return loop.run_once()
    except NotFound:
        return True  # it was removed meanwhile


def _outcomes(
    app: App,
    rows: "Sequence[Mailbox]",
    loops: "Sequence[MailboxLoop]",
    are_done: Sequence[bool],
    sent: Sequence[int | None],
) -> list[Outcome]:
    now = app.clock()

    def work(session: "Session") -> "dict[str, MailboxProgress]":
        found = progress.of_mailboxes(session, rows=rows, now=now)
        return {row.address: found[row.id] for row in rows if row.id in found}

    reached = app.run("look how far mail is", work, read_only=True)
    return [
        Outcome(loop.address, reached.get(loop.address), loop.problem, is_elsewhere=not is_done, sent=count)
        for loop, is_done, count in zip(loops, are_done, sent, strict=True)
    ]
