"""/metrics: what `health.facts` says, in the text format of Prometheus. The library is imported at the first scrape."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from db.domain.access import Scope
from db.domain.jobs import JobStatus
from mcp_server import caller, health
from mcp_server.app import App
from mcp_server.health import Facts
from mcp_server.http.refusals import insufficient_scope
from mcp_server.telemetry import BUCKETS, DatabaseState

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric

_PREFIX = "sales_automation"


def route(app: App) -> Route:
    """The route, for tokens with the scope ops, and for everybody where no token is needed."""
    registries: list[CollectorRegistry] = []
    # A thread of its own: those of the tools may all be waiting for the database.
    thread = CapacityLimiter(1)

    async def metrics(request: Request) -> Response:
        missing = caller.missing_scope(request.scope[caller.SCOPE_KEY], Scope.OPS, "/metrics")
        if missing is not None:
            return insufficient_scope(missing)
        return await run_sync(_scrape, app, registries, limiter=thread)

    return Route("/metrics", metrics)


def _scrape(app: App, registries: "list[CollectorRegistry]") -> Response:
    from prometheus_client import CONTENT_TYPE_LATEST, generate_latest  # noqa: PLC0415  a server may never be scraped

    if not registries:
        registries.append(_registry(app))
    return Response(generate_latest(registries[0]), media_type=CONTENT_TYPE_LATEST)


def _registry(app: App) -> "CollectorRegistry":
    """One of its own: the library's global one would mix the servers of one process."""
    from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector  # noqa: PLC0415  see _scrape
    from prometheus_client.registry import Collector  # noqa: PLC0415  see _scrape

    class Ours(Collector):
        def collect(self) -> Iterator["Metric"]:
            yield from families(health.facts(app))

        def describe(self) -> list["Metric"]:
            return []  # asked for at registration, which must not ask the database

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Ours())
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    return registry


def families(facts: Facts) -> Iterator["Metric"]:
    """The metrics that say these facts; what can't be told now is left out."""
    yield _gauge("database_up", "Whether the database answers.", int(facts.database is DatabaseState.OK))
    if facts.pool is not None:
        yield _gauge("pool_connections_in_use", "Connections to the database in use.", facts.pool.in_use)
        yield _gauge("pool_connections_idle", "Connections to the database that are open and idle.", facts.pool.idle)
        yield _gauge("pool_connections_limit", "Connections to the database at most.", facts.pool.limit)
        yield _gauge("pool_waiting", "Callers who wait for a connection.", facts.pool.waiting)
    if facts.orphans is not None:
        yield _gauge("orphaned_events_waiting", "Events that wait for their enrollment.", facts.orphans)
    if facts.jobs is not None:
        yield _by_status(facts.jobs)
    if facts.broken_values is not None:
        yield _counter("broken_values", "Values of jobs and cache found to be no JSON.", facts.broken_values)
    yield _counter("slow_queries", "Statements that took as long as the threshold.", facts.slow_queries)
    yield _counter("retries", "Transactions that were repeated.", facts.retries)
    yield _tally("events", "Events by provider and verdict.", ("provider", "verdict"), facts.events)
    yield _tally("webhooks", "Deliveries to /webhooks.", ("provider", "verdict"), facts.webhooks)
    yield _tally("refused_requests", "HTTP requests turned away.", ("part", "reason"), facts.refused_requests)
    yield _latencies(facts)


def _gauge(name: str, text: str, value: float) -> "Metric":
    from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415  see _scrape

    return GaugeMetricFamily(f"{_PREFIX}_{name}", text, value=value)


def _counter(name: str, text: str, value: float) -> "Metric":
    from prometheus_client.core import CounterMetricFamily  # noqa: PLC0415  see _scrape

    return CounterMetricFamily(f"{_PREFIX}_{name}", text, value=value)


def _by_status(jobs: Mapping[JobStatus, int]) -> "Metric":
    from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415  see _scrape

    family = GaugeMetricFamily(f"{_PREFIX}_jobs", "Jobs by status.", labels=["status"])
    for status, count in jobs.items():
        family.add_metric([str(status)], count)
    return family


def _tally(name: str, text: str, labels: tuple[str, str], counts: Mapping[tuple[str, str], int]) -> "Metric":
    from prometheus_client.core import CounterMetricFamily  # noqa: PLC0415  see _scrape

    family = CounterMetricFamily(f"{_PREFIX}_{name}", text, labels=labels)
    for values, count in sorted(counts.items()):
        family.add_metric([str(value) for value in values], count)
    return family


def _latencies(facts: Facts) -> "Metric":
    from prometheus_client.core import HistogramMetricFamily  # noqa: PLC0415  see _scrape

    family = HistogramMetricFamily(
        f"{_PREFIX}_tool_call_seconds", "Calls by tool and outcome, and how long they took.", labels=["tool", "outcome"]
    )
    for (tool, outcome), latency in sorted(facts.calls.items()):
        buckets: list[tuple[str, float]] = []
        passed = 0
        for bound, count in zip([*map(str, BUCKETS), "+Inf"], latency.counts, strict=True):
            passed += count
            buckets.append((bound, passed))
        family.add_metric([tool, str(outcome)], buckets, latency.seconds)
    return family
