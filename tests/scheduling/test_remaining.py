"""What is left of a batch, as a problem to plan."""

import msgspec
import pytest

from ostler.domain.errors import InvalidInputError
from ostler.domain.fleet import GIB
from ostler.domain.tasks import TaskSpec
from ostler.planning.instance import Instance, checked
from ostler.scheduling.remaining import remaining
from tests.scheduling.hosts_made import host, policy, rig_with
from tests.scheduling.rig import Rig


def spec(name: str, model: str | None = "big", **fields: object) -> TaskSpec:
    raw = {"id": name, "prompt": "say something", "tier": model, "batch": "run", "expected_ms": 60_000}
    return msgspec.convert(raw | fields, TaskSpec)


def submitted(rig: Rig, *specs: TaskSpec) -> dict[str, TaskSpec]:
    rig.submit(*specs)
    return {one.id: one for one in specs}


def left(rig: Rig, specs: dict[str, TaskSpec]) -> Instance:
    return checked(remaining(rig.scheduler.books, specs, rig.now_ms))


def test_open_tasks_are_planned_with_the_needs_that_are_open() -> None:
    """What has ended is neither a task nor a need, and needs outside the batch are not the plan's."""
    rig = rig_with()
    rig.command("outside")
    specs = submitted(rig, spec("a"), spec("b", needs=["a"]), spec("c", needs=["b", "outside"]))
    rig.load_ends()
    rig.finish("a")
    found = left(rig, specs)

    assert {task.id: task.needs for task in found.tasks} == {"b": (), "c": ("b",)}


def test_a_running_task_keeps_its_place_and_only_its_rest_is_planned() -> None:
    """One that has run longer than expected still has a little to go."""
    rig = rig_with("box", "spare")
    specs = submitted(rig, spec("a"))
    rig.load_ends()
    rig.start("a")
    rig.pass_ms(45_000)
    (task,) = left(rig, specs).tasks
    (way,) = task.choices
    assert (way.hosts, way.models, way.duration_ms) == ((rig.rows["a"].endpoint,), ("big",), 15_000)
    rig.pass_ms(60_000)
    (task,) = left(rig, specs).tasks

    assert task.choices[0].duration_ms == 6_000


def test_machines_are_as_they_are_now() -> None:
    """What is loaded is resident; sizes and times are those that were seen; who is away is not planned with."""
    rig = rig_with("box", "spare")
    specs = submitted(rig, spec("a"), spec("b"))
    rig.load_ends(load_ms=33_000, size_bytes=21 * GIB)
    where = rig.rows["a"].endpoint or ""
    other = "spare" if where == "box" else "box"
    rig.down(other)
    found = left(rig, specs)

    (machine,) = found.hosts
    assert (machine.name, machine.resident) == (where, ("big",))
    assert machine.memory_bytes == 30 * GIB
    assert machine.models["big"].memory_bytes == 21 * GIB
    assert 20_000 < machine.models["big"].load_ms <= 33_000


def test_a_pin_by_hand_is_planned_with() -> None:
    """What is in memory and pinned stays there."""
    rig = rig_with(rules=policy(host("box", pinned=("small",))), loaded=("small",))
    specs = submitted(rig, spec("a", "small"))

    assert left(rig, specs).hosts[0].models["small"].pinned


def test_limits_of_a_run_are_slots_of_the_plan() -> None:
    """The smaller of what the endpoint and what the run allow."""
    rig = rig_with(slots=4)
    specs = submitted(rig, spec("a", batch_slots={"big": 2}), spec("b", batch_slots={"big": 2}))

    assert left(rig, specs).hosts[0].models["big"].slots == 2


def test_a_command_is_planned_on_the_workers() -> None:
    """It needs no model; its worker is no machine with memory."""
    rig = rig_with()
    specs = submitted(rig, spec("make", None, kind="command", argv=["make"], prompt=""), spec("a", needs=["make"]))
    found = left(rig, specs)

    assert {one.name: one.cloud for one in found.hosts} == {"box": False, "workers": True}


def test_work_that_nothing_can_run_now_is_said() -> None:
    """There is no plan for it."""
    rig = rig_with()
    specs = submitted(rig, spec("a"))
    rig.down("box")

    with pytest.raises(InvalidInputError) as refused:
        left(rig, specs)
    assert refused.value.where.startswith("a")
