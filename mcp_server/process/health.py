"""The server's present health, as facts: /metrics and get_health report the same ones."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from db.domain.errors import StoreUnavailable
from db.domain.jobs import JobStatus
from mcp_server.process.app import App
from mcp_server.process.telemetry import DatabaseState

if TYPE_CHECKING:
    from db.postgres.monitor import PoolState
    from db.services.ops.health import Stored

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Facts:
    """None stands for what can't be found out now. `due_age`: seconds for which the oldest due step has waited.
    `simulated_time`: None if the machine tells the time."""

    database: DatabaseState
    pool: "PoolState | None"
    slow_queries: int
    retries: int
    stored: "Stored | None"
    due_age: float | None
    jobs: Mapping[JobStatus, int] | None
    broken_values: int | None
    simulated_time: datetime | None


def facts(app: App) -> Facts:
    """Asks both stores. A database that is not up is not waited for, and one that is silent not for long."""
    database = app.open_database
    stored = _stored(app) if database else None
    jobs, broken_values = _local(app)
    return Facts(
        database=_state(app, stored),
        pool=database and database.pool_state(),
        slow_queries=database.watch.slow_queries.value if database else 0,
        retries=database.watch.retries.value if database else 0,
        stored=stored,
        due_age=None if stored is None else _age(stored, app.clock()),
        jobs=jobs,
        broken_values=broken_values,
        simulated_time=None if app.settings.clock_file is None else app.clock(),
    )


def _age(stored: "Stored", now: datetime) -> float:
    return 0.0 if stored.oldest_due is None else max(0.0, (now - stored.oldest_due).total_seconds())


def _state(app: App, stored: "Stored | None") -> DatabaseState:
    if stored is not None:
        return DatabaseState.OK
    is_starting = app.open_database is None and app.failure is None
    return DatabaseState.STARTING if is_starting else DatabaseState.UNAVAILABLE


def _stored(app: App) -> "Stored | None":
    try:
        return app.stored.wait()
    except StoreUnavailable as error:
        logger.info("the database does not answer: %s", error)
        return None


def _local(app: App) -> tuple[Mapping[JobStatus, int] | None, int | None]:
    """Returns the jobs by status, and how many values of the local store can't be read."""
    try:
        local = app.local()
        return local.jobs.stats(now=app.clock()).by_status, local.broken_values
    except StoreUnavailable as error:
        logger.info("the local store does not answer: %s", error)
        return None, None
