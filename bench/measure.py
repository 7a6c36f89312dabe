"""How the benchmarks measure: every candidate in one run, in turns, and the median of its rounds.

A figure of one machine says little about another, and a busy machine changes from second to second. So what is compared
is the ratio of two candidates within each round, and what is reported is the median of those ratios.
"""

import platform
import sqlite3
import tempfile
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median

Candidate = Callable[[], float]

SCRATCH = Path(__file__).parent.parent / ".bench"


@contextmanager
def scratch() -> Generator[Path, None, None]:
    """A new directory on the disk that holds the project: the system's temporary directory may be memory."""
    SCRATCH.mkdir(exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=SCRATCH, ignore_cleanup_errors=True) as name:
            yield Path(name)
    finally:
        with suppress(OSError):  # others are still in it
            SCRATCH.rmdir()


def rate(count: int, work: Callable[[], None]) -> float:
    """How many a second."""
    start = time.perf_counter()
    work()
    return count / (time.perf_counter() - start)


def alternate(candidates: Mapping[str, Candidate], rounds: int) -> dict[str, list[float]]:
    """Run every candidate once a round, each round starting with another one; the figures of each, in order."""
    names = list(candidates)
    figures: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        start = turn % len(names)
        for name in names[start:] + names[:start]:
            figures[name].append(candidates[name]())
    return figures


def ratio(figures: Mapping[str, list[float]], name: str, against: str) -> float:
    """The median over the rounds of `name` / `against`."""
    return median(one / other for one, other in zip(figures[name], figures[against], strict=True))


def report(title: str, figures: Mapping[str, list[float]], *, against: str, unit: str) -> None:
    """Print the median, the range and the ratio of every candidate."""
    width = max(map(len, figures))
    print(f"\n{title} ({unit}; median of {len(figures[against])} rounds, smallest to largest, ratio to {against})")
    for name, values in figures.items():
        middle, low, high = median(values), min(values), max(values)
        print(f"  {name:<{width}}  {middle:>11,.1f}  ({low:,.1f} to {high:,.1f})  {ratio(figures, name, against):.2f}")


def verdict(what: str, value: float, target: str, *, met: bool) -> None:
    """Print one line for a target, met or missed."""
    print(f"  {'met   ' if met else 'MISSED'}  {what}: {value:.2f} (target: {target})")


def machine() -> str:
    """One line on what the figures were taken on."""
    return (
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {platform.system()} {platform.machine()}"
    )
