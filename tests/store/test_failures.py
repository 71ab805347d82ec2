"""When something cannot be written, only that is not written, and nothing that was acknowledged is lost."""

import asyncio
import sqlite3
from contextlib import closing

import msgspec
import pytest

from ostler.domain.commands import AppendEvents, Applied, Command, SubmitTasks
from ostler.domain.errors import InvalidInputError
from ostler.domain.ports import TaskQuery
from ostler.domain.states import TaskState
from ostler.store.errors import StoreError
from ostler.store.postgres import PostgresStore
from ostler.store.sqlite import SqliteStore
from tests.store.rows_made import make_attempt, make_event, make_new, make_submit, make_task, make_update
from tests.store.test_group_commit import Gate, started

LONE_SURROGATE = "\ud800"


async def run_sql(store: SqliteStore, text: str) -> list[tuple[object, ...]]:
    """Run SQL on the connection of the writer, in its thread."""
    found = await store._writer.run(lambda: store._side.driver().execute(text).fetchall())
    assert isinstance(found, list)
    return found


async def together(store: SqliteStore | PostgresStore, *batches: list[Command]) -> list[object]:
    """Apply batches in one flush; answers or errors, in order."""
    gate = Gate(store._writer)
    calls = [asyncio.ensure_future(store.apply(batch)) for batch in batches]
    await started()
    await gate.open()
    return list(await asyncio.gather(*calls, return_exceptions=True))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"title": LONE_SURROGATE}, "surrogates not allowed"),
        ({"id": LONE_SURROGATE}, "surrogates not allowed"),
        ({"seq": 2**63}, "too large"),
        ({"created_ms": 2**70}, ""),
    ],
)
async def test_a_value_that_cannot_be_stored_fails_alone(
    sqlite_store: SqliteStore, changes: dict[str, object], words: str
) -> None:
    """Its caller gets an error about the value; the commands of others in the same flush are applied."""
    good, bad = make_new("t1", 1), make_new("t2", 2)
    bad = msgspec.structs.replace(bad, task=msgspec.structs.replace(bad.task, **changes))
    bad = msgspec.structs.replace(bad, spec=msgspec.structs.replace(bad.spec, id=bad.task.id))

    answers = await together(
        sqlite_store,
        [SubmitTasks(tasks=(good,))],
        [SubmitTasks(tasks=(bad,))],
        [msgspec.structs.replace(make_update(good.task, TaskState.ASSIGNED), attempt=make_attempt())],
    )

    assert answers[0] == [Applied(last_seq=1)]
    assert isinstance(answers[1], InvalidInputError)
    assert words in str(answers[1])
    assert answers[2] == [Applied(last_seq=2)]
    assert sqlite_store.stats().retried_flushes == 1
    assert [task.id for task in await sqlite_store.tasks(TaskQuery())] == ["t1"]
    assert [event.seq for event in await sqlite_store.events()] == [1, 2]
    assert await sqlite_store.check() == []


async def test_a_batch_is_applied_whole_or_not_at_all(sqlite_store: SqliteStore) -> None:
    """When one command of a batch cannot be written, none of that batch is: the error means that nothing happened."""
    with pytest.raises(InvalidInputError):
        await sqlite_store.apply([make_submit("t1"), AppendEvents(events=(make_event(LONE_SURROGATE),))])

    assert await sqlite_store.states(["t1"]) == {}
    assert await sqlite_store.apply([make_submit("t1")]) == [Applied(last_seq=1)]


async def test_a_row_the_database_refuses_fails_alone(sqlite_store: SqliteStore) -> None:
    """A constraint that the code did not foresee stops one batch; the error names it and asks for a report."""
    await run_sql(
        sqlite_store,
        """CREATE TRIGGER refuse BEFORE INSERT ON task WHEN new.id = 'bad'
        BEGIN SELECT RAISE(ABORT, 'not this one'); END""",
    )

    answers = await together(
        sqlite_store, [make_submit("a")], [make_submit("bad", first_seq=2)], [make_submit("b", first_seq=3)]
    )

    assert [answers[0], answers[2]] == [[Applied(last_seq=1)], [Applied(last_seq=2)]]
    assert isinstance(answers[1], StoreError)
    assert "not this one" in answers[1].what
    assert "report" in answers[1].remedy
    assert set(await sqlite_store.states(["a", "b", "bad"])) == {"a", "b"}


async def test_a_write_that_finds_another_row_than_it_read_is_rolled_back(sqlite_store: SqliteStore) -> None:
    """Should a row change between look and write, the flush fails instead of losing what changed it."""
    await sqlite_store.apply([make_submit("t1")])
    await run_sql(sqlite_store, "CREATE TRIGGER skip BEFORE UPDATE ON task BEGIN SELECT RAISE(IGNORE); END")

    with pytest.raises(StoreError, match=r"a task changed.*something else writes"):
        await sqlite_store.apply([make_update(make_task("t1"), TaskState.ASSIGNED)])

    assert len(await sqlite_store.events()) == 1
    await run_sql(sqlite_store, "DROP TRIGGER skip")
    assert await sqlite_store.apply([make_update(make_task("t1"), TaskState.ASSIGNED)]) == [Applied(last_seq=2)]


async def test_a_full_disk_fails_what_does_not_fit(sqlite_store: SqliteStore) -> None:
    """With room for little, the small batch of a flush is applied and the large one gets the error."""
    (pages,) = (await run_sql(sqlite_store, "PRAGMA page_count"))[0]
    assert isinstance(pages, int)
    await run_sql(sqlite_store, f"PRAGMA max_page_count = {pages + 8}")
    large = make_new("large", 2, prompt="x" * 1_000_000)

    answers = await together(
        sqlite_store, [make_submit("a")], [SubmitTasks(tasks=(large,))], [make_submit("b", first_seq=3)]
    )

    assert [answers[0], answers[2]] == [[Applied(last_seq=1)], [Applied(last_seq=2)]]
    assert isinstance(answers[1], StoreError)
    assert "full" in answers[1].what
    assert "free space" in answers[1].remedy
    assert await sqlite_store.check() == []


async def test_after_a_full_disk_all_that_was_acknowledged_is_there(sqlite_store: SqliteStore) -> None:
    """Write until nothing fits any more: what was acknowledged is there, nothing else, and work goes on when there is
    room again.
    """
    (pages,) = (await run_sql(sqlite_store, "PRAGMA page_count"))[0]
    assert isinstance(pages, int)
    await run_sql(sqlite_store, f"PRAGMA max_page_count = {pages + 40}")
    acknowledged: list[str] = []
    errors: list[StoreError] = []

    async def fill(worker: int) -> None:
        for number in range(1_000):
            seq = worker * 1_000 + number + 1
            try:
                await sqlite_store.apply([SubmitTasks(tasks=(make_new(f"t{seq}", seq, prompt="x" * 500),))])
            except StoreError as error:
                errors.append(error)
                return
            acknowledged.append(f"t{seq}")

    await asyncio.gather(*(fill(worker) for worker in range(8)))

    assert acknowledged
    assert ["full" in error.what for error in errors] == [True] * 8
    assert {task.id for task in (await sqlite_store.open_work()).tasks} == set(acknowledged)
    assert len(await sqlite_store.events(limit=10_000)) == len(acknowledged)
    assert await sqlite_store.check() == []
    await run_sql(sqlite_store, "PRAGMA max_page_count = 100000")
    (answer,) = await sqlite_store.apply([make_submit("afterwards", first_seq=9_000)])
    assert answer == Applied(last_seq=len(acknowledged) + 1)
    path = sqlite_store.path
    await sqlite_store.close()
    reopened = await SqliteStore.open(path)
    assert len((await reopened.open_work()).tasks) == len(acknowledged) + 1
    await reopened.close()


async def test_a_lock_of_another_program_is_said(sqlite_store: SqliteStore) -> None:
    """When no transaction can be begun, all who wait are told at once, and the next flush tries again."""
    await run_sql(sqlite_store, "PRAGMA busy_timeout = 20")
    with closing(sqlite3.connect(sqlite_store.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        answers = await together(sqlite_store, [make_submit("a")], [make_submit("b", first_seq=2)])
        other.execute("ROLLBACK")

    for answer in answers:
        assert isinstance(answer, StoreError)
        assert "locked" in answer.what
        assert "another program" in answer.remedy
    assert sqlite_store.stats().retried_flushes == 0
    assert await sqlite_store.apply([make_submit("a")]) == [Applied(last_seq=1)]


async def test_a_rollback_that_failed_is_made_up_for(sqlite_store: SqliteStore) -> None:
    """A transaction that was left open by an error under an error does not block the writer for good."""
    await run_sql(sqlite_store, "BEGIN IMMEDIATE")
    await run_sql(sqlite_store, "INSERT INTO endpoint VALUES ('half', 'done')")

    assert await sqlite_store.apply([make_submit("t1")]) == [Applied(last_seq=1)]

    assert (await sqlite_store.open_work()).endpoints == ()


async def test_a_row_that_cannot_be_read_is_an_error_of_the_store(sqlite_store: SqliteStore) -> None:
    """Damaged content is said as such, to a reader and to a writer that needs it, with what to do."""
    await sqlite_store.apply([make_submit("t1")])
    await run_sql(sqlite_store, "UPDATE task_spec SET body = '{}'")

    with pytest.raises(StoreError, match=r"cannot be read.*restore a backup"):
        await sqlite_store.task("t1")
    with pytest.raises(StoreError, match=r"cannot be read.*restore a backup"):
        await sqlite_store.apply([make_submit("t1")])


async def test_an_error_says_where_and_what_to_do(sqlite_store: SqliteStore) -> None:
    """Every error of the store is one of ours, with the file in it: no traceback of an engine reaches a user."""
    await sqlite_store.apply([make_submit("t1")])
    await run_sql(sqlite_store, "DROP TABLE output")

    with pytest.raises(StoreError, match="no such table") as reading:
        await sqlite_store.task("t1")

    assert reading.value.where == str(sqlite_store.path)
