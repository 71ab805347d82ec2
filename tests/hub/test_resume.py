"""A run that is taken up: what is done stays done, what ended badly is tried again, what changed is refused."""

import asyncio

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostler.domain.errors import ConflictError
from ostler.domain.states import TaskState
from ostler.domain.tasks import TaskKind, TaskSpec
from ostler.hub.resume import differing, ended_badly
from tests.hub.house import House, house
from tests.hub.test_service import command, work


async def states(built: House, *ids: str) -> list[str]:
    found = await built.store.states(ids)
    return [found[name].value for name in ids]


async def attempts(built: House, task_id: str) -> int:
    return (await built.hub.task(task_id)).task.generation


def run(**changes: dict[str, object]) -> list[TaskSpec]:
    """Three in a row and one beside them."""
    needs = {"a": (), "b": ("r.a",), "c": ("r.b",), "d": ()}
    return [command(f"r.{name}", needs=needed, batch="r", **changes.get(name, {})) for name, needed in needs.items()]


async def test_what_failed_is_tried_again_and_what_fell_with_it() -> None:
    """First what the others need, so that nothing is cancelled anew."""
    async with house() as built:
        await built.hub.submit(run())
        assert await work(built, ok=False) == ["r.a", "r.d"]
        assert await states(built, "r.a", "r.b", "r.c", "r.d") == ["failed", "cancelled", "cancelled", "failed"]

        answer = await built.hub.submit(run(), resume=True)
        assert all(task.duplicate and task.retried for task in answer.tasks)
        assert sorted(await work(built)) == ["r.a", "r.b", "r.c", "r.d"]
        assert set(await states(built, "r.a", "r.b", "r.c", "r.d")) == {"succeeded"}


async def test_finished_work_never_runs_again() -> None:
    """However often the run is taken up."""
    async with house() as built:
        await built.hub.submit(run())
        await work(built)
        for _ in range(3):
            answer = await built.hub.submit(run(), resume=True)
            assert not any(task.retried for task in answer.tasks)
            assert await work(built) == []
        assert [await attempts(built, name) for name in ("r.a", "r.b", "r.c", "r.d")] == [1, 1, 1, 1]


async def test_what_still_runs_or_waits_is_left_alone() -> None:
    """Taking a run up twice at once sends nothing back twice."""
    async with house() as built:
        await built.hub.submit(run())
        answers = await asyncio.gather(*(built.hub.submit(run(), resume=True) for _ in range(3)))
        assert not any(task.retried for answer in answers for task in answer.tasks)
        assert sorted(await work(built)) == ["r.a", "r.b", "r.c", "r.d"]


async def test_new_tasks_are_handed_in_beside_those_that_are_known() -> None:
    """One that needs a task which is sent back waits for it instead of falling with it."""
    async with house() as built:
        await built.hub.submit(run()[:1])
        await work(built, ok=False)
        answer = await built.hub.submit(run(), resume=True)
        assert [(task.duplicate, task.retried) for task in answer.tasks] == [(True, True)] + [(False, False)] * 3
        assert sorted(await work(built)) == ["r.a", "r.b", "r.c", "r.d"]


async def test_a_changed_task_is_refused_with_the_fields_that_differ_and_nothing_is_sent_back() -> None:
    """All changed tasks at once, before anything is done."""
    async with house() as built:
        await built.hub.submit(run())
        await work(built, ok=False)
        changed = run(a={"argv": ["false"], "priority": 1}, c={"optional": True})
        with pytest.raises(ConflictError) as caught:
            await built.hub.submit(changed, resume=True)
        assert "r.a (argv, priority), r.c (optional)" in caught.value.what
        assert (await states(built, "r.a"))[0] == "failed"


async def test_a_plain_submit_says_what_differs_too() -> None:
    """The same words for the same mistake."""
    async with house() as built:
        await built.hub.submit(run())
        with pytest.raises(ConflictError, match=r"r\.d \(argv\)"):
            await built.hub.submit(run(d={"argv": ["false"]}))


async def test_a_plain_submit_sends_nothing_back() -> None:
    """Asking again whether it arrived must not start work."""
    async with house() as built:
        await built.hub.submit(run())
        await work(built, ok=False)
        answer = await built.hub.submit(run())
        assert not any(task.retried for task in answer.tasks)
        assert await work(built) == []


async def test_what_was_cancelled_by_hand_is_tried_again() -> None:
    """Whoever resumes the run wants all of it."""
    async with house() as built:
        await built.hub.submit(run())
        await built.hub.cancel("r.a")
        await built.hub.submit(run(), resume=True)
        assert sorted(await work(built)) == ["r.a", "r.b", "r.c", "r.d"]


def test_fields_that_differ_are_named() -> None:
    """In the order of the specification; equal tasks differ in none."""
    one = TaskSpec(id="t", prompt="x", tier="a")
    assert differing(one, one) == ()
    assert differing(one, msgspec.structs.replace(one, tier="b", prompt="y")) == ("prompt", "tier")


@given(st.lists(st.sampled_from(["good", "bad"]), min_size=1, max_size=12))
@settings(max_examples=25, deadline=None)
def test_every_task_succeeds_once_however_often_the_run_breaks(outcomes: list[str]) -> None:
    """A chain is worked on, breaks, is taken up: each link is done exactly once, in order."""

    async def story() -> None:
        specs = [
            TaskSpec(id=f"r.{n}", kind=TaskKind.COMMAND, argv=("true",), needs=(f"r.{n - 1}",) if n else (), batch="r")
            for n in range(4)
        ]
        done: list[str] = []
        async with house() as built:
            await built.hub.submit(specs)
            for outcome in [*outcomes, "good"]:
                ran = await work(built, ok=outcome == "good")
                done += ran if outcome == "good" else []
                await built.hub.submit(specs, resume=True)
            done += await work(built)
            assert done == ["r.0", "r.1", "r.2", "r.3"]
            assert ended_badly(await built.store.rows([spec.id for spec in specs]), specs) == []
            assert set(await states(built, *done)) == {TaskState.SUCCEEDED.value}

    asyncio.run(story())
