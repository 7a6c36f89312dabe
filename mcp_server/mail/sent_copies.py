"""Copies of sent mails in the folder Sent, and signs there that a mail went out of which nobody knew."""

import imaplib
import logging
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, Self
from uuid import UUID

from db.domain.errors import LeaseLost, SalesAutomationError
from db.domain.mailboxes import FolderRole, Service
from db.services.outgoing import copies, signs
from mcp_server.mail import folders, sent_mail
from mcp_server.mail.access import Access
from mcp_server.mail.connections import Imap, shut
from mcp_server.mail.folders import Folder
from mcp_server.mail.lease_keeper import Lease
from mcp_server.process.app import App

if TYPE_CHECKING:
    from db.services import Session
    from db.services.outgoing.copies import Unfiled

HOSTS_THAT_FILE: Final = frozenset(
    {"smtp.gmail.com", "smtp.googlemail.com", "smtp.office365.com", "smtp-mail.outlook.com"}
)
"""They keep a copy of what is sent through them by themselves, some seconds later."""
GRACE_SECONDS: Final = 2.0
"""What any other host has for the same, before a copy is made."""
LOOKS: Final = (0.0, 1.0, 2.0, 4.0, 8.0)
"""Seconds after which a mail is looked for of which nobody knows; later the reader finds it."""
_MOST: Final = 50
_PAUSE: Final = 60.0
_LONGEST_PAUSE: Final = 900.0
AGAIN: Final = (300.0, 900.0, 3600.0)
"""Seconds after which a copy that the server does not take is tried again. It is left out then."""
_PATIENCE: Final = 1.0
_FINISH_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.2

logger = logging.getLogger(__name__)


class _Refused(NamedTuple):
    """A copy that could not be filed: how often, and when to try again, in seconds of the monotonic clock."""

    failures: int
    again_at: float


class SentCopies:
    """Files copies and looks for mails on a thread beside the sender of a mailbox, under its lease. Use it as a
    context. `access`: gives how to reach the mailbox now.

    A copy that can't be filed is tried again some times, and holds up no other. Where the mailbox can't be reached, the
    next try is a minute later, and the later the more often it fails; its reader tells that. What is left when it ends
    is made up for by the next.
    """

    def __init__(self, app: App, lease: Lease, access: Callable[[], Access]) -> None:
        self._app = app
        self._lease = lease
        self._access = access
        self._stack = ExitStack()
        self._client: Imap | None = None
        self._folders: Sequence[Folder] = ()
        self._failures = 0
        self._refused: dict[UUID, _Refused] = {}
        self._looks_at: list[float] = []
        self._lock = threading.Lock()
        self._is_done = threading.Event()
        self._is_finishing = threading.Event()
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._loop, name=f"mail-copies-{lease.mailbox_id}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._is_finishing.set()
        self._wake.set()
        client = self._client
        if client is not None:
            shut(client.socket)
        self._thread.join(_PATIENCE)

    def file(self) -> None:
        """Tells it that a mail was sent."""
        with self._lock:
            self._is_done.clear()
            self._wake.set()

    def look_for_unknown(self) -> None:
        """Tells it that there is a mail of which nobody knows whether it went out."""
        now = time.monotonic()
        with self._lock:
            self._looks_at = [now + seconds for seconds in LOOKS]
        self.file()

    def finish(self, stopping: threading.Event) -> None:
        """Waits until all is done that there is to do now, but not for long, and not once `stopping` is set."""
        self._is_finishing.set()
        ends = time.monotonic() + _FINISH_SECONDS
        while not stopping.is_set() and time.monotonic() < ends:
            if self._is_done.wait(_LOOK_SECONDS):
                return

    def _loop(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                self._do_all()
                pause = self._rest()
            except Exception as error:  # noqa: BLE001  nothing may end the loop, and the text may hold personal data
                self._close()
                told = str(error) if isinstance(error, SalesAutomationError) else type(error).__name__
                if not self._stopping.is_set():
                    logger.info("Copies in Sent have to wait: %s", told, extra={"mailbox": str(self._lease.mailbox_id)})
                self._failures += 1
                self._await_next_try()
            else:
                self._failures = 0
                self._wake.wait(pause)
        self._close()

    def _await_next_try(self) -> None:
        """Waits after a failure. Mails that are sent meanwhile do not end it: each would sign in again."""
        ends = time.monotonic() + min(_LONGEST_PAUSE, _PAUSE * 2 ** min(self._failures - 1, 10))
        while not self._stopping.is_set() and (left := ends - time.monotonic()) > 0:
            self._wake.clear()
            self._is_done.set()
            self._wake.wait(left)

    def _rest(self) -> float:
        """Returns for how many seconds there is nothing to do."""
        with self._lock:
            if self._looks_at:
                return max(0.0, self._looks_at[0] - time.monotonic())
            if not self._wake.is_set():
                self._is_done.set()
        if self._client is not None and not self._wake.wait(GRACE_SECONDS):
            self._close()
        return _PAUSE

    def _do_all(self) -> None:
        access = self._access()
        if access.server(Service.IMAP) is not None:
            self._look()
        else:  # there is nowhere to look
            with self._lock:
                self._looks_at = []
        if access.server(Service.IMAP) is None or access.servers[Service.SMTP].host in HOSTS_THAT_FILE:
            self._is_finishing.wait(GRACE_SECONDS)  # so that there is one transaction for many mails
            self._run("leave copies out", partial(copies.leave_out, lease=self._lease, now=self._app.clock()))
        else:
            while waiting := self._waiting():
                self._stopping.wait(GRACE_SECONDS)
                for mail in waiting:
                    self._try_to_file(mail)

    def _waiting(self) -> "Sequence[Unfiled]":
        self._check()
        now = time.monotonic()
        later = [id_ for id_, refused in self._refused.items() if refused.again_at > now]

        def work(session: "Session") -> "Sequence[Unfiled]":
            return copies.unfiled(session, mailbox_id=self._lease.mailbox_id, limit=_MOST, without=later)

        return self._app.run("look for copies to make", work, read_only=True)

    def _try_to_file(self, mail: "Unfiled") -> None:
        """Files the copy of one mail. Where that fails for this mail alone, it is tried again later, and left out at
        last."""
        self._imap()  # what fails here concerns the mailbox
        try:
            self._file(mail)
        except SalesAutomationError:
            raise
        except Exception as error:
            self._check()
            self._refuse(mail, error)
            if not isinstance(error, imaplib.IMAP4.error) or isinstance(error, imaplib.IMAP4.abort):
                raise  # the connection is gone, and it may not be for this mail
        else:
            self._refused.pop(mail.message_id, None)

    def _refuse(self, mail: "Unfiled", error: Exception) -> None:
        before = self._refused.pop(mail.message_id, None)
        failures = 1 if before is None else before.failures + 1
        facts = {"mail": str(mail.message_id), "error": type(error).__name__}
        if failures <= len(AGAIN):
            self._refused[mail.message_id] = _Refused(failures, time.monotonic() + AGAIN[failures - 1])
            logger.info("A copy in Sent can't be filed yet", extra=facts)
        else:
            logger.warning("A copy in Sent can't be filed, and is left out", extra=facts)
            self._note_filed(mail)

    def _file(self, mail: "Unfiled") -> None:
        self._check()
        sent = self._folder(FolderRole.SENT)
        if sent is not None and mail.raw is not None and not self._is_in(sent, mail.internet_message_id):
            self._check()
            self._imap().append(sent.name, zlib.decompress(mail.raw), (b"\\Seen",))
        self._note_filed(mail)

    def _note_filed(self, mail: "Unfiled") -> None:
        note = partial(copies.note_filed, lease=self._lease, message_ids=[mail.message_id], now=self._app.clock())
        self._run("note a copy", note)

    def _look(self) -> None:
        """Looks for mails of which nobody knows, if it is time."""
        now = time.monotonic()
        with self._lock:
            is_time = bool(self._looks_at) and self._looks_at[0] <= now
            self._looks_at = [at for at in self._looks_at if at > now]
        if not is_time:
            return

        mailbox_id = self._lease.mailbox_id
        work = partial(signs.unknown_ids, mailbox_ids=[mailbox_id], now=self._app.clock())
        asked = self._app.run("look for unknown mails", work, read_only=True).get(mailbox_id)
        if not asked:
            with self._lock:
                self._looks_at = []
            return
        places = [place for role in sent_mail.ROLES if (place := self._folder(role)) is not None]
        found = [id_ for id_ in asked if any(self._is_in(place, id_) for place in places)]
        if found:
            self._run(
                "note mails that went out", partial(signs.found, internet_message_ids=found, now=self._app.clock())
            )

    def _is_in(self, folder: Folder, internet_message_id: str) -> bool:
        self._check()
        client = self._imap()
        client.select_folder(folder.name, readonly=True)  # each time again, to see what has come
        return sent_mail.is_in_selected(client, internet_message_id)

    def _folder(self, role: FolderRole) -> Folder | None:
        client = self._imap()
        if not self._folders:
            self._folders = folders.to_read([(flags, name) for flags, _, name in client.list_folders()])
        return next((folder for folder in self._folders if folder.role is role), None)

    def _imap(self) -> Imap:
        if self._client is None:
            self._client = self._stack.enter_context(self._access().imap())
        return self._client

    def _close(self) -> None:
        self._client, self._folders = None, ()
        with suppress(Exception):  # what ends badly has ended
            self._stack.close()

    def _run(self, description: str, work: "Callable[[Session], object]") -> None:
        self._app.run(description, work)

    def _check(self) -> None:
        """Raises LeaseLost if another process has the mailbox, or if this one ends."""
        if self._stopping.is_set():
            raise LeaseLost("This process ends.")
        self._lease.check()
