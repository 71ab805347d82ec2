"""Rules that only help: with and without each of them the optimum is the same; and what each cuts off."""

from collections.abc import Callable
from functools import cache

import pytest
from ortools.sat.python import cp_model

from ostler.planning.cpsat.constraints import Constraints
from ostler.planning.cpsat.data import Problem, prepared
from ostler.planning.cpsat.variables import Variables, add_variables
from ostler.planning.instance import Choice, Instance, PlanTask
from ostler.simulate.instances import random_instance
from tests.planning.cpsat.rig import box, problem, task
from tests.planning.tiny import varied_instance

REDUNDANT = (
    "_stays_follow_needs",
    "_work_of_a_model_anywhere",
    "_work_of_a_stay",
    "_models_that_exclude_each_other",
    "_area_of_memory",
    "_twins_in_order",
)
Extra = Callable[[cp_model.CpModel, Problem, Variables], None]


def optimum(instance: Instance, *, loose: bool = False, extra: Extra | None = None) -> int | None:
    """The shortest makespan in ticks by the model alone, without start, bound or second stage."""
    made = prepared(instance)
    model = cp_model.CpModel()
    variables = add_variables(model, made, made.horizon)
    Constraints(model, made, variables).add_all(loose=loose)
    if extra:
        extra(model, made, variables)
    model.minimize(variables.makespan)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.interleave_search = True
    solver.parameters.max_time_in_seconds = 60
    status = solver.solve(model)
    if status == cp_model.INFEASIBLE:
        return None
    assert status == cp_model.OPTIMAL
    return solver.value(variables.makespan)


INSTANCES = [
    *(varied_instance(seed) for seed in (1, 2, 5, 8, 13, 21)),
    random_instance(0, 5, 1, models=3),
    random_instance(1, 5, 2, models=2, regime="call"),
]


@cache
def optima() -> list[int | None]:
    """Of all instances, with every rule."""
    return [optimum(instance) for instance in INSTANCES]


@pytest.mark.parametrize("rule", REDUNDANT)
def test_a_redundant_rule_takes_no_optimum_away(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model without the rule has the same optimum, on problems of every kind."""
    with_it = optima()

    monkeypatch.setattr(Constraints, rule, lambda _: None)

    assert [optimum(instance) for instance in INSTANCES] == with_it


def test_a_loose_order_of_stays_has_the_same_optimum() -> None:
    """Unused stays between used ones change nothing but the number of equal solutions."""
    assert [optimum(instance, loose=True) for instance in INSTANCES] == optima()


CHAIN = problem(task("a1", "a", 10), task("b1", "b", 10, "a1"), task("a2", "a", 10, "b1"), task("b2", "b", 10, "a2"))


def held(job: int, seat: int, stay: int) -> Extra:
    """Demand that a job uses a stay."""

    def add(model: cp_model.CpModel, _: Problem, variables: Variables) -> None:
        model.add(variables.uses[job, seat][stay] == 1)

    return add


def test_a_task_behind_another_model_is_in_a_later_stay() -> None:
    """The second task of `a` comes after one of `b`, which drives `a` out: it cannot use the first stay."""
    assert optimum(CHAIN, extra=held(2, 0, 0)) is None
    assert optimum(CHAIN, extra=held(2, 0, 1)) == optimum(CHAIN)


def test_a_task_behind_a_model_with_room_beside_it_may_share_the_stay() -> None:
    """Where both models fit there is one stay for all."""
    roomy = problem(*CHAIN.tasks, hosts=(box("a", "b", memory=12),))

    assert optimum(roomy, extra=held(2, 0, 0)) == optimum(roomy)


def test_a_task_behind_work_that_may_run_elsewhere_may_share_the_stay() -> None:
    """On two hosts the task between them may run on the other one, and then nobody is driven out."""
    hosts = (box("a", "b"), box("a", "b", name="other"))
    two = problem(*CHAIN.tasks, hosts=hosts)

    assert optimum(two, extra=held(2, 0, 0)) is not None


def test_twins_start_in_the_order_of_their_names() -> None:
    """Exchanging two equal tasks gives no other plan, so only one of both orders is looked at."""
    instance = problem(task("s", "a", 10), task("t", "a", 10))

    def reversed_order(model: cp_model.CpModel, _: Problem, variables: Variables) -> None:
        model.add(variables.starts[0] > variables.starts[1])

    assert optimum(instance, extra=reversed_order) is None


def test_a_stay_that_serves_nobody_is_not_loaded() -> None:
    """A load must be for a task; a second stay of a model with one task is impossible."""
    instance = problem(task("s", "a", 10), task("t", "a", 10), task("u", "b", 10))

    def useless(model: cp_model.CpModel, _: Problem, variables: Variables) -> None:
        model.add(variables.stays[0][1].present == 1)
        model.add(variables.uses[0, 0][1] == 0)
        model.add(variables.uses[1, 0][1] == 0)

    assert optimum(instance, extra=useless) is None


def test_stays_of_a_model_are_used_in_order() -> None:
    """The second stay is not used before the first."""

    def skipped(model: cp_model.CpModel, _: Problem, variables: Variables) -> None:
        model.add(variables.stays[0][0].present == 0)
        model.add(variables.stays[0][1].present == 1)

    assert optimum(CHAIN, extra=skipped) is None
    assert prepared(CHAIN).seats[0].episodes == 2


@pytest.mark.parametrize(("earliest", "possible"), [(19, False), (20, True)])
def test_nothing_runs_before_its_load(earliest: int, possible: bool) -> None:
    """A load of 20 from instant 0 serves from instant 20."""
    instance = problem(task("t", "a", 7))

    def at(model: cp_model.CpModel, made: Problem, variables: Variables) -> None:
        model.add(variables.starts[0] * made.tick_ms == earliest)

    assert (optimum(instance, extra=at) is not None) == possible


@pytest.mark.parametrize(("gap", "possible"), [(29, False), (30, True)])
def test_between_two_models_lie_an_unload_and_a_load(gap: int, possible: bool) -> None:
    """10 to unload and 20 to load, to the millisecond."""
    instance = problem(task("s", "a", 7), task("t", "b", 7, "s"))

    def apart(model: cp_model.CpModel, made: Problem, variables: Variables) -> None:
        model.add((variables.starts[1] - variables.starts[0]) * made.tick_ms == 7 + gap)

    assert (optimum(instance, extra=apart) is not None) == possible


def test_loads_of_one_host_do_not_overlap_and_of_two_do() -> None:
    """Two models that fit together: on one host their loads follow each other, on two they start at once."""
    tasks = (task("s", "a", 7), task("t", "b", 7))

    def both_early(model: cp_model.CpModel, made: Problem, variables: Variables) -> None:
        for start in variables.starts:
            model.add(start * made.tick_ms == 20)

    one = problem(*tasks, hosts=(box("a", "b", memory=12),))
    two = problem(*tasks, hosts=(box("a"), box("b", name="other")))

    assert optimum(one, extra=both_early) is None
    assert optimum(two, extra=both_early) is not None


def test_a_task_with_two_ways_takes_one() -> None:
    """Neither none nor both."""
    either = PlanTask(id="t", choices=(Choice(models=("a",), duration_ms=7), Choice(models=("b",), duration_ms=7)))

    for total in (0, 2):

        def taken(model: cp_model.CpModel, _: Problem, variables: Variables, total: int = total) -> None:
            model.add(sum(way.taken for way in variables.ways[0]) == total)

        assert optimum(problem(either), extra=taken) is None


def test_slots_of_one_model_are_shared_by_its_stays_and_counted_on_every_host() -> None:
    """Five tasks on two hosts of two slots: five at once are impossible, four are not."""
    hosts = (box("a", slots=2), box("a", name="other", slots=2))

    def at_once(count: int) -> Extra:
        def add(model: cp_model.CpModel, _: Problem, variables: Variables) -> None:
            for start in variables.starts[:count]:
                model.add(start == variables.starts[0])

        return add

    tasks = [task(f"t{index}", "a", 7) for index in range(5)]

    assert optimum(problem(*tasks, hosts=hosts), extra=at_once(5)) is None
    assert optimum(problem(*tasks, hosts=hosts), extra=at_once(4)) is not None
