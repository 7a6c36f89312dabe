"""The sequential test, against its published implementation and by what it promises."""

from random import Random

import pytest
from hypothesis import given, settings, strategies as st

from db.domain.comparison import PRIMARY_RATE, compare
from db.domain.metrics import COUNTERS, RATES
from db.domain.sequential import LEVEL, decided, p_value, people_needed

quick = settings(max_examples=200, deadline=None, database=None)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (50, 100, 0.0016170245), (10, 50, 4.9791e-05), (0, 12, 0.1172158444), (5, 5, 1), (60, 42, 0.6510270895),
        (300, 380, 0.0609195839), (3, 0, 0.875), (1_200, 1_000, 0.0012835009), (0, 0, 1),
    ],
)  # fmt: skip
def test_the_p_value_is_that_of_the_published_implementation(first: int, second: int, expected: float) -> None:
    # ssrm-test 0.1.5, sequential_p_values with null probabilities of 1/2 and a Dirichlet concentration of 20
    assert p_value(first, second) == pytest.approx(expected, rel=1e-5)
    assert p_value(second, first) == pytest.approx(expected, rel=1e-5)


def test_a_fair_coin_seldom_looks_unfair_however_often_one_looks() -> None:
    random = Random(7)
    false_alarms = 0
    for _ in range(400):
        counts = [0, 0]
        lowest = 1.0
        for _ in range(400):
            counts[random.randrange(2)] += 1
            lowest = min(lowest, p_value(*counts))
        false_alarms += lowest <= 0.1
    assert 0 < false_alarms <= 40


def test_the_primary_rate_is_tested_first_and_leaves_its_share_to_the_others() -> None:
    # The seven others share 0.01; with the primary decided they share 0.05.
    others = {rate.slug: 1.0 for rate in RATES if rate.slug != PRIMARY_RATE}
    assert decided({PRIMARY_RATE: 0.04, **others}, PRIMARY_RATE) == {PRIMARY_RATE}
    assert decided({PRIMARY_RATE: 0.0401, **others}, PRIMARY_RATE) == set()
    near = {**others, "open_rate": 0.007}
    assert decided({PRIMARY_RATE: 0.0401, **near}, PRIMARY_RATE) == set()
    assert decided({PRIMARY_RATE: 0.001, **near}, PRIMARY_RATE) == {PRIMARY_RATE, "open_rate"}
    assert decided({PRIMARY_RATE: 0.5, **others, "open_rate": 0.0014}, PRIMARY_RATE) == {"open_rate"}


@quick
@given(st.integers(0, 400), st.integers(0, 400), st.integers(800, 5_000))
def test_the_people_that_are_still_needed_would_decide(first: int, second: int, people: int) -> None:
    needed = people_needed(first, second, people)
    if needed is None:
        assert p_value(first * 100, second * 100) > LEVEL * 0.8
        return
    times = 1 + needed / people
    assert p_value(round(first * times), round(second * times)) <= LEVEL * 0.8 * 1.2
    assert (needed == 0) is (p_value(first, second) <= LEVEL * 0.8)


def test_what_a_salesperson_may_conclude_is_one_sentence() -> None:
    def people(sent: int, replied: int) -> dict[str, int]:
        return dict.fromkeys(COUNTERS, 0) | {"sent": sent, "replied": replied}

    def verdict(first: tuple[int, int], second: tuple[int, int]) -> tuple[str, int | None]:
        found = compare(("A", "B"), {"A": people(*first), "B": people(*second)}, {"A": first[0], "B": second[0]})
        return found.verdict, found.people_needed

    assert verdict((800, 48), (800, 72)) == (
        (
            "Not decided by reply_rate: 48 of 800 people answered with A, 72 of 800 people answered with B. "
            "At these rates about 1,545 more people are needed. Look as often as you like."
        ),
        1_545,
    )
    words, needed = verdict((800, 48), (800, 48))
    assert needed is None
    assert "no sensible number of people" in words
    words, needed = verdict((60, 30), (60, 0))
    assert needed == 80
    assert verdict((900, 1), (700, 9))[0].startswith("Conclude nothing")
