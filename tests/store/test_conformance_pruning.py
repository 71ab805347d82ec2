"""Tasks that ended long ago are forgotten whole, and nothing else is."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostler.domain.commands import Applied, LateReport, PruneTasks, PutPlan, SubmitTasks, UpdateTask
from ostler.domain.ports import Store, TaskQuery
from ostler.domain.states import TaskState
from ostler.store.memory_tasks import prunable
from ostler.store.sqlite import SqliteStore
from tests.store.rows_made import NOW_MS, make_attempt, make_decision, make_event, make_new, make_plan, make_task, moved

OLD_MS, BEFORE_MS, YOUNG_MS = NOW_MS + 10, NOW_MS + 100, NOW_MS + 200


async def end(store: Store, task_id: str, seq: int, at_ms: int, batch: str | None = None) -> None:
    """End a task that was just submitted, with all that a task can have."""
    task = moved(make_task(task_id, seq, batch=batch), TaskState.CANCELLED, finished_ms=at_ms, updated_ms=at_ms)
    command = UpdateTask(
        task=task,
        expect_generation=0,
        expect_states=(TaskState.QUEUED,),
        events=(make_event(task_id, "task.cancelled"),),
        attempt=make_attempt(task_id, 0),
        decision=make_decision(task_id, 0),
        output="said",
    )
    (answer,) = await store.apply([command])
    assert isinstance(answer, Applied), answer


async def kept(store: Store) -> list[str]:
    """What is there, oldest first."""
    return [task.id for task in await store.tasks(TaskQuery(after_seq=0, limit=1_000))]


async def prune(store: Store, after_seq: int = 0, to_seq: int = 1_000, keep: tuple[str, ...] = ()) -> list[str]:
    """Forget, and what is left."""
    command = PruneTasks(before_ms=BEFORE_MS, after_seq=after_seq, to_seq=to_seq, keep=keep)
    assert await store.apply([command]) == [Applied()]
    return await kept(store)


async def test_what_ended_long_ago_is_forgotten_with_all_that_belongs_to_it(store: Store) -> None:
    """The open and the young stay; of the old nothing is left, and its id is free."""
    await store.apply([SubmitTasks(tasks=tuple(make_new(f"t{n}", n) for n in range(1, 5)))])
    await end(store, "t1", 1, OLD_MS)
    await end(store, "t2", 2, YOUNG_MS)
    event = make_event("t1", "task.late_report")
    await store.apply([LateReport(task_id="t1", generation=0, at_ms=OLD_MS, body=b"late", event=event)])

    assert await prune(store) == ["t2", "t3", "t4"]
    assert await store.task("t1") is None
    assert await store.outputs(["t1", "t2"]) == {"t2": "said"}
    assert await store.specs(["t1"]) == {}
    assert await store.late_reports(10) == []
    (answer,) = await store.apply([SubmitTasks(tasks=(make_new("t1", 5),))])
    assert isinstance(answer, Applied)
    assert answer.duplicates == ()


async def test_only_the_span_is_looked_at_and_what_others_need_stays(store: Store) -> None:
    """So that a step is as small as its caller wants."""
    await store.apply([SubmitTasks(tasks=tuple(make_new(f"t{n}", n) for n in range(1, 7)))])
    for seq in range(1, 6):
        await end(store, f"t{seq}", seq, OLD_MS)

    assert await prune(store, after_seq=1, to_seq=3) == ["t1", "t4", "t5", "t6"]
    assert await prune(store, keep=("t4", "nobody")) == ["t4", "t6"]


async def test_the_newest_task_stays_so_that_its_number_is_not_given_again(store: Store) -> None:
    """Events of a task go by its number."""
    await store.apply([SubmitTasks(tasks=(make_new("t1", 1), make_new("t2", 2)))])
    await end(store, "t1", 1, OLD_MS)
    await end(store, "t2", 2, OLD_MS)

    assert await prune(store) == ["t2"]
    assert (await store.open_work()).next_seq == 3


async def test_a_batch_goes_as_a_whole_and_its_plans_with_it(store: Store) -> None:
    """One task that is open, or ended later, keeps all of its batch."""
    new = [make_new("a1", 1, batch="a"), make_new("a2", 2, batch="a"), make_new("b1", 3, batch="b"), make_new("z", 9)]
    await store.apply([SubmitTasks(tasks=tuple(new))])
    for batch in "ab":
        await store.apply([PutPlan(plan=make_plan(batch))])
    await end(store, "a1", 1, OLD_MS, "a")
    await end(store, "b1", 3, OLD_MS, "b")

    assert await prune(store) == ["a1", "a2", "z"]
    assert (len(await store.plans("a")), len(await store.plans("b"))) == (1, 0)
    await end(store, "a2", 2, YOUNG_MS, "a")
    assert await prune(store) == ["a1", "a2", "z"]
    command = PruneTasks(before_ms=YOUNG_MS + 1, after_seq=0, to_seq=1)
    await store.apply([command])
    assert (await kept(store), len(await store.plans("a"))) == (["a2", "z"], 1)
    await store.apply([msgspec.structs.replace(command, to_seq=5)])
    assert (await kept(store), await store.plans("a")) == (["z"], [])


async def test_a_task_that_is_opened_again_in_the_same_flush_stays(store: Store) -> None:
    """Who sends it back and who sweeps may come at once."""
    await store.apply([SubmitTasks(tasks=(make_new("t1", 1), make_new("t2", 2)))])
    await end(store, "t1", 1, OLD_MS)
    (ended,) = (await store.rows(["t1"])).values()
    again = moved(ended, TaskState.QUEUED, updated_ms=YOUNG_MS)
    update = UpdateTask(
        task=again,
        expect_generation=0,
        expect_states=(TaskState.CANCELLED,),
        events=(make_event("t1", "task.retried"),),
    )
    step = PruneTasks(before_ms=BEFORE_MS, after_seq=0, to_seq=10)

    await store.apply([update, step])

    assert await kept(store) == ["t1", "t2"]


async def test_tasks_are_listed_upward_too(store: Store) -> None:
    """By number, whatever their state, a page at a time."""
    await store.apply([SubmitTasks(tasks=tuple(make_new(f"t{n}", n) for n in range(1, 6)))])
    first = await store.tasks(TaskQuery(after_seq=0, limit=2))
    rest = await store.tasks(TaskQuery(after_seq=first[-1].seq, limit=10))

    assert [[task.seq for task in page] for page in (first, rest)] == [[1, 2], [3, 4, 5]]
    assert await store.tasks(TaskQuery(after_seq=5)) == []


LIVES = st.lists(
    st.tuples(st.sampled_from([None, "a", "b"]), st.sampled_from([None, OLD_MS, YOUNG_MS])), min_size=1, max_size=12
)


@settings(max_examples=25, deadline=None)
@given(lives=LIVES, span=st.tuples(st.integers(0, 12), st.integers(0, 12)), stays=st.sets(st.integers(1, 12)))
async def test_the_database_forgets_what_the_rule_says(
    tmp_path_factory: pytest.TempPathFactory,
    lives: list[tuple[str | None, int | None]],
    span: tuple[int, int],
    stays: set[int],
) -> None:
    """Over generated tasks, batches, spans: the statements and the pure rule name the same tasks."""
    store = await SqliteStore.open(tmp_path_factory.mktemp("pruning") / "ostler.db")
    try:
        new = [make_new(f"t{seq}", seq, batch=batch) for seq, (batch, _) in enumerate(lives, 1)]
        await store.apply([SubmitTasks(tasks=tuple(new))])
        for seq, (batch, ended_ms) in enumerate(lives, 1):
            if ended_ms is not None:
                await end(store, f"t{seq}", seq, ended_ms, batch)
        step = PruneTasks(
            before_ms=BEFORE_MS,
            after_seq=min(span),
            to_seq=max(span),
            keep=tuple(f"t{seq}" for seq in sorted(stays)),
        )
        before = await store.tasks(TaskQuery(after_seq=0, limit=100))
        await store.apply([step])
        after = await store.tasks(TaskQuery(after_seq=0, limit=100))
    finally:
        await store.close()

    gone = {task.id for task in prunable(before, step)}
    assert [task.id for task in after] == [task.id for task in before if task.id not in gone]
