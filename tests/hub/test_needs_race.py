"""Needs on tasks that end while their dependents are being accepted or sent back: what was met is met."""

import asyncio

import pytest

from ostler.domain.fleet import WorkerOffer
from ostler.domain.states import Failure, FailureClass, TaskState
from ostler.domain.tasks import TaskKind, TaskSpec
from ostler.domain.work import Finished, Started
from tests.hub.house import House, house
from tests.hub.stores import HeldStore

OFFER = WorkerOffer(name="w", host="h", slots={TaskKind.COMMAND: 4})


def command(task_id: str, **fields: object) -> TaskSpec:
    return TaskSpec(id=task_id, kind=TaskKind.COMMAND, argv=("true",), **fields)  # type: ignore[arg-type]


async def running(built: House, task_id: str) -> str:
    """A worker runs the task; returns its session."""
    session = await built.hub.link.join(OFFER)
    (work,) = (await built.hub.link.poll(session.id, 1_000)).assignments
    assert work.task_id == task_id
    await built.hub.link.report(session.id, [Started(task_id=task_id, generation=1, at_ms=1)])
    return session.id


def ending(built: House, session_id: str, task_id: str, *, ok: bool) -> asyncio.Task[None]:
    """The worker's last report, on its way."""
    failure = None if ok else Failure(kind=FailureClass.REFUSAL, message="no", at_ms=1)
    report = Finished(task_id=task_id, generation=1, at_ms=2, ok=ok, failure=failure)
    return asyncio.ensure_future(built.hub.link.report(session_id, [report]))


@pytest.mark.parametrize(
    ("ok", "optional", "state"),
    [
        (True, False, TaskState.ASSIGNED),
        (False, True, TaskState.ASSIGNED),
        (False, False, TaskState.CANCELLED),
    ],
)
async def test_a_need_that_ends_while_its_dependent_is_being_stored_is_settled(
    ok: bool, optional: bool, state: TaskState
) -> None:
    """Between the look at the need and the commit of the dependent lies the disk."""
    store = HeldStore()
    async with house(store) as built:
        await built.hub.submit([command("first", optional=optional)])
        session_id = await running(built, "first")
        before = len(store.asked)
        store.hold()
        submitting = asyncio.ensure_future(built.hub.submit([command("second", needs=("first",))]))
        await store.came(before + 1)
        reporting = ending(built, session_id, "first", ok=ok)
        await asyncio.sleep(0)
        assert "first" not in built.pump.scheduler.books.tasks, "the actor has heard of the end"
        await store.let(1)
        await store.came(before + 2)
        for _ in range(50):
            await asyncio.sleep(0)
        early = submitting.done()
        await store.let()
        await asyncio.wait_for(asyncio.gather(submitting, reporting), 5)
        await built.pump.apply([])

        assert not early, "while the end is not durable nobody can say how the need ended"
        assert (await store.states(["second"])) == {"second": state}


async def test_a_need_that_ends_while_its_dependent_is_sent_back_is_settled() -> None:
    """By hand: the dependent had been cancelled, its need runs again and succeeds at that very moment."""
    store = HeldStore()
    async with house(store) as built:
        await built.hub.submit([command("first"), command("second", needs=("first",))])
        await built.hub.cancel("second")
        session_id = await running(built, "first")
        states, done = store.states, asyncio.Event()

        async def ends() -> None:
            if not done.is_set():
                done.set()
                await ending(built, session_id, "first", ok=True)

        async def states_that_change(ids: list[str]) -> dict[str, TaskState]:
            found = await states(ids)
            await ends()
            return found

        store.states = states_that_change  # type: ignore[method-assign,assignment]
        await built.hub.retry("second")
        await ends()
        await built.pump.apply([])

        assert (await states(["first", "second"])) == {"first": TaskState.SUCCEEDED, "second": TaskState.ASSIGNED}
