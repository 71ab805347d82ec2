"""The oracle that bounds are measured by: its answers on problems solved by hand."""

import pytest
from msgspec.structs import replace

from ostler.planning.instance import Choice, Instance, PlanHost, PlanTask, Serving
from tests.planning.oracle import TooLargeError, shortest_ms
from tests.planning.tiny import varied_instance

BOX = PlanHost(
    name="box",
    memory_bytes=10,
    models={
        "a": Serving(memory_bytes=6, load_ms=3, unload_ms=2, slots=2),
        "b": Serving(memory_bytes=6, load_ms=4, unload_ms=1),
        "c": Serving(memory_bytes=3, load_ms=5, unload_ms=1),
    },
)


def task(name: str, model: str, ms: int, *needs: str) -> PlanTask:
    return PlanTask(id=name, choices=(Choice(models=(model,), duration_ms=ms),), needs=needs)


def shortest(*tasks: PlanTask, hosts: tuple[PlanHost, ...] = (BOX,)) -> int:
    return shortest_ms(Instance(hosts=hosts, tasks=tasks))


def test_one_task_is_loaded_and_run() -> None:
    """Load and work; with the model in memory work alone."""
    assert shortest(task("x", "a", 7)) == 10
    assert shortest(task("x", "a", 7), hosts=(replace(BOX, resident=("a",)),)) == 7


def test_two_slots_work_at_once_and_a_third_task_waits() -> None:
    """Three tasks on two slots take two rounds."""
    assert shortest(*(task(name, "a", 7) for name in "xy")) == 10
    assert shortest(*(task(name, "a", 7) for name in "xyz")) == 17


def test_models_that_exclude_each_other_swap_in_the_cheaper_order() -> None:
    """First b, then a: 4 + 7 + 1 + 3 + 7; the other order takes one more."""
    assert shortest(task("x", "a", 7), task("y", "b", 7)) == 22


def test_models_that_fit_load_one_after_the_other() -> None:
    """The one with more work loads first: c loads 5 to 8 beside the work of a, or first and works the longest."""
    assert shortest(task("x", "a", 7), task("y", "c", 7)) == min(3 + 5 + 7, 5 + 3 + 7)
    assert shortest(task("x", "a", 1), task("y", "c", 9)) == 14


def test_two_hosts_prepare_each_other() -> None:
    """The second host loads while the first works: no swap is waited for."""
    chain = (task("x", "a", 7), task("y", "b", 7, "x"))

    assert shortest(*chain) == 3 + 7 + 2 + 4 + 7
    assert shortest(*chain, hosts=(BOX, replace(BOX, name="other"))) == 17


def test_the_choice_that_ends_earliest_is_taken() -> None:
    """A slower model that is already there, or a cloud, beats a swap."""
    both = PlanTask(id="x", choices=(Choice(models=("a",), duration_ms=5), Choice(models=("b",), duration_ms=6)))
    cloud = PlanHost(name="sky", cloud=True, models={"a": Serving(pace_permille=1400)})

    assert shortest(both) == 8
    assert shortest(both, hosts=(replace(BOX, resident=("b",)),)) == 6
    assert shortest(both, hosts=(BOX, cloud)) == 7


def test_a_release_is_waited_for_while_the_model_loads() -> None:
    """The load happens before the release."""
    assert shortest(replace(task("x", "a", 7), release_ms=20)) == 27


def test_own_memory_and_limits_of_residents_hold() -> None:
    """Two tasks of three bytes each do not run at once beside six of ten; with one resident at most c must wait."""
    heavy = [PlanTask(id=name, choices=(Choice(models=("a",), duration_ms=7, memory_bytes=3),)) for name in ("x", "y")]

    assert shortest(*heavy) == 17
    assert shortest(task("x", "a", 7), task("y", "c", 7), hosts=(replace(BOX, max_resident=1),)) == 5 + 7 + 1 + 3 + 7


def test_a_task_of_two_models_needs_both_at_once() -> None:
    """Both loads, one after the other, then the work."""
    both = PlanTask(id="x", choices=(Choice(models=("a", "c"), duration_ms=7),))

    assert shortest(both) == 15


def test_an_optional_task_is_done_only_for_others() -> None:
    """Left out alone; done when something that is not optional needs it."""
    extra = replace(task("x", "a", 7), optional=True)

    assert shortest(extra) == 0
    assert shortest(extra, task("y", "a", 1, "x")) == 11


def test_it_gives_up_in_time() -> None:
    """More states than allowed are told, not tried."""
    with pytest.raises(TooLargeError):
        shortest_ms(Instance(hosts=(BOX,), tasks=tuple(task(name, "a", 7) for name in "uvwxyz")), states_max=3)


def test_the_tiny_instances_have_everything_the_problem_has() -> None:
    """Over the seeds used each feature occurs, so that a bound that forgets one is caught."""
    made = [varied_instance(seed) for seed in range(240)]
    hosts = [host for instance in made for host in instance.hosts]
    tasks = [task for instance in made for task in instance.tasks]
    choices = [choice for task in tasks for choice in task.choices]

    assert {host.cloud for host in hosts} == {True, False}
    assert any(host.max_resident for host in hosts)
    assert any(serving.pinned for host in hosts for serving in host.models.values())
    assert any(serving.pace_permille != 1000 for host in hosts for serving in host.models.values())
    assert any(task.release_ms for task in tasks)
    assert any(task.optional for task in tasks)
    assert any(len(task.choices) > 1 for task in tasks)
    assert any(len(choice.models) > 1 for choice in choices)
    assert any(choice.memory_bytes for choice in choices)
    assert any(choice.hosts for choice in choices)
    assert any(not choice.duration_ms for choice in choices)
