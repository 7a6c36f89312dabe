"""Works on one mailbox for as long as a process runs: takes its lease, connects, and starts again after failures."""

import threading
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar, Final
from uuid import UUID

from db.domain.errors import NotFound, StoreUnavailable
from db.domain.mailboxes import LeaseRole
from db.services.mail import mailboxes
from db.services.mail.leases import LEASE_SECONDS
from mcp_server.mail.lease_keeper import Lease, LeaseKeeper
from mcp_server.mail.trouble import FIRST_PAUSE, Trouble
from mcp_server.process.app import App

if TYPE_CHECKING:
    from db.models import Mailbox
    from db.services import Session

_PATIENCE: Final = 5.0


class MailboxLoop(ABC):
    """A reader or a sender of one mailbox. `start` works on a thread until `stop`; `run_once` does what there is to do
    now."""

    role: ClassVar[LeaseRole]

    def __init__(self, app: App, keeper: LeaseKeeper, mailbox_id: UUID, address: str) -> None:
        self.address = address
        self._app = app
        self._keeper = keeper
        self._mailbox_id = mailbox_id
        self._trouble = Trouble(app, mailbox_id, address, self.role)
        self._is_open = False
        """Whether the mailbox was signed in since the last attempt began."""
        self._failure: Exception | None = None
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._loop, name=f"mail-{self.role}-{mailbox_id}", daemon=True)

    @property
    def problem(self) -> str | None:
        """Why it can't be done; None if it can."""
        return self._trouble.problem

    @property
    def is_running(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Works on a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Tells it to end."""
        self._stopping.set()
        self._wake.set()

    def join(self, seconds: float = _PATIENCE) -> None:
        """Waits until its thread has ended, but not for long."""
        if self._thread.is_alive():
            self._thread.join(seconds)

    @abstractmethod
    def cut(self) -> None:
        """Cuts off what did not end in time after `stop`."""

    def wake(self) -> None:
        """Ends a pause after a failure, as when the credentials are given again."""
        self._wake.set()

    def run_once(self) -> bool:
        """Does all that there is to do. Returns False if another process has the mailbox; `problem` says what is
        wrong."""
        ends = time.monotonic() + LEASE_SECONDS + 1  # a process that was killed leaves its lease
        while not self._stopping.is_set():
            self._wake.clear()
            pause = self._attempt(is_once=True)
            if pause is None or self.problem is not None:
                return True
            if time.monotonic() >= ends:
                return self._is_unavailable()
            self._wake.wait(1.0)
        return True

    def _is_unavailable(self) -> bool:
        """Returns whether the database keeps it from working, and not another process. That is its problem then."""
        if isinstance(self._failure, StoreUnavailable):
            self._trouble.problem = str(self._failure)
        return self.problem is not None

    @abstractmethod
    def _work(self, lease: Lease, *, is_once: bool) -> None:
        """Connects and works under the lease, until it is stopped, or all is done that there is to do now."""

    @abstractmethod
    def _when_lost(self) -> None:
        """Called on another thread when another process has taken the mailbox."""

    def _loop(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                pause = self._attempt(is_once=False)
            except NotFound:
                return  # the mailbox is removed, or has no such server any more
            if pause is not None and not self._stopping.is_set():
                self._wake.wait(pause)

    def _attempt(self, *, is_once: bool) -> float | None:
        """Works over one connection. Returns for how many seconds to wait before the next; None if it ended well."""
        self._is_open, self._failure = False, None
        try:
            return self._work_under_lease(is_once=is_once)
        except NotFound:
            raise
        except Exception as error:  # noqa: BLE001  nothing may end the loop; Trouble tells what is unexpected
            if self._stopping.is_set():
                return None
            self._failure = error
            return self._trouble.pause(error, is_open=self._is_open, is_once=is_once)

    def _work_under_lease(self, *, is_once: bool) -> float | None:
        lease = self._keeper.take(self._mailbox_id, self.role, when_lost=self._when_lost)
        if lease is None:
            self._row()  # NotFound if that is why
            return FIRST_PAUSE
        try:
            self._work(lease, is_once=is_once)
        except Exception:
            lease.check()  # its connection was shut because another process has the mailbox
            raise
        finally:
            with suppress(StoreUnavailable):
                self._keeper.give_back(lease)
        return None

    def _row(self) -> "Mailbox":
        def work(session: "Session") -> "Mailbox":
            return mailboxes.find(session, mailbox=self._mailbox_id)

        return self._app.run("read mailbox", work, read_only=True)
