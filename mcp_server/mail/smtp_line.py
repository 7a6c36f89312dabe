"""The one connection over which a mailbox sends: opened when it is needed, kept, and opened again when it is gone."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

from mcp_server.mail.access import Access
from mcp_server.mail.clients import Smtp
from mcp_server.mail.connections import shut

KEPT_SECONDS: Final = 240.0
"""Servers end a connection that says nothing for five minutes."""
_FRESH_SECONDS: Final = 1.0
_OK: Final = 250


class SmtpLine:
    """Use it on one thread, but for `interrupt`. `access`: gives how to reach the mailbox now."""

    def __init__(self, access: Callable[[], Access]) -> None:
        self._access = access
        self._stack = ExitStack()
        self._connection: Smtp | None = None
        self._used_at = 0.0

    def connection(self) -> Smtp:
        """Returns a connection that takes a mail. MailboxUnusable if there is none to be had."""
        if self._connection is not None and self._is_alive(self._connection):
            self._used_at = time.monotonic()
            return self._connection
        self.close()
        self._connection = self._stack.enter_context(self._access().smtp())
        self._used_at = time.monotonic()
        return self._connection

    def used(self) -> None:
        """Notes that a mail went over it just now."""
        self._used_at = time.monotonic()

    def rest(self) -> None:
        """Closes a connection that was not used for long."""
        if self._connection is not None and time.monotonic() - self._used_at > KEPT_SECONDS:
            self.close()

    def close(self) -> None:
        """Ends the connection, if there is one."""
        self._connection = None
        self._stack.close()

    def interrupt(self) -> None:
        """Cuts the connection from another thread."""
        connection = self._connection
        if connection is not None:
            shut(lambda: connection.sock)

    def _is_alive(self, connection: Smtp) -> bool:
        if connection.sock is None:
            return False
        if time.monotonic() - self._used_at < _FRESH_SECONDS:
            return True
        try:
            return connection.noop()[0] == _OK
        except OSError:
            return False
