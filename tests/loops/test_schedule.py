"""When loops are due: intervals that do not drift, and cron expressions on a clock that may change."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.domain.cron import following, parsed
from ostler.domain.errors import InvalidInputError
from ostler.domain.loops import ScheduleConfig
from ostler.loops.schedule import due_between, first_due, next_due

BERLIN = ZoneInfo("Europe/Berlin")
instants = st.integers(1_500_000_000_000, 2_000_000_000_000)
fields = st.tuples(
    st.sampled_from(["*", "*/7", "0", "5,35", "10-20/5", "59"]),
    st.sampled_from(["*", "*/3", "2", "0,12", "22-23"]),
    st.sampled_from(["*", "1", "13", "28-31"]),
    st.sampled_from(["*", "2", "jan,jul", "3-11/2"]),
    st.sampled_from(["*", "0", "mon-fri", "7", "fri"]),
)


def ms(*parts: int, zone: ZoneInfo = BERLIN) -> int:
    return int(datetime(*parts, tzinfo=zone).timestamp() * 1000)  # type: ignore[arg-type,misc]


def read(at_ms: int, zone: ZoneInfo = BERLIN) -> str:
    return datetime.fromtimestamp(at_ms / 1000, zone).isoformat(timespec="minutes")


def after(expression: str, at_ms: int, count: int = 1, zone: ZoneInfo = BERLIN) -> list[str]:
    found = []
    for _ in range(count):
        at_ms = following(parsed(expression), at_ms, zone)
        found.append(read(at_ms, zone))
    return found


@given(instants, st.integers(0, 10**9), st.floats(0, 50), st.floats(0.1, 600))
def test_an_interval_is_due_at_whole_multiples(anchor_ms: int, later_ms: int, hours: float, minutes: float) -> None:
    """The next instant is after now, at most one interval away, and a multiple after the anchor."""
    schedule = ScheduleConfig(interval_hours=hours, interval_minutes=minutes)
    now_ms = anchor_ms + later_ms
    next_ms = next_due(schedule, anchor_ms, now_ms)
    assert now_ms < next_ms <= now_ms + schedule.interval_ms
    assert (next_ms - anchor_ms) % schedule.interval_ms == 0
    assert due_between(schedule, anchor_ms, next_ms, next_ms) == 1
    assert due_between(schedule, anchor_ms, next_ms, next_ms + 3 * schedule.interval_ms) == 4
    assert due_between(schedule, anchor_ms, next_ms, now_ms) == 0


@given(fields, instants)
def test_a_cron_instant_is_named_by_its_expression_and_none_before_it_is(
    written: tuple[str, str, str, str, str], at_ms: int
) -> None:
    """Checked against a reader that goes minute by minute for two days, on a clock that never changes."""
    cron = parsed(" ".join(written))
    found = following(cron, at_ms, ZoneInfo("UTC"))
    minute = datetime.fromtimestamp(at_ms // 1000, UTC).replace(second=0) + timedelta(minutes=1)
    for _ in range(2 * 24 * 60):
        named = minute.minute in cron.minutes and minute.hour in cron.hours and cron.names(minute.date())
        if named:
            assert found == int(minute.timestamp()) * 1000
            return
        minute += timedelta(minutes=1)
    assert found >= int(minute.timestamp()) * 1000


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("*/15 * * * *", "2026-01-15T10:45+01:00"),
        ("0 9 * * mon-fri", "2026-01-16T09:00+01:00"),
        ("0 9 * * 0", "2026-01-18T09:00+01:00"),
        ("0 9 * * 7", "2026-01-18T09:00+01:00"),
        ("30 4 1,15 * fri", "2026-01-16T04:30+01:00"),
        ("0 0 29 2 *", "2028-02-29T00:00+01:00"),
        ("@hourly", "2026-01-15T11:00+01:00"),
        ("@daily", "2026-01-16T00:00+01:00"),
        ("@weekly", "2026-01-18T00:00+01:00"),
        ("@monthly", "2026-02-01T00:00+01:00"),
        ("@yearly", "2027-01-01T00:00+01:00"),
        ("5/20 10 * * *", "2026-01-15T10:45+01:00"),
    ],
)
def test_expressions_mean_what_cron_means(expression: str, expected: str) -> None:
    """Asked on Thursday, 15 January 2026, at 10:30. Day and weekday together: either is enough."""
    assert after(expression, ms(2026, 1, 15, 10, 30)) == [expected]


def test_an_hour_that_does_not_exist_is_not_missed() -> None:
    """29 March 2026, clocks go from 2:00 to 3:00: 2:30 comes once, as if they had not, and the day after as usual."""
    assert after("30 2 * * *", ms(2026, 3, 28, 12), 2) == ["2026-03-29T03:30+02:00", "2026-03-30T02:30+02:00"]
    assert after("30 * * * *", ms(2026, 3, 29, 1), 2) == ["2026-03-29T01:30+01:00", "2026-03-29T03:30+02:00"]


def test_an_hour_that_exists_twice_counts_once_for_a_named_hour() -> None:
    """25 October 2026: 2:30 comes the first time only; every half hour comes in both."""
    assert after("30 2 * * *", ms(2026, 10, 25, 1), 2) == ["2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00"]
    assert after("30 * * * *", ms(2026, 10, 25, 2), 2) == ["2026-10-25T02:30+02:00", "2026-10-25T02:30+01:00"]


@given(instants, st.sampled_from(["0 3 * * *", "30 2 * * *", "*/30 * * * *", "0 */6 * * *", "15 0 1 * *"]))
def test_instants_of_cron_rise_and_do_not_depend_on_when_anyone_looks(at_ms: int, expression: str) -> None:
    """Asking from anywhere before an instant and after the one before it gives the same instant."""
    schedule = ScheduleConfig(cron=expression, time_zone="America/New_York")
    first = next_due(schedule, 0, at_ms)
    second = next_due(schedule, 0, first)
    assert at_ms < first < second
    assert next_due(schedule, 0, (first + second) // 2) == second
    assert next_due(schedule, 0, second - 1) == second
    assert due_between(schedule, 0, first, second) == 2


def test_the_first_loop_is_at_once_unless_it_is_to_wait() -> None:
    """A cron expression always waits for its instant."""
    now_ms = ms(2026, 1, 15, 10, 30)
    assert first_due(ScheduleConfig(), now_ms) == now_ms
    assert first_due(ScheduleConfig(wait_first=True), now_ms) == now_ms + 1_800_000
    assert first_due(ScheduleConfig(cron="0 11 * * *", time_zone="Europe/Berlin"), now_ms) == now_ms + 1_800_000


@pytest.mark.parametrize(
    ("expression", "where", "remedy"),
    [
        ("* * * *", "cron", "five|such as"),
        ("60 * * * *", "cron, minute", "0 to 59"),
        ("* 24 * * *", "cron, hour", "0 to 23"),
        ("* * 0 * *", "cron, day", "1 to 31"),
        ("* * * foo *", "cron, month", "jan"),
        ("* * * * 8", "cron, weekday", "sun"),
        ("*/0 * * * *", "cron, minute", r"\*/n"),
        ("5-2 * * * *", "cron, minute", "turn it round"),
        ("0 0 31 2 *", "cron", "day and month"),
        ("- * * * *", "cron, minute", "0 to 59"),
        ("1,,2 * * * *", "cron, minute", "0 to 59"),
        ("\u0661 * * * *", "cron, minute", "0 to 59"),
    ],
)
def test_an_expression_that_is_none_is_told_with_its_field(expression: str, where: str, remedy: str) -> None:
    """And with what may stand there."""
    with pytest.raises(InvalidInputError) as caught:
        parsed(expression)
    assert caught.value.where == where
    assert caught.match(remedy)


def test_skipped_instants_of_an_expression_are_counted_up_to_a_bound() -> None:
    """A hub that was away for a year does not count half a million minutes."""
    year_ms = 366 * 24 * 3_600_000
    every_minute = ScheduleConfig(cron="* * * * *")
    assert due_between(every_minute, 0, ms(2026, 1, 1), ms(2026, 1, 1) + 5 * 60_000) == 6
    hourly = ScheduleConfig(cron="@hourly")
    assert due_between(hourly, 0, ms(2026, 1, 1), ms(2026, 1, 1) + year_ms) == 366 * 24 + 1
