"""What waits shares a transaction; what was handed over is written, whoever still waits for it."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence

import pytest

from ostler.domain.commands import AppendEvents, Applied, Command, SubmitTasks
from ostler.domain.states import TaskState
from ostler.store.errors import StoreError
from ostler.store.group_commit import MAX_FLUSH_COMMANDS, GroupCommit, Outcome, _Stop
from ostler.store.sqlite import SqliteStore
from tests.store.rows_made import make_event, make_new, make_submit, make_task, make_update


class Gate:
    """Holds the writer thread of a store until it is opened, so that commands pile up behind it."""

    def __init__(self, writer: GroupCommit) -> None:
        self._open = threading.Event()
        self._held = writer.run(lambda: self._open.wait(10))

    async def open(self) -> None:
        """Let the writer go on."""
        self._open.set()
        assert await self._held


@pytest.fixture
async def gate(sqlite_store: SqliteStore) -> AsyncIterator[Gate]:
    """A closed gate in front of the store's writer."""
    closed = Gate(sqlite_store._writer)
    yield closed
    await closed.open()


async def started(*calls: "asyncio.Future[object]") -> None:
    """Give every call the chance to hand its commands over."""
    await asyncio.sleep(0)


async def test_two_hundred_callers_share_one_transaction(sqlite_store: SqliteStore, gate: Gate) -> None:
    """All that waits when the writer is free becomes one flush, and each caller gets its own answer."""
    calls = [
        asyncio.ensure_future(sqlite_store.apply([SubmitTasks(tasks=(make_new(f"t{n}", n),))])) for n in range(1, 201)
    ]
    await started()
    await gate.open()

    answers = await asyncio.gather(*calls)

    assert answers == [[Applied(last_seq=n)] for n in range(1, 201)]
    stats = sqlite_store.stats()
    assert (stats.flushes, stats.commands, stats.retried_flushes) == (1, 200, 0)


async def test_callers_share_transactions_without_a_gate(sqlite_store: SqliteStore) -> None:
    """Left to themselves, two hundred callers with five steps each need far fewer than a thousand transactions."""

    async def live(number: int) -> None:
        task = make_task(f"t{number}", number)
        await sqlite_store.apply([SubmitTasks(tasks=(make_new(task.id, number),))])
        for state in (TaskState.ASSIGNED, TaskState.RUNNING, TaskState.EVALUATING, TaskState.SUCCEEDED):
            command = make_update(task, state)
            (answer,) = await sqlite_store.apply([command])
            assert isinstance(answer, Applied)
            task = command.task

    await asyncio.gather(*(live(number) for number in range(1, 201)))

    stats = sqlite_store.stats()
    assert stats.commands == 1_000
    assert stats.flushes < 250
    assert (await sqlite_store.open_work()).tasks == ()


async def test_a_flush_is_capped_between_batches(sqlite_store: SqliteStore, gate: Gate) -> None:
    """A flush takes no more batches once it is full, and never splits one."""
    half = MAX_FLUSH_COMMANDS // 2
    single = [AppendEvents(events=(make_event(None),))]
    sizes = [half, half, 1, 2 * MAX_FLUSH_COMMANDS, 1]
    calls = [asyncio.ensure_future(sqlite_store.apply(single * size)) for size in sizes]
    await started()
    await gate.open()

    answers = await asyncio.gather(*calls)

    assert [len(answer) for answer in answers] == sizes
    assert sqlite_store.stats().flushes == 3  # both halves; the single one with the large one; the last one


async def test_a_caller_that_gives_up_does_not_undo_its_write(sqlite_store: SqliteStore, gate: Gate) -> None:
    """A cancelled `apply` is applied all the same, and those who wait beside it are not disturbed."""
    impatient = asyncio.ensure_future(sqlite_store.apply([make_submit("t1")]))
    patient = asyncio.ensure_future(sqlite_store.apply([make_submit("t2", first_seq=2)]))
    await started()
    impatient.cancel()
    await gate.open()

    assert await asyncio.wait_for(patient, 10) == [Applied(last_seq=2)]
    assert impatient.cancelled()
    assert set(await sqlite_store.states(["t1", "t2"])) == {"t1", "t2"}


async def test_closing_finishes_what_was_handed_over(sqlite_store: SqliteStore, gate: Gate) -> None:
    """What was accepted before `close` is durable and answered; what comes after it is refused."""
    waiting = [asyncio.ensure_future(sqlite_store.apply([make_submit(f"t{n}", first_seq=n)])) for n in (1, 2, 3)]
    await started()
    closing = asyncio.ensure_future(sqlite_store.close())
    await started()
    with pytest.raises(StoreError, match="closed"):
        await sqlite_store.apply([make_submit("t4", first_seq=4)])
    await gate.open()
    await closing

    answers = await asyncio.gather(*waiting)
    reopened = await SqliteStore.open(sqlite_store.path)

    assert answers == [[Applied(last_seq=n)] for n in (1, 2, 3)]
    assert set(await reopened.states(["t1", "t2", "t3", "t4"])) == {"t1", "t2", "t3"}
    await reopened.close()


async def test_every_caller_of_close_waits_for_the_end(sqlite_store: SqliteStore, gate: Gate) -> None:
    """A second `close` does not return before the file is let go."""
    first, second = (asyncio.ensure_future(sqlite_store.close()) for _ in range(2))
    await started()
    assert not first.done()
    assert not second.done()
    first.cancel()
    await gate.open()
    await second

    reopened = await SqliteStore.open(sqlite_store.path)
    await reopened.close()


class Broken:
    """A backend that fails in a way nobody foresaw."""

    def flush(self, batches: Sequence[Sequence[Command]]) -> list[Outcome]:
        if len(batches[0]) == 1:
            raise KeyError("unforeseen")
        return [[Applied()] * len(batch) for batch in batches]


async def test_the_writer_survives_what_nobody_foresaw() -> None:
    """An error that escapes the backend is the answer of those who waited, and the next flush works."""
    writer = GroupCommit(Broken(), "broken")
    event = AppendEvents(events=())

    with pytest.raises(KeyError, match="unforeseen"):
        await writer.apply((event,))

    assert await writer.apply((event, event)) == [Applied(), Applied()]
    await writer.stop()
    await writer.stop()


async def test_work_for_the_writer_runs_in_turn() -> None:
    """Jobs run in the thread, between the batches that surround them; their errors are theirs."""
    writer = GroupCommit(Broken(), "jobs")
    order: list[str] = []
    event = AppendEvents(events=())

    batch = writer.apply((event, event))
    job = writer.run(lambda: order.append(threading.current_thread().name))
    failing = writer.run(lambda: 1 // 0)
    await asyncio.gather(batch, job)

    with pytest.raises(ZeroDivisionError):
        await failing
    assert order == ["jobs"]
    await writer.stop()
    with pytest.raises(StoreError, match="closed"):
        await writer.run(lambda: None)


def test_a_loop_that_is_gone_stops_nobody() -> None:
    """When the event loop closed before the commit, the writer goes on to its end without a complaint."""
    gate = threading.Event()

    async def leave() -> tuple[GroupCommit, list[object]]:
        writer = GroupCommit(Broken(), "left alone")
        nobody_waits: list[object] = [
            writer.run(lambda: gate.wait(10)),
            writer.apply((AppendEvents(events=()), AppendEvents(events=()))),
        ]
        writer._queue.put(_Stop(lambda: None))
        return writer, nobody_waits

    writer, _ = asyncio.run(leave())
    gate.set()
    writer._thread.join(10)

    assert not writer._thread.is_alive()
    assert writer.command_count == 2
