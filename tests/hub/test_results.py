"""Results of a run by derived phase: depth in the graph of needs, with the names that tasks declare as labels."""

import pytest
from msgspec.structs import replace

from ostler.domain.errors import NotFoundError
from ostler.domain.states import TaskState
from ostler.domain.tasks import Task, TaskSpec
from ostler.hub import results
from ostler.hub.accept import new_tasks
from ostler.hub.results import is_skipped, phase_row, phases_of, run_results, stands_in_for
from tests.hub.house import house
from tests.hub.test_service import command, work
from tests.scheduling.rig import three_tiers

NEEDS: dict[str, tuple[str, ...]] = {"a": (), "b": ("r.a",), "c": ("r.a", "r.b"), "d": ("elsewhere",), "e": ("r.d",)}


def rows(**phases: str) -> list[Task]:
    """A small run, newest first, as a store lists it."""
    specs = [
        TaskSpec(id=f"r.{name}", prompt="x", needs=needs, batch="r", phase=phases.get(name))
        for name, needs in NEEDS.items()
    ]
    made = new_tasks(specs, three_tiers(), first_seq=1, now_ms=1, settled={})
    return [row.task for row in reversed(made)]


def ended(task: Task, state: TaskState = TaskState.SUCCEEDED, at: tuple[int, int] = (5, 9), **changes: object) -> Task:
    return replace(task, state=state, wait=None, started_ms=at[0], finished_ms=at[1], **changes)


def test_a_phase_is_a_depth() -> None:
    """What needs nothing of the run is phase 0; tasks stand in the order of their arrival."""
    found = phases_of(rows())
    assert [[task.id for task in phase.tasks] for phase in found] == [["r.a", "r.d"], ["r.b", "r.e"], ["r.c"]]
    assert [phase.depth for phase in found] == [0, 1, 2]


def test_declared_names_are_labels_and_order_nothing() -> None:
    """Each once, in the order of the tasks; a phase without any has none."""
    labels = [phase.label for phase in phases_of(rows(a="plan", d="late", b="plan", e="plan"))]
    assert labels == ["plan, late", "plan", ""]


def test_a_phase_lasts_from_its_first_start_to_its_last_end() -> None:
    """As long as something of it runs or waits, it has no end."""
    first, second, *_ = phases_of([ended(task, at=(n, n + 10)) for n, task in enumerate(rows()[:4])] + rows()[4:])
    assert (phase_row(second).started_ms, phase_row(second).finished_ms) == (0, 13)
    assert (phase_row(first).started_ms, phase_row(first).finished_ms) == (1, None)


def test_results_say_what_was_skipped_and_what_another_model_did() -> None:
    """An optional task that failed; a task that asked for one model and got another."""
    task = rows()[-1]
    assert is_skipped(ended(replace(task, optional=True), TaskState.FAILED))
    assert not is_skipped(ended(task, TaskState.FAILED))
    assert not is_skipped(ended(replace(task, optional=True)))
    assert not is_skipped(replace(task, optional=True))
    asked = replace(task, facts=replace(task.facts, model="m0"))
    assert stands_in_for(replace(asked, model="m1")) == "m0"
    assert stands_in_for(replace(asked, model="m0")) is None
    assert stands_in_for(replace(task, model="m1")) is None


def test_one_phase_can_be_asked_for() -> None:
    """With the outputs of its tasks alone."""
    outputs = {f"r.{name}": f"output of {name}" for name in NEEDS}
    (phase,) = run_results("r", rows(), outputs, 5, depth=1).phases
    assert [(row.name, row.output) for row in phase.tasks] == [("b", "output of b"), ("e", "output of e")]
    assert run_results("r", rows(), outputs, 5, depth=7).phases == ()


def test_very_long_outputs_are_cut_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer stays within its bound; short ones stay whole."""
    monkeypatch.setattr(results, "MAX_CHARACTERS", 1_000)
    outputs = {"r.a": "s" * 50, "r.b": "l" * 9_000, "r.c": "l" * 9_000}
    found = run_results("r", rows(), outputs, 5)
    texts = [row.output for phase in found.phases for row in phase.tasks if row.output is not None]
    assert texts[0] == "s" * 50
    assert sum(map(len, texts)) <= 1_000
    assert "left out" in texts[1]


async def test_a_hub_gives_the_results_of_a_run() -> None:
    """All pages of it, and nothing of other runs; an unknown one is refused."""
    async with house() as built:
        specs = [command(f"r.{n}", needs=[f"r.{n - 1}"] if n else [], batch="r") for n in range(3)]
        await built.hub.submit([*specs, command("other", batch="s")])
        await work(built)
        found = await built.hub.results("r")
        assert [row.output for phase in found.phases for row in phase.tasks] == [f"output of r.{n}" for n in range(3)]
        assert [phase.depth for phase in found.phases] == [0, 1, 2]
        with pytest.raises(NotFoundError, match="no run x"):
            await built.hub.results("x")


async def test_a_long_run_is_read_in_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of its tasks is lost between two pages."""
    monkeypatch.setattr("ostler.hub.service.PAGE", 3)
    async with house() as built:
        await built.hub.submit([command(f"r.{n}", batch="r") for n in range(10)])
        (phase,) = (await built.hub.results("r")).phases
        assert [row.name for row in phase.tasks] == [str(n) for n in range(10)]
