"""Layouts: which place a task takes among equals, what a group's models restrict, and the shape of the plan."""

from hypothesis import given

from ostler.planning.instance import Choice, Instance, PlanHost, PlanTask, Serving
from ostler.planning.layout import laid_out
from ostler.planning.phases import Group
from ostler.planning.plan_checker import check_plan
from ostler.planning.strategies import dependency_first_order
from tests.planning.varied import instances

MODELS = {"x": Serving(memory_bytes=6, load_ms=10, unload_ms=5), "y": Serving(memory_bytes=6, load_ms=10, unload_ms=5)}


def boxes(count: int) -> tuple[PlanHost, ...]:
    return tuple(PlanHost(name=f"h{number}", memory_bytes=10, models=MODELS) for number in range(count))


def either(name: str, *models: str, lasts: int = 100) -> PlanTask:
    return PlanTask(id=name, choices=tuple(Choice(models=(model,), duration_ms=lasts) for model in models))


def test_among_equal_places_the_first_host_and_the_first_choice_are_taken() -> None:
    """In the order in which they are given, so that a plan can be foreseen."""
    instance = Instance(hosts=boxes(3), tasks=(either("t", "y", "x"),))

    (row,) = laid_out(instance, (Group(name="g", tasks=("t",)),), strategy="test").placements

    assert (row.host, row.choice) == ("h0", 0)


def test_at_one_worth_fewer_loads_win() -> None:
    """Money does not matter and time is worth nothing: the place that needs no load is taken, though it ends later."""
    instance = Instance(hosts=boxes(2), tasks=(either("a", "x"), either("b", "x")), minute_price_micro_usd=0)

    plan = laid_out(instance, (Group(name="g", tasks=("a", "b")),), strategy="test")

    assert ({row.host for row in plan.placements}, plan.loads) == ({"h0"}, 1)


def test_a_groups_models_are_kept_where_a_task_has_such_a_choice() -> None:
    """The first choice would do as well; a task without one of these models takes what it has."""
    instance = Instance(hosts=boxes(1), tasks=(either("a", "x", "y"), either("b", "x")))
    group = Group(name="g", tasks=("a", "b"), models=("y",))

    plan = laid_out(instance, (group,), strategy="test")

    assert {row.task: row.choice for row in plan.placements} == {"a": 1, "b": 0}
    assert [row.model for row in plan.episodes] == ["y", "x"]


def test_without_a_barrier_the_next_group_starts_beside_the_one_before() -> None:
    """On another host, or in a slot that is free."""
    instance = Instance(hosts=boxes(2), tasks=(either("a", "x"), either("b", "y")))
    order = (Group(name="1", tasks=("a",)), Group(name="2", tasks=("b",), barrier=False))

    assert laid_out(instance, order, strategy="test").makespan_ms == 110


def test_a_plan_says_what_made_it() -> None:
    """Strategy and detail are those that were handed in."""
    instance = Instance(hosts=boxes(1), tasks=(either("a", "x"),))

    plan = laid_out(instance, (Group(name="g", tasks=("a",)),), strategy="hybrid", detail="by hand")

    assert (plan.strategy, plan.detail, plan.proven) == ("hybrid", "by hand", False)


@given(instance=instances())
def test_episodes_and_placements_are_in_order(instance: Instance) -> None:
    """By load start and by start, ties by name; and every episode that is loaded serves a task."""
    plan = laid_out(instance, dependency_first_order(instance), strategy="test")

    starts = [(row.start_ms, row.task) for row in plan.placements]
    loads = [(row.load_start_ms, row.host, row.model) for row in plan.episodes]
    assert starts == sorted(starts)
    assert loads == sorted(loads)
    assert check_plan(instance, plan) == ()
    choices = {task.id: task.choices for task in instance.tasks}
    for stay in plan.episodes:
        until_ms = plan.makespan_ms if stay.unload_start_ms is None else stay.unload_start_ms
        served = [
            row
            for row in plan.placements
            if row.host == stay.host
            and stay.model in choices[row.task][row.choice].models
            and stay.ready_ms <= row.start_ms
            and row.end_ms <= until_ms
        ]
        assert served or stay.initial
