"""Reads one mailbox: connects, reads its folders, waits for new mail, and starts again after failures."""

import time
from typing import Final
from uuid import UUID

from db.domain.errors import MailboxUnusable
from db.domain.mailboxes import LeaseRole
from mcp_server.mail.access import Access
from mcp_server.mail.connections import Imap, shut
from mcp_server.mail.fetch_failures import TRIES, FetchFailures
from mcp_server.mail.folder_reading import FolderReading
from mcp_server.mail.lease_keeper import Lease, LeaseKeeper
from mcp_server.mail.mailbox_loop import MailboxLoop
from mcp_server.mail.unknown_mails import UnknownMails
from mcp_server.mail.waiting import LOOK_SECONDS, idle
from mcp_server.process.app import App

INBOX_SECONDS: Final = 60.0
OTHERS_SECONDS: Final = 300.0
LEFT_SECONDS: Final = 3_600.0
"""Between two tries of mails that the server did not give."""


class MailboxReader(MailboxLoop):
    """The reader of one mailbox."""

    role = LeaseRole.READER

    def __init__(
        self, app: App, keeper: LeaseKeeper, mailbox_id: UUID, address: str, unknown: UnknownMails | None = None
    ) -> None:
        """unknown: those that the readers of a process share; left out, it has its own."""
        super().__init__(app, keeper, mailbox_id, address)
        self._unknown = unknown or UnknownMails(app)
        self._fetch_failures = FetchFailures()
        self._left_read_at = float("-inf")
        self._client: Imap | None = None

    def stop(self) -> None:
        """Tells it to end, and shuts its connection, so that it waits for nothing."""
        super().stop()
        self._interrupt()

    def cut(self) -> None:
        """Shuts its connection once more, which it may have opened since."""
        self._interrupt()

    def _when_lost(self) -> None:
        self._interrupt()

    def _work(self, lease: Lease, *, is_once: bool) -> None:
        attempts = 0
        while True:
            try:
                self._read_over(lease, is_once=is_once)
            except MailboxUnusable:
                attempts += 1
                # A mail that ends the connection is found by asking for each by itself, after one try without asking
                # ahead. Else, the loop does that.
                is_to_repeat = is_once and attempts <= TRIES + 2 and self._fetch_failures.is_any
                if not is_to_repeat or self._stopping.is_set():
                    raise
            else:
                return

    def _read_over(self, lease: Lease, *, is_once: bool) -> None:
        """Reads over a new connection."""
        with Access.of(self._app, self._row()).imap() as client:
            self._client, self._is_open = client, True
            try:
                reading = FolderReading(self._app, client, self._mailbox_id, lease, self._unknown, self._fetch_failures)
                self._read_folders(reading, client, is_once=is_once)
            finally:
                self._client = None

    def _read_folders(self, reading: FolderReading, client: Imap, *, is_once: bool) -> None:
        """Reads new mails of the folders whose time has come, and a batch of older ones in between."""
        inbox_seconds, others_seconds = self._intervals()
        looked_at, read_at = float("-inf"), dict[str, float]()
        while not self._stopping.is_set():
            if time.monotonic() >= looked_at + others_seconds:
                reading.look_for_folders()
                looked_at = time.monotonic()
                reading.look_for_unknown()
            elif reading.has_unknown():
                reading.look_for_unknown()
            for folder in list(reading.folders):
                seconds = inbox_seconds if folder.is_inbox else others_seconds
                if time.monotonic() >= read_at.get(folder.name, float("-inf")) + seconds:
                    reading.read_new(folder)
                    read_at[folder.name] = time.monotonic()
            if reading.read_older():
                continue
            self._trouble.is_over()
            self._read_left(reading)
            if is_once:
                return
            others_at = min((read_at.get(folder.name, looked_at) for folder in reading.folders[1:]), default=looked_at)
            self._wait(reading, client, others_at + others_seconds)
            read_at.pop(reading.inbox.name, None)

    def _read_left(self, reading: FolderReading) -> None:
        """Tries mails that could not be fetched once more, when all others are read."""
        if time.monotonic() >= self._left_read_at + LEFT_SECONDS:
            self._left_read_at = time.monotonic()
            reading.read_left()

    def _intervals(self) -> tuple[float, float]:
        given = self._app.settings.mail_poll_seconds
        return (INBOX_SECONDS, OTHERS_SECONDS) if given is None else (given, given)

    def _wait(self, reading: FolderReading, client: Imap, others_at: float) -> None:
        """Waits for mail in INBOX, or until the others are to be read."""
        inbox_seconds, _ = self._intervals()
        if not client.has_capability("IDLE"):
            self._sleep(reading, min(inbox_seconds, max(0.0, others_at - time.monotonic())))
            return
        if reading.selected != reading.inbox.name:
            reading.read_new(reading.inbox)
        seconds = others_at - time.monotonic()
        if seconds > 0 and reading.selected == reading.inbox.name and not self._stopping.is_set():
            idle(client, seconds, is_needed=reading.has_unknown)

    def _sleep(self, reading: FolderReading, seconds: float) -> None:
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0 and not reading.has_unknown():
            if self._stopping.wait(min(left, LOOK_SECONDS)):
                return

    def _interrupt(self) -> None:
        """Shuts the connection from another thread."""
        client = self._client
        if client is not None:
            shut(client.socket)
