"""A worker daemon with everything around it played: hub, time, runner, guard, measurement of the machine."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from ostler.domain.fleet import HostReport
from ostler.domain.states import FailureClass
from ostler.domain.tasks import TaskKind
from ostler.domain.work import Assignment
from ostler.workers.attempts import Abilities
from ostler.workers.daemon import Worker, WorkerSettings
from ostler.workers.guard import NOTHING, GuardLostError, NoGuard, Spared
from ostler.workers.rules import WorkerRules
from tests.workers.fake_hub import FakeHub, FakeLink
from tests.workers.played import PlayedRunner
from tests.workers.timing_by_hand import HandTiming, settle
from tests.workers.work_made import OFFER

LEASE_S = 15.0


class RecordingGuard(NoGuard):
    def __init__(self) -> None:
        self.said: list[str] = []
        self.windows_ms: list[int] = []
        self.is_lost = False
        self.spared = NOTHING
        self.window_left_ms = 0
        self.ended: list[str] = []

    def left_ms(self) -> int:
        return self.window_left_ms

    async def end(self, attempt: str) -> None:
        self.ended.append(attempt)

    async def clean(self, spared: Spared = NOTHING) -> None:
        self.spared = spared
        self.said.append("clean")

    def open(self, session_id: str, life: str = "") -> None:
        self.is_lost = False
        self.said.append(f"open {session_id}")

    def beat(self, window_ms: int) -> None:
        if self.is_lost:
            raise GuardLostError
        self.windows_ms.append(window_ms)

    def rest(self) -> None:
        self.said.append("rest")

    async def close(self) -> None:
        self.said.append("close")


class Measuring:
    """A host reporter that can be slow or broken."""

    def __init__(self, timing: HandTiming) -> None:
        self._timing = timing
        self.count = 0
        self.is_broken = False
        self.hangs = False

    async def __call__(self) -> HostReport:
        self.count += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.is_broken:
            raise OSError("no such sensor")
        return HostReport(host="den", at_ms=self._timing.now_ms(), cpu_percent=float(self.count))


class Bench:
    """A worker under test, everything around it played."""

    def __init__(self) -> None:
        self.timing = HandTiming()
        self.hub = FakeHub(self.timing)
        self.runner = PlayedRunner()
        self.guard = RecordingGuard()
        self.measuring = Measuring(self.timing)
        self.notes: list[str] = []
        self.worker = Worker(
            FakeLink(self.hub),
            OFFER,
            Abilities(
                rules=WorkerRules(kinds=frozenset(TaskKind)),
                runners={TaskKind.COMMAND: self.runner, TaskKind.CHAT: self.runner},
            ),
            WorkerSettings(identity="me", stop_grace_s=10),
            timing=self.timing,
            guard=self.guard,
            host_reporter=self.measuring,
            on_note=self.notes.append,
        )

    async def started(self) -> "Bench":
        self.worker.start()
        await settle()
        return self

    async def give(self, *assignments: Assignment) -> None:
        for assignment in assignments:
            self.hub.give(assignment)
        await self.timing.advance(0.1)

    async def stop(self, grace_s: float = 0) -> None:
        """Stop it and let as much time pass as that takes."""
        stopping = asyncio.create_task(self.worker.stop(grace_s))
        for _ in range(120):
            await self.timing.advance(1)
            if stopping.done():
                break
        assert stopping.done(), "the worker does not stop"
        await stopping

    def kinds(self) -> dict[tuple[str, int], FailureClass | None]:
        """Reported ends by class of failure."""
        return {key: end.failure.kind if end.failure else None for key, end in self.hub.ends().items()}


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """A worker that has joined; it is stopped afterwards and must leave no task behind."""
    bench = Bench()
    await bench.started()
    yield bench
    bench.hub.is_down = False
    bench.hub.silent.clear()
    bench.runner.dies_slowly.set()
    await bench.stop()
    await settle()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert bench.runner.open == {}
