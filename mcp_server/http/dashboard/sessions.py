"""Who is signed in: a link is exchanged for a session, which a cookie carries. Nothing of it is written down.

A link holds once in each server, and only in one that ran when it was made; so what was used up is kept in memory.
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from starlette.requests import cookie_parser

from db import services
from db.domain.access import Caller, Scope
from mcp_server.app import App
from mcp_server.look import Look

ROOT: Final = "/dashboard"
SESSION_PREFIX: Final = "dashboard "
"""The ids of callers with a session begin so; those of tokens are UUIDs."""

# Beside what `read` allows, its pages show the server's health. A session is no token: it opens nothing else.
_SCOPES: Final = frozenset({Scope.READ, Scope.OPS})
_KEPT_SECONDS: Final = 10.0
_MOST_USED_UP: Final = 10_000

Key = Callable[[], bytes | None]
"""Reads the key of the tickets, on a thread. StoreUnavailable where that can't be had, or not soon."""


class Sessions:
    """Used on the event loop; the key is read on a thread, and kept for some seconds."""

    def __init__(
        self, key: Key, clock: Callable[[], datetime], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._read_key = key
        self._clock = clock
        self._monotonic = monotonic
        self._kept: tuple[float, bytes | None] = (float("-inf"), None)
        """(when it was read, the key)"""
        self._look = Look(self._read)
        self._started_at = clock() - timedelta(milliseconds=1)
        self._used_up: dict[bytes, datetime] = {}

    async def sign_in(self, code: str) -> tuple[str, str] | None:
        """(name, value) of the cookie for the code of a link, which is used up with it; None for one that does not
        hold."""
        # A key that was made just now is not known yet, and links are made where a person waits.
        key = await self._current_key(at_most=0)
        kinds, now = services.tickets.Kind, self._clock()
        link = services.tickets.read(key, kinds.LINK, code, now) if key else None
        if key is None or link is None or link.issued_at < self._started_at or not self._use_up(link.id, now):
            return None
        return cookie_name(key), services.tickets.issue(key, kinds.SESSION, now)

    async def find(self, cookies: str | None) -> Caller | None:
        """Whose session the header Cookie carries; None for no session that holds."""
        if not cookies:
            return None
        key = await self._current_key(at_most=_KEPT_SECONDS)
        text = _value(cookies, cookie_name(key)) if key else None
        if key is None or text is None:
            return None
        ticket = services.tickets.read(key, services.tickets.Kind.SESSION, text, self._clock())
        if ticket is None or ticket.id in self._used_up:
            return None
        return Caller("dashboard", _SCOPES, f"{SESSION_PREFIX}{ticket.id.hex()}")

    async def end(self, cookies: str | None) -> str | None:
        """End the session that the header carries. The name of its cookie, to be deleted."""
        key = await self._current_key(at_most=_KEPT_SECONDS)
        if key is None:
            return None
        text, now = _value(cookies or "", cookie_name(key)), self._clock()
        ticket = services.tickets.read(key, services.tickets.Kind.SESSION, text, now) if text else None
        if ticket is not None:
            self._use_up(ticket.id, now)
        return cookie_name(key)

    def _use_up(self, id_: bytes, now: datetime) -> bool:
        """False if it was used up before."""
        if id_ in self._used_up:
            return False
        if len(self._used_up) >= _MOST_USED_UP:
            longest = max(services.tickets.LIFETIMES.values())
            self._used_up = {each: at for each, at in self._used_up.items() if now - at < longest}
        self._used_up[id_] = now
        return True

    async def _current_key(self, *, at_most: float) -> bytes | None:
        """The key as it was `at_most` seconds ago, or later."""
        wanted = self._monotonic() - at_most
        while self._kept[0] <= wanted:
            # Those who wait share a reading, or strangers with wrong links could keep the database busy.
            await self._look.take_async()
        return self._kept[1]

    def _read(self) -> None:
        started = self._monotonic()
        self._kept = (started, self._read_key())


def stored_key(app: App) -> Key:
    """The key of the database, which `sales-automation-mcp dashboard` makes."""
    return lambda: app.run("dashboard key", services.tickets.get_key, read_only=True)


def lifetime() -> int:
    """Seconds for which a session holds."""
    return int(services.tickets.LIFETIMES[services.tickets.Kind.SESSION].total_seconds())


def cookie_name(key: bytes) -> str:
    """One for each database: cookies don't tell the ports of a machine apart, and two servers may run on it."""
    return f"sales_automation_{sha256(b'cookie' + key).hexdigest()[:12]}"


def link(base: str, key: bytes, now: datetime) -> str:
    """The address that signs a browser in, once, within minutes. `base`: scheme, host and port of the server."""
    return f"{base}{ROOT}/login?code={services.tickets.issue(key, services.tickets.Kind.LINK, now)}"


def _value(cookies: str, name: str) -> str | None:
    # Whatever else runs on this machine sets cookies too, and not only such as the standard library can read.
    return cookie_parser(cookies).get(name)
