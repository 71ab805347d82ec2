"""The simulator: hand-made cases with their instants, and every plan it makes checked by the independent checker."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.planning.compiled import Compiled
from ostler.planning.engine import Run
from ostler.planning.instance import Choice, Instance, PlanHost, PlanTask, Serving
from ostler.planning.plan import Plan
from ostler.planning.plan_checker import check_plan, shortest_path
from ostler.residency.rule import LIVE, Params
from ostler.simulate.instances import random_instance
from tests.planning.instances import instances, one_host, task


def planned(instance: Instance, params: Params = LIVE) -> Plan:
    run = Run(Compiled(instance), params).go()
    assert not run.left
    plan = run.plan("live")
    assert check_plan(instance, plan) == ()
    assert (plan.makespan_ms, plan.loads) == (run.makespan_ms, run.loads)
    return plan


def when(plan: Plan) -> dict[str, tuple[int, int]]:
    return {row.task: (row.start_ms, row.end_ms) for row in plan.placements}


def test_one_task_waits_for_the_load_of_its_model() -> None:
    """The first load counts."""
    plan = planned(Instance(hosts=(one_host(),), tasks=(task("a", "large"),)))

    assert when(plan) == {"a": (200, 1_200)}


def test_a_resident_model_serves_at_once() -> None:
    """What is in memory at the start needs no load and has an episode from the start."""
    plan = planned(Instance(hosts=(one_host(resident=("large",)),), tasks=(task("a", "large"),)))

    assert when(plan) == {"a": (0, 1_000)}
    assert plan.loads == 0
    assert [row.initial for row in plan.episodes] == [True]


def test_slots_are_filled_by_the_longest_path_first() -> None:
    """Three tasks for two slots: the one that another hangs on goes first, though it is last by name."""
    tasks = (task("a", "small"), task("b", "small"), task("c", "small"), task("d", "small", 1_000, "c"))

    plan = planned(Instance(hosts=(one_host(resident=("small",)),), tasks=tasks))

    assert when(plan) == {"c": (0, 1_000), "a": (0, 1_000), "b": (1_000, 2_000), "d": (1_000, 2_000)}


def test_models_that_do_not_fit_together_take_turns_and_each_queue_is_served_whole() -> None:
    """One swap, not three: the queue of the resident is served before the other model comes."""
    tasks = (task("a", "large"), task("b", "other"), task("c", "large"), task("d", "other"))

    plan = planned(Instance(hosts=(one_host(large=1, other=1),), tasks=tasks))

    assert plan.loads == 2
    assert plan.makespan_ms == 200 + 2_000 + 60 + 200 + 2_000


def test_the_longest_queue_gets_the_place_that_another_model_does_not_need() -> None:
    """`lone` holds one model, `wide` both. A hundred tasks need `large`, forty `small`, all ready, two slots each.

    `small` has slots enough on `wide`; as long as it keeps `lone`, `large` has half of the slots it could have. Shared
    for as long as `small` has work, the last task would end after 300 seconds.
    """
    models = {name: Serving(memory_bytes=20, load_ms=200, unload_ms=60, slots=2) for name in ("large", "small")}
    lone = PlanHost(name="lone", memory_bytes=24, models=models, resident=("small",))
    wide = PlanHost(name="wide", memory_bytes=48, models=models, resident=("large", "small"))
    tasks = [task(f"l{number:03}", "large", 10_000) for number in range(100)]
    tasks += [task(f"s{number:03}", "small", 10_000) for number in range(40)]

    plan = planned(Instance(hosts=(lone, wide), tasks=tuple(tasks)))

    assert plan.loads == 1, "one change and no way back"
    assert plan.makespan_ms <= 250_000 + 2 * 10_000, "a task to drain and one at the end more than without any change"


def test_a_load_is_begun_before_its_work_is_ready() -> None:
    """Prefetch: the second model is loaded beside the first while the first still works."""
    tasks = (task("a", "large", 1_000), task("b", "small", 1_000, "a"))

    plan = planned(Instance(hosts=(one_host(memory=25),), tasks=tasks))

    assert when(plan)["b"] == (1_200, 2_200)


def test_a_task_with_two_models_holds_both_for_its_time() -> None:
    """A set of models is brought together on one host."""
    both = PlanTask(id="both", choices=(Choice(models=("small", "large"), duration_ms=500),))

    plan = planned(Instance(hosts=(one_host(memory=25),), tasks=(task("a", "other"), both)))

    assert {row.model for row in plan.episodes} == {"small", "large", "other"}


def test_memory_of_a_task_is_counted_while_it_runs() -> None:
    """Two tasks of 10 bytes in a memory of 15 run one after the other, models or not."""
    tasks = tuple(
        PlanTask(id=name, choices=(Choice(models=(), duration_ms=100, memory_bytes=10),)) for name in ("a", "b")
    )

    plan = planned(Instance(hosts=(PlanHost(name="box", memory_bytes=15),), tasks=tasks))

    assert when(plan) == {"a": (0, 100), "b": (100, 200)}


def test_idle_models_leave_for_the_memory_of_a_task() -> None:
    """A task whose model is there but whose own memory is not gets the room of a model that nobody wants."""
    wide = PlanTask(id="wide", choices=(Choice(models=("small",), duration_ms=100, memory_bytes=15),))

    plan = planned(Instance(hosts=(one_host(memory=26, resident=("small", "large")),), tasks=(wide,)))

    assert when(plan) == {"wide": (60, 160)}


def test_a_task_takes_whichever_of_its_choices_is_free_first() -> None:
    """A choice on a cloud starts at once, where the local one would have to load."""
    choices = (
        Choice(models=("large",), duration_ms=100),
        Choice(models=("sky-model",), duration_ms=300),
    )
    cloud = PlanHost(name="sky", models={"sky-model": Serving(slots=5)}, cloud=True)

    plan = planned(Instance(hosts=(one_host(), cloud), tasks=(PlanTask(id="a", choices=choices),)))

    assert [(row.host, row.choice, row.start_ms) for row in plan.placements] == [("sky", 1, 0)]


def test_release_and_pace_are_respected() -> None:
    """A task starts no sooner than its release and takes longer on a slower host."""
    slow = PlanHost(name="box", memory_bytes=9, models={"m": Serving(memory_bytes=1, pace_permille=2_000)})
    late = PlanTask(id="a", choices=(Choice(models=("m",), duration_ms=100),), release_ms=70)

    assert when(planned(Instance(hosts=(slow,), tasks=(late,)))) == {"a": (70, 270)}


def test_what_can_never_run_is_left_and_nothing_hangs() -> None:
    """A pinned model that fills the memory once it is loaded: the run ends and says what is left."""
    pinned = Serving(memory_bytes=20, pinned=True)
    host = PlanHost(name="box", memory_bytes=24, models={"p": pinned, "m": Serving(memory_bytes=9)})
    tasks = (task("first", "p"), task("a", "m", 1_000, "first"))

    run = Run(Compiled(Instance(hosts=(host,), tasks=tasks))).go()

    assert run.left == 1


params = st.builds(
    Params,
    urgency_weight=st.sampled_from((0.0, 1.0)),
    work_weight=st.sampled_from((0.0, 1.0, 3.0)),
    theta=st.sampled_from((math.inf, 0.0, 1.0)),
    look=st.sampled_from((0.0, 1.0, 20.0)),
    gamma=st.sampled_from((1.0, 2.0)),
    prefetch=st.booleans(),
    replica_share=st.sampled_from((0.5, 1.0)),
    backfill=st.booleans(),
    min_stay_ms=st.sampled_from((0, 0, 50)),
)


@given(instances(), params)
def test_every_plan_holds_whatever_the_problem_and_the_setting(instance: Instance, setting: Params) -> None:
    """Needs, slots, memory from load start to unload end, one load at a time, no busy model unloaded: all checked."""
    run = Run(Compiled(instance), setting).go()

    assert run.left == 0, "with nothing pinned, everything runs in the end"
    violations = check_plan(instance, run.plan("live"))
    assert not violations, "the plan can be carried out"
    assert run.makespan_ms >= shortest_path(instance)[0], "no plan beats its critical path"


@given(instances(), params)
def test_the_same_problem_gives_the_same_plan(instance: Instance, setting: Params) -> None:
    """No order of a set, no clock and no chance takes part."""
    first, second = (Run(Compiled(instance), setting).go().plan("live") for _ in range(2))

    assert first == second, "two runs are one"


@given(instances(), params, st.integers(0, 200))
def test_a_copy_goes_on_like_the_original_and_leaves_it_alone(
    instance: Instance, setting: Params, until_ms: int
) -> None:
    """Looking ahead on a copy changes nothing."""
    whole = Run(Compiled(instance), setting).go().plan("live")
    run = Run(Compiled(instance), setting).go(until_ms)

    ahead = run.copy().go().plan("live")

    assert ahead == whole, "the copy ends as the run would have ended"
    assert run.go().plan("live") == whole, "and the run still does"


def test_estimates_and_what_happens_are_two_things() -> None:
    """With other durations than estimated, the plan of what happened has those durations and still holds."""
    instance = random_instance(3, 30, 2, regime="call")
    compiled = Compiled(instance)
    actual = [duration * (2 if place % 3 else 1) for place, duration in enumerate(compiled.shortest)]

    run = Run(compiled, actual=actual).go()

    lasted = [end - start for start, end in zip(run.starts, run.ends, strict=True)]
    assert lasted == actual
    assert {one.code for one in check_plan(instance, run.plan("live"))} == {"duration"}


@pytest.mark.parametrize("shape", ["layered", "jobs"])
def test_large_problems_need_few_loads(shape: str) -> None:
    """1,000 tasks on eight hosts: the policy settles on who serves what instead of swapping for each task."""
    instance = random_instance(1, 1_000, 8, regime="call", shape="jobs" if shape == "jobs" else "layered")

    plan = planned(instance)

    assert plan.loads <= 40
