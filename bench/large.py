"""Every tool and page with 1,000,000 people, 10,000,000 events and 1,000,000 messages against 10,000 people.

Two databases of one PostgreSQL are filled by COPY, and calls alternate between them.
`python -m bench.large [--people N] [--calls N] [PART ...]`: N people in the large one; of the calls, those whose names
hold one of these parts.
"""

import argparse
import logging
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median
from typing import Final

from mcp.server.mcpserver.exceptions import ToolError

from bench.large_calls import COMMANDS, READS, SLOW, WRITES
from bench.large_fill import Filled, create, fill
from bench.large_sides import Call, Measured, Side, measure, sides
from bench.measure import machine, scratch, verdict
from db.embedded import EmbeddedPostgres

SMALL: Final = 10_000
LARGE: Final = 1_000_000
CALLS: Final = 20
_SECONDS: Final = 30.0
"""No more than these for one kind of call, and its largest figure."""
_MOST_GROWTH: Final = 1.5
_MOST_SECONDS: Final = 1.0


def _quantile(figures: Iterable[float | None], share: float) -> float:
    """Returns the figure below which this share of them is; without end where that was stopped."""
    ordered = sorted(math.inf if figure is None else figure for figure in figures)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]


def _shown(figure: float) -> str:
    return "stopped" if math.isinf(figure) else f"{figure:,.1f}"


def _line(name: str, found: Measured) -> float:
    """Prints the row of one kind of call. Returns how much longer the large one takes."""
    small, large = (median(math.inf if one is None else one for one in figures) for figures in found)
    small_95, large_95 = _quantile(found.small, 0.95), _quantile(found.large, 0.95)
    growth = large / small
    mark = "" if growth <= _MOST_GROWTH and large_95 <= _MOST_SECONDS * 1_000 else " <"
    figures = " | ".join(map(_shown, (small, small_95, large, large_95)))
    print(f"| {name} | {figures} | {growth:.2f}{mark} |", flush=True)
    return growth


def _table(of: Mapping[str, Side], calls: Mapping[str, Call], parts: Iterable[str], rounds: int) -> None:
    chosen = [name for name in calls if not parts or any(part in name for part in parts)]
    growths: dict[str, float] = {}
    for name in chosen:
        try:
            found = measure(of, calls[name], calls=rounds, seconds=_SECONDS, is_warm=calls is COMMANDS)
        except ToolError as error:
            print(f"| {name} | refused: {str(error).partition(': ')[2].partition('. ')[0]} | | | | |", flush=True)
        else:
            growths[name] = _line(name, found)
    met = sum(growth <= _MOST_GROWTH for growth in growths.values())
    if growths:
        verdict(
            f"share of {len(growths)} kinds of calls that take at most 1.5",
            met / len(growths),
            "1",
            met=met == len(growths),
        )


def run(small: Filled, large: Filled, place: Path, parts: Iterable[str], rounds: int) -> None:
    """Prints the tables."""
    with sides(small, large, place) as of:
        print(f"\n| milliseconds | {small.people:,}: p50 | p95 | {large.people:,}: p50 | p95 | ratio of p50 |")
        print("| --- | --- | --- | --- | --- | --- |")
        for calls, most in ((READS, rounds), (WRITES, rounds), (COMMANDS, 2), (SLOW, 3)):
            _table(of, calls, parts, most)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=LARGE)
    parser.add_argument("--calls", type=int, default=CALLS)
    parser.add_argument("parts", nargs="*")
    given = parser.parse_args()
    logging.disable(logging.ERROR)
    print(machine())
    with scratch() as place, EmbeddedPostgres(place / "server") as server:
        url = server.start()
        small, large = fill(create(url, "small"), SMALL), fill(create(url, "large"), given.people)
        print(f"filled in {small.seconds:.0f} s and {large.seconds:.0f} s")
        run(small, large, place, given.parts, given.calls)


if __name__ == "__main__":
    main()
