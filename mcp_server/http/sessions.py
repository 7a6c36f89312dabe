"""Who is signed in: a link is exchanged for a session, which a cookie carries. What was used up is written down: a link
holds once, and who has signed out has done so in every server.

That is written by a read-only server too, since it is none of the data. Where the database takes no writes, and in a
server that signs with a key of its own, it is kept in memory alone: a link holds only in a server that ran when it was
made, so that this is enough for links, and a sign-out says how far it reaches.
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import anyio
from anyio.to_thread import run_sync
from starlette.requests import cookie_parser

from db.domain.access import Caller, Scope
from db.domain.errors import NotPermitted, StoreUnavailable
from db.services.ops import tickets
from mcp_server.process.app import App
from mcp_server.process.bounded import SECONDS
from mcp_server.process.cached import Cached

if TYPE_CHECKING:
    from db.services import Session
    from db.services.ops.tickets import Ticket

ROOT: Final = "/dashboard"
SESSION_PREFIX: Final = "dashboard "
"""The ids of callers with a session begin so; those of tokens are UUIDs."""

# Besides what `read` allows, its pages show the server's health, and whoever opened one by a link, which takes the
# command line of the machine, may approve. A session is not a token: it opens nothing else.
_SCOPES: Final = frozenset({Scope.READ, Scope.OPS, Scope.APPROVE})
_KEPT_SECONDS: Final = 10.0
_MOST_USED_UP: Final = 10_000


class Known(NamedTuple):
    """The key of the tickets, None if none was made; and the ids of those that are used up."""

    key: bytes | None
    used_up: frozenset[bytes] = frozenset()


class Ended(NamedTuple):
    """What came of a sign-out: the cookie to be deleted, None where there is none; and whether every server knows."""

    cookie: str | None
    is_everywhere: bool


class Tickets(Protocol):
    """Used on threads. StoreUnavailable where the database can't be had."""

    def read(self) -> Known: ...

    def use_up(self, ticket: "Ticket") -> bool:
        """Uses up a ticket. Returns False if it was used up before, as far as that is stored. NotPermitted if it can't
        be stored."""
        ...


class OwnTickets:
    """Tickets of a process that signs with a key of its own. They end with it, so nothing is stored."""

    def __init__(self, key: bytes) -> None:
        self._known = Known(key)

    def read(self) -> Known:
        return self._known

    def use_up(self, ticket: "Ticket") -> bool:  # noqa: ARG002  the shape of Tickets
        return True


class StoredTickets:
    """With the key of the database, which `sales-automation-mcp dashboard` makes."""

    def __init__(self, app: App) -> None:
        self._app = app

    def read(self) -> Known:
        def work(session: "Session") -> Known:
            key = tickets.get_key(session)
            return Known(key, tickets.used_up(session, now=self._app.clock()) if key else frozenset())

        return self._app.run("dashboard key", work, read_only=True)

    def use_up(self, ticket: "Ticket") -> bool:
        work = partial(tickets.use_up, ticket=ticket, now=self._app.clock())
        return self._app.run("use up a ticket", work, is_security=True)


class Sessions:
    """Used on the event loop; what is stored is read on a thread, and kept for some seconds."""

    def __init__(
        self, tickets: Tickets, clock: Callable[[], datetime], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._tickets = tickets
        self._clock = clock
        # Those who wait share a reading, or strangers with wrong links could keep the database busy.
        self._known = Cached(tickets.read, monotonic=monotonic)
        self._started_at = clock() - timedelta(milliseconds=1)
        self._used_up: dict[bytes, datetime] = {}

    async def sign_in(self, code: str) -> tuple[str, str] | None:
        """Returns (name, value) of the cookie for the code of a link, which is used up with it; None for one that does
        not hold."""
        # A key that was made just now is not known yet, and a person waits when a link is made.
        key = (await self._known.get(at_most=0)).key
        kinds, now = tickets.Kind, self._clock()
        link = tickets.read(key, kinds.LINK, code, now) if key else None
        if key is None or link is None or link.issued_at < self._started_at or link.id in self._used_up:
            return None
        try:
            is_first = await self._write_down(link)
        except NotPermitted:
            is_first = True  # as far as this server knows
        if not (is_first and self._use_up(link.id, now)):
            return None
        return cookie_name(key), tickets.issue(key, kinds.SESSION, now)

    async def find(self, cookies: str | None) -> Caller | None:
        """Returns whose session the header Cookie carries; None for no session that holds."""
        if not cookies:
            return None
        key, used_up = await self._known.get(at_most=_KEPT_SECONDS)
        text = _value(cookies, cookie_name(key)) if key else None
        if key is None or text is None:
            return None
        ticket = tickets.read(key, tickets.Kind.SESSION, text, self._clock())
        if ticket is None or ticket.id in self._used_up or ticket.id in used_up:
            return None
        return Caller("dashboard", _SCOPES, f"{SESSION_PREFIX}{ticket.id.hex()}")

    async def end(self, cookies: str | None) -> Ended:
        """Ends the session that the header carries, everywhere if the database takes writes.

        StoreUnavailable where that can't be written down: then it has ended here, and must be ended again.
        """
        key, _ = await self._known.get(at_most=_KEPT_SECONDS)
        if key is None:
            return Ended(None, is_everywhere=True)
        text, now = _value(cookies or "", cookie_name(key)), self._clock()
        ticket = tickets.read(key, tickets.Kind.SESSION, text, now) if text else None
        if ticket is None:
            return Ended(cookie_name(key), is_everywhere=True)
        self._use_up(ticket.id, now)
        try:
            await self._write_down(ticket)
        except NotPermitted:
            return Ended(cookie_name(key), is_everywhere=False)
        return Ended(cookie_name(key), is_everywhere=True)

    async def _write_down(self, ticket: "Ticket") -> bool:
        with anyio.move_on_after(SECONDS):
            return await run_sync(self._tickets.use_up, ticket, abandon_on_cancel=True)
        raise StoreUnavailable("The database is silent. Try again when it answers.")

    def _use_up(self, id_: bytes, now: datetime) -> bool:
        """Uses up a ticket. Returns False if it was used up before."""
        if id_ in self._used_up:
            return False
        if len(self._used_up) >= _MOST_USED_UP:
            longest = max(tickets.LIFETIMES.values())
            self._used_up = {ticket_id: at for ticket_id, at in self._used_up.items() if now - at < longest}
        self._used_up[id_] = now
        return True


def lifetime() -> int:
    """Returns the seconds for which a session is valid."""
    return int(tickets.LIFETIMES[tickets.Kind.SESSION].total_seconds())


def cookie_name(key: bytes) -> str:
    """Returns the name of the cookie, another one for each database: cookies don't tell the ports of a machine apart,
    and two servers may run on it."""
    return f"sales_automation_{sha256(b'cookie' + key).hexdigest()[:12]}"


def link(base: str, key: bytes, now: datetime) -> str:
    """Returns the address that signs a browser in, once, within minutes. `base`: scheme, host and port of the
    server."""
    return f"{base}{ROOT}/login?code={tickets.issue(key, tickets.Kind.LINK, now)}"


def _value(cookies: str, name: str) -> str | None:
    # Whatever else runs on this machine sets cookies too, and not only such as the standard library can read.
    return cookie_parser(cookies).get(name)
