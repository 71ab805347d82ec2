"""The instance as the solver sees it: smallest ticks, enough stays, honest heads and tails."""

import pytest

from ostler.planning.cpsat.data import prepared
from ostler.planning.cpsat.heads import Kind, Piece, heads, tails
from ostler.planning.cpsat.solve import solve
from ostler.planning.instance import PlanHost, Serving
from ostler.simulate.fourteen_agents import fourteen_agents
from ostler.simulate.instances import random_instance, tiny_instance
from tests.planning.cpsat.rig import box, problem, task


def test_ticks_are_as_long_as_all_times_allow() -> None:
    """The fourteen agents take whole minutes and swap in multiples of 2.5 s."""
    made = prepared(fourteen_agents())

    assert (made.tick_ms, made.capacity(0)) == (2_500, 4)


def stays(*hosts: PlanHost, counts: str) -> dict[str, int]:
    """Stays of each model on the first host, for tasks of the models in `counts`."""
    tasks = [task(f"t{index}", model, 10) for index, model in enumerate(counts)]
    return {seat.model: seat.episodes for seat in prepared(problem(*tasks, hosts=hosts)).seats if seat.host == 0}


def test_a_model_needs_no_more_stays_than_it_has_tasks() -> None:
    """Each stay that is loaded serves a task."""
    assert stays(box("a", "b", "c"), counts="aabbcc") == {"a": 2, "b": 2, "c": 2}


def test_a_model_needs_no_more_stays_than_others_can_drive_it_out() -> None:
    """With two tasks of others there are at most two gaps, so three stays, whatever its number of tasks."""
    assert stays(box("a", "b", "c"), counts="aaaaaaaabc")["a"] == 3


def test_models_that_all_fit_stay_once() -> None:
    """Nothing ever has to leave."""
    assert stays(box("a", "b", memory=12), counts="aaabbb") == {"a": 1, "b": 1}


def test_a_resident_has_its_first_stay_beside_those_of_its_tasks() -> None:
    """The initial stay may serve nobody, so it does not count against the tasks."""
    assert stays(box("a", "b", resident=("a",)), counts="abb") == {"a": 2, "b": 2}


def test_a_cloud_has_no_stays() -> None:
    """It is always ready."""
    assert stays(PlanHost(name="sky", cloud=True, models={"a": Serving(slots=9)}), counts="aaa") == {"a": 0}


def test_twins_are_tasks_that_differ_in_name_alone() -> None:
    """Same choices, same needs, same followers: any two of them can be exchanged."""
    tasks = [task("a1", "a", 10), task("a2", "a", 10), task("a3", "a", 10), task("b", "b", 10, "a3")]

    assert prepared(problem(*tasks)).twins == ((0, 1),)


def test_a_cap_that_could_hurt_is_flagged() -> None:
    """Fewer stays than could be useful restrict the problem; as many do not."""
    instance = problem(*(task(f"t{index}", "ab"[index % 2], 10) for index in range(6)))

    assert prepared(instance, episodes_max=2).restricted
    assert not prepared(instance, episodes_max=3).restricted


TURNS = (Kind(load=20, unload=10, slots=1), Kind(load=30, unload=5, slots=2))


def piece(model: int, ticks: int, *needs: int) -> Piece:
    return Piece(model=model, ticks=ticks, floor=TURNS[model].load, needs=needs)


def test_a_head_counts_the_swaps_on_the_way() -> None:
    """The first load, the first task, then out with one model and in with the other; mirrored for the tail."""
    pieces = [piece(0, 100), piece(1, 50, 0)]

    assert heads(pieces, TURNS, exclusive=True) == [20, 160]
    assert tails(pieces, TURNS, exclusive=True) == [90, 0]


def test_a_head_counts_the_work_of_a_model_by_its_slots() -> None:
    """Three tasks of one slot come before the last one, so that it waits for the sum, not for the longest."""
    pieces = [piece(0, 100), piece(0, 100), piece(0, 100), piece(1, 50, 0, 1, 2)]

    assert heads(pieces, TURNS, exclusive=True)[3] == 20 + 300 + 10 + 30
    assert heads(pieces, TURNS, exclusive=False)[3] == 20 + 300


def test_a_head_counts_chains_through_other_models() -> None:
    """A chain 0-1-0 beside a chain 1-1: both models are resident for their own chain, one after the other."""
    pieces = [piece(0, 100), piece(1, 10, 0), piece(0, 100, 1), piece(1, 80), piece(1, 80, 3), piece(0, 1, 2, 4)]

    assert heads(pieces, TURNS, exclusive=True)[5] == 200 + 160 + 20 + 35


@pytest.mark.parametrize("seed", range(8))
def test_no_task_of_an_optimum_starts_before_its_head_or_leaves_less_than_its_tail(seed: int) -> None:
    """Heads and tails hold for the best plan: the solver would not find it otherwise, and others may trust them."""
    for instance in (tiny_instance(seed), random_instance(seed, 9, 1, models=3)):
        made = prepared(instance)
        plan = solve(instance, seconds=10).plan
        assert plan is not None
        for index, planned in enumerate(instance.tasks):
            placed = next(one for one in plan.placements if one.task == planned.id)
            assert placed.start_ms >= made.heads[index] * made.tick_ms
            assert placed.end_ms + made.tails[index] * made.tick_ms <= plan.makespan_ms
