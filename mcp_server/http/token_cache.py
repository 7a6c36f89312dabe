"""The valid tokens, read all at once and kept for some seconds, so that no request waits for the database."""

import hmac
import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Final
from uuid import UUID

import anyio
from anyio.to_thread import run_sync

from db.domain.access import ACTOR_DEFAULT_TOKEN, PROGRAM_SCOPES, Caller
from db.domain.errors import SalesAutomationError, StoreUnavailable
from db.services.ops import tokens
from mcp_server.process.app import App
from mcp_server.process.bounded import SECONDS
from mcp_server.process.cached import Cached

if TYPE_CHECKING:
    from db.services import Session
    from db.services.ops.tokens import Tokens

KEPT_SECONDS: Final = 10.0
"""How long a revoked token may still be accepted."""

_MISS_SECONDS = 1.0  # how soon a token that is not known makes us look again, for one that was made just now
_NOTE_SECONDS = 30.0  # how late last_used_at is at most
_SECONDS_TO_NOTE_LAST = 5.0  # at the end of a server, whose database may be gone
_PATIENCE = 5.0  # seconds to wait for the tokens where nothing can be said without them

DEFAULT: Final = Caller(ACTOR_DEFAULT_TOKEN, PROGRAM_SCOPES, ACTOR_DEFAULT_TOKEN)

logger = logging.getLogger(__name__)


class TokenCache:
    """The tokens in memory. Used on the event loop; the database is asked on a thread."""

    def __init__(
        self,
        app: App,
        *,
        default: str | None,
        is_loopback: bool,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`default`: the token of the settings, which may do everything but approve."""
        self._app = app
        self._default = sha256(default.encode()).digest() if default else None
        self._is_loopback = is_loopback
        self._tokens = Cached(self._load, patience=_PATIENCE, pause=_MISS_SECONDS, monotonic=monotonic)
        self._used: dict[UUID, datetime] = {}

    async def find(self, token: str) -> Caller | None:
        """Returns the caller of a token. None if it is nobody's; StoreUnavailable if that can't be told."""
        given = sha256(token.encode()).digest()
        # All are compared, each in the same time, so that a wrong token reveals nothing of a right one.
        if self._default is not None and hmac.compare_digest(given, self._default):
            return DEFAULT
        found = self._match(await self._tokens.get(at_most=KEPT_SECONDS), given)
        if found is None:
            found = self._match(await self._tokens.get(at_most=_MISS_SECONDS), given)
        return found

    async def is_open(self) -> bool:
        """Returns whether nobody needs a token: the server listens to this machine alone, and has no token and never
        had one."""
        if self._default is not None or not self._is_loopback:
            return False
        known = self._tokens.last
        try:
            patience = _PATIENCE if known is None else SECONDS
            found = await self._tokens.get(at_most=KEPT_SECONDS, patience=patience)
        except StoreUnavailable:
            # No token can be made while there is no database, so the former answer still holds.
            if known is None:
                raise
            found = known
        return not found.is_used

    def _match(self, tokens: "Tokens", given: bytes) -> Caller | None:
        found: Caller | None = None
        now = self._app.clock()
        for token in tokens.active:
            is_it = hmac.compare_digest(given, token.token_hash)
            if is_it and (token.expires_at is None or token.expires_at > now):
                found = Caller(token.name, token.scopes, str(token.id))
                self._used[token.id] = now
        return found

    def _load(self) -> "Tokens":
        now = self._app.clock()
        return self._app.run("tokens", lambda session: tokens.load(session, now=now))

    @asynccontextmanager
    async def noting(self, every: float = _NOTE_SECONDS) -> AsyncGenerator[None]:
        """Stores when tokens were used last, `every` so many seconds while the block runs and once more at its end."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._note_often, every)
            try:
                yield
            finally:
                group.cancel_scope.cancel()
                with anyio.move_on_after(_SECONDS_TO_NOTE_LAST, shield=True):
                    await run_sync(self._note, abandon_on_cancel=True)

    async def _note_often(self, every: float) -> None:
        while True:
            await anyio.sleep(every)
            await run_sync(self._note, abandon_on_cancel=True)

    def _note(self) -> None:
        """Stores the uses that are not stored yet. What can't be stored now is kept for the next time."""
        used, self._used = self._used, {}
        if not used or self._app.settings.read_only:
            return

        def work(session: "Session") -> None:
            tokens.note_use(session, used=used.copy())

        try:
            self._app.run("token uses", work)
        except SalesAutomationError as error:
            logger.info("the last use of tokens can't be stored now: %s", error)
            self._used = {**used, **self._used}
        except Exception as error:  # noqa: BLE001  no fault of it may end the server, and the text may hold a statement
            logger.error("the last use of tokens could not be stored: %s", type(error).__name__)  # noqa: TRY400  see above
            self._used = {**used, **self._used}


def has_tokens(app: App) -> bool:
    """Returns whether there is a valid stored token. StoreUnavailable if that can't be told."""
    return bool(app.run("tokens", lambda session: tokens.load(session, now=app.clock()), read_only=True).active)
