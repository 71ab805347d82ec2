"""What each rule finds, and what it does not."""

import doctest
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ostler.alerts.facts
import ostler.domain.alerts
from ostler.alerts.facts import AllowanceFact, Facts, LastHour, LimitFact, Trend
from ostler.alerts.machine import Finding
from ostler.alerts.rules import find
from ostler.domain.alert_rules import RULES, Rule, rule_of
from ostler.domain.alerts import Severity

EVERY = {name: rule_of(name) for name in RULES}


def seen(rule: str, trend: Trend | None = None, **facts: Any) -> list[Finding]:  # noqa: ANN401 - fields of the facts
    return find(Facts(now_ms=1_000_000, **facts), trend or Trend(), {rule: EVERY[rule]})


def firing(rule: str, **facts: Any) -> bool:  # noqa: ANN401 - as above
    return any(one.firing for one in seen(rule, **facts))


def test_the_figures_are_those_that_were_asked_for() -> None:
    """Three growths, half of all failing, ten errors an hour, five minutes of silence, a minute down, fifty calls; the
    cool-downs; what is critical.
    """
    assert {name: rule.above for name, rule in EVERY.items() if rule.above} == {
        "queue_growing": 2,
        "failure_share": 50,
        "errors": 10,
        "task_stuck": 300,
        "call_rate": 50,
    }
    assert {name for name, rule in EVERY.items() if rule.severity is Severity.CRITICAL} == {
        "task_stuck",
        "no_worker",
        "tier_down",
        "budget_hard",
        "unanswered",
    }
    cool = {"queue_growing": 300, "failure_share": 600, "errors": 300, "tier_down": 300}
    assert {name: EVERY[name].cooldown_ms for name in cool} == {name: 1_000 * s for name, s in cool.items()}
    assert EVERY["tier_down"].for_ms == 60_000


def test_nothing_is_found_in_a_hub_that_is_well() -> None:
    """A hub that just started, and one with work that goes well."""
    well = Facts(
        now_ms=1, queued=3, workers=1, worker_needed=True, succeeded=40, failed=2, calls=20, stuck={"t": 5_000}
    )

    assert [one for one in find(Facts(now_ms=1), Trend(), EVERY) if one.firing] == []
    assert [one for one in find(well, Trend(), EVERY) if one.firing] == []


def test_a_queue_that_grew_three_times_in_a_row_fires_and_is_held_until_it_was_stable_three_times() -> None:
    """The trend is what counts, not the depth."""
    trend, fired, held = Trend(), [], []
    for depth in (0, 1, 2, 3, 3, 2, 2):
        trend = trend.sampled(depth)
        found = seen("queue_growing", trend)
        fired.append(any(one.firing for one in found))
        held.append(bool(found))

    assert fired == [False, False, False, True, False, False, False]
    assert held == [True, True, True, True, True, True, False]


def test_growing_twice_then_standing_still_is_no_growth() -> None:
    """In a row means without a break."""
    trend = Trend()
    for depth in (0, 1, 2, 2, 3, 4, 4):
        trend = trend.sampled(depth)
        assert not any(one.firing for one in seen("queue_growing", trend))


@pytest.mark.parametrize(
    ("succeeded", "failed", "fires"), [(0, 4, False), (2, 3, True), (3, 3, False), (1, 1, False), (50, 51, True)]
)
def test_a_share_needs_enough_outcomes_and_more_than_half(succeeded: int, failed: int, fires: bool) -> None:
    """One failure of one is a blip; half exactly is not above half."""
    assert firing("failure_share", succeeded=succeeded, failed=failed) is fires


def test_a_share_just_below_its_bound_holds_what_is_raised() -> None:
    """Between four fifths of the bound and the bound it finds without firing; below it lets go."""
    assert [one.firing for one in seen("failure_share", succeeded=55, failed=45)] == [False]
    assert seen("failure_share", succeeded=61, failed=39) == []


@pytest.mark.parametrize(("rule", "fact", "bound"), [("errors", "failed", 10), ("call_rate", "calls", 50)])
def test_a_count_of_an_hour_fires_above_its_bound(rule: str, fact: str, bound: int) -> None:
    """Reached is not passed."""
    assert not firing(rule, **{fact: bound})
    assert firing(rule, **{fact: bound + 1})


def test_the_task_that_is_silent_longest_is_named() -> None:
    """One alert for all of them; ties go by name."""
    assert not firing("task_stuck", stuck={"a": 300_000})
    (found,) = seen("task_stuck", stuck={"b": 400_000, "a": 400_000, "c": 301_000, "d": 1})

    assert found.message == "task a has shown no sign of life for 400 s, and 2 more"
    assert found.subject == ""


@pytest.mark.parametrize(("workers", "needed", "fires"), [(0, True, True), (0, False, False), (1, True, False)])
def test_no_worker_matters_where_one_is_needed(workers: int, needed: bool, fires: bool) -> None:
    """A hub that only serves the gateway has none and needs none."""
    assert firing("no_worker", workers=workers, worker_needed=needed) is fires


def test_each_tier_that_is_down_is_an_alert_of_its_own_since_when_it_is() -> None:
    """The duration counts from the scheduler's own note, not from the look."""
    found = seen("tier_down", tiers_down={"standard": 900_000, "complex": 990_000})

    assert [(one.subject, one.since_ms) for one in found] == [("complex", 990_000), ("standard", 900_000)]


def test_a_limit_at_its_soft_value_warns_and_at_its_hard_one_both_are_raised() -> None:
    """The worse one comes on top: who acknowledged the warning hears of the end."""
    soft = LimitFact(limit="month", exhausted=False, said="16 of 16", used_percent=80)
    hard = LimitFact(limit="day", of="openai", exhausted=True, said="5 of 5", used_percent=100)

    assert [one.subject for one in seen("budget_soft", limits=(soft, hard))] == ["month", "day/openai"]
    assert [one.subject for one in seen("budget_hard", limits=(soft, hard))] == ["day/openai"]


def test_an_allowance_near_its_end_warns_at_the_share_of_its_subscription() -> None:
    """Reached is enough here: the share is one that people are to be told at."""
    near = AllowanceFact(provider="anthropic", allowance="week", used_percent=85, warn_percent=85)
    far = AllowanceFact(provider="anthropic", allowance="day", used_percent=84.9, warn_percent=85)

    assert [one.subject for one in seen("subscription", allowances=(near, far))] == ["anthropic/week"]


def test_a_person_is_called_as_soon_as_one_task_waits_for_one() -> None:
    """The message names a task."""
    assert seen("needs_human") == []
    assert [one.message for one in seen("needs_human", needs_human=1, needs_human_example="t-1")] == [
        "1 task waits for a person, such as t-1"
    ]


def test_each_task_that_nobody_answered_in_time_is_told_of() -> None:
    """With whom it had asked, if anybody."""
    found = seen("unanswered", unanswered={"t-2": "", "t-1": "ada"})

    assert [(one.subject, one.message) for one in found] == [
        ("t-1", "ada has not answered t-1 in time; it waits on"),
        ("t-2", "nobody has answered t-2 in time; it waits on"),
    ]
    assert seen("unanswered") == []


def test_lost_records_are_told_of() -> None:
    """Any number of them."""
    assert firing("records_lost", records_lost=1)
    assert not firing("records_lost")


def test_only_rules_in_force_look() -> None:
    """A rule that is off finds nothing, whatever there is."""
    assert find(Facts(now_ms=1, failed=1_000), Trend(), {}) == []


def test_every_rule_of_the_catalogue_has_a_look_of_its_own_bound() -> None:
    """A rule that is documented and does nothing would be a lie: each finds something in the worst of hubs."""
    worst = Facts(
        now_ms=1_000_000,
        queued=9,
        worker_needed=True,
        needs_human=1,
        unanswered={"t": "ada"},
        stuck={"t": 10**6},
        tiers_down={"standard": 0},
        failed=100,
        calls=100,
        records_lost=1,
        limits=(LimitFact(limit="month", exhausted=True, said="x"),),
        allowances=(AllowanceFact(provider="p", allowance="a", used_percent=99, warn_percent=85),),
    )

    found = {one.rule for one in find(worst, Trend(depth=9, grew=5), EVERY) if one.firing}

    assert found == set(RULES)


@given(st.floats(0, 1_000), st.integers(0, 2_000))
def test_a_bound_of_a_profile_is_the_one_that_counts(above: float, failed: int) -> None:
    """Above it fires, at it or below not."""
    found = find(Facts(now_ms=1, failed=failed), Trend(), {"errors": Rule(name="errors", above=above)})

    assert any(one.firing for one in found) is (failed > above)


@given(st.lists(st.tuples(st.integers(0, 600), st.integers(1, 3)), max_size=60))
def test_the_last_hour_counts_what_happened_in_it_and_stays_small(happened: list[tuple[int, int]]) -> None:
    """Exact to a minute; what is older than an hour is forgotten."""
    hour, minute = LastHour(), 0
    counted: list[tuple[int, int]] = []
    for step, count in happened:
        minute += step
        hour.add("x", minute * 60_000 + 7, count)
        counted.append((minute, count))

    assert hour.total(minute * 60_000)["x"] == sum(count for at, count in counted if at >= minute - 60)
    assert len(hour._minutes) <= 62


def test_the_examples_of_the_docs_hold() -> None:
    """Doctests of the package."""
    for module in (ostler.alerts.facts, ostler.domain.alerts):
        assert doctest.testmod(module).failed == 0
