"""What this process has done, in plain numbers. /metrics and get_health read them; nothing here knows of either."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from threading import Lock
from typing import Final

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
    """How long calls took: their number by bucket, and the sum in seconds."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.seconds += seconds


class Tally:
    """Counts by (name, verdict). Names come from outside, so from the 101st on they are counted as `other`."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._names: set[str] = set()
        self._lock = Lock()

    def add(self, name: str, verdict: str, count: int = 1) -> None:
        with self._lock:
            if name not in self._names:
                if len(self._names) >= _MOST_NAMES:
                    name = OTHER
                self._names.add(name)
            self._counts[name, verdict] += count

    def counts(self) -> Mapping[tuple[str, str], int]:
        """A copy, which does not change any more."""
        with self._lock:
            return dict(self._counts)


class Telemetry:
    """One a process. Safe for many threads."""

    def __init__(self) -> None:
        self.events = Tally()
        """(provider, verdict) -> events that were recorded, whichever way they came"""
        self.webhooks = Tally()
        """(provider, verdict) -> deliveries to /webhooks"""
        self.refused_requests = Tally()
        """(part of the server, reason) -> HTTP requests that were turned away before anything was done"""
        self._calls: dict[tuple[str, CallOutcome], Latency] = {}
        self._lock = Lock()

    def add_call(self, tool: str, outcome: CallOutcome, seconds: float) -> None:
        with self._lock:
            latency = self._calls.get((tool, outcome))
            if latency is None:
                latency = self._calls[tool, outcome] = Latency()
            latency.add(seconds)

    def calls(self) -> Mapping[tuple[str, CallOutcome], Latency]:
        """A copy, which does not change any more."""
        with self._lock:
            return {key: Latency(list(each.counts), each.seconds) for key, each in self._calls.items()}
