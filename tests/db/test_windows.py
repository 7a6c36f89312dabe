"""Sending windows against a plain minute-by-minute reading of the wall clock, in the zones that jump the oddest way."""

import struct
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from functools import cache
from importlib.resources import files
from itertools import pairwise
from time import process_time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, example, given, settings, strategies as st

from db.domain.sending import of_settings
from db.domain.windows import HORIZON_DAYS, PROBE, Calendar, Window, is_open, local_day, next_open

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
ALL_DAYS = frozenset(range(7))
OFFICE = Window(frozenset(range(5)), time(9), time(17))

# Zones and the years in which they change: by an hour, half an hour or two hours, at midnight, at one minute past it,
# backwards in summer, by a whole day, for good; and some that never do.
ODD: dict[str, range] = {
    "America/New_York": range(2024, 2029),
    "Europe/Berlin": range(2025, 2041),
    "Europe/Dublin": range(2025, 2027),
    "America/Sao_Paulo": range(2012, 2020),
    "Asia/Beirut": range(2019, 2027),
    "America/Havana": range(2024, 2027),
    "America/Asuncion": range(2020, 2026),
    "America/St_Johns": range(2008, 2012),
    "Australia/Lord_Howe": range(2024, 2028),
    "Pacific/Apia": range(2010, 2014),
    "Pacific/Kwajalein": range(1993, 1994),
    "Pacific/Kiritimati": range(1994, 1996),
    "Pacific/Chatham": range(2024, 2027),
    "Antarctica/Troll": range(2024, 2027),
    "Africa/Casablanca": range(2023, 2027),
    "Africa/Cairo": range(2010, 2015),
    "Africa/Monrovia": range(1971, 1973),
    "Asia/Gaza": range(2023, 2041),
    "Asia/Tehran": range(2020, 2023),
    "Asia/Pyongyang": range(2015, 2019),
    "America/Caracas": range(2007, 2017),
    "Asia/Kolkata": range(2026, 2027),
    "Etc/GMT+12": range(2026, 2027),
    "Etc/GMT-14": range(2026, 2027),
}

quick = settings(max_examples=300, deadline=None, database=None)
zones = st.sampled_from(sorted(ODD))


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # pyright: ignore[reportArgumentType]  # year, month, day and so on


@cache
def changes(name: str) -> list[datetime]:
    """The first moment of every new offset of the zone in its years, else one moment in them."""
    zone, years = ZoneInfo(name), ODD[name]
    moments = [utc(years.start, 1, 1) + timedelta(days=n) for n in range(365 * len(years))]
    found: list[datetime] = []
    for before, after in pairwise(moments):
        first = after
        for step in (HOUR, MINUTE, timedelta(seconds=1)):
            while (first - step).astimezone(zone).utcoffset() != before.astimezone(zone).utcoffset():
                first -= step
        if after.astimezone(zone).utcoffset() != before.astimezone(zone).utcoffset():
            found.append(first)
    return found or moments[:1]


def reads_open(moment: datetime, calendar: Calendar, zone: tzinfo) -> bool:
    """The definition, read off the wall clock."""
    wall, window = moment.astimezone(zone), calendar.window
    if window is None:
        return wall.date() not in calendar.holidays
    since_midnight = timedelta(hours=wall.hour, minutes=wall.minute, seconds=wall.second)
    opens = timedelta(hours=window.opens.hour, minutes=window.opens.minute)
    closes = DAY if window.closes is None else timedelta(hours=window.closes.hour, minutes=window.closes.minute)
    yesterday = wall.date() - DAY
    today_counts, yesterday_counts = (
        day.isoweekday() - 1 in window.days and day not in calendar.holidays for day in (wall.date(), yesterday)
    )
    if closes < opens:  # it runs over midnight, and belongs to the day on which it starts
        return (today_counts and opens <= since_midnight) or (yesterday_counts and since_midnight < closes)
    return today_counts and opens <= since_midnight < closes


@st.composite
def situations(draw: st.DrawFn) -> tuple[datetime, Calendar, ZoneInfo]:
    """A moment within days of a change of offset, and a calendar that opens or closes within hours of one."""
    name = draw(zones)
    zone, change = ZoneInfo(name), draw(st.sampled_from(changes(name)))
    near = draw(st.sampled_from([HOUR * 3, DAY, DAY * 4]))
    moment = change + timedelta(seconds=draw(st.integers(-int(near.total_seconds()), int(near.total_seconds()))))
    walls = st.one_of(st.times(), st.integers(-150, 150).map(lambda n: (change + n * MINUTE).astimezone(zone).time()))
    opens, closes = (draw(walls).replace(second=0, microsecond=0, fold=0) for _ in range(2))
    days = draw(st.one_of(st.just(ALL_DAYS), st.frozensets(st.integers(0, 6), min_size=1)))
    window = draw(st.sampled_from([Window(days, opens, closes), Window(days, opens, None), None]))
    today = change.astimezone(zone).date()
    holidays = draw(st.frozensets(st.integers(-3, 8).map(lambda n: today + timedelta(days=n)), max_size=5))
    return moment, Calendar(window, holidays), zone


@quick
@given(situations())
def test_a_moment_is_open_when_the_wall_clock_says_so(situation: tuple[datetime, Calendar, ZoneInfo]) -> None:
    moment, calendar, zone = situation
    for seconds in (-7_200, -3_601, -3_600, -1, 0, 1, 59, 1_800, 3_600, 86_400):
        each = moment + timedelta(seconds=seconds)
        assert is_open(each, calendar, zone) == reads_open(each, calendar, zone)
    # The same moment, written in another zone.
    assert is_open(moment.astimezone(timezone(HOUR * 5)), calendar, zone) == is_open(moment, calendar, zone)


@settings(quick, max_examples=150)
@given(situations())
def test_the_next_opening_is_open_and_nothing_before_it_is(situation: tuple[datetime, Calendar, ZoneInfo]) -> None:
    moment, calendar, zone = situation
    found = next_open(moment, calendar, zone)
    if found is None:
        assert calendar.window is not None
        assert calendar.window.never_opens
        found = moment + DAY * 9
    else:
        assert found.tzinfo is UTC
        assert found >= moment
        assert reads_open(found, calendar, zone)
    assume(found - moment < DAY * 30)
    # Windows open on whole minutes, and so do zones change: what holds at a minute's start holds until its end.
    closed = moment
    while closed < found:
        assert not reads_open(closed, calendar, zone), closed
        closed = closed.replace(second=0, microsecond=0) + MINUTE
    assert found == moment or not reads_open(found - timedelta(seconds=1), calendar, zone)


@quick
@given(situations(), st.integers(0, 200_000))
def test_later_moments_open_no_earlier_and_an_opening_opens_itself(
    situation: tuple[datetime, Calendar, ZoneInfo], seconds: int
) -> None:
    moment, calendar, zone = situation
    found = next_open(moment, calendar, zone)
    assert (found == moment) == is_open(moment, calendar, zone)
    if found is None:
        return
    assert next_open(found, calendar, zone) == found
    later = next_open(moment + timedelta(seconds=seconds), calendar, zone)
    assert later is not None
    assert later >= found


@quick
@given(
    st.integers(0, 230 * 31_556_952).map(lambda n: utc(1970, 1, 1) + timedelta(seconds=n, microseconds=n % 3)), zones
)
@example(utc(2026, 11, 2, 9, 0, 0, 999_999), "Asia/Kolkata")
def test_any_moment_to_the_microsecond_finds_the_same_opening(moment: datetime, name: str) -> None:
    zone = ZoneInfo(name)
    found = next_open(moment, Calendar(OFFICE), zone)
    assert found is not None
    assert moment <= found <= moment + 4 * DAY
    assert reads_open(found, Calendar(OFFICE), zone)
    if found > moment:
        assert found.astimezone(zone).time() == time(9)
        assert not reads_open(found - timedelta(microseconds=1), Calendar(OFFICE), zone)


@pytest.mark.parametrize(
    ("name", "window", "moment", "opening"),
    [
        # Skipped 02:00 to 03:00: what opens in between opens at the skip, and what closes in between does not open.
        ("America/New_York", (time(2, 30), time(5)), utc(2026, 3, 8, 5), utc(2026, 3, 8, 7)),
        ("America/New_York", (time(2, 10), time(2, 50)), utc(2026, 3, 8, 5), utc(2026, 3, 9, 6, 10)),
        # Repeated 01:00 to 02:00: open from 05:15 to 05:45 and again from 06:15 to 06:45.
        ("America/New_York", (time(1, 15), time(1, 45)), utc(2026, 11, 1, 5), utc(2026, 11, 1, 5, 15)),
        ("America/New_York", (time(1, 15), time(1, 45)), utc(2026, 11, 1, 5, 45), utc(2026, 11, 1, 6, 15)),
        # It closes at 01:30, and opens when the clock goes back to 01:00.
        ("America/New_York", (time(0), time(1, 30)), utc(2026, 11, 1, 5, 40), utc(2026, 11, 1, 6)),
        # No midnight: the day starts at 01:00.
        ("America/Sao_Paulo", (time(0), None), utc(2018, 11, 4, 3), utc(2018, 11, 4, 3)),
        ("Asia/Beirut", (time(0, 20), time(0, 40)), utc(2026, 3, 28, 21), utc(2026, 3, 29, 21, 20)),
        # Back at midnight: 23:00 to 24:00 is lived twice.
        ("America/Sao_Paulo", (time(23, 30), None), utc(2018, 2, 18, 2), utc(2018, 2, 18, 2, 30)),
        # Half an hour: 02:00 becomes 02:30.
        ("Australia/Lord_Howe", (time(2, 15), time(9)), utc(2026, 10, 3, 15), utc(2026, 10, 3, 15, 30)),
        ("Etc/GMT-14", (time(9), time(17)), utc(2026, 11, 2, 12), utc(2026, 11, 2, 19)),
        ("Etc/GMT+12", (time(9), time(17)), utc(2026, 11, 2, 12), utc(2026, 11, 2, 21)),
    ],
)
def test_a_window_opens_on_days_when_the_clock_jumps(
    name: str, window: tuple[time, time | None], moment: datetime, opening: datetime
) -> None:
    assert next_open(moment, Calendar(Window(ALL_DAYS, *window)), ZoneInfo(name)) == opening


def test_a_day_that_a_zone_leaves_out_does_not_open() -> None:
    friday = Calendar(Window(frozenset({4}), time(9), time(17)))
    zone = ZoneInfo("Pacific/Apia")
    # Thursday the 29th of December 2011 was followed by Saturday the 31st.
    assert next_open(utc(2011, 12, 30, 9), friday, zone) == utc(2012, 1, 5, 19)
    assert local_day(utc(2011, 12, 30, 9, 59, 59), zone) == date(2011, 12, 29)
    assert local_day(utc(2011, 12, 30, 10), zone) == date(2011, 12, 31)


def test_a_holiday_closes_the_day_of_the_zone_with_and_without_a_window() -> None:
    zone = ZoneInfo("Asia/Kolkata")
    holiday = frozenset({date(2026, 11, 9)})
    eve = utc(2026, 11, 8, 18, 29, 59)
    assert is_open(eve, Calendar(None, holiday), zone)
    assert next_open(eve + timedelta(seconds=1), Calendar(None, holiday), zone) == utc(2026, 11, 9, 18, 30)
    assert next_open(utc(2026, 11, 9, 6), Calendar(OFFICE, holiday), zone) == utc(2026, 11, 10, 3, 30)


@pytest.mark.parametrize(
    "window",
    [
        Window(frozenset(), time(9), time(17)),
        Window(ALL_DAYS, time(9), time(9)),
        Window(ALL_DAYS, time(0), time(0)),
    ],
)
def test_a_window_without_a_moment_never_opens(window: Window) -> None:
    assert window.never_opens
    assert next_open(utc(2026, 11, 2), Calendar(window), UTC) is None
    assert not any(is_open(utc(2026, 11, 2) + HOUR * n, Calendar(window), UTC) for n in range(24 * 7))


@pytest.mark.parametrize("window", [Window(frozenset({6}), time(23, 59), None), Window(ALL_DAYS, time.min, time(0, 1))])
def test_a_window_of_one_minute_opens(window: Window) -> None:
    assert not window.never_opens
    found = next_open(utc(2026, 11, 2, 12), Calendar(window), UTC)
    assert found is not None
    assert not is_open(found + MINUTE, Calendar(window), UTC)


def test_holidays_to_the_horizon_give_none_and_one_day_less_an_opening() -> None:
    start = utc(2026, 11, 2)
    closed = [start.date() + DAY * n for n in range(HORIZON_DAYS + 1)]
    zone = ZoneInfo("Europe/Berlin")
    assert next_open(start, Calendar(None, frozenset(closed)), zone) is None
    last = next_open(start, Calendar(None, frozenset(closed[:-1])), zone)
    assert last == datetime(2027, 12, 7, tzinfo=zone).astimezone(UTC)


def test_an_opening_past_the_horizon_is_none() -> None:
    start = utc(2026, 11, 2, 12)
    closed = frozenset(start.date() + DAY * n for n in range(HORIZON_DAYS))
    last = start + DAY * HORIZON_DAYS
    assert next_open(start, Calendar(Window(ALL_DAYS, time(12), None), closed), UTC) == last
    assert next_open(start, Calendar(Window(ALL_DAYS, time(12, 1), None), closed), UTC) is None


def offset_changes(name: str) -> list[int]:
    """Every moment (seconds since 1970) at which the zone's file changes the offset, by RFC 9636."""
    data = files("tzdata").joinpath("zoneinfo", *name.split("/")).read_bytes()
    _, _, leaps, times, types, letters = struct.unpack(">6l", data[20:44])
    # Version 1 comes first: four bytes a time. What is read here is version 2, after a header of its own.
    isut, isstd = struct.unpack(">2l", data[20:28])
    at = 44 + times * 5 + types * 6 + letters + leaps * 8 + isstd + isut
    times, types = struct.unpack(">2l", data[at + 32 : at + 40])
    at += 44
    moments = struct.unpack(f">{times}q", data[at : at + times * 8])
    kinds = data[at + times * 8 : at + times * 9]
    at += times * 9
    offsets = [struct.unpack(">l", data[at + 6 * n : at + 6 * n + 4])[0] for n in range(types)]
    steps = zip(moments, pairwise([0, *kinds]), strict=True)
    return [moment for moment, (before, after) in steps if offsets[before] != offsets[after]]


def test_no_zone_changes_twice_between_two_probes() -> None:
    names = files("tzdata").joinpath("zones").read_text().split()
    nearest = min(later - sooner for name in names for sooner, later in pairwise(offset_changes(name)))
    assert len(names) > 400
    assert timedelta(seconds=nearest) > PROBE


def test_thousands_of_openings_take_no_time_to_speak_of() -> None:
    calendar = Calendar(OFFICE, frozenset({date(2026, 12, 25)}))
    zone = ZoneInfo("America/New_York")
    moments = [utc(2026, 10, 1) + HOUR * n for n in range(3_000)]
    start = process_time()
    assert all(next_open(moment, calendar, zone) for moment in moments)
    # Time of the processor, which does not count who else is at work. Some 7 microseconds each; a scan of minutes would
    # take a hundred times this bound.
    assert process_time() - start < 3_000 * 200e-6


@pytest.mark.parametrize(
    ("moment", "opening"),
    [
        (utc(2026, 11, 6, 23), utc(2026, 11, 6, 23)),  # Friday, in the night that starts on it
        (utc(2026, 11, 7, 5, 59), utc(2026, 11, 7, 5, 59)),  # Saturday morning belongs to Friday
        (utc(2026, 11, 7, 6), utc(2026, 11, 9, 22)),  # the nights of the weekend are closed
        (utc(2026, 11, 9, 1), utc(2026, 11, 9, 22)),  # Monday morning belongs to Sunday
        (utc(2026, 11, 11, 1), utc(2026, 11, 11, 1)),  # a holiday's morning belongs to the day before
        (utc(2026, 11, 11, 23), utc(2026, 11, 12, 22)),  # and its night to the holiday
    ],
)
def test_a_window_that_ends_before_it_starts_runs_over_midnight(moment: datetime, opening: datetime) -> None:
    night = Calendar(Window(frozenset(range(5)), time(22), time(6)), frozenset({date(2026, 11, 11)}))
    assert next_open(moment, night, ZoneInfo("UTC")) == opening


def test_a_window_whose_days_are_all_holidays_is_told_as_that() -> None:
    mondays = [(date(2026, 11, 2) + timedelta(weeks=n)).isoformat() for n in range(60)]
    window = {"days": ["mon"], "start": "09:00", "end": "17:00"}
    sending = of_settings({"sending_window": window, "holidays": mondays})
    assert sending.opening(utc(2026, 11, 1)) is None
    assert sending.never_opens == "The sending window does not open within 400 days."
    assert of_settings({"sending_window": {**window, "days": []}}).never_opens == "The sending window never opens."
