"""How far counts can be trusted: intervals of rates and of their differences, and the check of an even split.

All of them take counts and need no distribution tables; a rate is numerator / denominator of independent trials.
"""

from collections.abc import Sequence
from math import erfc, exp, pi, sqrt
from typing import TypeAlias

Interval: TypeAlias = tuple[float, float]
"""(low, high), both included."""

MISMATCH_BELOW = 0.001
"""The p-value under which a split counts as uneven: a false alarm once in 1,000 looks (Fabijan et al. 2019)."""

_Z_95 = 1.959963984540054


def wilson(numerator: int, denominator: int) -> Interval | None:
    """Returns the 95 % score interval of a rate, without continuity correction (Wilson 1927, JASA 22:209).

    Inside 0..1 and sensible at 0, at 1 and for small counts, where p +- 1.96 s.e. is neither. None where the counts
    are no rate: nothing to divide by, or more successes than trials.
    """
    if not 0 <= numerator <= denominator or denominator == 0:
        return None
    rate, square = numerator / denominator, _Z_95 * _Z_95
    centre = rate + square / (2 * denominator)
    margin = _Z_95 * sqrt(rate * (1 - rate) / denominator + square / (4 * denominator * denominator))
    scale = 1 + square / denominator
    # Rounding must not put the rate itself outside.
    return max(0.0, min(rate, (centre - margin) / scale)), min(1.0, max(rate, (centre + margin) / scale))


def newcombe(first: tuple[int, int], second: tuple[int, int]) -> Interval | None:
    """Returns the 95 % interval of the difference of two rates, each (numerator, denominator): first less second.

    The hybrid score interval, which joins the two Wilson intervals (Newcombe 1998, Statistics in Medicine 17:873,
    method 10). None where either is not a rate.
    """
    one, two = wilson(*first), wilson(*second)
    if one is None or two is None:
        return None
    rate, other = first[0] / first[1], second[0] / second[1]
    below = sqrt((rate - one[0]) ** 2 + (two[1] - other) ** 2)
    above = sqrt((one[1] - rate) ** 2 + (other - two[0]) ** 2)
    return rate - other - below, rate - other + above


def even_split_p(counts: Sequence[int]) -> float | None:
    """Returns the probability that a fair even split of the same sum is at least as uneven as `counts`, by chi-square.

    The test for a sample ratio mismatch (Fabijan et al. 2019, Diagnosing Sample Ratio Mismatch in Online Controlled
    Experiments, KDD). None while there is nothing to split, or one part only.
    """
    expected = sum(counts) / len(counts) if len(counts) > 1 else 0
    if not expected:
        return None
    return chi_square_tail(sum((count - expected) ** 2 for count in counts) / expected, len(counts) - 1)


def chi_square_tail(value: float, degrees: int) -> float:
    """Returns P(X >= value) of the chi-square distribution, exactly: its finite series for whole degrees of freedom.

    Abramowitz and Stegun 1964, 26.4.4 and 26.4.5.
    """
    half = value / 2
    if degrees % 2:
        tail, term, place = erfc(sqrt(half)), 2 * sqrt(half / pi), 1.5
    else:
        tail, term, place = 0.0, 1.0, 1.0
    series = 0.0
    for _ in range(degrees // 2):
        series += term
        term *= half / place
        place += 1
    return min(1.0, tail + exp(-half) * series)
