"""Improving a plan part by part: never worse, always a plan, and better where there is room."""

from random import Random

import pytest

from ostler.planning.cpsat.data import prepared
from ostler.planning.cpsat.exchange import placed_jobs
from ostler.planning.cpsat.neighbourhood import PART_TASKS, Aim, Part, _drawn, improved
from ostler.planning.cpsat.result import Status
from ostler.planning.instance import Instance
from ostler.planning.plan_checker import check_plan
from ostler.planning.strategies import dependency_first
from ostler.simulate.instances import random_instance
from tests.planning.cpsat.rig import problem, task


class Steps:
    """Effort by count: so many steps."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def spent(self) -> bool:
        self.left -= 1
        return self.left < 0


ALTERNATING = problem(*(task(f"t{index:02}", "ab"[index % 2], 10) for index in range(24)))


@pytest.mark.parametrize("hosts", [1, 2, 3])
def test_an_improved_plan_can_be_carried_out_and_is_no_longer(hosts: int) -> None:
    """From a plan that swaps for every task, on one host, two, and pairs of three."""
    instance = random_instance(2, 45, hosts)
    start = dependency_first(instance)

    answer = improved(instance, seconds=60, effort=Steps(8), dice=Random(hosts), hint=start)

    assert answer.plan is not None
    assert check_plan(instance, answer.plan) == ()
    assert answer.plan.makespan_ms <= start.makespan_ms
    assert (answer.status, answer.plan.proven) == (Status.FEASIBLE, False)


def test_parts_add_up_to_a_plan_that_hardly_swaps() -> None:
    """Twenty-four tasks that take turns between two models need two loads; parts of sixteen find that."""
    instance = ALTERNATING

    answer = improved(instance, seconds=120, effort=Steps(500), dice=Random(1), bound_ms=2 * (20 + 120) + 10)

    assert answer.plan is not None
    assert (answer.plan.makespan_ms, answer.plan.loads) == (290, 2)
    assert (answer.status, answer.plan.proven) == (Status.PROVEN, True)


@pytest.mark.parametrize(("seconds", "steps"), [(0, 9), (60, 0)])
def test_without_time_the_start_comes_back(seconds: float, steps: int) -> None:
    """No time of the solver or no effort, no change, and no word of proof."""
    start = dependency_first(ALTERNATING)

    answer = improved(ALTERNATING, seconds=seconds, effort=Steps(steps), dice=Random(1), hint=start)

    assert answer.plan is not None
    assert (answer.plan.placements, answer.plan.proven) == (start.placements, False)


def test_a_hint_that_breaks_a_rule_is_replaced() -> None:
    """What cannot be carried out is no start; a simple strategy is."""
    other: Instance = problem(task("x", "a", 10))

    answer = improved(ALTERNATING, seconds=0, effort=Steps(0), dice=Random(1), hint=dependency_first(other))

    assert answer.plan is not None
    assert check_plan(ALTERNATING, answer.plan) == ()


def test_it_ends_by_itself_when_nearly_all_parts_have_been_tried() -> None:
    """Nothing is shorter than four tasks one after the other, and few parts of them differ: no effort is wasted."""
    short = problem(*(task(f"t{index}", "a", 10) for index in range(4)))
    effort = Steps(10_000)

    answer = improved(short, seconds=60, effort=effort, dice=Random(1))

    assert answer.status is Status.FEASIBLE
    assert effort.left > 9_000


@pytest.mark.parametrize("hosts", [1, 3])
@pytest.mark.parametrize("seed", range(5))
def test_a_part_is_a_run_of_starts_on_two_hosts_at_most(hosts: int, seed: int) -> None:
    """Between its first and its last start no task of its hosts is left out."""
    instance = random_instance(1, 40, hosts)
    data, plan = prepared(instance), dependency_first(instance)
    placed = placed_jobs(data, plan)

    part = _drawn(data, plan, Random(seed))
    inside = [placed[job] for job in part.jobs]
    last = max((one.start_ms, one.task) for one in inside)
    first = min((one.start_ms, one.task) for one in inside)
    groups = [{one.host for one in inside}] if hosts > 2 else [{host.name for host in instance.hosts}]

    assert len(part.jobs) in PART_TASKS or part.jobs == {job for job, one in placed.items() if one.host in groups[0]}
    assert part.start_ms == first[0]
    assert len(groups[0]) <= 2
    between = {job for job, one in placed.items() if first <= (one.start_ms, one.task) <= last}
    assert {job for job in between if placed[job].host in groups[0]} <= part.jobs


def test_the_same_dice_draw_the_same_parts() -> None:
    """One seed, one order of parts."""
    data, plan = prepared(ALTERNATING), dependency_first(ALTERNATING)

    def drawn(seed: int) -> list[Part]:
        dice = Random(seed)
        return [_drawn(data, plan, dice) for _ in range(20)]

    assert drawn(1) == drawn(1) != drawn(2)
    assert {part.aim for part in drawn(1)} == set(Aim)
