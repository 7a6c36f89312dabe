"""/metrics: what Telemetry has counted, and what is read at the scrape, in the text format of Prometheus."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from platform import python_version
from typing import Final

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from db.domain.access import Scope
from db.services.ops.health import MOST_DUE
from mcp_server import __version__
from mcp_server.calls import caller
from mcp_server.http.refusals import insufficient_scope
from mcp_server.process import health
from mcp_server.process.app import App
from mcp_server.process.health import Facts
from mcp_server.process.telemetry import PREFIX, DatabaseState
from migrations import HEAD

Values = Mapping[tuple[str, ...], float]


@dataclass(frozen=True, slots=True)
class Reading:
    """A metric that is read at the scrape. `read` returns its value, or values by those of its labels; None for what
    can't be told now, which is left out."""

    name: str
    meaning: str
    read: Callable[[Facts], float | Values | None]
    family: type[GaugeMetricFamily | CounterMetricFamily] = GaugeMetricFamily
    labels: tuple[str, ...] = ()


READINGS: Final = (
    Reading(
        "build_info",
        "1, with the versions of the program, its schema and Python.",
        lambda _: {(__version__, HEAD, python_version()): 1},
        labels=("version", "schema", "python"),
    ),
    Reading("database_up", "Whether the database answers.", lambda f: f.database is DatabaseState.OK),
    Reading(
        "pool_connections_in_use", "Connections to the database in use.", lambda f: f.pool.in_use if f.pool else None
    ),
    Reading(
        "pool_connections_idle",
        "Connections to the database that are open and idle.",
        lambda f: f.pool.idle if f.pool else None,
    ),
    Reading(
        "pool_connections_limit", "Connections to the database at most.", lambda f: f.pool.limit if f.pool else None
    ),
    Reading("pool_waiting", "Callers who wait for a connection.", lambda f: f.pool.waiting if f.pool else None),
    Reading(
        "orphaned_events_waiting",
        "Events that wait for their enrollment.",
        lambda f: f.stored.orphans if f.stored else None,
    ),
    Reading(
        "due_steps",
        f"Steps past their due time in active campaigns, whatever holds them; {MOST_DUE:,} for as many or more.",
        lambda f: f.stored.due if f.stored else None,
    ),
    Reading(
        "oldest_due_age_seconds",
        "For how long the first of the due steps has waited; 0 where there is none.",
        lambda f: f.due_age,
    ),
    Reading(
        "jobs",
        "Jobs by status.",
        lambda f: None if f.jobs is None else {(status,): count for status, count in f.jobs.items()},
        labels=("status",),
    ),
    Reading(
        "broken_values", "Values of jobs and cache found to be no JSON.", lambda f: f.broken_values, CounterMetricFamily
    ),
    Reading(
        "slow_queries", "Statements that took as long as the threshold.", lambda f: f.slow_queries, CounterMetricFamily
    ),
    Reading("retries", "Transactions that were repeated.", lambda f: f.retries, CounterMetricFamily),
)


def route(app: App) -> Route:
    """Returns the route, for tokens with the scope ops, and for everybody where no token is needed."""
    # A thread of its own, because those of the tools may all be waiting for the database.
    thread = CapacityLimiter(1)

    async def metrics(request: Request) -> Response:
        missing = caller.missing_scope(request.scope[caller.SCOPE_KEY], Scope.OPS, "/metrics")
        if missing is not None:
            return insufficient_scope(missing)
        return await run_sync(_scrape, app, limiter=thread)

    return Route("/metrics", metrics)


def _scrape(app: App) -> Response:
    registry = CollectorRegistry()
    registry.register(_ServerCollector(app))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


class _ServerCollector(Collector):
    """Collects READINGS, and what has been counted."""

    def __init__(self, app: App) -> None:
        self._app = app

    def collect(self) -> Iterator[Metric]:
        facts = health.facts(self._app)
        for reading in READINGS:
            value = reading.read(facts)
            if value is not None:
                yield _family(reading, value)
        yield from self._app.telemetry.registry.collect()


def _family(reading: Reading, value: float | Values) -> Metric:
    name = f"{PREFIX}_{reading.name}"
    if not isinstance(value, Mapping):
        return reading.family(name, reading.meaning, value=value)
    family = reading.family(name, reading.meaning, labels=reading.labels)
    for labels, number in value.items():
        family.add_metric(labels, number)
    return family
