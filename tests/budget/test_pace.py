"""Subscriptions, burn rate, alerts, and how long an answer is expected to be."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.budget.alerts import Told, crossed
from ostler.budget.burn import burn
from ostler.budget.estimate import Lengths, expected_output, gathered, seen
from ostler.budget.limits import Level, Standing, standing
from ostler.budget.subscriptions import SubscriptionStanding, allowance_bounds, subscription_standing
from ostler.budget.windows import DAY_MS
from ostler.domain.allowances import Reported
from ostler.domain.ledger import Amount, Scopes, Span, Spent
from ostler.domain.limits import Allowance, Limit, Pace, ScopeKind, Subscription, Unit, Window, WindowKind
from tests.budget.made import HOUR_MS, NOW_MS, USD, at, spent_of

FEBRUARY = Window(kind=WindowKind.PERIOD, start_ms=at("UTC", 2026, 2, 1), end_ms=at("UTC", 2026, 3, 1))
FIVE_HOURS = Window(kind=WindowKind.ROLLING, hours=5)
OPENCODE = Subscription(
    provider="opencode", allowances=(Allowance(name="period", window=FEBRUARY, unit=Unit.USD, amount=200 * USD),)
)


def now(used: float, day: int, *, critical: bool = False) -> SubscriptionStanding:
    return subscription_standing(OPENCODE, at("UTC", 2026, 2, day), spent_of(used), critical=critical)


def test_a_subscription_is_preferred_while_allowance_is_left_and_not_afterwards() -> None:
    """200 for February: what is in time is used first, what is ahead of an even pace waits, what is gone is gone."""
    assert [now(used, 15).preferred for used in (0, 94.9, 95.0)] == [True, True, False]
    assert [now(used, 15).usable for used in (95.0, 189.9, 190.0)] == [True, True, False]
    assert now(94.9, 1 + 7).preferred is False
    assert now(94.9, 15).reason == ""
    assert now(100, 15).reason == "period is ahead of its pace"
    assert now(190, 15).reason == "period is used up"


def test_the_reserve_is_for_critical_work() -> None:
    """The last 5 % are kept back from all other work."""
    assert now(190, 28).usable is False
    assert now(190, 28, critical=True).usable is True
    assert now(199, 2, critical=True).preferred is True, "and is not held back by the pace"
    assert now(200, 28, critical=True).usable is False


def test_people_are_told_near_the_end() -> None:
    """At 85 % of the allowance, not before."""
    assert [now(used, 28).near_end for used in (169.9, 170.0)] == [False, True]


def test_outside_of_its_period_nothing_is_left() -> None:
    """An allowance that is over is not one that is unused."""
    over = subscription_standing(OPENCODE, FEBRUARY.end_ms, spent_of(0))

    assert (over.usable, over.preferred) == (False, False)
    assert "does not cover this moment" in over.reason


def test_a_period_that_has_just_begun_lets_work_start() -> None:
    """A twentieth is open at once: an even pace from nothing would never begin."""
    assert now(9.4, 1).preferred
    assert not now(9.6, 1).preferred


def test_a_subscription_without_a_pace_is_used_as_work_comes() -> None:
    """Up to its reserve."""
    eager = Subscription(provider="opencode", allowances=OPENCODE.allowances, pace=Pace.NONE)

    assert subscription_standing(eager, at("UTC", 2026, 2, 2), spent_of(150)).preferred


CLAUDE_MAX = Subscription(
    provider="claude",
    reserve_percent=0,
    allowances=(
        Allowance(name="five-hour", window=FIVE_HOURS, unit=Unit.REQUESTS, amount=100),
        Allowance(name="week", window=Window(kind=WindowKind.ROLLING, hours=168), unit=Unit.REQUESTS, amount=1000),
        Allowance(name="opus", window=FIVE_HOURS, unit=Unit.REQUESTS, amount=20, model="opus"),
    ),
)


def requests(five_hours: int, week: int, opus: int = 0) -> object:
    def spent(span: Span) -> Spent:
        count = opus if span.scope is ScopeKind.MODEL else five_hours if span.start_ms > NOW_MS - DAY_MS else week
        return Spent(used=Amount(requests=count))

    return spent


@pytest.mark.parametrize(
    ("used", "model", "usable", "binding"),
    [
        ((10, 10, 0), "", True, "five-hour"),
        ((99, 999, 0), "sonnet", True, "week"),
        ((100, 500, 0), "sonnet", False, "five-hour"),
        ((50, 1000, 0), "sonnet", False, "week"),
        ((50, 500, 20), "opus", False, "opus"),
        ((50, 500, 20), "sonnet", True, "five-hour"),
    ],
)
def test_all_windows_of_a_subscription_hold(
    used: tuple[int, int, int], model: str, binding: str, *, usable: bool
) -> None:
    """Five hours, a week, and a model of its own: the fullest one binds, and any one that is full stops it."""
    found = subscription_standing(CLAUDE_MAX, NOW_MS, requests(*used), model=model)  # type: ignore[arg-type]

    assert found.usable is usable
    assert found.binding is not None
    assert found.binding.allowance.name == binding


def test_what_the_provider_reports_counts_when_it_is_more() -> None:
    """Others may use the same subscription; a report of a window that is over says nothing."""

    def used(**changes: object) -> float:
        fields = {"provider": "claude", "window": "five-hour", "used_percent": 60.0, "at_ms": NOW_MS - 1}
        report = Reported(**(fields | changes))  # type: ignore[arg-type]
        found = subscription_standing(CLAUDE_MAX, NOW_MS, requests(10, 10), reports=[report])  # type: ignore[arg-type]
        return found.allowances[0].used_percent

    assert used() == 60
    assert used(used_percent=5.0) == 10
    assert used(resets_ms=NOW_MS + 1) == 60
    assert used(resets_ms=NOW_MS) == 10
    assert used(at_ms=NOW_MS - 6 * HOUR_MS) == 10
    assert used(provider="openai") == 10


def said(window: str, percent: float, **changes: object) -> Reported:
    fields = {"provider": "claude", "window": window, "used_percent": percent, "at_ms": NOW_MS} | changes
    return Reported(**fields)  # type: ignore[arg-type]


def standing_by(
    *reports: Reported, model: str = "", now_ms: int = NOW_MS, pace: Pace = Pace.EVEN
) -> SubscriptionStanding:
    """Of a subscription of which only what is reported is known."""
    plan = Subscription(provider="claude", pace=pace)
    return subscription_standing(plan, now_ms, spent_of(0), reports=reports, model=model)


def test_a_subscription_that_says_nothing_is_as_its_provider_reports() -> None:
    """Before the first word it may be used; then every window that is told of holds, the fullest binds."""
    unknown = standing_by()
    assert (unknown.usable, unknown.preferred, unknown.near_end, unknown.binding) == (True, True, False, None)

    two = standing_by(said("5h", 20.0, hours=5), said("7d", 90.0, hours=168))
    assert two.binding is not None
    assert (two.binding.allowance.name, two.usable, two.near_end) == ("7d", True, True)
    assert [one.used for one in two.allowances] == [None, None]

    full = standing_by(said("5h", 96.0, hours=5, resets_ms=NOW_MS + HOUR_MS))
    assert (full.usable, full.reason, full.resets_ms) == (False, "5h is used up", NOW_MS + HOUR_MS)


def test_a_window_about_some_models_holds_for_those() -> None:
    """The week of one family is used up: the others go on."""
    week = said("7d_opus", 100.0, hours=168, family="opus")

    assert not standing_by(week, model="claude-opus-4-5").usable
    assert standing_by(week, model="claude-sonnet-5").usable


def test_a_window_whose_reset_is_told_is_paced() -> None:
    """Five hours that end in one: four fifths are open. Of the same share four hours before, too much was used."""
    report = said("5h", 70.0, hours=5, resets_ms=NOW_MS + HOUR_MS)

    now = standing_by(report)
    assert now.preferred
    assert now.allowances[0].paced_percent == pytest.approx(0.8 * 95)
    early = standing_by(said("5h", 70.0, hours=5, resets_ms=NOW_MS + 4 * HOUR_MS))
    assert (early.usable, early.preferred, early.reason) == (True, False, "5h is ahead of its pace")


def test_a_report_is_forgotten_when_its_window_is_new() -> None:
    """At the instant of its reset, or when it is as old as its window is long."""
    full = said("5h", 100.0, hours=5, resets_ms=NOW_MS + HOUR_MS)
    assert [standing_by(full, now_ms=NOW_MS + ms).usable for ms in (HOUR_MS - 1, HOUR_MS)] == [False, True]

    silent = said("5h", 100.0, hours=5)
    assert [standing_by(silent, now_ms=NOW_MS + ms).usable for ms in (5 * HOUR_MS - 1, 5 * HOUR_MS)] == [False, True]


def test_a_report_belongs_to_the_allowance_of_its_name_else_of_its_length() -> None:
    """One that belongs to none of the profile's is an allowance too; it is never counted twice."""
    reports = (said("5h", 60.0, hours=5), said("7d", 30.0, hours=168), said("1d", 10.0, hours=24))
    found = subscription_standing(CLAUDE_MAX, NOW_MS, requests(10, 10), reports=reports)  # type: ignore[arg-type]

    shares = {one.allowance.name: (one.used_percent, one.reported) for one in found.allowances}
    assert shares == {"five-hour": (60.0, True), "week": (30.0, True), "opus": (0.0, False), "1d": (10.0, True)}


@given(
    used=st.floats(0, 120),
    more=st.floats(0, 120),
    left_ms=st.integers(0, 5 * HOUR_MS),
    reserve=st.integers(0, 100),
    critical=st.booleans(),
    paced=st.booleans(),
)
def test_more_used_never_makes_a_subscription_better(
    used: float, more: float, left_ms: int, reserve: int, *, critical: bool, paced: bool
) -> None:
    """Neither usable nor preferred comes back with use; critical work may always what other work may; preferred work
    may be done; at the whole allowance nothing may.
    """
    plan = Subscription(provider="claude", reserve_percent=reserve, pace=Pace.EVEN if paced else Pace.NONE)

    def at_share(percent: float, *, critical: bool) -> SubscriptionStanding:
        report = said("5h", percent, hours=5, resets_ms=NOW_MS + 1 + left_ms)
        return subscription_standing(plan, NOW_MS, spent_of(0), reports=[report], critical=critical)

    less, other = at_share(used, critical=critical), at_share(used + more, critical=critical)
    assert other.usable <= less.usable
    assert other.preferred <= less.preferred
    assert less.preferred <= less.usable
    assert at_share(used, critical=False).usable <= at_share(used, critical=True).usable
    assert not at_share(100.0, critical=critical).usable


def test_allowances_are_checked_where_an_attempt_reserves() -> None:
    """Those whose amount is known, less the reserve; the whole for critical work; of other models none."""
    sonnet = Scopes(provider="claude", model="sonnet")
    plan = Subscription(provider="claude", reserve_percent=10, allowances=CLAUDE_MAX.allowances)

    def ceilings(scopes: Scopes, *, critical: bool = False) -> dict[str, int]:
        return {bound.limit: bound.ceiling for bound in allowance_bounds(plan, scopes, NOW_MS, critical=critical)}

    five, week, opus = (f"allowance {name} of claude" for name in ("five-hour", "week", "opus"))
    assert ceilings(sonnet) == {five: 90, week: 900}
    assert ceilings(Scopes(provider="claude", model="opus")) == {five: 90, week: 900, opus: 18}
    assert ceilings(sonnet, critical=True) == {five: 100, week: 1000}
    assert allowance_bounds(Subscription(provider="claude"), sonnet, NOW_MS) == ()
    assert allowance_bounds(OPENCODE, Scopes(provider="opencode"), FEBRUARY.end_ms) == ()


def test_the_rate_of_today() -> None:
    """12 dollars in 8 hours of a day of 48: 1.50 an hour, 24 hours to go, which the day does not have."""
    found = burn(12 * USD, start_ms=0, now_ms=8 * HOUR_MS, ceiling=48 * USD, resets_ms=24 * HOUR_MS, days=[7 * USD, 0])

    assert (found.per_hour, found.exhausted_in_hours, found.outlasts_window) == (1.5 * USD, 24.0, True)
    assert (found.mean_per_day, found.days) == (3.5 * USD, 2)


@pytest.mark.parametrize("hour", [8, 9])
def test_eight_and_nine_are_hours_like_any_other(hour: int) -> None:
    """Nothing here reads digits: 08 and 09 are no octal numbers."""
    assert burn(hour * USD, start_ms=0, now_ms=hour * HOUR_MS).per_hour == USD


def test_a_rate_without_spending_or_time_is_no_division_by_zero() -> None:
    """Nothing spent is never used up; what is used up has no hour left; the first millisecond is a minute."""
    assert burn(0, start_ms=0, now_ms=HOUR_MS, ceiling=USD).exhausted_in_hours is None
    assert burn(USD, start_ms=0, now_ms=HOUR_MS, ceiling=USD).exhausted_in_hours == 0.0
    assert burn(0, start_ms=0, now_ms=HOUR_MS, ceiling=0).exhausted_in_hours == 0.0
    assert burn(USD, start_ms=0, now_ms=0).per_hour == 60 * USD
    assert burn(2 * USD, start_ms=0, now_ms=HOUR_MS, ceiling=4 * USD, resets_ms=DAY_MS).outlasts_window is False


def at_level(used: float, window: Window | None = None, now_ms: int = NOW_MS) -> Standing:
    limit = Limit(name="day", soft=8 * USD, hard=10 * USD, window=window or Window(kind=WindowKind.DAY))
    found = standing(limit, "", now_ms, spent_of(used))
    assert found is not None
    return found


def told_over(*standings: Standing) -> list[Level]:
    """The levels that are told of when these are seen one after the other."""
    told: frozenset[Told] = frozenset()
    levels = []
    for one in standings:
        fresh, told = crossed([one], told)
        levels += [found.level for found in fresh]
    return levels


def test_a_crossing_is_told_of_once() -> None:
    """However often it is looked at, and also when a release takes it back below for a moment at the hard value."""
    seen_over = [at_level(used) for used in (1, 8, 8.5, 9, 10, 9.9, 10, 11)]

    assert told_over(*seen_over) == [Level.DEGRADED, Level.EXHAUSTED]


def test_a_jump_over_both_values_is_one_alert() -> None:
    """The worse one."""
    assert told_over(at_level(12), at_level(9)) == [Level.EXHAUSTED]


def test_the_next_window_is_told_of_anew() -> None:
    """A new day begins untold; a rolling window, whose start always moves, only after it had been ok."""
    tomorrow = at_level(9, now_ms=NOW_MS + DAY_MS)
    assert told_over(at_level(9), tomorrow) == [Level.DEGRADED, Level.DEGRADED]

    rolling = [at_level(used, FIVE_HOURS, NOW_MS + n * HOUR_MS) for n, used in enumerate((9, 9, 1, 9))]
    assert told_over(*rolling) == [Level.DEGRADED, Level.DEGRADED]


@given(st.lists(st.integers(0, 200_000), max_size=300), st.integers(0, 10_000), st.integers(50, 99))
def test_an_expected_answer_is_bounded_and_grows_with_what_was_seen(
    answers: list[int], default: int, percent: int
) -> None:
    """Until there are enough it is the default or the longest seen; after that no answer of that rank is longer."""
    found = expected_output(gathered(answers), default, quantile_percent=percent)

    rank = -(-(len(answers) + 1) * percent // 100)
    if rank > len(answers):
        assert found >= max([default, *answers])
    else:
        exact = sorted(answers)[rank - 1]
        assert exact <= found <= max(2, exact * 1.2)
    assert expected_output(gathered(answers), default, quantile_percent=percent, at_most=100) <= 100


@pytest.mark.parametrize("percent", [80, 90, 95])
def test_the_quantile_is_calibrated(percent: int) -> None:
    """Of answers drawn like those seen, no more are longer than expected than the quantile says (within the draw)."""
    draw = random.Random(7)
    longer = trials = 0
    for _ in range(200):
        lengths = [int(draw.lognormvariate(6, 1)) for _ in range(120)]
        expected = expected_output(gathered(lengths[:100]), 400, quantile_percent=percent)
        longer += sum(length > expected for length in lengths[100:])
        trials += 20

    assert longer / trials <= 1 - percent / 100 + 0.01


def test_lengths_gather_one_by_one_as_all_at_once() -> None:
    """The table does not depend on how it came to be."""
    table = Lengths()
    for length in (0, 1, 5, 500, 500):
        table = seen(table, length)

    assert table == gathered([0, 1, 5, 500, 500])
    assert table.samples == 5
