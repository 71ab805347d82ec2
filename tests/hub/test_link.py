"""The hub's own link passes the suite of all links."""

from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from ostler.domain.fleet import WorkerOffer
from ostler.domain.states import FINAL_STATES, TaskState
from ostler.domain.tasks import TaskKind, TaskSpec
from ostler.domain.work import Assignment, Started
from ostler.scheduling.signals import Cancel, WorkerLeft
from tests.hub.house import House, house
from tests.workers.link_conformance import LinkConformance


class Bench:
    """A link to a hub in memory."""

    def __init__(self, built: House) -> None:
        self.house = built
        self.link = built.hub.link
        self._count = 0

    async def give_work(self, session_id: str) -> None:
        self._count += 1
        name = self.house.pump.scheduler.books.workers.states[session_id].session.offer.name
        spec = TaskSpec(id=f"t{self._count}", kind=TaskKind.COMMAND, argv=("true",), worker=name)
        await self.house.hub.submit([spec])

    async def ask_cancel(self, assignment: Assignment) -> None:
        await self.house.pump.post(Cancel(task_id=assignment.task_id))

    async def lose(self, session_id: str) -> None:
        await self.house.pump.post(WorkerLeft(session_id=session_id))

    async def end_of(self, assignment: Assignment) -> bool | None:
        detail = await self.house.store.task(assignment.task_id)
        assert detail is not None
        attempt = next(one for one in detail.attempts if one.generation == assignment.generation)
        assert attempt.finished_ms is None or detail.task.state in FINAL_STATES or detail.task.failure is not None
        return attempt.ok


class TestLocalLink(LinkConformance):
    """In the same process."""

    @pytest.fixture
    async def bench(self) -> AsyncIterator[Bench]:
        async with house() as built:
            yield Bench(built)


async def test_a_join_that_was_overtaken_takes_nothing_back() -> None:
    """It comes a second time, or after a later one of the same process, when the worker has begun what it was handed
    since: it is answered, and the worker keeps its work and its mail. The next one is new.
    """
    async with house() as built:
        link = built.hub.link
        offer = WorkerOffer(name="w", host="h", slots={TaskKind.COMMAND: 2}, instance="w-1", life="a", joins=2)
        session = await link.join(offer)
        await built.hub.submit([TaskSpec(id="t1", kind=TaskKind.COMMAND, argv=("true",))])
        (assignment,) = (await link.poll(session.id, 100)).assignments
        await link.report(session.id, [Started(task_id="t1", generation=1, at_ms=built.clock.now_ms())])
        await built.hub.submit([TaskSpec(id="t2", kind=TaskKind.COMMAND, argv=("true",))])

        for late in (offer, replace(offer, joins=1)):
            assert (await link.join(late)).id == session.id

        assert (await built.hub.task("t1")).task.state is TaskState.RUNNING
        assert assignment.generation == (await built.hub.task("t1")).task.generation
        assert [item.task_id for item in (await link.poll(session.id, 100)).assignments] == ["t2"]

        assert (await link.join(replace(offer, joins=3))).id == session.id
        assert (await built.hub.task("t1")).task.state is not TaskState.RUNNING


async def test_another_process_of_the_daemon_counts_from_the_start() -> None:
    """After a restart its first join is heard, whatever the number of the last one before."""
    async with house() as built:
        link = built.hub.link
        offer = WorkerOffer(name="w", host="h", slots={TaskKind.COMMAND: 1}, instance="w-1", life="a", joins=7)
        session = await link.join(offer)
        again = await link.join(replace(offer, life="b", joins=1))

        assert again.id == session.id
        assert (again.offer.life, again.offer.joins) == ("b", 1)
