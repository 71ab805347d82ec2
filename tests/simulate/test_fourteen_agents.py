"""The seed's instance: its figures, its three readings, and what follows from them by hand."""

import pytest

from ostler.domain.errors import InvalidInputError
from ostler.planning.instance import Instance, checked
from ostler.simulate.fourteen_agents import CRITICAL, READINGS, SECONDARY, Reading, fourteen_agents


def critical_path_min(instance: Instance) -> float:
    """The longest chain of work alone, swaps not counted."""
    tasks = {task.id: task for task in instance.tasks}
    ends: dict[str, int] = {}

    def end(name: str) -> int:
        if name not in ends:
            start = max((end(need) for need in tasks[name].needs), default=0)
            ends[name] = start + tasks[name].choices[0].duration_ms
        return ends[name]

    return max(end(name) for name in tasks) / 60_000


@pytest.mark.parametrize("reading", READINGS)
def test_each_reading_can_be_planned_and_holds_the_same_work(reading: Reading) -> None:
    """The three readings differ in needs alone: fourteen agents, 161 minutes of work, nine on the coding model."""
    instance = checked(fourteen_agents(reading, slots=3))

    models = [task.choices[0].models for task in instance.tasks]
    assert sum(task.choices[0].duration_ms for task in instance.tasks) == 161 * 60_000
    assert (models.count(("latest",)), models.count(("quality",)), models.count(("fast",))) == (9, 4, 1)
    assert {serving.slots for serving in instance.hosts[0].models.values()} == {3}


@pytest.mark.parametrize(("reading", "minutes"), [("map", 48), ("mermaid", 63), ("phases", 33)])
def test_the_longest_chain_of_each_reading(reading: Reading, minutes: float) -> None:
    """The map's chain is architect, Python, QA, DevOps: 48 minutes before any swap is counted."""
    assert critical_path_min(fourteen_agents(reading)) == minutes


def test_no_two_models_are_resident_together() -> None:
    """The smallest pair takes 40 GB, the host has 32: every change of model is a swap."""
    host = fourteen_agents().hosts[0]
    sizes = sorted(serving.memory_bytes for serving in host.models.values())

    assert host.memory_bytes is not None
    assert sizes[0] + sizes[1] > host.memory_bytes


def test_swaps_are_the_midpoints_of_the_published_ranges() -> None:
    """Between the large models 40 s, from large to small 25 s, from small to large 30 s."""
    models = fourteen_agents().hosts[0].models

    def swap_s(leaving: str, coming: str) -> float:
        return (models[leaving].unload_ms + models[coming].load_ms) / 1000

    assert (swap_s("latest", "quality"), swap_s("quality", "fast"), swap_s("fast", "quality")) == (40, 25, 30)


def test_critical_and_secondary_code_are_all_nine_coders() -> None:
    """The hybrid strategy's two groups cover the coding model's agents once each."""
    coders = {task.id for task in fourteen_agents().tasks if task.choices[0].models == ("latest",)}

    assert sorted(CRITICAL + SECONDARY) == sorted(coders)


def test_a_reading_that_does_not_exist_is_refused_with_the_nearest() -> None:
    """A misspelt reading names the one that was meant, and no slots at all is refused."""
    with pytest.raises(InvalidInputError, match="did you mean 'mermaid'"):
        fourteen_agents("mermade")  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="slots"):
        fourteen_agents(slots=0)
