"""The in-box of late results on a real hub: kept, shown with what can become of each, adopted."""

from collections.abc import AsyncIterator

import pytest

from ostler.domain.errors import ConflictError, NotFoundError
from ostler.domain.fleet import Held, WorkerOffer
from ostler.domain.states import FailureClass, TaskState
from ostler.domain.tasks import TaskKind, TaskSpec
from ostler.domain.work import Finished
from ostler.hub.late_views import LateStanding
from tests.hub.house import House, house

NOW_MS = 5_000


@pytest.fixture
async def built() -> AsyncIterator[House]:
    """A hub in memory."""
    async with house() as made:
        yield made


def offer(name: str) -> WorkerOffer:
    return WorkerOffer(name=name, host=name, slots={TaskKind.COMMAND: 2})


def end(task_id: str, generation: int, *, ok: bool = True, at_ms: int = NOW_MS) -> Finished:
    return Finished(
        task_id=task_id, generation=generation, at_ms=at_ms, ok=ok, output=f"of attempt {generation}", output_bytes=12
    )


async def given_up(built: House, *names: str) -> str:
    """Tasks whose first attempt was at a worker that left; then it is back, under the session that is returned."""
    first = await built.hub.link.join(offer("w"))
    await built.hub.submit([TaskSpec(id=name, kind=TaskKind.COMMAND, argv=("true",), worker="w") for name in names])
    await built.hub.link.leave(first.id)
    idle = WorkerOffer(name="w", host="w", slots={})
    return (await built.hub.link.join(idle)).id


async def standing(built: House, name: str) -> LateStanding:
    return next(row.standing for row in (await built.hub.late.rows()).late if row.task_id == name)


async def test_a_late_result_is_listed_and_shown(built: House) -> None:
    """With its worker, its task's state and its output."""
    session = await given_up(built, "t")
    await built.hub.link.report(session, [end("t", 1)])

    (row,) = (await built.hub.late.rows()).late
    assert (row.task_id, row.generation, row.worker, row.state) == ("t", 1, "w", TaskState.QUEUED)
    assert row.standing is LateStanding.OPEN
    assert (await built.hub.late.show("t", 1)).output == "of attempt 1"


async def test_an_adopted_result_is_the_output_of_its_task(built: House) -> None:
    """And the late one says that it was adopted; a second time it is settled."""
    session = await given_up(built, "t")
    await built.hub.link.report(session, [end("t", 1)])
    task = await built.hub.late.adopt("t", 1)

    assert task.state is TaskState.SUCCEEDED
    answer = await built.hub.task("t")
    assert answer.output == "of attempt 1"
    assert [attempt.adopted for attempt in answer.attempts] == [None, 1]
    assert await standing(built, "t") is LateStanding.ADOPTED
    with pytest.raises(ConflictError, match="settled"):
        await built.hub.late.adopt("t", 1)


async def test_what_ended_with_the_task_comes_back_with_it(built: House) -> None:
    """A task that was cancelled because this one had ended badly goes on."""
    session = await given_up(built, "t")
    await built.hub.submit([TaskSpec(id="after", kind=TaskKind.COMMAND, argv=("true",), needs=("t",), worker="w")])
    await built.hub.cancel("t")
    assert (await built.hub.task("after")).task.state is TaskState.CANCELLED
    await built.hub.link.report(session, [end("t", 1)])
    await built.hub.late.adopt("t", 1)

    assert (await built.hub.task("after")).task.state is TaskState.QUEUED


async def test_standings_follow_the_task(built: House) -> None:
    """Running elsewhere, then settled; a failure is a failure whatever the task does."""
    session = await given_up(built, "t", "u")
    await built.hub.link.report(session, [end("t", 1), end("u", 1, ok=False)])
    other = await built.hub.link.join(offer("w"))
    assert await standing(built, "t") is LateStanding.RUNNING
    assert await standing(built, "u") is LateStanding.FAILED
    with pytest.raises(ConflictError, match="under way"):
        await built.hub.late.adopt("t", 1)
    await built.hub.link.report(other.id, [end("t", 2)])

    assert await standing(built, "t") is LateStanding.SETTLED


async def test_an_end_that_was_told_twice_is_not_listed(built: House) -> None:
    """Also when the hub has forgotten that it heard it, as after a restart."""
    first = await built.hub.link.join(offer("w"))
    await built.hub.submit([TaskSpec(id="t", kind=TaskKind.COMMAND, argv=("true",))])
    await built.hub.link.report(first.id, [end("t", 1)])
    built.pump.scheduler.books.heard.ends.clear()
    await built.hub.link.report(first.id, [end("t", 1)])

    assert (await built.hub.late.rows()).late == ()
    with pytest.raises(NotFoundError):
        await built.hub.late.adopt("t", 1)


@pytest.mark.parametrize(("task", "attempt"), [("t", 2), ("nobody", 1)])
async def test_what_is_not_there_is_not_found(built: House, task: str, attempt: int) -> None:
    """With where to look."""
    session = await given_up(built, "t")
    await built.hub.link.report(session, [end("t", 1)])
    with pytest.raises(NotFoundError) as told:
        await built.hub.late.show(task, attempt)

    assert "ostler late list" in told.value.remedy


async def test_a_daemon_that_joins_again_keeps_its_session_and_gets_only_new_mail(built: House) -> None:
    """What it lost is taken back and comes as a new attempt; what it holds goes on."""
    again = WorkerOffer(name="w", host="w", slots={TaskKind.COMMAND: 2}, instance="i")
    first = await built.hub.link.join(again)
    await built.hub.submit([TaskSpec(id=name, kind=TaskKind.COMMAND, argv=("true",)) for name in "ab"])
    handed = await built.hub.link.poll(first.id, 1_000)
    assert [one.task_id for one in handed.assignments] == ["a", "b"]
    held = WorkerOffer(name="w", host="w", slots={TaskKind.COMMAND: 2}, instance="i", holds=(Held("a", 1),))
    second = await built.hub.link.join(held)

    assert second.id == first.id
    mail = await built.hub.link.poll(second.id, 1_000)
    assert [(one.task_id, one.generation) for one in mail.assignments] == [("b", 2)]
    await built.hub.link.report(second.id, [end("a", 1)])
    assert (await built.hub.task("a")).task.state is TaskState.SUCCEEDED
    lost = (await built.hub.task("b")).attempts[0]
    assert lost.failure is not None
    assert lost.failure.kind is FailureClass.WORKER_LOST
