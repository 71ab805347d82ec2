"""The portfolio of settings: order, limits, and that giving up early gives up nothing."""

from itertools import islice

import pytest
from hypothesis import given, settings

from ostler.planning.board import NEVER
from ostler.planning.compiled import Compiled
from ostler.planning.engine import Run
from ostler.planning.instance import Choice, Instance, PlanHost, PlanTask, Serving
from ostler.planning.planner import openings
from ostler.planning.portfolio import LARGE, POOL, best_setting, keys_of, policies, quick_grid
from ostler.planning.value import value_of
from ostler.residency.rule import LIVE
from ostler.simulate.instances import random_instance
from tests.planning.instances import Count, instances, one_host, task


def test_settings_near_the_live_one_come_first() -> None:
    """A short effort sees one change at a time."""
    first = list(islice(policies(), 12))

    assert first[0] == LIVE
    changes = [sum(a != b for a, b in zip(one, LIVE, strict=True)) for one in first[1:]]
    assert set(changes) == {1}


def test_no_setting_of_the_rule_comes_twice() -> None:
    """Five pairs of weights, three thresholds, four looks, three sizes of a queue; prefetch, back-fill, drain."""
    every = list(policies())

    assert len(every) == len(set(every)) == 5 * 3 * 4 * 2 * 2 * 3 * 2


def test_the_best_is_the_best_of_all_that_were_tried() -> None:
    """By value: lateness, time and money, loads."""
    compiled = Compiled(random_instance(1, 25, 2, regime="call"))

    found = best_setting(compiled, Count(1_000))

    runs = [Run(compiled, one.params, keys=keys_of(compiled, one.shake)).go() for one in quick_grid()]
    values = [value_of(compiled, run.ends, run.ran, run.loads) for run in runs]
    assert found.pool[0][0] == min(values)
    assert found.tried == 120


def test_a_large_problem_gives_up_long_runs_and_loses_nothing() -> None:
    """A run that is longer than the best cannot be better."""
    compiled = Compiled(random_instance(1, LARGE + 40, 2, regime="call", shape="jobs"))

    found = best_setting(compiled, Count(8))

    makespans = [Run(compiled, one.params).go().makespan_ms for one in islice(quick_grid(), 8)]
    assert found.run.makespan_ms == min(makespans)


def test_a_run_that_was_given_up_is_known_to_be_incomplete() -> None:
    """Its makespan is beyond every other."""
    compiled = Compiled(random_instance(1, 25, 2, regime="call"))

    run = Run(compiled).go(until_ms=1_000)

    assert run.left > 0
    assert run.makespan_ms == NEVER


def test_the_bound_ends_the_portfolio() -> None:
    """Nothing is better than a plan as long as its lower bound."""
    compiled = Compiled(random_instance(1, 25, 2, regime="call"))
    makespan_ms = Run(compiled).go().makespan_ms

    assert best_setting(compiled, Count(1_000), floor_ms=makespan_ms).tried == 1


def test_a_problem_that_cannot_be_done_has_no_pool() -> None:
    """A pinned model never leaves again; the run that is given back says what is left."""
    models = {"p": Serving(memory_bytes=20, pinned=True), "m": Serving(memory_bytes=9)}
    host = PlanHost(name="box", memory_bytes=24, models=models)
    tasks = (task("a", "p"), task("b", "m", 100, "a"))

    found = best_setting(Compiled(Instance(hosts=(host,), tasks=tasks)), Count(5))

    assert found.pool == []
    assert found.run.left == 1


def two_ways(cost: int = 500) -> PlanTask:
    choices = (
        Choice(models=("large",), duration_ms=100),
        Choice(models=("small",), duration_ms=300),
        Choice(models=("other",), duration_ms=50, cost_micro_usd=cost),
    )
    return PlanTask(id="a", choices=choices)


def test_choices_are_opened_in_several_ways() -> None:
    """All of them, the cheapest, the first only, the fastest only: each may be the best."""
    compiled = Compiled(Instance(hosts=(one_host(),), tasks=(two_ways(),)))

    opened = {said: [option.choice for option in options[0]] for options, said in openings(compiled)}

    assert opened == {
        "": [0, 1, 2],
        ", cheapest choices only": [0, 1],
        ", first choices only": [0],
        ", fastest choices only": [2],
    }


def test_without_a_choice_there_is_one_way() -> None:
    """The common case pays for no other."""
    assert len(openings(Compiled(Instance(hosts=(one_host(),), tasks=(task("a", "small"),))))) == 1


def test_without_prices_all_choices_are_the_cheapest() -> None:
    """And are not tried twice."""
    said = [one for _, one in openings(Compiled(Instance(hosts=(one_host(),), tasks=(two_ways(cost=0),))))]

    assert said == ["", ", first choices only", ", fastest choices only"]


@pytest.mark.parametrize("shake", [1, 2, 77])
def test_a_shaken_order_is_still_an_order_of_the_same_tasks(shake: int) -> None:
    """Other keys, other starts, and everything still runs."""
    compiled = Compiled(random_instance(1, 25, 2, regime="call"))

    run = Run(compiled, keys=keys_of(compiled, shake)).go()

    assert run.left == 0
    assert len(set(keys_of(compiled, shake))) > 1


@settings(max_examples=30)
@given(instances())
def test_the_pool_holds_complete_runs_of_different_worth(instance: Instance) -> None:
    """Best first; the best one is the one that is reported."""
    compiled = Compiled(instance)

    found = best_setting(compiled, Count(25))

    values = [value for value, _ in found.pool]
    assert values == sorted(set(values)), "in order, no value twice"
    assert len(values) <= POOL, "and not more than asked for"
    assert all(run.left == 0 for _, run in found.pool), "every run is complete"
    assert found.pool[0][1] is found.run, "the best run is the first"
    keys = keys_of(compiled, found.setting.shake)
    repeats = [Run(compiled, found.setting.params, keys=keys).go().ends, found.run.ends]
    assert repeats[0] == repeats[1], "its setting makes it again"
