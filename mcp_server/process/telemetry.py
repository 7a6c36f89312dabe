"""What this process counts: metrics of prometheus-client in a registry of their own, since the library's global one
would mix the servers of one process. /metrics shows them as they are, get_health reads their values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from threading import Lock
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from prometheus_client import Counter

PREFIX: Final = "sales_automation"
BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds in seconds; what is longer falls into one more."""

OTHER: Final = "other"
NO_PROVIDER: Final = "none"
"""Of events that nobody said the provider of."""
_MOST_NAMES: Final = 100


class CallOutcome(StrEnum):
    OK = "ok"
    REFUSED = "refused"
    FAILED = "failed"


class DatabaseState(StrEnum):
    OK = "ok"
    STARTING = "starting"
    UNAVAILABLE = "unavailable"


@dataclass(slots=True)
class Latency:
    """How long calls took. passed: (bound, calls that took at most as long) for each of BUCKETS and infinity; seconds:
    of all calls together."""

    passed: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])
    seconds: float = 0.0

    @property
    def calls(self) -> int:
        return self.passed[-1][1]


class LabelledCounter:
    """A counter with two labels, a name and a verdict. Names come from outside, so from the 101st on they are counted
    as `other`."""

    def __init__(self, counter: "Counter") -> None:
        self._counter = counter
        self._names: set[str] = set()
        self._lock = Lock()

    def add(self, name: str, verdict: str, count: int = 1) -> None:
        with self._lock:
            if name not in self._names and len(self._names) >= _MOST_NAMES:
                name = OTHER
            self._names.add(name)
        self._counter.labels(name, verdict).inc(count)

    def counts(self) -> Mapping[tuple[str, str], int]:
        """Returns (name, verdict) -> number, as it stands now."""
        (family,) = self._counter.collect()
        pairs = ((tuple(sample.labels.values()), sample.value) for sample in family.samples)
        return {(name, verdict): int(number) for (name, verdict), number in pairs}


class Telemetry:
    """One a process. Safe for many threads."""

    def __init__(self) -> None:
        # Imported here: no client should wait for it at the start (see App.telemetry).
        from prometheus_client import (  # noqa: PLC0415
            CollectorRegistry,
            Counter,
            Histogram,
            disable_created_metrics,
        )

        disable_created_metrics()  # all counts begin with the process, whose start is told once
        self.registry = CollectorRegistry()

        def tally(name: str, meaning: str, *labels: str) -> LabelledCounter:
            return LabelledCounter(Counter(name, meaning, labels, namespace=PREFIX, registry=self.registry))

        self.events = tally("events", "Events by provider and verdict.", "provider", "verdict")
        """Events that were recorded, whichever way they came."""
        self.webhooks = tally("webhooks", "Deliveries to /webhooks.", "provider", "verdict")
        self.refused_requests = tally("refused_requests", "HTTP requests turned away.", "part", "reason")
        """By part of the server: requests that were turned away before anything was done."""
        self.requests = tally("http_requests", "HTTP requests by part of the server and status.", "part", "status")
        """HTTP requests that were answered, whichever way."""
        self._calls = Histogram(
            "tool_call_seconds",
            "Calls by tool and outcome, and how long they took.",
            ("tool", "outcome"),
            namespace=PREFIX,
            buckets=BUCKETS,
            registry=self.registry,
        )

    def add_call(self, tool: str, outcome: CallOutcome, seconds: float) -> None:
        self._calls.labels(tool, outcome).observe(seconds)

    def calls(self) -> Mapping[tuple[str, CallOutcome], Latency]:
        """Returns (tool, outcome) -> how long they took, as it stands now."""
        calls: dict[tuple[str, CallOutcome], Latency] = {}
        (family,) = self._calls.collect()
        for sample in family.samples:
            key = sample.labels["tool"], CallOutcome(sample.labels["outcome"])
            latency = calls.setdefault(key, Latency())
            if sample.name.endswith("_bucket"):
                latency.passed.append((float(sample.labels["le"]), int(sample.value)))
            elif sample.name.endswith("_sum"):
                latency.seconds = sample.value
        return calls
