"""Intervals and the split check, against published values and by what must hold for all counts."""

from math import erfc, exp, sqrt

import pytest
from hypothesis import given, settings, strategies as st

from db.domain.comparison import MIN_PEOPLE, Comparison, compare
from db.domain.intervals import MISMATCH_BELOW, chi_square_tail, even_split_p, newcombe, wilson
from db.domain.metrics import COUNTERS, RATES, Better, intervals, rates
from db.domain.states import Channel

quick = settings(max_examples=300, deadline=None, database=None)

# (numerator, denominator), as large as a campaign gets
counts = st.integers(1, 2_000_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@pytest.mark.parametrize(
    ("numerator", "denominator", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0000, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_published_intervals(numerator: int, denominator: int, low: float, high: float) -> None:
    # Newcombe 1998, Statistics in Medicine 17:857, table I, method 3
    assert wilson(numerator, denominator) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((6, 7), (2, 7), 0.0582, 0.8062),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((0, 10), (0, 20), -0.1611, 0.2775),
        ((0, 10), (0, 10), -0.2775, 0.2775),
        ((10, 10), (0, 20), 0.6791, 1.0000),
        ((10, 10), (0, 10), 0.6075, 1.0000),
    ],
)
def test_newcombe_gives_the_published_intervals(
    first: tuple[int, int], second: tuple[int, int], low: float, high: float
) -> None:
    # Newcombe 1998, Statistics in Medicine 17:873, table II, method 10
    assert newcombe(first, second) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("value", "degrees", "probability"),
    [
        (3.841459, 1, 0.05), (10.827566, 1, 0.001), (5.991465, 2, 0.05), (13.815511, 2, 0.001), (7.814728, 3, 0.05),
        (9.487729, 4, 0.05), (11.070498, 5, 0.05), (16.918978, 9, 0.05), (18.307038, 10, 0.05), (0, 1, 1), (0, 4, 1),
    ],
)  # fmt: skip
def test_the_tail_of_chi_square_is_that_of_the_tables(value: float, degrees: int, probability: float) -> None:
    assert chi_square_tail(value, degrees) == pytest.approx(probability, rel=1e-5)


@quick
@given(st.floats(0, 2_000), st.integers(1, 30))
def test_the_tail_of_chi_square_is_a_probability_that_grows_with_the_degrees(value: float, degrees: int) -> None:
    tail, next_tail = chi_square_tail(value, degrees), chi_square_tail(value, degrees + 1)
    assert 0 <= tail <= 1
    assert tail <= next_tail + 1e-12
    assert chi_square_tail(value, 1) == erfc(sqrt(value / 2))
    assert chi_square_tail(value, 2) == pytest.approx(exp(-value / 2))


@quick
@given(counts)
def test_the_interval_of_a_rate_holds_it_and_stays_within_0_and_1(count: tuple[int, int]) -> None:
    interval = wilson(*count)
    assert interval is not None
    assert 0 <= interval[0] <= count[0] / count[1] <= interval[1] <= 1
    assert interval[0] < interval[1]


@quick
@given(counts, st.integers(2, 50))
def test_more_of_the_same_narrows_the_interval(count: tuple[int, int], times: int) -> None:
    few, many = wilson(*count), wilson(count[0] * times, count[1] * times)
    assert few is not None
    assert many is not None
    assert many[1] - many[0] < few[1] - few[0]


@quick
@given(counts)
def test_the_interval_of_the_rest_mirrors_that_of_the_rate(count: tuple[int, int]) -> None:
    interval, rest = wilson(*count), wilson(count[1] - count[0], count[1])
    assert interval is not None
    assert rest == pytest.approx((1 - interval[1], 1 - interval[0]), abs=1e-9)


@quick
@given(counts, counts)
def test_a_difference_lies_in_its_interval_and_turns_round_with_its_sides(
    first: tuple[int, int], second: tuple[int, int]
) -> None:
    interval, turned = newcombe(first, second), newcombe(second, first)
    assert interval is not None
    assert turned is not None
    assert -1 <= interval[0] <= first[0] / first[1] - second[0] / second[1] <= interval[1] <= 1
    assert turned == pytest.approx((-interval[1], -interval[0]), abs=1e-12)


@pytest.mark.parametrize(("numerator", "denominator"), [(0, 0), (1, 0), (3, 2), (-1, 5)])
def test_counts_that_are_no_rate_have_no_interval(numerator: int, denominator: int) -> None:
    assert wilson(numerator, denominator) is None
    assert newcombe((numerator, denominator), (1, 2)) is None
    assert newcombe((1, 2), (numerator, denominator)) is None


@pytest.mark.parametrize(
    ("split", "is_off"),
    [
        ([5_000, 5_000], False), ([5_100, 4_900], False), ([5_150, 4_850], False), ([5_170, 4_830], True),
        ([5_000, 0], True), ([3_000, 3_050, 2_950], False), ([3_200, 3_000, 2_800], True), ([1, 0], False),
    ],
)  # fmt: skip
def test_a_split_is_off_when_chance_does_not_explain_it(split: list[int], *, is_off: bool) -> None:
    probability = even_split_p(split)
    assert probability is not None
    assert (probability < MISMATCH_BELOW) is is_off


@pytest.mark.parametrize("split", [[], [7], [0, 0]])
def test_nothing_to_split_has_no_probability(split: list[int]) -> None:
    assert even_split_p(split) is None


def totals(sent: int, **counted: int) -> dict[str, int]:
    return dict.fromkeys(COUNTERS, 0) | {"sent": sent, "delivered": sent} | counted


def compared(a: dict[str, int], b: dict[str, int]) -> Comparison:
    return compare(("A", "B"), {"A": a, "B": b}, {"A": a["sent"], "B": b["sent"]})


def test_the_better_variant_leads_once_its_difference_is_more_than_chance() -> None:
    comparison = compared(totals(1_000, replied=50, bounced=10), totals(1_000, replied=100, bounced=50))
    reply, bounce = comparison.differences["reply_rate"], comparison.differences["bounce_rate"]
    assert (reply.difference, reply.leader) == (-0.05, "B")
    assert reply.low is not None
    assert reply.high is not None
    assert reply.low < -0.05 < reply.high < 0
    # Fewer bounces are better.
    assert (bounce.difference, bounce.leader) == (-0.04, "A")
    assert comparison.differences["open_rate"].leader is None
    assert comparison.note is not None
    assert "No winner, for chance could make such a difference: delivery_rate" in comparison.note
    assert "reply_rate" not in comparison.note
    assert not comparison.sample_ratio.mismatch


@pytest.mark.parametrize(("size", "leader"), [(MIN_PEOPLE - 1, None), (MIN_PEOPLE, "A")])
def test_no_winner_is_called_below_the_smallest_sample(size: int, leader: str | None) -> None:
    comparison = compared(totals(size, opened=size), totals(MIN_PEOPLE, opened=0))
    assert comparison.differences["open_rate"].leader == leader
    assert ("open_rate" in (comparison.note or "")) is (leader is None)


def test_no_winner_is_called_while_the_split_is_off() -> None:
    comparison = compared(totals(1_000, replied=500), totals(700, replied=7))
    assert comparison.sample_ratio.mismatch
    assert {difference.leader for difference in comparison.differences.values()} == {None}
    assert comparison.differences["reply_rate"].difference == 0.49
    assert "A: 1000, B: 700" in (comparison.note or "")


def test_variants_that_were_not_sent_compare_to_nothing() -> None:
    comparison = compared(totals(0), totals(0))
    assert {
        (difference.difference, difference.p_value, difference.leader) for difference in comparison.differences.values()
    } == {(None, None, None)}
    assert comparison.people_needed is None
    assert (comparison.sample_ratio.p_value, comparison.sample_ratio.mismatch) == (None, False)


@quick
@given(st.integers(0, 3_000), st.integers(0, 3_000), st.data())
def test_a_leader_is_better_and_swapping_the_variants_keeps_it(one: int, two: int, data: st.DataObject) -> None:
    drawn = [
        totals(size, **{name: data.draw(st.integers(0, size)) for name in ("opened", "replied", "bounced")})
        for size in (one, two)
    ]
    comparison = compared(*drawn)
    swapped = compare(("B", "A"), {"A": drawn[0], "B": drawn[1]}, {"A": one, "B": two})
    for rate in RATES:
        difference = comparison.differences[rate.slug]
        leader = difference.leader
        assert leader == swapped.differences[rate.slug].leader
        if leader is not None:
            assert difference.difference is not None
            assert (difference.difference > 0) is ((leader == "A") is (rate.better is Better.HIGHER))


def test_lower_is_better_for_what_nobody_wants() -> None:
    assert {rate.slug for rate in RATES if rate.better is Better.LOWER} == {"bounce_rate", "unsubscribe_rate"}


@quick
@given(st.integers(0, 3_000), st.data())
def test_every_rate_lies_in_its_interval(sent: int, data: st.DataObject) -> None:
    counted = totals(sent, replied=data.draw(st.integers(0, sent)), unsubscribed=data.draw(st.integers(0, sent + 1)))
    found = intervals(counted, Channel.EMAIL)
    for slug, rate in rates(counted, Channel.EMAIL).items():
        interval = found[slug]
        assert (interval is None) is (rate is None)
        if interval is not None and rate is not None:
            assert interval[0] <= rate <= interval[1] <= 1
