"""Tests of two counts that stay right however often one looks, and whenever one stops.

Whoever is in a test was given one of two variants by a fair coin. If the variants do the same, each person who answers
is one of the first variant with probability 1/2, whatever the rate, and however it changes with time. So the counts of
answers alone are tested against a fair coin: Lindon and Malek 2022, Anytime-Valid Inference for Multinomial Count Data
(NeurIPS 35), sections 3 and 4. The chance of ever calling a difference where there is none is at most the level.
"""

from collections.abc import Mapping
from math import ceil, exp, lgamma, log

LEVEL = 0.05
"""The chance of ever naming a leader by any rate, in a test of two variants that do the same."""

PRIMARY_SHARE = 0.8
"""How much of LEVEL the primary rate may spend. The others share the rest, and all of it once that is decided."""

_CONCENTRATION = 10.0
"""Of the symmetric beta prior of the coin: what it favours are differences such as 6 % against 9 %."""

_FARTHEST = 100
"""Forecasts end at so many times the people there are."""


def p_value(first: int, second: int) -> float:
    """Returns the sequential p-value of two counts under a fair coin; 1 where nothing has been counted."""
    prior = _CONCENTRATION
    evidence = _log_beta(prior + first, prior + second) - _log_beta(prior, prior) + (first + second) * log(2)
    return exp(-max(0.0, evidence))


def decided(p_values: Mapping[str, float], primary: str) -> set[str]:
    """Returns those of the hypotheses that may be rejected together at LEVEL: Holm 1979, Scandinavian Journal of
    Statistics 6:65, with weights. `primary` has PRIMARY_SHARE of the weight, and the others share what is left
    evenly."""
    others = max(1, len(p_values) - 1)
    weights = {name: PRIMARY_SHARE if name == primary else (1 - PRIMARY_SHARE) / others for name in p_values}
    left = sum(weights.values())
    rejected: set[str] = set()
    for name in sorted(p_values, key=lambda name: p_values[name] / weights[name]):
        if p_values[name] > LEVEL * weights[name] / left:
            break
        rejected.add(name)
        left -= weights[name]
    return rejected


def people_needed(first: int, second: int, people: int) -> int | None:
    """Returns how many more people the primary rate needs for a verdict, if the counts go on growing as they have with
    the first `people`. None where that would be more than 100 times as many, or there is no difference to go by."""
    level = LEVEL * PRIMARY_SHARE

    def is_decided(times: float) -> bool:
        return p_value(round(first * times), round(second * times)) <= level

    low, high = 1.0, float(_FARTHEST)
    if is_decided(low):
        return 0
    if not is_decided(high):
        return None
    while (high - low) * people > 1:
        middle = (low + high) / 2
        low, high = (low, middle) if is_decided(middle) else (middle, high)
    return ceil((high - 1) * people)


def _log_beta(first: float, second: float) -> float:
    return lgamma(first) + lgamma(second) - lgamma(first + second)
