"""How the solver is asked: which of its strategies for how many workers, and never beyond the limits."""

import pytest
from ortools.sat.python import cp_model

from ostler.planning.cpsat.result import Goal, Status
from ostler.planning.cpsat.search import PROVERS, Search
from ostler.planning.cpsat.solve import solve
from ostler.simulate.instances import tiny_instance


def model() -> cp_model.CpModel:
    """The least of two numbers that add up to seven at least."""
    made = cp_model.CpModel()
    one, other = made.new_int_var(0, 9, "one"), made.new_int_var(0, 9, "other")
    made.add(one + other >= 7)
    made.minimize(2 * one + other)
    return made


@pytest.mark.parametrize("workers", range(1, 10))
def test_one_worker_is_left_to_look_for_plans(workers: int) -> None:
    """Strategies that prove are named for all workers but one; a single worker takes turns with all that there are."""
    search = Search(seconds_left=20, work_left=None, workers=workers, seed=3)
    status, solver = search.run(model())
    named = list(solver.parameters.subsolvers)

    assert (status, round(solver.objective_value)) == (Status.PROVEN, 7)
    assert named == list(PROVERS[: workers - 1])
    assert solver.parameters.interleave_search is (workers == 1)
    assert (solver.parameters.num_workers, solver.parameters.random_seed) == (workers, 3)


@pytest.mark.parametrize("seed", range(4))
def test_any_number_of_workers_proves_the_same(seed: int) -> None:
    """Which strategy is first with its proof changes nothing of it."""
    goal = Goal(minimise_loads=False)
    answers = [solve(tiny_instance(seed), seconds=60, workers=workers, goal=goal) for workers in (1, 2, 3, 8)]

    assert {answer.status for answer in answers} == {Status.PROVEN}
    assert len({answer.bound_ms for answer in answers}) == 1
