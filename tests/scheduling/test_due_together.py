"""A plan has several things happen in one instant; they are told one by one, and its order holds all the same."""

import pytest
from msgspec.structs import replace

from ostler.domain.states import TaskState
from ostler.scheduling.guiding import DUE_MS
from ostler.scheduling.signals import Cancel
from tests.scheduling.hosts_made import ask, rig_with
from tests.scheduling.rig import Rig
from tests.scheduling.test_following import LOAD_MS, RUN_MS, adopt, guide


def two_at_once(**needs: list[str]) -> Rig:
    """Two slots: `a` and `b` run. By the plan they end in one instant; `c`, which needs `b`, begins then, `d` later."""
    rig = rig_with(slots=2)
    starts_ms = {"a": LOAD_MS, "b": LOAD_MS, "c": LOAD_MS + RUN_MS, "d": LOAD_MS + 2 * RUN_MS}
    for name in starts_ms:
        ask(rig, name, "big", batch="run", needs=needs.get(name, []))
    plan = guide(("big", tuple(starts_ms)))
    rows = [replace(row, start_ms=starts_ms[row.task], end_ms=starts_ms[row.task] + RUN_MS) for row in plan.placements]
    adopt(rig, replace(plan, placements=tuple(rows)))
    rig.load_ends()
    for name in ("a", "b"):
        rig.start(name)
    return rig


@pytest.mark.parametrize("apart_ms", [0, DUE_MS - 1])
def test_what_is_due_goes_first_although_its_need_ends_a_moment_later(apart_ms: int) -> None:
    """The place is kept for that moment, and whoever waits for it says why."""
    rig = two_at_once(c=["b"], d=["a"])
    rig.pass_ms(RUN_MS)
    rig.finish("a")
    wait = rig.scheduler.wait_of("d")
    assert rig.state("d") is TaskState.QUEUED
    assert wait is not None
    assert "its plan has it start later" in wait.detail
    rig.pass_ms(apart_ms)
    rig.finish("b")

    assert [event.task_id for event in rig.named("task.assigned")] == ["a", "b", "c", "d"]


def test_a_place_is_kept_for_a_moment_only() -> None:
    """When the need takes longer than planned, whoever is there has the place."""
    rig = two_at_once(c=["b"])
    rig.pass_ms(RUN_MS)
    rig.finish("a")
    rig.pass_ms(DUE_MS - 1)
    assert rig.state("d") is TaskState.QUEUED
    rig.pass_ms(1)

    assert rig.state("d") is TaskState.ASSIGNED


def test_no_place_is_kept_for_what_is_due_later() -> None:
    """One that ends early leaves its place to whoever is there: the instants of a plan are not obeyed."""
    rig = two_at_once(c=["b"])
    rig.pass_ms(RUN_MS - DUE_MS)
    rig.finish("a")

    assert rig.state("d") is TaskState.ASSIGNED


def test_no_place_is_kept_for_what_has_ended() -> None:
    """It was cancelled before its need was met: nobody comes for the place."""
    rig = two_at_once(c=["b"])
    rig.tell(Cancel(task_id="c", reason="not needed"))
    rig.pass_ms(RUN_MS)
    rig.finish("a")

    assert rig.state("d") is TaskState.ASSIGNED
