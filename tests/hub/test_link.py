"""The hub's own link passes the suite of all links."""

from collections.abc import AsyncIterator

import pytest

from ostler.domain.states import FINAL_STATES
from ostler.domain.tasks import TaskKind, TaskSpec
from ostler.domain.work import Assignment
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
