"""The exact solver on problems whose best plan can be worked out by hand, one rule of the problem at a time."""

import pytest

from ostler.planning.cpsat.result import Goal
from ostler.planning.instance import Choice, PlanHost, PlanTask, Serving
from ostler.simulate.fourteen_agents import Reading, fourteen_agents
from tests.planning.cpsat.rig import best, box, problem, solved, task


def test_a_load_comes_before_the_first_task() -> None:
    """One task takes its load and itself; the last unload does not count."""
    assert best(problem(task("t", "a", 100))) == (120, 1)


def test_what_is_resident_at_the_start_needs_no_load() -> None:
    """A model in memory at the start serves at once, and its stay is no load."""
    assert best(problem(task("t", "a", 100), hosts=(box("a", resident=("a",)),))) == (100, 0)


def test_a_resident_that_nobody_needs_has_to_leave_first() -> None:
    """Memory of a model that was there before is free only after its unload."""
    assert best(problem(task("t", "a", 100), hosts=(box("a", "b", resident=("b",)),))) == (130, 1)


def test_models_that_do_not_fit_together_take_turns() -> None:
    """Two models of six in ten: load, work, unload, load, work."""
    assert best(problem(task("s", "a", 100), task("t", "b", 50))) == (20 + 100 + 10 + 20 + 50, 2)


def test_models_that_fit_together_work_side_by_side_but_load_in_turn() -> None:
    """With room for both the longer task's model loads first, and only the load of the other waits."""
    assert best(problem(task("s", "a", 100), task("t", "b", 50), hosts=(box("a", "b", memory=12),))) == (120, 2)


def test_tasks_of_one_model_are_done_in_one_stay() -> None:
    """Alternating needs cost two swaps if taken as they come; the best plan keeps a model for all that it can do."""
    tasks = (task("a1", "a", 10), task("b1", "b", 10), task("a2", "a", 10), task("b2", "b", 10))

    assert best(problem(*tasks)) == (20 + 20 + 30 + 20, 2)


def test_a_chain_across_models_pays_every_swap() -> None:
    """a, then b, then a again: the second stay of `a` cannot be saved."""
    tasks = (task("a1", "a", 10), task("b1", "b", 10, "a1"), task("a2", "a", 10, "b1"))

    assert best(problem(*tasks)) == (20 + 10 + 30 + 10 + 30 + 10, 3)


def test_slots_let_tasks_of_a_model_run_together() -> None:
    """Three tasks of ten on two slots take two rounds."""
    tasks = tuple(task(f"t{index}", "a", 10) for index in range(3))

    assert best(problem(*tasks, hosts=(box("a", slots=2),))) == (40, 1)


def test_two_hosts_share_the_work() -> None:
    """Each host keeps one model; nobody swaps."""
    tasks = (task("s", "a", 100), task("t", "b", 100))

    assert best(problem(*tasks, hosts=(box("a", "b"), box("a", "b", name="other")))) == (120, 2)


def test_a_pinned_model_never_leaves() -> None:
    """Where `a` is pinned and resident, `b` has to run elsewhere, however slow."""
    pinned = Serving(memory_bytes=6, load_ms=20, unload_ms=10, pinned=True)
    first = PlanHost(name="box", memory_bytes=10, models={"a": pinned, "b": pinned}, resident=("a",))
    slow = box("b", name="slow", pace_permille=3000)

    assert best(problem(task("s", "a", 10), task("t", "b", 10), hosts=(first, slow))) == (50, 1)


def test_the_limit_of_residents_counts_what_unloads() -> None:
    """Memory for both, but one at a time: they take turns as if they did not fit."""
    host = PlanHost(name="box", memory_bytes=100, models=box("a", "b").models, max_resident=1)

    assert best(problem(task("s", "a", 100), task("t", "b", 50), hosts=(host,))) == (200, 2)


def test_a_task_of_two_models_needs_both_at_once() -> None:
    """Both load one after the other, then it runs."""
    assert best(problem(task("t", "a+b", 100), hosts=(box("a", "b", memory=12),))) == (140, 2)


def test_memory_of_a_task_counts_while_it_runs() -> None:
    """Two slots, but memory for one of these tasks beside the model: they follow each other."""
    tasks = (task("s", "a", 50, memory=3), task("t", "a", 50, memory=3))

    assert best(problem(*tasks, hosts=(box("a", slots=2),))) == (120, 1)


def test_memory_of_a_task_keeps_other_models_out() -> None:
    """A task that takes five beside its model leaves no room for another model meanwhile, only afterwards."""
    small = Serving(memory_bytes=3, load_ms=5, unload_ms=5)
    host = PlanHost(name="box", memory_bytes=10, models={"a": small, "b": small})

    assert best(problem(task("s", "a", 50, memory=5), task("t", "b", 30), hosts=(host,))) == (5 + 50 + 5 + 30, 2)


def test_a_release_is_waited_for() -> None:
    """The model can be loaded before, the task cannot start before."""
    late = PlanTask(id="t", choices=(Choice(models=("a",), duration_ms=10),), release_ms=500)

    assert best(problem(late)) == (510, 1)


def test_a_choice_can_be_taken_only_on_its_hosts() -> None:
    """The near host is quicker, but the choice names the far one."""
    choice = Choice(models=("a",), duration_ms=100, hosts=("far",))
    hosts = (box("a"), box("a", name="far", pace_permille=2000))

    assert best(problem(PlanTask(id="t", choices=(choice,)), hosts=hosts)) == (220, 1)


def test_another_model_is_chosen_where_it_saves_a_swap() -> None:
    """The second choice is slower than the first, but its model is there already."""
    either = PlanTask(
        id="t", choices=(Choice(models=("b",), duration_ms=30), Choice(models=("a",), duration_ms=50)), needs=("s",)
    )

    assert best(problem(task("s", "a", 100), either)) == (170, 1)


CLOUD = PlanHost(name="sky", cloud=True, models={"api": Serving(slots=9)})


def paid(name: str, local_ms: int, cloud_ms: int, cost: int) -> PlanTask:
    """A task that runs on `a` at home or for money in the cloud."""
    return PlanTask(
        id=name,
        choices=(
            Choice(models=("a",), duration_ms=local_ms),
            Choice(models=("api",), duration_ms=cloud_ms, cost_micro_usd=cost),
        ),
    )


def test_a_cloud_needs_no_stay() -> None:
    """What runs in the cloud starts at once and loads nothing."""
    assert best(problem(paid("t", 100, 30, 5), hosts=(box("a"), CLOUD))) == (30, 0)


def test_a_budget_keeps_work_at_home() -> None:
    """Two tasks at 5 with a budget of 9: one of them stays at home."""
    instance = problem(paid("s", 100, 30, 5), paid("t", 100, 30, 5), hosts=(box("a"), CLOUD))

    assert best(instance, Goal(budget_micro_usd=9)) == (120, 1)
    assert best(instance, Goal(budget_micro_usd=10)) == (30, 0)


@pytest.mark.parametrize(("cost", "makespan"), [(89, 30), (91, 120)])
def test_the_price_of_a_minute_weighs_time_against_money(cost: int, makespan: int) -> None:
    """The cloud saves 90 ms at one micro-dollar each: it is taken while it costs less than that."""
    answer = solved(problem(paid("t", 100, 30, cost), hosts=(box("a"), CLOUD)), goal=Goal(priced=True))

    assert answer.plan is not None
    assert answer.plan.makespan_ms == makespan
    assert answer.value_micro_usd == answer.value_bound_micro_usd == min(30 + cost, 120)


def test_optional_work_is_planned_unless_it_may_be_dropped() -> None:
    """By default a plan has all tasks; on request the optional ones go, if that is shorter."""
    instance = problem(task("s", "a", 100), task("extra", "b", 50, optional=True))

    assert best(instance)[0] == 200
    assert best(instance, Goal(keep_optional=False))[0] == 120


def test_optional_work_that_other_work_needs_is_kept() -> None:
    """Dropping it would leave a need open."""
    instance = problem(task("extra", "b", 50, optional=True), task("t", "a", 100, "extra"))

    assert best(instance, Goal(keep_optional=False))[0] == 200


OPTIMA_MIN = {
    ("map", 1): (163.62, 5),
    ("map", 3): (63.62, 5),
    ("map", 4): (58.62, 5),
    ("map", 5): (53.62, 5),
    ("map", 9): (53.62, 5),
    ("mermaid", 2): (108.62, 5),
    ("mermaid", 4): (78.62, 5),
    ("mermaid", 9): (68.62, 5),
    ("phases", 2): (92.96, 4),
    ("phases", 4): (52.96, 4),
    ("phases", 5): (47.96, 4),
    ("phases", 9): (37.96, 4),
}


@pytest.mark.parametrize(("reading", "slots"), OPTIMA_MIN)
def test_the_fourteen_agents_have_their_proven_optimum(reading: Reading, slots: int) -> None:
    """Makespan and loads of each reading and number of slots, with as many stays as can ever be useful."""
    answer = solved(fourteen_agents(reading, slots), seconds=60)

    assert answer.plan is not None
    assert (answer.status, answer.restricted, answer.fewest_loads) == ("proven", False, True)
    assert (round(answer.plan.makespan_ms / 60_000 - 0.001, 2), answer.plan.loads) == OPTIMA_MIN[reading, slots]
