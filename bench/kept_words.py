"""What it costs a claim to keep the words that it hands out: claims that keep them against claims that don't."""

import time
from collections.abc import Callable
from uuid import UUID

from bench.actions import claim, fill, tidy
from bench.measure import alternate, machine, ratio, report, verdict
from bench.postgres import database
from db.postgres.database import Database
from db.services.state import message_rows

ROUNDS = 41


def _nothing(_words: object, _occurred_at: object) -> list[dict[str, object]]:
    return []


def milliseconds(opened: Database, campaign_id: UUID, limit: int, *, keeps: bool) -> Callable[[], float]:
    """A claim of `limit` steps, with or without the words."""
    rows = message_rows.rows

    def measure() -> float:
        message_rows.rows = rows if keeps else _nothing
        start = time.perf_counter()
        try:
            assert len(claim(opened, campaign_id, limit)) == limit
        finally:
            message_rows.rows = rows
        return (time.perf_counter() - start) * 1000

    return measure


def main() -> None:
    print(machine())
    with database() as opened:
        campaign_id = fill(opened, 100_000, "k")
        tidy(opened)
        for limit in (10, 100, 500):
            names = ("keeps the words", "keeps nothing")
            figures = alternate(
                {name: milliseconds(opened, campaign_id, limit, keeps=name == names[0]) for name in names}, ROUNDS
            )
            report(f"Claims of {limit}", figures, against=names[1], unit="ms")
            cost = ratio(figures, *names)
            verdict(f"claim of {limit}, {' / '.join(names)}", cost, "at most 1.15", met=cost <= 1.15)
            tidy(opened)


if __name__ == "__main__":
    main()
