"""Waits for new mail in the selected folder: the server says when some comes (IDLE, RFC 2177)."""

import imaplib
import time
from collections.abc import Callable
from typing import Final

from mcp_server.mail.connections import Imap

IDLE_SECONDS_MAX: Final = 25 * 60.0
"""A server may end an IDLE of half an hour."""


LOOK_SECONDS: Final = 5.0


def idle(client: Imap, seconds: float, *, is_needed: Callable[[], bool]) -> None:
    """Waits for up to as many seconds, until the server tells of something, or `is_needed`, which is asked every 5
    seconds. The caller looks what it is."""
    ends = time.monotonic() + min(seconds, IDLE_SECONDS_MAX)
    client.idle()
    told: list[tuple[bytes, ...]] = []
    while not told and (left := ends - time.monotonic()) > 0 and not is_needed():
        told = client.idle_check(timeout=min(left, LOOK_SECONDS))
    if any(line and line[0] == b"BYE" for line in told):
        raise imaplib.IMAP4.abort("the server ended the connection")
    client.idle_done()
