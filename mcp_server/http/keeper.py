"""Which tokens hold. They are read all at once and kept for some seconds, so that no request waits for the database."""

import hmac
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Final
from uuid import UUID

import anyio
from anyio.to_thread import run_sync

from db import services
from db.domain.access import ACTOR_DEFAULT_TOKEN, Caller
from db.domain.errors import StoreUnavailable
from mcp_server.app import App
from mcp_server.caller import EVERY_SCOPE

if TYPE_CHECKING:
    from db.services import Session
    from db.services.tokens import Tokens

KEPT_SECONDS: Final = 10.0
"""A token that was revoked holds for at most as long."""

_MISS_SECONDS = 1.0  # how soon a token that is not known makes us look again, for one that was made just now
_NOTED_SECONDS = 60  # how exact last_used_at is

DEFAULT: Final = Caller(ACTOR_DEFAULT_TOKEN, EVERY_SCOPE, ACTOR_DEFAULT_TOKEN)


class Keeper:
    """Knows the tokens. Used on the event loop; what it asks the database it asks on a thread."""

    def __init__(
        self,
        app: App,
        *,
        default: str | None,
        is_loopback: bool,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`default`: the token of the settings, which may do everything."""
        self._app = app
        self._default = sha256(default.encode()).digest() if default else None
        self._is_loopback = is_loopback
        self._monotonic = monotonic
        self._tokens: Tokens | None = None
        self._read_at = float("-inf")
        self._reading = anyio.Lock()
        self._failure: str | None = None
        self._failed_at = float("-inf")
        # A thread of its own: those of the tools may all be waiting for the database.
        self._thread = anyio.CapacityLimiter(1)
        self._used: dict[UUID, datetime] = {}

    async def find(self, token: str) -> Caller | None:
        """Whose token this is. None if nobody's; StoreUnavailable where that can't be told."""
        given = sha256(token.encode()).digest()
        # All are compared, and each in the same time, so that a wrong token tells nothing of a right one.
        if self._default is not None and hmac.compare_digest(given, self._default):
            return DEFAULT
        found = self._match(await self._read(KEPT_SECONDS), given)
        if found is None:
            found = self._match(await self._read(_MISS_SECONDS), given)
        return found

    async def is_open(self) -> bool:
        """Nobody needs a token: the server listens to this machine alone, and has none and never had."""
        if self._default is not None or not self._is_loopback:
            return False
        try:
            tokens = await self._read(KEPT_SECONDS)
        except StoreUnavailable:
            # Nobody makes a token while there is no database, so what held before holds still.
            if self._tokens is None:
                raise
            tokens = self._tokens
        return not tokens.is_used

    def _match(self, tokens: "Tokens", given: bytes) -> Caller | None:
        found: Caller | None = None
        now = self._app.clock()
        for token in tokens.active:
            is_it = hmac.compare_digest(given, token.token_hash)
            if is_it and (token.expires_at is None or token.expires_at > now):
                found = Caller(token.name, token.scopes, str(token.id))
                self._used[token.id] = now
        return found

    async def _read(self, at_most: float) -> "Tokens":
        """The tokens as they were `at_most` seconds ago, or later."""
        if self._tokens is not None and self._monotonic() - self._read_at < at_most:
            return self._tokens
        async with self._reading:
            started = self._monotonic()
            if self._tokens is not None and started - self._read_at < at_most:
                return self._tokens
            if self._failure is not None and started - self._failed_at < _MISS_SECONDS:
                raise StoreUnavailable(self._failure)  # those who waited for that answer need not ask again
            used, self._used = self._used, {}
            try:
                self._tokens = await run_sync(self._ask, used, limiter=self._thread)
            except StoreUnavailable as error:
                self._failure, self._failed_at = str(error), self._monotonic()
                raise
            self._read_at, self._failure = started, None
            return self._tokens

    def _ask(self, used: dict[UUID, datetime]) -> "Tokens":
        now = self._app.clock()

        def work(session: "Session") -> "Tokens":
            if used and not self._app.settings.read_only:
                services.tokens.note_use(session, used=used, after=timedelta(seconds=_NOTED_SECONDS))
            return services.tokens.load(session, now=now)

        return self._app.run("tokens", work)


def has_tokens(app: App) -> bool:
    """There is a stored token that holds. StoreUnavailable where that can't be told."""
    return bool(
        app.run("tokens", lambda session: services.tokens.load(session, now=app.clock()), read_only=True).active
    )
