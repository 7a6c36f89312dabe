"""Maintenance: the worker runs it once an hour, and the tool run_maintenance on request."""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from db.domain.errors import StoreUnavailable
from db.services.events import deliveries, orphans
from db.services.mail import guardrails
from db.services.ops import audit, health, idempotency, settings as workspace
from db.services.people import spellings
from db.services.state import draft_rows, message_rows, pauses, recount, usage
from mcp_server.process.app import App

logger = logging.getLogger(__name__)

# Small, so that a transaction stays far below statement_timeout.
_CHUNK = 2_000
_LOOK_BACK = timedelta(hours=1)
# How many campaigns, and no more after so many rows; each is recounted completely. A million people with as many steps
# that were sent take a day.
_RECOUNTED = 20
_RECOUNTED_ROWS = 100_000
# How many chunks of contacts; their spelling is checked. A million contacts take two days.
_SPELLED = 10


@dataclass(frozen=True, slots=True)
class MaintenanceReport:
    """What one run did. `warning` says what is unusual."""

    matched: int
    expired: int
    deleted_orphans: int
    idempotency_keys: int
    webhook_bodies: int
    audit_records: int
    messages: int
    jobs: int
    cache_entries: int
    recounted: int
    respelled: int
    shared_addresses: int
    warning: str | None


def maintain(app: App) -> MaintenanceReport:
    """Matches waiting events, expires those that have waited too long, and deletes old rows. Each chunk is a
    transaction of its own."""
    settings, now = app.settings, app.clock()
    matched = _match(app)
    expired = _expire(app, now)
    deleted = _until_done(app, "delete orphans", orphans.delete_some, now - timedelta(days=settings.orphan_keep_days))
    keys = _until_done(app, "prune keys", idempotency.prune_some, now - timedelta(days=settings.idempotency_key_days))
    bodies = _until_done(app, "forget bodies", deliveries.forget_some, now - timedelta(days=settings.webhook_body_days))
    audited = _until_done(app, "prune the audit log", audit.prune_some, now - timedelta(days=settings.audit_days))
    kept_days = app.run("read settings", workspace.get, read_only=True).retention_days
    said = _forget(app, now - timedelta(days=kept_days))
    _until_done(app, "forget drafts", draft_rows.forget_some, now - timedelta(days=kept_days))
    _until_done(app, "forget counts", usage.forget_some, now - usage.KEPT)
    _until_done(app, "end pauses", pauses.end_some, now)
    app.run("check guardrails", partial(guardrails.check_all, now=now))
    jobs = app.local().jobs.prune(timedelta(days=settings.job_days), now=now)
    cached = app.local().cache.sweep(now=now)
    recounted = _recount(app)
    respelled, shared = _respell(app)
    share = app.run("orphan share", partial(health.orphan_share, since=now - _LOOK_BACK), read_only=True)
    warning = None
    if share.is_unusual:
        warning = (
            f"Of the last hour's events {share.waiting} found no enrollment and {share.recorded} did. Look at their "
            "reasons with list_orphaned_events, and at what the provider sends as metadata."
        )
        logger.warning("unusual share of orphaned events: %s of %s", share.waiting, share.waiting + share.recorded)
    return MaintenanceReport(
        matched, expired, deleted, keys, bodies, audited, said, jobs, cached, recounted, respelled, shared, warning
    )


def _recount(app: App) -> int:
    """Checks the counters of a few campaigns, and of other ones each time. Returns how many campaigns were
    recounted."""
    ids = app.run("choose campaigns", partial(recount.turn, limit=_RECOUNTED, rows=_RECOUNTED_ROWS))
    mended = 0
    for campaign_id in ids:
        try:
            mended += app.run("recount", partial(recount.mend, campaign_id=campaign_id))
        except StoreUnavailable:
            logger.warning("a campaign's counters could not be looked at", extra={"campaign": str(campaign_id)})
    return mended


def _respell(app: App) -> tuple[int, int]:
    """Normalises the addresses of some contacts, and of other ones each hour. Returns how many contacts changed, and
    how many share their normal form with another contact."""
    hour = int(app.clock().timestamp()) // 3_600
    # A server that runs only at certain hours of the day must reach everybody, too.
    turn = partial(spellings.start_of, turn=hour + hour // 24, limit=_SPELLED * _CHUNK)
    start = app.run("choose contacts", turn, read_only=True)
    respelled = shared = 0
    for _ in range(_SPELLED):
        if start is None:
            break
        mended = app.run("respell contacts", partial(spellings.mend_some, start=start, limit=_CHUNK))
        for pair in mended.new_pairs:
            logger.warning("two contacts share an address", extra={"contacts": " ".join(map(str, pair))})
        respelled, shared, start = respelled + mended.respelled, shared + mended.shared, mended.next
    return respelled, shared


def _match(app: App) -> int:
    matched, after = 0, UUID(int=0)
    while True:
        work = partial(orphans.match_some, after=after, limit=_CHUNK)
        done, last = app.run("match orphans", work)
        matched += done
        if last is None:
            return matched
        after = last


def _forget(app: App, before: datetime) -> int:
    forgotten, after = 0, message_rows.OLDEST
    while True:
        work = partial(message_rows.forget_some, before=before, after=after, limit=_CHUNK)
        some, last = app.run("forget messages", work)
        forgotten += some
        if last is None:
            return forgotten
        after = last


def _expire(app: App, now: datetime) -> int:
    before = now - timedelta(days=app.settings.orphan_days)
    expired: Counter[str] = Counter()
    while True:
        work = partial(orphans.expire_some, before=before, now=now, limit=_CHUNK)
        some = app.run("expire orphans", work)
        expired += some
        if some.total() < _CHUNK:
            break
    if expired:
        counts = ", ".join(f"{provider}: {count}" for provider, count in sorted(expired.items()))
        logger.warning("%s events waited %s days for nobody: %s", expired.total(), app.settings.orphan_days, counts)
    return expired.total()


def _until_done(app: App, what: str, some: "Callable[..., int]", before: object) -> int:
    total = 0
    while True:
        done = app.run(what, partial(some, before=before, limit=_CHUNK))
        total += done
        if done < _CHUNK:
            return total
