"""What goes wrong with reading a mailbox or sending from it: told in its row, and how long to wait before the next
try."""

import logging
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Final
from uuid import UUID

from db.domain.errors import LeaseLost, MailboxUnusable, NotFound, StoreUnavailable
from db.domain.mailboxes import UNREADABLE, UNSENDABLE, LeaseRole, MailboxCommand, MailboxStatus
from db.services.mail import mailboxes
from mcp_server.process.app import App

if TYPE_CHECKING:
    from db.services import Session

FIRST_PAUSE: Final = 5.0
LONGEST_PAUSE: Final = 300.0
CHECK_SECONDS: Final = 3_600.0
_FAILURES_MOST: Final = 3
"""As many connections in a row that end before everything is read make the mailbox failing."""

_PREFIXES: Final = MappingProxyType({LeaseRole.READER: UNREADABLE, LeaseRole.SENDER: UNSENDABLE})
_DOING: Final = MappingProxyType({LeaseRole.READER: "reading", LeaseRole.SENDER: "sending"})

logger = logging.getLogger(__name__)


class Trouble:
    """The failures of one reader or sender. `problem`: what the mailbox is failing for; None while it works."""

    def __init__(self, app: App, mailbox_id: UUID, address: str, role: LeaseRole) -> None:
        self.problem: str | None = None
        self._app = app
        self._mailbox_id = mailbox_id
        self._address = address
        self._prefix = _PREFIXES[role]
        self._doing = _DOING[role]
        self._failures = 0

    def worked(self) -> None:
        """Notes that a part of the work is done: failures before it are not in a row with later ones."""
        if self._failures or self.problem is not None:
            self.is_over()

    def is_over(self) -> None:
        """Notes that it works: the mailbox is failing no more."""
        self._failures = 0
        self.problem = None

        def is_failing(session: "Session") -> bool:
            return mailboxes.find(session, mailbox=self._mailbox_id).status == MailboxStatus.FAILING

        if self._app.run("look at a mailbox", is_failing, read_only=True):
            self._tell(MailboxCommand.RECOVER, None)

    def pause(self, error: Exception, *, is_open: bool, is_once: bool) -> float:
        """Takes a failure. Returns for how many seconds to wait before the next try; an hour where a person must do
        something first.

        is_open: the mailbox was signed in before. Servers end connections now and then, so the mailbox is failing only
        if it happens again and again. is_once: there is no next try, so what is wrong is told at once.
        """
        if isinstance(error, LeaseLost | StoreUnavailable):
            return FIRST_PAUSE
        self._failures += 1
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self._failures - 1, 10))
        is_last = is_once or self._failures >= _FAILURES_MOST
        if not isinstance(error, MailboxUnusable):
            # Without its text, which may hold personal data.
            logger.error("The %s of a mailbox failed: %s", self._doing, type(error).__name__, extra=self._facts())
            self.problem = self.problem or f"A fault of this program stopped the {self._doing}; its log says more."
            return pause
        if is_last or not is_open:
            self._fail(str(error))
        needs_somebody = not is_open and not isinstance(error.__cause__, OSError)
        return CHECK_SECONDS if is_last and needs_somebody else pause

    def _fail(self, reason: str) -> None:
        problem = self._prefix + reason
        if problem != self.problem:
            logger.warning("The %s of a mailbox fails", self._doing, extra=self._facts())
        self.problem = problem
        self._tell(MailboxCommand.FAIL, problem)

    def _tell(self, command: MailboxCommand, problem: str | None) -> None:
        now = self._app.clock()

        def work(session: "Session") -> None:
            row = mailboxes.find(session, mailbox=self._mailbox_id, is_locked=True)
            is_failing = row.status == MailboxStatus.FAILING
            if is_failing and (row.problem == problem or not (row.problem or "").startswith(self._prefix)):
                return  # told already, or failing for another reason
            mailboxes.command(session, row=row, command=command, problem=problem, now=now)

        with suppress(StoreUnavailable, NotFound):  # the next attempt finds out if it is removed
            self._app.run("tell how a mailbox is", work)

    def _facts(self) -> dict[str, str]:
        return {"mailbox": str(self._mailbox_id)}
