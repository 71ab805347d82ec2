"""Batches on a real hub: made of held tasks, shown, paused, resumed, cancelled, over."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import cast

import pytest

from ostler.domain.errors import ConflictError, InvalidInputError, NotFoundError
from ostler.domain.fleet import WorkerOffer
from ostler.domain.ports import Store, TaskQuery
from ostler.domain.states import FINAL_STATES, TaskState
from ostler.domain.tasks import Task, TaskKind, TaskSpec
from ostler.domain.work import Finished
from ostler.hub.batch_desk import BatchDesk
from ostler.hub.batch_views import BatchWish
from tests.hub.house import House, house


@pytest.fixture
async def built() -> AsyncIterator[House]:
    """A hub in memory with three held tasks and a worker that takes two at once."""
    async with house() as made:
        await made.hub.link.join(WorkerOffer(name="w", host="w", slots={TaskKind.COMMAND: 2}))
        await made.hub.submit([held(name) for name in "abc"])
        yield made


def held(name: str) -> TaskSpec:
    return TaskSpec(id=name, kind=TaskKind.COMMAND, argv=("true",), held=True)


async def states(built: House) -> dict[str, TaskState]:
    return {name: (await built.hub.task(name)).task.state for name in "abc"}


def session(built: House) -> str:
    return next(iter(built.pump.scheduler.books.workers.states))


async def finish(built: House, name: str) -> None:
    task = (await built.hub.task(name)).task
    end = Finished(task_id=name, generation=task.generation, at_ms=1, ok=True)
    await built.hub.link.report(session(built), [end])


async def test_a_batch_is_made_of_held_tasks_and_starts(built: House) -> None:
    """No more at once than it may."""
    row = await built.hub.batches.make("b", BatchWish(tasks=("a", "b", "c"), concurrency=1))

    assert (row.name, row.total, row.concurrency, row.state) == ("b", 3, 1, "active")
    assert row.counts == {"assigned": 1, "queued": 2}
    answer = await built.hub.batches.show("b")
    assert [task.id for task in answer.tasks] == ["a", "b", "c"]
    assert sum(group.count for group in answer.waiting) == 2


async def test_a_batch_that_is_paused_starts_nothing(built: House) -> None:
    """What runs goes on; then it goes on where it was."""
    await built.hub.batches.make("b", BatchWish(tasks=("a", "b", "c"), concurrency=1))
    paused = await built.hub.batches.pause("b")
    assert paused.state == "paused"
    await finish(built, "a")
    assert (await states(built))["b"] is TaskState.QUEUED
    resumed = await built.hub.batches.resume("b")
    assert resumed.state == "active"

    assert (await states(built))["b"] is TaskState.ASSIGNED


async def test_a_batch_is_cancelled_as_a_whole(built: House) -> None:
    """With the reason; then it is over, and a second time there is nothing to cancel."""
    await built.hub.batches.make("b", BatchWish(tasks=("b", "c")))
    await finish(built, "b")
    await built.hub.batches.cancel("b", "enough")
    await finish(built, "c")
    failure = (await built.hub.task("c")).task.failure

    assert failure is None or failure.message == "enough"
    row = (await built.hub.batches.show("b")).row
    assert row.state == "complete"
    assert row.finished_ms is not None
    with pytest.raises(ConflictError, match="is over"):
        await built.hub.batches.cancel("b")


async def test_batches_are_listed_while_they_last_and_after(built: House) -> None:
    """The newest first; a run that was handed in as one counts as well."""
    await built.hub.batches.make("b", BatchWish(tasks=("a",)))
    await built.hub.submit([TaskSpec(id="r.x", kind=TaskKind.COMMAND, argv=("true",), batch="run")])
    await finish(built, "a")

    listed = (await built.hub.batches.rows()).batches
    assert {row.name: row.state for row in listed} == {"run": "active", "b": "complete"}


async def test_a_limit_alone_changes_a_batch_that_is_there(built: House) -> None:
    """And naming more tasks keeps the limit."""
    await built.hub.batches.make("b", BatchWish(tasks=("a", "b"), concurrency=1))
    assert (await built.hub.batches.make("b", BatchWish(concurrency=2))).counts == {"assigned": 2}
    row = await built.hub.batches.make("b", BatchWish(tasks=("c",)))

    assert (row.total, row.concurrency) == (3, 2)


async def test_what_cannot_be_made_is_refused(built: House) -> None:
    """An empty batch, tasks that are not there, a batch that is not there."""
    with pytest.raises(InvalidInputError, match="no open tasks"):
        await built.hub.batches.make("b", BatchWish(concurrency=2))
    with pytest.raises(NotFoundError, match="no open task nobody"):
        await built.hub.batches.make("b", BatchWish(tasks=("a", "nobody")))
    with pytest.raises(NotFoundError, match="no batch"):
        await built.hub.batches.show("nothing")
    with pytest.raises(NotFoundError, match="no batch"):
        await built.hub.batches.pause("nothing")
    assert set((await states(built)).values()) == {TaskState.QUEUED}


async def test_a_step_says_what_it_did_and_a_look_changes_nothing(built: House) -> None:
    """For all work, or for one batch; one that nobody knows is not found."""
    await built.hub.batches.make("b", BatchWish(tasks=("a",)))
    look = await built.hub.pulse.look("b")
    assert [run.task_id for run in look.running] == ["a"]
    assert (look.started, look.ended, look.is_over) == ((), (), False)
    assert [(worker.name, worker.tasks, worker.slots) for worker in look.workers] == [("w", 1, 2)]
    assert look.workers[0].lost_ms is None
    step = await built.hub.pulse.step()
    assert step.idle.code == "paused"
    assert [group.count for group in step.waiting] == [2]
    await finish(built, "a")
    assert (await built.hub.pulse.look("b")).is_over
    with pytest.raises(NotFoundError, match="no batch nothing"):
        await built.hub.pulse.step("nothing")
    assert (await built.hub.pulse.why_idle("b")).code == "none"


async def test_what_was_done_since_an_event_is_told(built: House) -> None:
    """Started, taken back, ended: each task once."""
    before = built.pump.last_seq
    await built.hub.batches.make("b", BatchWish(tasks=("a", "b")))
    await finish(built, "a")
    await built.hub.link.leave(session(built))
    report = await built.hub.pulse.since(before)

    assert set(report.started) == {"a", "b"}
    assert report.ended == ("a",)
    assert report.taken_back == ("b",)


class Together:
    """A store that answers when nobody has asked for a while, and counts how often that was."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.turns = 0
        self._answers: asyncio.Future[None] | None = None

    def __getattr__(self, name: str) -> Callable[..., Awaitable[object]]:
        ask: Callable[..., Awaitable[object]] = getattr(self._store, name)

        async def late(*asked: object) -> object:
            await self._turn()
            return await ask(*asked)

        return late

    async def _turn(self) -> None:
        if self._answers is None or self._answers.done():
            self.turns += 1
            loop = asyncio.get_running_loop()
            answers = self._answers = loop.create_future()
            loop.call_later(0.002, answers.set_result, None)
        await self._answers


async def test_many_batches_take_as_many_turns_of_a_busy_hub_as_one() -> None:
    """Each is whole, with what it has cost, and none waits for the one before it."""
    async with house() as made:
        await made.hub.submit(
            [TaskSpec(id=f"t{n}", argv=("true",), kind=TaskKind.COMMAND, batch=f"b{n % 20}") for n in range(60)]
        )
        store = Together(made.store)
        rows = (await BatchDesk(made.pump, cast("Store", store)).rows()).batches

        assert {row.name: (row.total, row.cost_micro_usd) for row in rows} == {f"b{n}": (3, 0) for n in range(20)}
        assert store.turns <= 3


async def test_a_list_of_batches_says_of_each_what_a_look_at_it_says(built: House) -> None:
    """Open tasks are at hand and only those that ended are read; together they are all, however they are spread."""
    await built.hub.submit([task(f"r{n}", "r", n) for n in range(4)] + [task(f"s{n}", "s", n) for n in range(2)])
    await built.hub.cancel("r3")
    for name in ("s0", "s1"):
        await built.hub.cancel(name)
    await finish(built, "r0")
    rows = (await built.hub.batches.rows()).batches

    assert {row.name for row in rows} == {"r", "s"}
    assert list(rows) == [(await built.hub.batches.show(row.name)).row for row in rows]
    assert {row.name: row.total for row in rows} == {"r": 4, "s": 2}


async def test_a_list_of_batches_does_not_read_what_is_open(built: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred thousand rows that wait are not read to be counted."""
    await built.hub.submit([task(f"r{n}", "r", n) for n in range(4)])
    real, asked = built.store.tasks, list[TaskQuery]()

    async def tasks(query: TaskQuery) -> list[Task]:
        asked.append(query)
        return await real(query)

    monkeypatch.setattr(built.store, "tasks", tasks)
    await built.hub.batches.rows()

    assert all(query.batch is None or set(query.states) == FINAL_STATES for query in asked)


async def test_batches_are_listed_while_the_store_cannot_write(built: House) -> None:
    """Nothing is waited for that will not come."""
    await built.hub.submit([task("r0", "r", 0)])
    built.pump.committer.failing = "the disk is full"

    assert [row.total for row in (await built.hub.batches.rows()).batches] == [1]
    built.pump.committer.failing = ""


def task(name: str, batch: str, number: int) -> TaskSpec:
    """The second one is held, so that it waits outside of the queue."""
    return TaskSpec(id=name, kind=TaskKind.COMMAND, argv=("true",), batch=batch, held=number == 1)
