"""Daily limits, gaps and ramp-up: whatever is asked for, no day and no two sends break them."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

from hypothesis import given, strategies as st

from db.domain import allowance
from db.domain.sending import Limits, Pace, Sender, Usage, day_of, of_settings

MONDAY = datetime(2026, 11, 2, tzinfo=UTC)
daily = st.none() | st.integers(1, 30)
gaps = st.integers(0, 7_200).map(lambda seconds: timedelta(seconds=seconds))
limits = st.builds(Limits, daily, gaps)


@given(limits, limits)
def test_of_two_limits_the_tighter_holds_each_way(one: Limits, other: Limits) -> None:
    both = one.tightened(other)
    assert both == other.tightened(one)
    for source in (one, other):
        assert source.daily is None or (both.daily is not None and both.daily <= source.daily)
        assert both.gap >= source.gap
    assert both.daily in (one.daily, other.daily)
    assert both.gap in (one.gap, other.gap)


def test_an_account_that_two_campaigns_name_has_the_tightest_limits_and_the_first_zone() -> None:
    first = Sender("ann", Limits(20, timedelta(minutes=9)), "Asia/Tokyo")
    second = Sender("ann", Limits(10, timedelta(minutes=3)), "Europe/Berlin")
    assert first.shared(second) == Sender("ann", Limits(10, timedelta(minutes=9)), "Asia/Tokyo")
    assert Sender("ann").shared(second) == second


@given(limits, st.lists(st.integers(0, 10_000), min_size=1, max_size=60))
def test_whoever_sends_as_many_as_the_limits_allow_keeps_to_them(given_limits: Limits, waits: list[int]) -> None:
    now, sent = MONDAY, list[datetime]()
    for seconds in waits:
        now += timedelta(seconds=seconds)
        today = day_of(now, "UTC")
        usage = Usage(sum(moment >= today.start for moment in sent), sent[-1] if sent else None)
        found = allowance.of_pace(Pace(given_limits), usage, now).limits
        waiting = [limit.hold.until for limit in found if limit.free == 0]
        if not waiting:
            sent += [now] * min(3, *(limit.free for limit in found), 3)
        else:
            assert all(until is not None and until > now for until in waiting)
    if given_limits.daily is not None:
        assert max(sum(moment.date() == day for moment in sent) for day in {moment.date() for moment in sent}) <= (
            given_limits.daily
        )
    assert all(after - before >= given_limits.gap for before, after in pairwise(sent))
    assert sent[0] == MONDAY + timedelta(seconds=waits[0])  # a limit never holds back the first


@given(st.integers(1, 50), st.integers(0, 20), daily, st.integers(0, 90))
def test_a_ramp_up_grows_by_its_step_each_day_up_to_the_limit(
    start: int, increase: int, most: int | None, days: int
) -> None:
    settings: dict[str, Any] = {"ramp_up": {"start": start, "increase": increase}}
    if most is not None:
        settings["daily_limit"] = most
    sending = of_settings(settings, MONDAY)
    day = date(2026, 11, 2) + timedelta(days=days)
    ramped = start + increase * days
    assert sending.limits_on(day).daily == (ramped if most is None else min(most, ramped))
