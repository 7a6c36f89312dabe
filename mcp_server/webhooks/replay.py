"""Replays stored requests: after a mistake in a normaliser, or when something was set up too late."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final
from uuid import UUID

from db.domain.states import DeliveryStatus
from db.domain.webhooks import Settled, StoredDelivery
from db.services.events import deliveries
from mcp_server.process.app import App
from mcp_server.schemas.webhooks import ReplayAnswer
from mcp_server.webhooks.providers import Normaliser, providers
from mcp_server.webhooks.worker import count

if TYPE_CHECKING:
    from db.services import Session

_CHUNK: Final = 100
_MOST: Final = 5_000
_COUNTED: Final = ("deliveries", "failed", "recorded", "duplicates", "orphaned", "invalid", "ignored")


def replay(
    app: App,
    *,
    provider: str | None,
    since: datetime | None,
    until: datetime | None,
    ids: Sequence[UUID] | None,
    after: UUID | None,
) -> ReplayAnswer:
    """Returns a transaction for each chunk, oldest first; what one of them has done stays when a later one fails."""
    normalise = Normaliser(providers())
    totals: Counter[str] = Counter()

    def work(session: "Session") -> tuple[Sequence[StoredDelivery], Sequence[Settled]]:
        kept = deliveries.next_kept(
            session, provider=provider, since=since, until=until, ids=ids, after=after, limit=_CHUNK
        )
        if not kept:
            return [], []
        return kept, deliveries.record(session, deliveries=kept, normalise=normalise, now=app.clock())

    while True:
        kept, settled = app.run("replay webhooks", work)
        for delivery, result in zip(kept, settled, strict=True):
            count(app, delivery.provider, result)
            totals.update(_counts(result))
        is_last = len(kept) < _CHUNK
        if is_last or totals["deliveries"] >= _MOST:
            counts = {name: totals[name] for name in _COUNTED}
            return ReplayAnswer.model_validate({**counts, "next_after": None if is_last else kept[-1].id})
        after = kept[-1].id


def _counts(settled: Settled) -> dict[str, int]:
    return {
        "deliveries": 1,
        "failed": settled.status is DeliveryStatus.FAILED,
        "recorded": settled.recorded,
        "duplicates": settled.duplicate,
        "orphaned": settled.orphaned,
        "invalid": settled.invalid,
        "ignored": settled.ignored,
    }
