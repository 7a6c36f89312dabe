"""Two variants side by side: which differences are more than chance, and whether the comparison may be trusted.

People are counted, not steps: who was sent three mails and opened all of them is one person who opened. The tests hold
at every look (db.domain.sequential), and together: one primary rate, the others behind it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from db.domain.intervals import MISMATCH_BELOW, even_split_p, newcombe
from db.domain.metrics import RATES, Better, Rate
from db.domain.sequential import decided, p_value, people_needed

Totals = Mapping[str, int]
"""Counter -> count of people."""

PRIMARY_RATE = "reply_rate"
"""The rate that decides a test, where the campaign's settings name none."""

MIN_PEOPLE = 100
"""People that each variant needs before one may be called the better."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A rate of the first variant less that of the second, by person, with its 95 % interval at one look; null where
    there is no rate.

    p_value: the probability of such a difference at any of many looks, if the variants do the same.
    leader: the better variant, by the rate's direction; None while that is not decided.
    """

    difference: float | None
    low: float | None
    high: float | None
    p_value: float | None = None
    leader: str | None = None


@dataclass(frozen=True, slots=True)
class SampleRatio:
    """How many people each variant was sent to, at the first step that both have, before any text could tell.

    p_value: the probability of a split at least as uneven when chance alone splits evenly; None before the first send.
    """

    counts: dict[str, int]
    p_value: float | None

    @property
    def mismatch(self) -> bool:
        return self.p_value is not None and self.p_value < MISMATCH_BELOW


@dataclass(frozen=True, slots=True)
class Comparison:
    """The first variant against the second.

    people: variant -> counter -> people. verdict: what may be concluded from the primary rate, in a sentence.
    people_needed: how many more people a verdict is likely to take; None where that can't be told. note: why rates have
    no leader; None when all have one.
    """

    variants: tuple[str, str]
    people: dict[str, dict[str, int]]
    primary_rate: str
    differences: dict[str, Difference]
    sample_ratio: SampleRatio
    verdict: str
    people_needed: int | None
    note: str | None


def compare(
    variants: tuple[str, str], people: Mapping[str, Totals], sample: Mapping[str, int], *, primary: str = PRIMARY_RATE
) -> Comparison:
    """Compares two variants by the `people` who got so far; `sample` is how many people each was sent to at their first
    step, `primary` the rate that decides.

    No rate has a leader while a variant has fewer than MIN_PEOPLE, or while the sample ratio is off: then something
    besides the texts differs between the variants.
    """
    ratio = SampleRatio({name: sample[name] for name in variants}, even_split_p([sample[name] for name in variants]))
    counts = {rate.slug: (_counts(rate, people[variants[0]]), _counts(rate, people[variants[1]])) for rate in RATES}
    small = [slug for slug, (first, second) in counts.items() if min(first[1], second[1]) < MIN_PEOPLE]
    p_values = {slug: p_value(first[0], second[0]) for slug, (first, second) in counts.items()}
    certain = decided({slug: 1.0 if slug in small else value for slug, value in p_values.items()}, primary)
    differences = {
        rate.slug: _difference(
            rate,
            variants,
            *counts[rate.slug],
            p_value=p_values[rate.slug],
            is_decided=rate.slug in certain and not ratio.mismatch,
        )
        for rate in RATES
    }
    open_ = [slug for slug, difference in differences.items() if difference.leader is None and slug not in small]
    deciding = next(rate for rate in RATES if rate.slug == primary)
    needed = None if ratio.mismatch else _needed(*counts[primary], is_decided=differences[primary].leader is not None)
    return Comparison(
        variants,
        {name: dict(people[name]) for name in variants},
        primary,
        differences,
        ratio,
        _verdict(deciding, variants, counts[primary], differences[primary].leader, ratio, needed),
        needed,
        _note(ratio, small, open_),
    )


def _counts(rate: Rate, people: Totals) -> tuple[int, int]:
    """Returns (numerator, denominator) by person. What is divided by is who was sent anything, which the texts cannot
    change; but for a rate of those who opened."""
    return people[rate.numerator], people["opened" if rate.denominator == "opened" else "sent"]


def _difference(
    rate: Rate,
    variants: tuple[str, str],
    first: tuple[int, int],
    second: tuple[int, int],
    *,
    p_value: float,
    is_decided: bool,
) -> Difference:
    interval = newcombe(first, second)
    if interval is None:
        return Difference(None, None, None)
    difference = round(first[0] / first[1] - second[0] / second[1], 6)
    low, high = round(interval[0], 6), round(interval[1], 6)
    leader: str | None = None
    # Decided on what is shown as well, so that an interval that reads as holding 0 never has a leader.
    if is_decided and not low <= 0 <= high:
        leader = variants[0] if (difference > 0) is (rate.better is Better.HIGHER) else variants[1]
    return Difference(difference, low, high, round(p_value, 6), leader)


def _needed(first: tuple[int, int], second: tuple[int, int], *, is_decided: bool) -> int | None:
    if is_decided:
        return 0
    people = first[1] + second[1]
    missing = max(0, 2 * MIN_PEOPLE - people)
    more = people_needed(first[0], second[0], people) if people else None
    return None if more is None else max(more, missing)


def _verdict(
    rate: Rate,
    variants: tuple[str, str],
    counts: tuple[tuple[int, int], tuple[int, int]],
    leader: str | None,
    ratio: SampleRatio,
    needed: int | None,
) -> str:
    if ratio.mismatch:
        return "Conclude nothing: the people are not split evenly between the variants (see note)."
    shares = ", ".join(
        f"{done:,} of {people:,} people {rate.did} with {name}"
        for name, (done, people) in zip(variants, counts, strict=True)
    )
    if leader is not None:
        return f"{leader} is better by {rate.slug}: {shares}. This holds however often you look: use {leader}."
    if needed is None:
        return (
            f"Not decided by {rate.slug}: {shares}. At these rates no sensible number of people would tell the "
            "variants apart: use either, or test texts that differ more."
        )
    return (
        f"Not decided by {rate.slug}: {shares}. At these rates about {needed:,} more people are needed. "
        "Look as often as you like."
    )


def _note(ratio: SampleRatio, small: Sequence[str], undecided: Sequence[str]) -> str | None:
    if ratio.mismatch:
        sizes = ", ".join(f"{name}: {count}" for name, count in ratio.counts.items())
        return (
            f"No winner is called: the split is uneven beyond chance (sent at the first common step: {sizes}; "
            f"p = {ratio.p_value:.2g}), so more than the texts differs. Look for a variant that waits longer, that "
            "fails more often, or whose texts miss a variable."
        )
    reasons: list[str] = []
    if small:
        reasons.append(f"No winner yet, for a variant has a denominator below {MIN_PEOPLE}: {', '.join(small)}.")
    if undecided:
        reasons.append(f"No winner, for chance could make such a difference: {', '.join(undecided)}.")
    return " ".join(reasons) or None
