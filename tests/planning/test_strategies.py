"""Strategies and layout: plans that hold for every kind of instance, and what each strategy is known for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ostler.domain.errors import InvalidInputError
from ostler.planning.instance import Choice, Instance, PlanHost, PlanTask, Serving, checked
from ostler.planning.layout import laid_out
from ostler.planning.phases import BrokenOrderError, Group, repaired
from ostler.planning.plan_checker import check_plan
from ostler.planning.strategies import (
    ORDERS,
    dependency_first,
    hybrid,
    hybrid_order,
    model_first,
    model_first_order,
    planned,
    urgency_ms,
)
from ostler.simulate.instances import random_instance
from tests.planning.varied import instances


def simple(*tasks: PlanTask, hosts: int = 1, slots: int = 1, price: int = 0) -> Instance:
    """Tasks on hosts that hold one model each at a time: 100 ms to load, 50 to unload."""
    serving = Serving(memory_bytes=8, load_ms=100, unload_ms=50, slots=slots)
    boxes = [PlanHost(name=f"box{n}", memory_bytes=10, models={"x": serving, "y": serving}) for n in range(hosts)]
    sky = PlanHost(name="sky", cloud=True, models={"api": Serving(slots=9)})
    return Instance(hosts=(*boxes, sky), tasks=tasks, minute_price_micro_usd=price)


def task(name: str, model: str, duration_ms: int, *needs: str) -> PlanTask:
    return PlanTask(id=name, choices=(Choice(models=(model,), duration_ms=duration_ms),), needs=needs)


ALTERNATING = tuple(
    task(f"{model}{n}", model, 10, *([f"y{n - 1}"] if n and model == "x" else [])) for n in range(3) for model in "xy"
)


@given(instance=instances(), strategy=st.sampled_from(sorted(ORDERS)))
def test_every_plan_of_every_strategy_holds(instance: Instance, strategy: str) -> None:
    """Needs, slots, memory, residents, pinned models and loads one at a time: the independent checker finds nothing."""
    assert check_plan(instance, planned(instance, strategy)) == ()


@given(instance=instances(), data=st.data())
def test_every_whole_order_can_be_repaired_into_a_plan_that_holds(instance: Instance, data: st.DataObject) -> None:
    """However tasks are dealt into phases, the repaired order breaks nothing and its plan can be carried out."""
    names = data.draw(st.permutations([task.id for task in instance.tasks]))
    cut = data.draw(st.integers(0, len(names)))
    order = (
        Group(name="one", tasks=tuple(names[:cut]), sequential=data.draw(st.booleans())),
        Group(name="two", tasks=tuple(names[cut:]), barrier=data.draw(st.booleans())),
    )

    plan = planned(instance, "hybrid", order, repair=True)

    assert check_plan(instance, plan) == ()


@pytest.mark.parametrize("strategy", sorted(ORDERS))
@pytest.mark.parametrize("memory", ["tight", "mixed"])
def test_plans_of_generated_fleets_hold(strategy: str, memory: str) -> None:
    """A hundred tasks on four hosts, in both settings of memory."""
    instance = random_instance(1, 100, 4, shape="jobs", memory="tight" if memory == "tight" else "mixed")

    assert check_plan(instance, planned(instance, strategy)) == ()


@given(instance=instances(), strategy=st.sampled_from(sorted(ORDERS)))
def test_one_instance_has_one_plan(instance: Instance, strategy: str) -> None:
    """Same instance, same plan, episode by episode."""
    assert planned(instance, strategy) == planned(instance, strategy)


def test_model_first_drains_a_model_before_it_swaps() -> None:
    """Six tasks in two models that are all ready: two loads, where ready-first swaps as often as it must."""
    instance = simple(*(task(f"{model}{n}", model, 10) for n in range(3) for model in "xy"))

    assert model_first(instance).loads == 2
    assert dependency_first(instance).loads == 6


def test_model_first_takes_the_model_with_more_work_and_all_that_follows_in_it() -> None:
    """A chain in one model belongs to one group, however long; the other model's single task comes after."""
    instance = simple(task("y0", "y", 25), task("x0", "x", 10), task("x1", "x", 10, "x0"), task("x2", "x", 10, "x1"))

    assert [(row.name, row.tasks) for row in model_first_order(instance)] == [
        ("x 1", ("x0", "x1", "x2")),
        ("y 1", ("y0",)),
    ]


def test_hybrid_takes_the_model_of_the_longest_chain() -> None:
    """The short task that the longest chain begins with comes before more work that nothing waits for."""
    instance = simple(task("x0", "x", 40), task("x1", "x", 40), task("y0", "y", 10), task("x2", "x", 90, "y0"), slots=3)

    assert [row.tasks for row in hybrid_order(instance)] == [("y0",), ("x2", "x0", "x1")]
    assert [row.tasks for row in model_first_order(instance)] == [("x0", "x1"), ("y0",), ("x2",)]


def test_urgency_is_the_longest_remaining_path() -> None:
    """A task's own duration and that of the longest chain behind it."""
    instance = simple(task("a", "x", 10), task("b", "x", 20, "a"), task("c", "y", 50, "a"), task("d", "y", 5, "b", "c"))

    assert urgency_ms(instance) == {"a": 65, "b": 25, "c": 55, "d": 5}


def test_a_second_host_is_used_when_it_ends_a_task_sooner() -> None:
    """Two models that exclude each other run side by side on two hosts, with one load each."""
    instance = simple(task("a", "x", 500), task("b", "y", 500), hosts=2)

    plan = model_first(instance)

    assert (plan.makespan_ms, plan.loads, {row.host for row in plan.placements}) == (600, 2, {"box0", "box1"})


@pytest.mark.parametrize(("price", "host"), [(0, "box0"), (60_000, "box0"), (60_000_000, "sky")])
def test_a_cloud_is_taken_when_its_time_is_worth_its_price(price: int, host: str) -> None:
    """The cloud ends the task 100 ms earlier for 1000 micro-dollars: worth it from 600 000 a minute on."""
    both = PlanTask(
        id="a",
        choices=(
            Choice(models=("x",), duration_ms=500),
            Choice(models=("api",), duration_ms=500, cost_micro_usd=1_000),
        ),
    )

    assert hybrid(simple(both, price=price)).placements[0].host == host


def test_a_task_that_may_use_either_model_joins_the_one_that_is_resident() -> None:
    """With a second model allowed, work of one kind needs one load instead of two."""
    either = PlanTask(id="a", choices=tuple(Choice(models=(model,), duration_ms=10) for model in "yx"))
    instance = simple(either, task("b", "x", 30, "a"))

    assert model_first(instance).loads == 1


def test_a_pinned_model_that_leaves_no_room_is_told() -> None:
    """What can never be loaded beside a pinned model is refused with the task's name."""
    instance = simple(task("b", "y", 10), task("a", "x", 10, "b"))
    box = instance.hosts[0]
    pinned = replace(box, models={**box.models, "y": replace(box.models["y"], pinned=True)})

    # Loaded for the first task it stays for good; in memory from the start it is no problem that can be planned.
    with pytest.raises(InvalidInputError, match="pinned") as caught:
        model_first(replace(instance, hosts=(pinned,)))
    assert caught.value.where == "a"
    with pytest.raises(InvalidInputError, match="no host can ever run x"):
        checked(replace(instance, hosts=(replace(pinned, resident=("y",)),)))


def test_a_choice_beside_a_pinned_model_is_taken_where_another_has_no_room() -> None:
    """The preferred model never fits beside what is pinned; the other one does."""
    models = {"p": Serving(memory_bytes=5, pinned=True), "x": Serving(memory_bytes=6), "y": Serving(memory_bytes=2)}
    host = PlanHost(name="h", memory_bytes=9, models=models, resident=("p",))
    choices = (Choice(models=("x",), duration_ms=10), Choice(models=("y",), duration_ms=20))
    instance = checked(Instance(hosts=(host,), tasks=(PlanTask(id="t", choices=choices),)))

    assert [model_first(instance).placements[0].choice, hybrid(instance).placements[0].choice] == [1, 1]


def test_phases_are_followed_to_the_letter() -> None:
    """A barrier holds back what could run, and a sequential phase keeps its order though slots are free."""
    instance = simple(task("a", "x", 10), task("b", "x", 20), task("c", "x", 5), slots=3)

    beside = laid_out(instance, (Group(name="all", tasks=("a", "b", "c")),), strategy="model-first")
    barred = laid_out(instance, (Group(name="1", tasks=("b",)), Group(name="2", tasks=("a", "c"))), strategy="hybrid")
    in_row = laid_out(instance, (Group(name="row", tasks=("a", "b", "c"), sequential=True),), strategy="hybrid")

    assert [plan.makespan_ms for plan in (beside, barred, in_row)] == [120, 130, 135]
    assert [row.start_ms for row in in_row.placements] == [100, 110, 130]


def test_a_phase_waits_with_its_swap_until_the_phases_before_it_have_ended() -> None:
    """On two hosts the second phase's model is loaded after the first phase, not beside it."""
    instance = simple(task("a", "x", 500), task("b", "y", 10), hosts=2)
    order = (Group(name="first", tasks=("a",)), Group(name="then", tasks=("b",)))

    assert laid_out(instance, order, strategy="model-first").makespan_ms == 500 + 100 + 100 + 10


def test_an_order_that_breaks_needs_is_refused_with_every_pair() -> None:
    """The refusal carries both pairs as data and names them in words; repaired, the order gives a plan."""
    instance = simple(task("a", "x", 10), task("b", "y", 10, "a"), task("c", "x", 10, "a", "b"))
    order = (Group(name="first", tasks=("c",)), Group(name="then", tasks=("a", "b")))

    with pytest.raises(BrokenOrderError, match=r"c \(first\) runs before a \(then\)") as caught:
        planned(instance, "model-first", order)
    assert [(row.task, row.need) for row in caught.value.broken] == [("c", "a"), ("c", "b")]
    plan = planned(instance, "model-first", order, repair=True)
    assert check_plan(instance, plan) == ()
    assert plan.detail == "follows the declared phases, mended: c behind what it needs"
    assert planned(instance, "model-first", repaired(order, instance)).detail == "follows the declared phases"


def test_an_unknown_strategy_is_refused_with_the_nearest() -> None:
    """A misspelt name gets the valid one."""
    with pytest.raises(InvalidInputError, match="did you mean 'hybrid'"):
        planned(simple(task("a", "x", 10)), "hybird")
