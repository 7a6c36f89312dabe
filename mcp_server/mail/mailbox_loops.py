"""Works on all mailboxes of a kind: starts a loop for each, and ends the loops of those that are paused or gone."""

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Final

from db.domain.errors import StoreUnavailable
from mcp_server.process.app import App

if TYPE_CHECKING:
    from uuid import UUID

    from db.domain.mailboxes import MailServer, Service
    from db.models import Mailbox
    from db.services import Session
    from mcp_server.mail.lease_keeper import LeaseKeeper
    from mcp_server.mail.mailbox_loop import MailboxLoop

LOOK_AGAIN_SECONDS: Final = 15.0
"""Between two looks for mailboxes that other processes connected, such as `mailboxes add`."""
_DATABASE_SECONDS: Final = 1.0
_CUT_SECONDS: Final = 2.0
_KEEPER_SECONDS: Final = 0.5

logger = logging.getLogger(__name__)


class MailboxLoops(ABC):
    """Readers or senders. Start it once in a process, and stop it before the app is closed. Without a mailbox it does
    no more than look for one."""

    name: ClassVar[str]
    patience: ClassVar[float]
    """Seconds within which the loops end together; what is left is cut off then."""

    def __init__(self, app: App, *, looks_at_domains: bool = True) -> None:
        """looks_at_domains: also looks at the domains of mailboxes; one in a process is enough."""
        self._app = app
        self._looks_at_domains = looks_at_domains
        self._stopping = threading.Event()
        self._changed = app.mailboxes_changed.listen()
        self._loops: dict[UUID, tuple[MailServer, bytes | None, MailboxLoop]] = {}
        self._ending: list[MailboxLoop] = []
        """Loops that were told to stop, as those of mailboxes that are paused since."""
        self._thread = threading.Thread(target=self._loop, name=f"mail-{self.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def signal(self) -> None:
        """Tells all loops to end, and waits for none."""
        self._stopping.set()
        self._changed.set()

    def stop(self) -> None:
        """Ends the loops, within `patience` or a little more."""
        self.signal()
        if self._thread.is_alive():
            self._thread.join(self.patience + _CUT_SECONDS + _KEEPER_SECONDS)

    @abstractmethod
    def _list(self, session: "Session") -> "Sequence[Mailbox]":
        """Returns the mailboxes that are to have a loop."""

    @abstractmethod
    def _service(self) -> "Service":
        """Returns which server of a mailbox the loop uses."""

    @abstractmethod
    def _new(self, keeper: "LeaseKeeper", row: "Mailbox") -> "MailboxLoop":
        """Returns a new loop for a mailbox, not started."""

    def _loop(self) -> None:
        # The database is not started for the loops, and what they import would delay the server's first client.
        while self._app.open_database is None:
            if self._stopping.wait(_DATABASE_SECONDS):
                return
        from mcp_server.mail.domain_looks import DomainLooks  # noqa: PLC0415  see above
        from mcp_server.mail.lease_keeper import LeaseKeeper  # noqa: PLC0415  see above

        looks = DomainLooks(self._app, self._stopping) if self._looks_at_domains else None
        if looks is not None:
            looks.start()
        with LeaseKeeper(self._app) as keeper:
            while not self._stopping.is_set():
                self._changed.clear()
                self._look(keeper)
                self._changed.wait(LOOK_AGAIN_SECONDS)
            self._end()
        if looks is not None:
            looks.join()

    def _look(self, keeper: "LeaseKeeper") -> None:
        try:
            self._adjust_all(keeper)
        except StoreUnavailable as error:
            logger.info("The mailboxes can't be looked for: %s", error)
        except Exception as error:  # noqa: BLE001  nothing may end the loop, and the text may hold personal data
            logger.error("The mailboxes could not be looked for: %s", type(error).__name__)  # noqa: TRY400  see above

    def _adjust_all(self, keeper: "LeaseKeeper") -> None:
        rows = self._app.run("look for mailboxes", self._list, read_only=True)
        self._ending = [loop for loop in self._ending if loop.is_running]
        for gone in self._loops.keys() - {row.id for row in rows}:
            self._let_go(self._loops.pop(gone)[2])
        for row in rows:
            if self._stopping.is_set():
                return
            self._adjust(keeper, row)

    def _adjust(self, keeper: "LeaseKeeper", row: "Mailbox") -> None:
        """Starts the loop of a mailbox, or lets it know of what changed."""
        from db.domain.mailboxes import MailboxStatus  # noqa: PLC0415  see _loop
        from db.services.mail import mailboxes  # noqa: PLC0415  see _loop

        server = mailboxes.server_of(row, self._service())
        credential = mailboxes.credential_of(row, self._service())
        assert server is not None, "only mailboxes with one are listed"
        known = self._loops.get(row.id)
        if known is not None and known[0] == server and known[2].is_running:
            loop = known[2]
            is_resumed = loop.problem is not None and row.status == MailboxStatus.ACTIVE
            if known[1] != credential or is_resumed:
                loop.wake()
        else:
            if known is not None:
                self._let_go(known[2])
            loop = self._new(keeper, row)
            loop.start()
        self._loops[row.id] = (server, credential, loop)

    def _let_go(self, loop: "MailboxLoop") -> None:
        loop.stop()
        self._ending.append(loop)

    def _end(self) -> None:
        loops = [*(loop for _, _, loop in self._loops.values()), *self._ending]
        for loop in loops:
            loop.stop()
        for seconds in (self.patience, _CUT_SECONDS):
            ends = time.monotonic() + seconds
            for loop in loops:
                loop.join(max(0.0, ends - time.monotonic()))
            for loop in loops:
                if loop.is_running:
                    loop.cut()
