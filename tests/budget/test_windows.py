"""Which span of time a limit counts now."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.budget.windows import DAY_MS, HOUR_MS, QUARTER_MS, extent, zone_named
from ostler.domain.limits import Window, WindowKind
from tests.budget.made import NOW_MS, at

ZONES = [
    "UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe",
    "America/Sao_Paulo", "Africa/Cairo", "Pacific/Chatham", "Asia/Beirut", "America/Havana", "Pacific/Apia",
]  # fmt: skip
CALENDAR = [WindowKind.HOUR, WindowKind.DAY, WindowKind.MONTH]


def bounds_of(window: Window, now_ms: int) -> tuple[int, int]:
    found = extent(window, now_ms)
    assert found is not None
    return found.start_ms, found.end_ms


@given(st.sampled_from(CALENDAR), st.sampled_from(ZONES), st.integers(1_420_070_400_000, 1_893_456_000_000))
def test_a_calendar_window_holds_its_instant_and_touches_the_next(kind: WindowKind, zone: str, now_ms: int) -> None:
    """At any instant in any zone: the window holds it, starts at a quarter-hour, and where it ends the next begins.

    Where clocks move by half an hour, two hours overlap: that counts too much, never too little.
    """
    window = Window(kind=kind, zone=zone)
    start_ms, end_ms = bounds_of(window, now_ms)

    assert start_ms <= now_ms < end_ms
    assert start_ms % QUARTER_MS == 0
    assert bounds_of(window, end_ms)[0] <= end_ms
    if (kind, zone) != (WindowKind.HOUR, "Australia/Lord_Howe"):
        assert bounds_of(window, start_ms) == (start_ms, end_ms)
        assert bounds_of(window, end_ms - 1) == (start_ms, end_ms)
        assert bounds_of(window, end_ms)[0] == end_ms


@given(st.sampled_from(ZONES), st.integers(1_577_836_800_000, 1_893_456_000_000))
def test_a_day_and_a_month_are_those_of_the_zone(zone: str, now_ms: int) -> None:
    """The first and the last millisecond of a window have the date, or the month, that the instant has there."""

    def local(at_ms: int) -> datetime:
        return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(ZoneInfo(zone))

    day = bounds_of(Window(kind=WindowKind.DAY, zone=zone), now_ms)
    month = bounds_of(Window(kind=WindowKind.MONTH, zone=zone), now_ms)

    assert {local(day[0]).date(), local(day[1] - 1).date()} == {local(now_ms).date()}
    assert local(day[0] - 1).date() < local(now_ms).date() < local(day[1]).date()
    assert {local(edge).strftime("%Y-%m") for edge in (month[0], month[1] - 1)} == {local(now_ms).strftime("%Y-%m")}


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("UTC", (2026, 3, 29), 24),
        ("Europe/Berlin", (2026, 3, 29), 23),
        ("Europe/Berlin", (2026, 10, 25), 25),
        ("America/New_York", (2026, 11, 1), 25),
        ("Australia/Lord_Howe", (2026, 4, 5), 24.5),
        ("America/Sao_Paulo", (2018, 11, 4), 23),
        ("Asia/Beirut", (2026, 3, 29), 23),
    ],
)
def test_a_day_is_as_long_as_its_clocks_say(zone: str, day: tuple[int, int, int], hours: float) -> None:
    """Where clocks are changed a day has 23, 25 or 24.5 hours, also where it is midnight that does not exist."""
    start_ms, end_ms = bounds_of(Window(kind=WindowKind.DAY, zone=zone), at(zone, *day, 12))

    assert (end_ms - start_ms) / HOUR_MS == hours


def test_the_hour_that_is_told_twice_is_two_hours() -> None:
    """In the night the clocks go back, both hours of the same name are windows of their own."""
    first_ms = at("Europe/Berlin", 2026, 10, 25, 2, 30)
    window = Window(kind=WindowKind.HOUR, zone="Europe/Berlin")

    assert bounds_of(window, first_ms + HOUR_MS)[0] == bounds_of(window, first_ms)[1]


def test_a_new_month_is_another_window_without_anybody_doing_anything() -> None:
    """A millisecond apart, in the zone that is named: the same question has another answer."""
    new_year_ms = at("America/New_York", 2027, 1, 1)
    window = Window(kind=WindowKind.MONTH, zone="America/New_York")

    assert bounds_of(window, new_year_ms - 1) == (at("America/New_York", 2026, 12, 1), new_year_ms)
    assert bounds_of(window, new_year_ms) == (new_year_ms, at("America/New_York", 2027, 2, 1))
    assert bounds_of(Window(kind=WindowKind.MONTH), new_year_ms - 1)[0] == at("UTC", 2027, 1, 1)


def test_a_period_counts_from_its_start_to_before_its_end() -> None:
    """Outside of it there is no window."""
    start_ms, end_ms = at("UTC", 2026, 2, 1), at("UTC", 2026, 3, 1)
    window = Window(kind=WindowKind.PERIOD, start_ms=start_ms, end_ms=end_ms)

    assert bounds_of(window, start_ms) == bounds_of(window, end_ms - 1) == (start_ms, end_ms)
    assert extent(window, start_ms - 1) is None
    assert extent(window, end_ms) is None


@given(st.integers(1, 24 * 31), st.integers(DAY_MS * 100, NOW_MS))
def test_a_rolling_window_counts_never_less_than_its_hours(hours: int, now_ms: int) -> None:
    """It starts at most a quarter-hour early, never late, and what is charged now is in it."""
    start_ms, end_ms = bounds_of(Window(kind=WindowKind.ROLLING, hours=hours), now_ms)

    early_ms = now_ms - hours * HOUR_MS - start_ms
    assert 0 <= early_ms < QUARTER_MS
    assert now_ms < end_ms


def test_a_rolling_window_says_when_its_oldest_quarter_falls_away() -> None:
    """At that instant the start has moved on by a quarter-hour, a millisecond before it has not."""
    window = Window(kind=WindowKind.ROLLING, hours=5)
    found = extent(window, NOW_MS)
    assert found is not None
    assert found.resets_ms is not None

    assert bounds_of(window, found.resets_ms)[0] == found.start_ms + QUARTER_MS
    assert bounds_of(window, found.resets_ms - 1)[0] == found.start_ms


def test_no_window_is_all_time() -> None:
    """It holds any instant and never resets."""
    found = extent(Window(kind=WindowKind.NONE), NOW_MS)

    assert found is not None
    assert (found.start_ms, found.resets_ms) == (0, None)


@pytest.mark.parametrize("name", ["Europe/Atlantis", "", "../etc/passwd", "/etc/localtime"])
def test_an_unknown_zone_is_an_error_that_names_it(name: str) -> None:
    """Nothing falls back to another zone in silence, and a path is no name."""
    with pytest.raises(ValueError, match="there is no time zone"):
        zone_named(name)
