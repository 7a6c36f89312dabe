"""Sends from one mailbox: one mail at a time, over one connection, in the mailbox's pace."""

import time
from collections import deque
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Final
from uuid import UUID

from db.domain.errors import LeaseLost, StoreUnavailable
from db.domain.mail.verdict import OF_MAILBOX
from db.domain.mailboxes import CLAIMED_MOST, UNSENDABLE, LeaseRole, MailboxStatus
from db.services.mail import mailboxes, stopping
from db.services.outgoing import outcomes, queue
from db.services.outgoing.mails import NotBegun
from db.services.outgoing.queue import NextMails
from mcp_server.mail.access import Access
from mcp_server.mail.attempts import Attempts, Ending, MayNotGo, Unrecorded
from mcp_server.mail.books import Books
from mcp_server.mail.delivery import Delivery
from mcp_server.mail.lease_keeper import Lease, LeaseKeeper
from mcp_server.mail.mailbox_loop import MailboxLoop
from mcp_server.mail.sent_copies import SentCopies
from mcp_server.mail.smtp_line import SmtpLine
from mcp_server.mail.trouble import CHECK_SECONDS
from mcp_server.process.app import App

if TYPE_CHECKING:
    from db.models import Mailbox
    from db.services import Session
    from db.services.outgoing.mails import QueuedMail

LOOK_SECONDS: Final = 5.0
"""Between two looks for mails that are due: campaigns start, and people are enrolled, in other processes."""
SIMULATED_LOOK_SECONDS: Final = 0.5
"""The same where the time is simulated, and jumps."""
SHORTEST_SECONDS: Final = 0.05
IN_VAIN_MOST: Final = 3
"""As many rounds of mails in a row, of which none may go out, end a run that sends once."""
_RECORDING_SECONDS: Final = 2.0
_STOPS_ALL: Final = frozenset({NotBegun.STOPPED, NotBegun.MAILBOX})


class MailboxSender(MailboxLoop):
    """The sender of one mailbox. After `stop` the mail under way ends, and no other begins."""

    role = LeaseRole.SENDER

    def __init__(
        self,
        app: App,
        keeper: LeaseKeeper,
        books: Books,
        mailbox_id: UUID,
        address: str,
        *,
        include_overdue: bool = False,
    ) -> None:
        """include_overdue: also sends what is due for so long that it waits for a person."""
        super().__init__(app, keeper, mailbox_id, address)
        self._books = books
        self._include_overdue = include_overdue
        self._line = SmtpLine(self._access)
        self._attempts = Attempts(app, books, self._line, self._stopping.is_set)

    @property
    def sent(self) -> int:
        """Mails that the server took, and of which that is recorded."""
        return self._attempts.sent

    def cut(self) -> None:
        """Cuts the mail under way off: nobody knows then whether it went out."""
        self._line.interrupt()

    def _when_lost(self) -> None:
        """The mail under way ends all the same: its answer is a fact, and no other begins without the lease."""
        self._wake.set()

    def _work(self, lease: Lease, *, is_once: bool) -> None:
        self._attempts.record()
        now = self._app.clock()
        taken = self._app.run("take a mailbox over", partial(queue.take_over, lease=lease, now=now))
        with SentCopies(self._app, lease, self._access) as copies:
            if taken.unknown:
                copies.look_for_unknown()
            try:
                self._send_what_is_due(lease, copies, is_once=is_once)
            finally:
                self._line.close()
                self._record_at_last()
            if is_once:
                copies.finish(self._stopping)

    def _send_what_is_due(self, lease: Lease, copies: SentCopies, *, is_once: bool) -> None:
        in_vain = 0
        while not self._stopping.is_set():
            lease.check()
            self._wake.clear()
            found = self._next(lease)
            if found.mails:
                in_vain = 0 if self._send_all(lease, deque(found.mails), copies) else in_vain + 1
                if not in_vain:
                    continue
            elif found.is_more:
                continue
            if is_once and (not found.mails or in_vain >= IN_VAIN_MOST):
                return
            if not is_once:
                self._line.rest()
                self._wait(found.next_at)

    def _next(self, lease: Lease) -> NextMails:
        if not self._may_send():
            return NextMails((), None)
        found = self._books.next(lease, limit=CLAIMED_MOST, include_overdue=self._include_overdue)
        if not found.mails:
            self._trouble.worked()
        return found

    def _may_send(self) -> bool:
        """Returns whether the mailbox may send now. One that could not be reached is tried again here."""

        def work(session: "Session") -> "tuple[Mailbox, datetime | None]":
            return mailboxes.find(session, mailbox=self._mailbox_id), stopping.stopped_at(session)

        row, stopped_at = self._app.run("look whether to send", work, read_only=True)
        if stopped_at is not None:
            return False
        if not self._is_to_check(row):
            return row.status == MailboxStatus.ACTIVE
        self._line.connection()
        self._is_open = True
        self._trouble.is_over()
        return True

    def _is_to_check(self, row: "Mailbox") -> bool:
        """Returns whether to try if a failing mailbox can send again. If its server has refused mails for what the
        mailbox is, a sign-in tells nothing, and the next mail waits for an hour."""
        if row.status != MailboxStatus.FAILING or not (row.problem or "").startswith(UNSENDABLE):
            return False
        if row.refusals < outcomes.REFUSALS_MOST or row.problem_at is None:
            return True
        return (self._app.clock() - row.problem_at).total_seconds() >= CHECK_SECONDS

    def _send_all(self, lease: Lease, waiting: "deque[QueuedMail]", copies: SentCopies) -> bool:
        """Sends claimed mails, one after the other. Gives back what has not begun where it has to stop. Returns whether
        something became of one of them: what may not go is due again as it was."""
        before = self._attempts.made
        try:
            while waiting and not self._stopping.is_set():
                lease.check()
                self._send(lease, waiting, copies)
        except Ending:
            pass
        finally:
            if waiting:
                self._release(lease, waiting)
        return self._attempts.made > before

    def _send(self, lease: Lease, waiting: "deque[QueuedMail]", copies: SentCopies) -> None:
        mail = waiting.popleft()
        try:
            outcome = self._attempts.send(lease, mail)
        except MayNotGo as error:
            if error.reason in _STOPS_ALL:
                raise Ending from None
            return
        except Unrecorded:  # a new attempt takes the mailbox over, and gives the mail up as unknown
            raise
        except Exception:
            if not self._attempts.owes(mail):
                waiting.appendleft(mail)
            raise
        self._is_open = True
        if outcome.delivery is Delivery.SENT:
            copies.file()
            self._trouble.worked()
        elif outcome.delivery is Delivery.UNKNOWN:
            copies.look_for_unknown()
        elif outcome.kind in OF_MAILBOX:
            raise Ending  # it may be failing by now

    def _release(self, lease: Lease, mails: "deque[QueuedMail]") -> None:
        def work(session: "Session") -> None:
            queue.release(session, lease=lease, mails=list(mails), now=self._app.clock())

        if not lease.is_lost:
            with suppress(StoreUnavailable, LeaseLost):  # whoever sends next finds them, or their claims run out
                self._app.run("give mails back", work)

    def _wait(self, next_at: datetime | None) -> None:
        """Waits in real time: a simulated one may stand still, or jump over the moment that is waited for."""
        if self._app.settings.clock_file is not None:
            self._wake.wait(SIMULATED_LOOK_SECONDS)
            return
        seconds = 0.0 if next_at is None else (next_at - self._app.clock()).total_seconds()
        self._wake.wait(min(LOOK_SECONDS, max(seconds, SHORTEST_SECONDS)) if seconds > 0 else LOOK_SECONDS)

    def _record_at_last(self) -> None:
        """Tries for a moment to record what is not recorded yet. In a process that goes on, the next attempt does."""
        ends = time.monotonic() + _RECORDING_SECONDS
        while self._stopping.is_set() and time.monotonic() < ends:
            try:
                self._attempts.record()
            except StoreUnavailable:
                time.sleep(0.1)
            else:
                return

    def _access(self) -> Access:
        return Access.of(self._app, self._row())
