"""Rate limits: token buckets, kept in this process. Two processes allow twice as much."""

from collections import OrderedDict

# Strangers can use any number of addresses; the least recently seen one is forgotten first.
_MOST_KEYS = 10_000


class Limit:
    """`rate` uses a second for each key, and `burst` at once. A rate of 0 allows everything.

    Used on the event loop alone, so it needs no lock. Times are seconds of any clock that never goes back.
    """

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = max(burst, 1.0)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: str, now: float) -> float:
        """Uses one. Returns 0 if one was free, otherwise the seconds until one will be."""
        if self._rate <= 0:
            return 0.0
        left, since = self._buckets.pop(key, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._rate)
        wait = 0.0 if left >= 1 else (1 - left) / self._rate
        self._buckets[key] = (left if wait else left - 1, now)
        if len(self._buckets) > _MOST_KEYS:
            self._buckets.popitem(last=False)
        return wait
