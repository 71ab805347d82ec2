"""Tasks by state: what is listed is what the store lists, and what is rare is not looked for among all others."""

from collections.abc import Sequence

import pytest

from ostler.domain.fleet import WorkerOffer
from ostler.domain.ports import TaskQuery
from ostler.domain.states import TaskState
from ostler.domain.tasks import Task, TaskKind, TaskSpec
from ostler.hub import listing
from ostler.hub.listing import listed
from tests.hub.house import House, house

QUERIES = [
    TaskQuery(states=states, batch=batch, limit=limit, before_seq=before, after_seq=after)
    for states in (
        (),
        (TaskState.QUEUED,),
        (TaskState.ASSIGNED, TaskState.RUNNING),
        (TaskState.SCHEDULED, TaskState.QUEUED),
        (TaskState.QUEUED, TaskState.CANCELLED),
        (TaskState.NEEDS_HUMAN,),
    )
    for batch, limit, before, after in (
        (None, 100, None, None),
        (None, 2, None, None),
        (None, 0, None, None),
        (None, 2, 4, None),
        ("r", 100, None, None),
        (None, 2, None, 3),
    )
]


async def full(built: House) -> None:
    """Tasks in several states."""
    await built.hub.link.join(WorkerOffer(name="w", host="w", slots={TaskKind.COMMAND: 2}))
    await built.hub.submit(
        [TaskSpec(id=f"t{n}", kind=TaskKind.COMMAND, argv=("true",), batch="r" if n % 2 else None) for n in range(8)]
    )
    later_ms = built.clock.now_ms() + 60_000
    await built.hub.submit([TaskSpec(id="later", kind=TaskKind.COMMAND, argv=("true",), not_before_ms=later_ms)])
    await built.hub.cancel("t5")


@pytest.mark.parametrize("few", [listing.FEW, 3, 0])
async def test_every_query_lists_what_the_store_does(monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    """By whichever way it is found."""
    monkeypatch.setattr(listing, "FEW", few)
    async with house() as built:
        await full(built)
        tasks = built.pump.scheduler.books.tasks
        for query in QUERIES:
            assert await listed(built.store, tasks, query) == await built.store.tasks(query), query


async def test_a_rare_state_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store does not walk over what waits to find what runs."""
    async with house() as built:
        await full(built)

        async def walk(_query: TaskQuery) -> list[Task]:
            raise AssertionError

        monkeypatch.setattr(built.store, "tasks", walk)
        answer = await built.hub.tasks(TaskQuery(states=(TaskState.ASSIGNED,)))

        assert [task.id for task in answer.tasks] == ["t1", "t0"]


async def test_what_the_store_does_not_know_yet_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scheduler is a step ahead of what is durable."""
    async with house() as built:
        await full(built)
        queued = (await built.store.rows(["t2"]))["t2"]

        async def rows(ids: Sequence[str]) -> dict[str, Task]:
            return dict.fromkeys(ids, queued)

        monkeypatch.setattr(built.store, "rows", rows)
        query = TaskQuery(states=(TaskState.ASSIGNED,))

        assert await listed(built.store, built.pump.scheduler.books.tasks, query) == []
