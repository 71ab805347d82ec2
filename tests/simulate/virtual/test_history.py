"""What happened, as a workload, as figures, and against first-in-first-out."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostler.domain.catalog import EndpointSpec
from ostler.domain.states import Failure, FailureClass, TaskState
from ostler.simulate.virtual.fleet import fleet_of
from ostler.simulate.virtual.history import (
    Past,
    history_result,
    history_workload,
    minutes_saved,
    waited_ms,
    with_endpoints,
    work_ms,
)
from ostler.simulate.virtual.rivals import run_rival
from ostler.simulate.virtual.scheduled import run_scheduled
from tests.simulate.virtual.pasts import NOW_MS, RULES, cancelled, past, pasts_of
from tests.simulate.virtual.worlds import job, policy, random_workload, workload

ONE = policy(slots=1)


def test_tasks_come_again_when_they_came() -> None:
    """In order of arrival, counted from the first."""
    work = history_workload([past("b", at_ms=5_000), past("a", at_ms=2_000)], "h")

    assert [(one.id, one.arrival_ms) for one in work.jobs] == [("a", 0), ("b", 3_000)]
    assert work.rules == ("2 tasks of the hub, each at its own time and with the length it had",)


def test_the_length_is_that_of_the_last_attempt_without_its_load() -> None:
    """What the engine says it spent loading is no work."""
    one = past("a", began_ms=20_000, work_ms=60_000, load_ms=20_000)

    assert work_ms(one) == 60_000
    assert waited_ms(one) == 20_000
    (again,) = history_workload([one], "h").jobs
    assert (again.duration_ms, again.duration_on) == (60_000, "big")
    assert (again.prompt_tokens, again.output_tokens) == (100, 50)


def test_on_another_model_the_length_follows_from_the_tokens() -> None:
    """100 tokens read at 1,000/s and 50 written at 10/s: not the minute it took where it ran."""
    (again,) = history_workload([past("a")], "h").jobs
    other = msgspec.structs.replace(again, spec=msgspec.structs.replace(again.spec, model="small"))
    runs = [run_scheduled(workload(one), fleet_of(RULES), RULES) for one in (again, other)]
    spans = [(run.endings["a"].ended_ms or 0) - (run.endings["a"].began_ms or 0) for run in runs]

    assert spans == [60_000, 5_100]


def test_what_people_cancelled_or_what_still_runs_is_left_out() -> None:
    """And counted; what fell with its need stays."""
    history = [
        past("a"),
        cancelled("b", by_hand=True),
        cancelled("c", by_hand=False),
        past("d", state=TaskState.RUNNING),
    ]
    work = history_workload(history, "h")

    assert [one.id for one in work.jobs] == ["a", "c"]
    assert work.rules[1] == "2 tasks left out: cancelled by hand, or not ended yet"


def test_needs_stay_among_the_tasks_that_are_there() -> None:
    """A need on a task of an earlier time is met already."""
    history = [past("a"), past("b", needs=("a", "long-ago"))]

    assert [one.spec.needs for one in history_workload(history, "h").jobs] == [(), ("a",)]


def test_what_never_ran_has_no_length_of_its_own() -> None:
    """It gets the usual one."""
    assert work_ms(cancelled("a", by_hand=False)) is None
    assert history_workload([cancelled("a", by_hand=False)], "h").jobs[0].duration_ms is None


def test_figures_of_history_are_what_is_known() -> None:
    """Makespan, waits, models; loads and swaps are unknown, not none."""
    history = [past("a", at_ms=0, began_ms=10_000), past("b", at_ms=5_000, began_ms=80_000, model="other")]
    result = history_result(history, RULES)

    assert (result.kind, result.tasks, result.succeeded) == ("history", 2, 2)
    assert result.makespan_ms == 140_000
    assert (result.wait.p50_ms, result.wait.max_ms) == (10_000, 75_000)
    assert (result.loads, result.swaps, result.swap_ms, result.swaps_per_100) == (None, None, None, None)
    assert result.by_model == {"big": 1, "other": 1}
    assert result.hosts == ()


def test_money_of_history_is_tokens_times_price() -> None:
    """100 in at 1 and 50 out at 10 dollars a million; local calls are free; an unknown model's price is unknown."""
    sky = past("a", model="claude", endpoint="sky")
    unknown = past("b", model="nobody-knows", endpoint="sky")

    assert history_result([sky, past("c")], RULES).cost_micro_usd == 600
    assert history_result([unknown], RULES).unpriced == 1


def test_misses_of_history_keep_their_reasons() -> None:
    """As they were told then."""
    failure = Failure(kind=FailureClass.TTL, message="waited too long", at_ms=NOW_MS)
    result = history_result([past("a", state=TaskState.EXPIRED, failure=failure)], RULES)

    assert (result.missed, result.misses[0].reason) == ({"expired": 1}, "waited too long")


def test_an_empty_history_has_empty_figures() -> None:
    """Nothing is divided by nothing."""
    assert history_result([], RULES).makespan_ms == 0
    assert history_workload([], "h").jobs == ()


def test_endpoints_of_a_hub_replace_those_of_the_profile() -> None:
    """With the models that were found there."""
    spec = RULES.catalog.endpoints["box-ollama"]
    found = msgspec.structs.replace(spec, name="added")
    moved = with_endpoints(RULES, [found], {"added": frozenset({"small", "big"})})

    assert set(moved.catalog.endpoints) == {"added"}
    assert moved.catalog.endpoints["added"].models == ("big", "small")
    assert isinstance(moved.catalog.endpoints["added"], EndpointSpec)


def test_grouping_saves_what_the_plain_queue_would_have_swapped() -> None:
    """By hand. It happened as a a' | swap | b: waits 20, 80, 170 s. First-in-first-out takes a, b, a' in turn:
    waits 20, 110, 200 s. The difference is a minute.
    """
    history = [
        past("t1", at_ms=0, began_ms=20_000),
        past("t2", at_ms=1, began_ms=170_001, model="other"),
        past("t3", at_ms=2, began_ms=80_002),
    ]
    saved = minutes_saved(history, fleet_of(ONE))

    assert saved.tasks == 3
    assert saved.happened_wait_ms == 20_000 + 170_000 + 80_000
    assert saved.fifo_wait_ms == pytest.approx(20_000 + 110_000 + 200_000, abs=10)
    assert saved.minutes == pytest.approx(1.0, abs=0.001)
    assert saved.fifo_swaps == 2
    assert saved.said == (
        "3 tasks waited 4.5 minutes in all; first-in-first-out, simulated, would have made them wait 5.5 minutes,"
        " with 2 swaps: 1.0 minutes saved"
    )


def test_what_was_lost_is_said_too() -> None:
    """A schedule worse than the plain queue is not glossed over."""
    history = [past("t1", at_ms=0, began_ms=20_000), past("t2", at_ms=1, began_ms=400_001)]
    saved = minutes_saved(history, fleet_of(ONE))

    assert saved.minutes < 0
    assert saved.said.endswith("minutes lost against it")


def test_nothing_to_compare_is_said() -> None:
    """No task ended, or none of them well."""
    for history in ([], [past("a", state=TaskState.EXPIRED)]):
        saved = minutes_saved(history, fleet_of(ONE))

        assert (saved.tasks, saved.minutes) == (0, 0.0)
        assert "nothing to compare" in saved.said


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_history_of_first_in_first_out_saves_nothing_against_it(seed: int) -> None:
    """What a run of `fifo` left behind, through `fifo` again, comes to the same."""
    rules = policy({"box": 24, "twin": 24})
    fleet = fleet_of(rules)
    base = random_workload(seed, 20)
    plain = workload(*(job(one.id, one.spec.model or "big", at_ms=one.arrival_ms) for one in base.jobs))
    happened = pasts_of(run_rival("fifo", plain, fleet), plain, fleet, rules)

    assert minutes_saved(happened, fleet).minutes == 0.0


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_history_under_its_own_policy_comes_to_the_same(seed: int) -> None:
    """What a simulated run left behind, replayed under the same policy, ends at the same instants."""
    rules = policy({"box": 24, "twin": 24})
    fleet = fleet_of(rules)
    base = random_workload(seed, 20)
    first_ms = base.jobs[0].arrival_ms
    plain = workload(*(job(one.id, one.spec.model or "big", at_ms=one.arrival_ms - first_ms) for one in base.jobs))
    first = run_scheduled(plain, fleet, rules)
    happened: list[Past] = pasts_of(first, plain, fleet, rules)
    again = run_scheduled(history_workload(happened, "h"), fleet, rules)

    assert {name: ending.ended_ms for name, ending in again.endings.items()} == {
        name: ending.ended_ms for name, ending in first.endings.items()
    }
