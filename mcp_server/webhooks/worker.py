"""Records the events of waiting requests, on a thread of its own: new ones, and those left by earlier servers."""

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, Self
from uuid import UUID

import anyio.to_thread

from db.domain.errors import StoreUnavailable
from db.domain.ids import first_id
from db.domain.webhooks import Settled, StoredDelivery
from db.services.events import deliveries, orphans
from mcp_server.process import unexpected
from mcp_server.process.app import App
from mcp_server.webhooks.base import Provider
from mcp_server.webhooks.providers import Normaliser

if TYPE_CHECKING:
    from db.services import Session

_BATCH: Final = 100
# Incoming requests go first: their senders wait, and share this process with the recording. While they keep coming, the
# next batch waits until none has come for a moment, but at most a few times as long as the last one took, so recording
# keeps a tenth of the time.
_QUIET_SECONDS: Final = 0.02
_GIVE_WAY_TIMES: Final = 9
_GIVE_WAY_SECONDS_MAX: Final = 1.0
# Storing a request wakes this thread; polling finds those that another server has left.
_LOOK_AGAIN_SECONDS: Final = 15.0
_PAUSE_SECONDS: Final = 1.0
# The orphans that are checked again. The locks that a report may wait for are held for less.
_JUST_NOW: Final = timedelta(minutes=1)
_LATE_MOST: Final = 1_000
_PATIENCE: Final = 30.0

logger = logging.getLogger(__name__)


class Recorder:
    """Use it as an async context. Several may run, in this process and in others: they take different requests."""

    def __init__(
        self, app: App, known: Mapping[str, Provider], *, look_again_seconds: float = _LOOK_AGAIN_SECONDS
    ) -> None:
        self._app = app
        self._normalise = Normaliser(known)
        self._look_again_seconds = look_again_seconds
        self._stored_at = self._match_next = float("-inf")
        self._match_until: float | None = None
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="webhooks", daemon=True)

    async def __aenter__(self) -> Self:
        self._thread.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stops after the transaction under way; what waits then is recorded at the next start."""
        self._stopping.set()
        self._wake.set()
        await anyio.to_thread.run_sync(self._thread.join, _PATIENCE)

    def wake(self) -> None:
        """Says that a request was stored."""
        self._stored_at = time.monotonic()
        if not self._wake.is_set():
            self._wake.set()

    def _loop(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            began = time.monotonic()
            try:
                is_idle = self.record_next() == 0
                if is_idle:
                    self._match_late()
            except StoreUnavailable:
                self._stopping.wait(_PAUSE_SECONDS)
                continue
            except Exception as error:  # noqa: BLE001  nothing may end the loop, and the text may hold personal data
                logger.error("Webhooks could not be recorded: %s", type(error).__name__)  # noqa: TRY400  see above
                self._stopping.wait(_PAUSE_SECONDS)
                continue
            if is_idle:
                self._wake.wait(self._look_again_seconds)
            else:
                self._give_way(time.monotonic() - began)

    def _give_way(self, took: float) -> None:
        until = time.monotonic() + min(_GIVE_WAY_TIMES * took, _GIVE_WAY_SECONDS_MAX)
        while self._stored_at + _QUIET_SECONDS > time.monotonic() < until:
            self._stopping.wait(_QUIET_SECONDS)

    def _match_late(self) -> None:
        """Looks once more for the places of what was just put aside. A step that is reported at the same moment does
        not see the event, nor the event the step, while neither is committed; else it would wait for the
        maintenance."""
        now = time.monotonic()
        if self._match_until is None or now < self._match_next:
            return
        after: UUID | None = first_id(self._app.clock() - _JUST_NOW)
        while after is not None:
            if self._stopping.is_set() or self._wake.is_set():
                return  # new requests go first, and the next quiet moment starts again
            work = partial(orphans.match_some, after=after, limit=_LATE_MOST)
            _, after = self._app.run("match orphans", work)
        self._match_next = now + self._look_again_seconds
        if now >= self._match_until:
            self._match_until = None

    def record_next(self) -> int:
        """Records the oldest requests that wait. Returns how many; 0 when none does."""
        try:
            return self._record(None)
        except StoreUnavailable:
            raise
        except Exception as error:  # noqa: BLE001  one of them can't be recorded, and must not hold up the others
            logger.error("A batch of webhooks failed, and is done one by one: %s", type(error).__name__)  # noqa: TRY400  the text may hold personal data
        waiting = self._app.run("look for webhooks", _ids, read_only=False)
        for delivery in waiting:
            self._record_alone(delivery)
        return len(waiting)

    def _record(self, only: StoredDelivery | None) -> int:
        now = self._app.clock()

        def work(session: "Session") -> tuple[Sequence[StoredDelivery], Sequence[Settled]]:
            webhooks = deliveries
            if only is None:
                waiting = webhooks.next_waiting(session, limit=_BATCH)
            else:
                waiting = webhooks.lock_waiting(session, delivery_id=only.id)
            if not waiting:
                return [], []
            return waiting, webhooks.record(session, deliveries=waiting, normalise=self._normalise, now=now)

        waiting, settled = self._app.run("record webhooks", work)
        if any(result.orphaned for result in settled):
            self._match_until = time.monotonic() + self._look_again_seconds
        for delivery, result in zip(waiting, settled, strict=True):
            count(self._app, delivery.provider, result)
        return len(waiting)

    def _record_alone(self, delivery: StoredDelivery) -> None:
        try:
            self._record(delivery)
        except StoreUnavailable:
            raise
        except Exception as error:  # noqa: BLE001  it is kept as failed, with what is known of the reason
            reason, now = unexpected.kept(logger, f"Webhook {delivery.id}", error), self._app.clock()

            def give_up(session: "Session") -> None:
                deliveries.give_up(session, delivery=delivery, reason=reason, now=now)

            self._app.run("give a webhook up", give_up)


def _ids(session: "Session") -> list[StoredDelivery]:
    return deliveries.next_waiting(session, limit=_BATCH)


def count(app: App, provider: str, settled: Settled) -> None:
    """Counts the events of one request."""
    for verdict in ("recorded", "duplicate", "orphaned", "invalid", "ignored"):
        number: int = getattr(settled, verdict)
        if number:
            app.telemetry.events.add(provider, verdict, number)
