"""Sends single mails from a mailbox, and records what becomes of each.

Each mail goes through these steps, and each is committed before the next: claimed and queued; the server has taken
sender and recipient; `sending`, with the very bytes; told to the server; what the server answered. A process that is
killed between two of them leaves what the next one can tell apart: what has not begun is sent later, and what has begun
is never sent again by itself.
"""

import logging
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Final

from db.domain import holds
from db.domain.errors import InvalidInput, OutcomeUnknown, SalesAutomationError, StoreUnavailable
from db.domain.holds import HoldReason
from db.domain.mail.verdict import BounceKind, Reason
from db.mail import ComposedMail, NewMail, compose
from db.postgres import faults
from db.services.outgoing.mails import NotBegun
from mcp_server.mail.books import Books
from mcp_server.mail.delivery import Delivery, Outcome, Stage, deliver
from mcp_server.mail.lease_keeper import Lease
from mcp_server.mail.smtp_line import SmtpLine
from mcp_server.process.app import App

if TYPE_CHECKING:
    from db.services.outgoing.mails import QueuedMail

_PATIENT_ATTEMPTS: Final = 3
"""So often a mail waits for a server that does not take a copy yet; its person waits for it too."""

logger = logging.getLogger(__name__)


class MayNotGo(Exception):
    """A mail may not go out any more, and its claim is given back."""

    def __init__(self, reason: NotBegun) -> None:
        super().__init__(reason)
        self.reason = reason


class Ending(Exception):
    """The process ends, and the mail has not begun."""


class Unrecorded(Exception):
    """What became of a mail can't be recorded, now or later. Its row stays as it is until the mailbox is taken over."""


class Attempts:
    """The attempts of one mailbox. What can't be recorded is kept for later: it is a fact, and needs no lease.

    is_ending: whether no mail may begin any more, as the process ends.
    """

    def __init__(self, app: App, books: Books, line: SmtpLine, is_ending: Callable[[], bool]) -> None:
        self._app = app
        self._books = books
        self._line = line
        self._is_ending = is_ending
        self._owed: deque[tuple[QueuedMail, Outcome, datetime]] = deque()
        self.made = 0
        """Mails of which it is recorded what became of them."""
        self.sent = 0
        """Those of them that the server took."""

    def send(self, lease: Lease, mail: "QueuedMail") -> Outcome:
        """Sends a mail, and records what became of it.

        MayNotGo and Ending if it has not begun; MailboxUnusable if the server can't be had; StoreUnavailable if the
        database can't; Unrecorded if it is not known afterwards what became of it. A mail that can't be written pauses
        its person, with the reason, or with the id of the fault in the log.
        """
        try:
            composed = compose(_new_mail(mail, self._app.clock()))
        except InvalidInput as error:
            outcome = _unwritten("cannot_be_written", str(error))
        except Exception as error:  # noqa: BLE001  one mail must not hold up all others
            outcome = _faulty(mail, error)
        else:
            outcome = self._deliver(lease, mail, composed)
        self._owe(mail, outcome)
        self.record()
        return outcome

    def owes(self, mail: "QueuedMail") -> bool:
        """Returns whether it is still to be recorded what became of a mail."""
        return any(owed is mail for owed, _, _ in self._owed)

    def record(self) -> None:
        """Records what is not recorded yet. StoreUnavailable if the database can't be had; Unrecorded, once, for each
        that can't be recorded for what it is."""
        while self._owed:
            mail, outcome, at = self._owed[0]
            try:
                self._books.record(mail, outcome, at)
            except StoreUnavailable:
                raise
            except SalesAutomationError as error:  # its campaign was deleted meanwhile
                logger.warning("What became of a mail can't be recorded: %s", type(error).__name__)
                self._owed.popleft()
                continue
            except Exception as error:
                if not faults.is_of_a_row(error):
                    raise
                self._owed.popleft()
                faults.note("what became of a mail can't be recorded", error, action=str(mail.action_id))
                raise Unrecorded from error
            self._owed.popleft()
            self.made += 1
            self.sent += outcome.delivery is Delivery.SENT

    def _owe(self, mail: "QueuedMail", outcome: Outcome) -> None:
        self._owed.append((mail, outcome, self._app.clock()))

    def _deliver(self, lease: Lease, mail: "QueuedMail", composed: ComposedMail) -> Outcome:
        connection = self._line.connection()
        has_begun = False

        def begin() -> None:
            nonlocal has_begun
            self._begin(lease, mail, composed)
            has_begun = True

        try:
            is_new = mail.attempts < _PATIENT_ATTEMPTS
            outcome = deliver(connection, composed, before_data=begin, waits_for_copies=is_new)
        except OutcomeUnknown:
            # It may have begun, and the server was told nothing of it.
            self._owe(mail, Outcome(Delivery.DEFERRED, Stage.DATA))
            raise
        except Exception as error:
            if has_begun:
                self._owe(mail, Outcome(Delivery.UNKNOWN, Stage.DATA))
            if has_begun or isinstance(error, OSError | MayNotGo | Ending) or not faults.is_of_a_row(error):
                raise
            self._line.close()  # nobody knows what the server waits for
            return _faulty(mail, error)
        self._line.used()
        return outcome

    def _begin(self, lease: Lease, mail: "QueuedMail", composed: ComposedMail) -> None:
        """Commits that the mail begins. Called once the server has taken sender and recipient."""
        if self._is_ending():
            raise Ending
        reason = self._books.begin(lease, mail, composed.raw)
        if reason is not None:
            raise MayNotGo(reason)


def _faulty(mail: "QueuedMail", error: Exception) -> Outcome:
    """Logs a fault of this program or of a row, and returns what becomes of the mail that it concerns."""
    fault = faults.note("a mail can't be written", error, action=str(mail.action_id))
    return _unwritten(HoldReason.INTERNAL_FAULT, holds.of_fault(fault, "The mail can't be written.").detail)


def _unwritten(rule: str, told: str) -> Outcome:
    return Outcome(Delivery.REFUSED, Stage.SENDER, None, told, BounceKind.UNKNOWN, Reason.of(rule, told))


def _new_mail(mail: "QueuedMail", now: datetime) -> NewMail:
    return NewMail(
        sender=mail.sender,
        recipient=mail.recipient,
        subject=mail.subject,
        text=mail.text,
        html=mail.html,
        signature=mail.signature,
        internet_message_id=mail.internet_message_id,
        references=tuple(mail.references),
        headers=mail.headers,
        cc=mail.cc,
        date=now,
    )
