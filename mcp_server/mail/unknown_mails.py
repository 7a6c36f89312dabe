"""Mails of which nobody knows whether they went out, of all mailboxes that a process reads: asked for together."""

import threading
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final
from uuid import UUID

from db.services.outgoing import signs
from mcp_server.process.app import App

KNOWN_SECONDS: Final = 4.0
"""How old an answer may be. A reader asks every five seconds, and looks within ten."""


class UnknownMails:
    """One for the readers of a process."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._mailboxes: set[UUID] = set()
        self._found: Mapping[UUID, Sequence[str]] = {}
        self._asked_at = float("-inf")
        self._lock = threading.Lock()

    def ids(self, mailbox_id: UUID) -> Sequence[str]:
        """Returns the Message-IDs of those of one mailbox, the latest first, as they were some seconds ago."""
        with self._lock:
            is_new = mailbox_id not in self._mailboxes
            self._mailboxes.add(mailbox_id)
            if is_new or time.monotonic() >= self._asked_at + KNOWN_SECONDS:
                work = partial(signs.unknown_ids, mailbox_ids=self._mailboxes, now=self._app.clock())
                self._found = self._app.run("look for unknown mails", work, read_only=True)
                self._asked_at = time.monotonic()
            return self._found.get(mailbox_id, ())
