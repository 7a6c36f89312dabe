"""Two variants side by side: which differences are more than chance, and whether the comparison may be trusted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from db.domain.intervals import MIN_SAMPLE, MISMATCH_BELOW, even_split_p, newcombe
from db.domain.metrics import RATES, Better, Rate

Totals = Mapping[str, int]
"""Counter -> count."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A rate of the first variant less that of the second, with its 95 % interval; null where there is no rate.

    leader: the better variant, by the rate's direction; None while that is not decided.
    """

    difference: float | None
    low: float | None
    high: float | None
    leader: str | None

    @property
    def may_be_none(self) -> bool:
        """Whether no difference at all lies within the interval."""
        return self.low is None or self.high is None or self.low <= 0 <= self.high


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
    """The first variant against the second. `note` says in words why rates have no leader; None when all have one."""

    variants: tuple[str, str]
    differences: dict[str, Difference]
    sample_ratio: SampleRatio
    note: str | None


def compare(variants: tuple[str, str], totals: Mapping[str, Totals], sample: Mapping[str, int]) -> Comparison:
    """Compare two variants by their `totals`; `sample` is how many people each was sent to at their first step.

    A rate has no leader while a denominator is below MIN_SAMPLE, while its interval holds 0, or while the sample
    ratio is off: then something besides the texts differs between the variants.
    """
    ratio = SampleRatio({name: sample[name] for name in variants}, even_split_p([sample[name] for name in variants]))
    counts = {rate.slug: (rate.counts(totals[variants[0]]), rate.counts(totals[variants[1]])) for rate in RATES}
    small = [slug for slug, pair in counts.items() if min(pair[0][1], pair[1][1]) < MIN_SAMPLE]
    differences = {
        rate.slug: _difference(
            rate, variants, *counts[rate.slug], decides=rate.slug not in small and not ratio.mismatch
        )
        for rate in RATES
    }
    level = [slug for slug, each in differences.items() if each.may_be_none and slug not in small]
    return Comparison(variants, differences, ratio, _note(ratio, small, level))


def _difference(
    rate: Rate, variants: tuple[str, str], first: tuple[int, int], second: tuple[int, int], *, decides: bool
) -> Difference:
    interval = newcombe(first, second)
    if interval is None:
        return Difference(None, None, None, None)
    difference = round(first[0] / first[1] - second[0] / second[1], 6)
    # Decided on what is shown, so that an interval that reads as holding 0 never has a leader.
    shown = Difference(difference, round(interval[0], 6), round(interval[1], 6), None)
    if not decides or shown.may_be_none:
        return shown
    first_leads = (difference > 0) is (rate.better is Better.HIGHER)
    return replace(shown, leader=variants[0] if first_leads else variants[1])


def _note(ratio: SampleRatio, small: Sequence[str], level: Sequence[str]) -> str | None:
    if ratio.mismatch:
        sizes = ", ".join(f"{name}: {count}" for name, count in ratio.counts.items())
        return (
            f"No winner is called: the split is uneven beyond chance (sent at the first common step: {sizes}; "
            f"p = {ratio.p_value:.2g}), so more than the texts differs. Look for a variant that waits longer, that "
            "fails more often, or whose texts miss a variable."
        )
    reasons: list[str] = []
    if small:
        reasons.append(f"No winner yet, for a variant has a denominator below {MIN_SAMPLE}: {', '.join(small)}.")
    if level:
        reasons.append(f"No winner, for the interval of the difference contains 0: {', '.join(level)}.")
    return " ".join(reasons) or None
