"""The orders that strategies derive, held against their definitions done the slow way."""

from hypothesis import given

from ostler.planning.instance import Choice, Instance, PlanHost, PlanTask, Serving, can_host
from ostler.planning.phases import broken_needs, refuse_unless_whole
from ostler.planning.strategies import (
    DEPENDENCY_FIRST,
    HYBRID,
    MODEL_FIRST,
    dependency_first_order,
    hybrid_order,
    model_first_order,
    planned,
    urgency_ms,
)
from ostler.simulate.fourteen_agents import READINGS, fourteen_agents
from ostler.simulate.instances import tiny_instance
from tests.planning.varied import instances


def own_models(task: PlanTask, instance: Instance) -> set[tuple[str, ...]]:
    """The sets of models that can do a task, on hosts of one's own if there is such a choice."""

    def on(*, cloud: bool) -> set[tuple[str, ...]]:
        hosts = [host for host in instance.hosts if host.cloud == cloud]
        return {choice.models for choice in task.choices if any(can_host(choice, host) for host in hosts)}

    return on(cloud=False) or on(cloud=True)


def closure(instance: Instance, done: set[str], models: tuple[str, ...]) -> set[str]:
    """By definition: add tasks of these models while one has all its needs done or added."""
    found: set[str] = set()
    while True:
        more = {
            task.id
            for task in instance.tasks
            if task.id not in done | found and models in own_models(task, instance) and set(task.needs) <= done | found
        }
        if not more:
            return found
        found |= more


def work_ms(instance: Instance, tasks: set[str], models: tuple[str, ...]) -> int:
    """How long these models take for the tasks, one after the other, by each task's first such choice."""
    total = 0
    for task in instance.tasks:
        if task.id in tasks:
            fitting = [row for row in task.choices if row.models == models and any_host(row, instance)]
            total += fitting[0].duration_ms
    return total


def any_host(choice: Choice, instance: Instance) -> bool:
    return any(can_host(choice, host) for host in instance.hosts)


def chain_ms(instance: Instance, name: str) -> int:
    """The longest remaining path, by trying every way."""
    own_ms = next(min(row.duration_ms for row in task.choices) for task in instance.tasks if task.id == name)
    return own_ms + max((chain_ms(instance, task.id) for task in instance.tasks if name in task.needs), default=0)


@given(instance=instances(max_tasks=9))
def test_derived_orders_are_whole_and_break_nothing(instance: Instance) -> None:
    """All three can be laid out for every instance."""
    for order in (model_first_order(instance), dependency_first_order(instance), hybrid_order(instance)):
        refuse_unless_whole(order, instance)
        assert broken_needs(order, instance) == ()


@given(instance=instances(max_tasks=9))
def test_each_group_is_all_that_its_models_can_do_next(instance: Instance) -> None:
    """Neither strategy leaves a model while it could still do something, nor claims work that is not its own."""
    for order in (model_first_order(instance), hybrid_order(instance)):
        done: set[str] = set()
        for group in order:
            assert set(group.tasks) == closure(instance, done, group.models)
            done |= set(group.tasks)


@given(instance=instances(max_tasks=9))
def test_model_first_always_takes_the_most_work(instance: Instance) -> None:
    """No other models could do more at that moment."""
    done: set[str] = set()
    every = {models for task in instance.tasks for models in own_models(task, instance)}
    for group in model_first_order(instance):
        best = max(work_ms(instance, closure(instance, done, models), models) for models in every)
        assert work_ms(instance, set(group.tasks), group.models) == best
        done |= set(group.tasks)


@given(instance=instances(max_tasks=7))
def test_hybrid_always_takes_the_most_urgent_task_that_can_be_reached(instance: Instance) -> None:
    """Between groups and inside of each."""
    urgency = urgency_ms(instance)
    done: set[str] = set()
    every = {models for task in instance.tasks for models in own_models(task, instance)}
    for group in hybrid_order(instance):
        reachable = {name for models in every for name in closure(instance, done, models)}
        assert max(urgency[name] for name in group.tasks) == max(urgency[name] for name in reachable)
        assert [urgency[name] for name in group.tasks] == sorted((urgency[name] for name in group.tasks), reverse=True)
        done |= set(group.tasks)


@given(instance=instances(max_tasks=7))
def test_urgency_is_the_longest_way_to_the_end(instance: Instance) -> None:
    """As every way, tried one by one, says."""
    assert urgency_ms(instance) == {task.id: chain_ms(instance, task.id) for task in instance.tasks}


def test_groups_are_numbered_by_model() -> None:
    """Their names tell people which return to a model it is."""
    assert [group.name for group in hybrid_order(fourteen_agents("map"))] == [
        "quality 1",
        "latest 1",
        "quality 2",
        "latest 2",
        "fast 1",
    ]


def test_a_task_that_only_a_cloud_can_do_has_a_group_all_the_same() -> None:
    """What no host of one's own can do is ordered by the cloud's models."""
    sky = PlanHost(name="sky", cloud=True, models={"api": Serving(slots=2)})
    box = PlanHost(name="box", memory_bytes=1, models={"m": Serving(memory_bytes=1)})
    paid = Choice(models=("api",), duration_ms=10, cost_micro_usd=1)
    tasks = (
        PlanTask(id="far", choices=(paid,)),
        PlanTask(id="near", choices=(Choice(models=("m",), duration_ms=5), paid), needs=("far",)),
    )

    order = model_first_order(Instance(hosts=(box, sky), tasks=tasks))

    assert [(group.models, group.tasks) for group in order] == [(("api",), ("far",)), (("m",), ("near",))]


def test_draining_models_never_swaps_more_often_than_there_are_groups() -> None:
    """On one host with models that exclude each other a group is one residency."""
    for reading in READINGS:
        for slots in (1, 3, 9):
            instance = fourteen_agents(reading, slots)
            for strategy, order in ((MODEL_FIRST, model_first_order(instance)), (HYBRID, hybrid_order(instance))):
                assert planned(instance, strategy).loads <= len(order)


def test_on_tiny_instances_draining_saves_loads_on_the_whole() -> None:
    """Not on each, but over two hundred: what gets ready first swaps most."""
    loads = dict.fromkeys((MODEL_FIRST, DEPENDENCY_FIRST, HYBRID), 0)
    for seed in range(200):
        instance = tiny_instance(seed)
        for strategy in loads:
            loads[strategy] += planned(instance, strategy).loads

    assert loads[MODEL_FIRST] < loads[DEPENDENCY_FIRST]
    assert loads[HYBRID] < loads[DEPENDENCY_FIRST]
