"""Counts of what happened in this process, for whoever shows them."""

from collections import Counter
from threading import Lock


class Tally:
    """Counts by (provider, verdict). Safe for many threads; it starts at nothing with the process."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: Counter[tuple[str, str]] = Counter()

    def add(self, provider: str, verdict: str, count: int = 1) -> None:
        with self._lock:
            self._counts[provider, verdict] += count

    def counts(self) -> dict[tuple[str, str], int]:
        """A copy."""
        with self._lock:
            return dict(self._counts)
