"""Improving a plan part by part: never worse, always a plan, and better where there is room."""

import pytest

from ostler.planning.cpsat.neighbourhood import improved
from ostler.planning.cpsat.result import Status
from ostler.planning.instance import Instance
from ostler.planning.plan_checker import check_plan
from ostler.planning.strategies import dependency_first
from ostler.simulate.instances import random_instance
from tests.planning.cpsat.rig import problem, task

ALTERNATING = problem(*(task(f"t{index:02}", "ab"[index % 2], 10) for index in range(24)))


@pytest.mark.parametrize("hosts", [1, 2, 3])
def test_an_improved_plan_can_be_carried_out_and_is_no_longer(hosts: int) -> None:
    """From a plan that swaps for every task, on one host, two, and pairs of three."""
    instance = random_instance(2, 45, hosts)
    start = dependency_first(instance)

    answer = improved(instance, seconds=4, hint=start)

    assert answer.plan is not None
    assert check_plan(instance, answer.plan) == ()
    assert answer.plan.makespan_ms <= start.makespan_ms
    assert (answer.status, answer.plan.proven) == (Status.FEASIBLE, False)


def test_parts_add_up_to_a_plan_that_hardly_swaps() -> None:
    """Twenty-four tasks that take turns between two models need two loads; parts of sixteen find that."""
    instance = ALTERNATING

    answer = improved(instance, seconds=120, bound_ms=2 * (20 + 120) + 10)

    assert answer.plan is not None
    assert (answer.plan.makespan_ms, answer.plan.loads) == (290, 2)
    assert (answer.status, answer.plan.proven) == (Status.PROVEN, True)


def test_without_time_the_start_comes_back() -> None:
    """No time, no change, and no word of proof."""
    start = dependency_first(ALTERNATING)

    answer = improved(ALTERNATING, seconds=0, hint=start)

    assert answer.plan is not None
    assert (answer.plan.placements, answer.plan.proven) == (start.placements, False)


def test_a_hint_that_breaks_a_rule_is_replaced() -> None:
    """What cannot be carried out is no start; a simple strategy is."""
    other: Instance = problem(task("x", "a", 10))

    answer = improved(ALTERNATING, seconds=0, hint=dependency_first(other))

    assert answer.plan is not None
    assert check_plan(ALTERNATING, answer.plan) == ()
