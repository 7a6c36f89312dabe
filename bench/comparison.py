"""How often a comparison of variants names a leader that is none, and how many people it takes to name one that is.

    python -m bench.comparison

Simulated: 600 tests of two variants that do the same, looked at 20 times each; and 600 of 6 % against 9 % answers,
looked at after every 50 people, beside the number that a test of fixed size takes (80 % power, 5 %, two-sided).
"""

from random import Random
from statistics import NormalDist, median

from db.domain.comparison import PRIMARY_RATE, Comparison, compare
from db.domain.metrics import COUNTERS

RUNS = 600
LOOKS = 20
PEOPLE = 4_000
LONGEST = 12_000
SAME = {"delivered": 0.97, "opened": 0.4, "clicked": 0.12, "replied": 0.06, "bounced": 0.03, "unsubscribed": 0.02}


def person(random: Random, counts: dict[str, int], reply_rate: float) -> None:
    """Add somebody who was sent a mail, and what they did."""
    counts["sent"] += 1
    counts["bounced"] += random.random() < SAME["bounced"]
    counts["unsubscribed"] += random.random() < SAME["unsubscribed"]
    if random.random() < SAME["delivered"]:
        counts["delivered"] += 1
        counts["replied"] += random.random() < reply_rate / SAME["delivered"]
        if random.random() < SAME["opened"]:
            counts["opened"] += 1
            counts["clicked"] += random.random() < SAME["clicked"] / SAME["opened"]


def leaders(comparison: Comparison) -> set[str]:
    """The rates that have a leader."""
    return {slug for slug, difference in comparison.differences.items() if difference.leader}


def run(
    random: Random, reply_rates: tuple[float, float], people: int, each: int, *, until_led: bool
) -> tuple[set[str], int]:
    """(the rates that had a leader at any look, the people there were at the last look)."""
    counts = {name: dict.fromkeys(COUNTERS, 0) for name in "AB"}
    led: set[str] = set()
    for number in range(1, people + 1):
        name = "AB"[random.randrange(2)]
        person(random, counts[name], reply_rates["AB".index(name)])
        if number % each == 0:
            led |= leaders(compare(("A", "B"), counts, {name: counts[name]["sent"] for name in counts}))
            if until_led and PRIMARY_RATE in led:
                return led, number
    return led, people


def fixed_size(first: float, second: float) -> int:
    """People for 80 % power of the two-sided test of two shares at 5 %, by the normal approximation."""
    normal = NormalDist()
    z = normal.inv_cdf(0.975) + normal.inv_cdf(0.8)
    return round(2 * z * z * (first * (1 - first) + second * (1 - second)) / (first - second) ** 2)


def main() -> None:
    random = Random(20261129)
    same = [run(random, (0.06, 0.06), PEOPLE, PEOPLE // LOOKS, until_led=False)[0] for _ in range(RUNS)]
    primary = sum(PRIMARY_RATE in led for led in same) / RUNS
    any_ = sum(map(bool, same)) / RUNS
    print(f"A/A, {RUNS} runs, {LOOKS} looks: false leader of {PRIMARY_RATE} {primary:.1%}, of any rate {any_:.1%}")
    sizes = [run(random, (0.06, 0.09), LONGEST, 50, until_led=True)[1] for _ in range(RUNS)]
    print(
        f"A/B, 6 % against 9 %: a leader after {median(sizes):,.0f} people (median), "
        f"{sum(size < LONGEST for size in sizes) / RUNS:.1%} within {LONGEST:,}; "
        f"a test of fixed size takes {fixed_size(0.06, 0.09):,} people, looked at once"
    )


if __name__ == "__main__":
    main()
