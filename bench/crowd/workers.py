"""Simulated workers in one process, each with its own session and connections: `python -m bench.crowd.workers CREW`.

They speak the worker protocol as `ostler worker` does (join, heartbeat, poll, reports) and pretend to run what they are
given. CREW is JSON. One line of JSON for each second goes to the output: what was done since the start.
"""

import asyncio
import contextlib
import random
import sys
import time

import msgspec
import uvloop

from bench.crowd.line import Line, RefusedError
from ostler.domain.fleet import HostReport, Session, WorkerOffer
from ostler.domain.states import Failure, FailureClass
from ostler.domain.tasks import TaskKind, Usage
from ostler.domain.work import Assignment, Finished, Poll, Report, Started

POLL_MS = 25_000
HEARTBEAT_S = 5.0
JOINED_AT_ONCE = 50
KEPT = 4_000
"""Readings that are kept of each kind: the newest ones."""


class Crew(msgspec.Struct, frozen=True, kw_only=True):
    """What to pretend."""

    port: int
    token: str
    workers: int
    slots: int = 2
    hosts: int = 200
    work_ms: float = 50.0
    """How long an attempt pretends to take, on average."""
    fail_share: float = 0.0
    leave_every_s: float = 0.0
    """How often one of them leaves without a word and another joins in its place; 0 = never."""
    seed: int = 1


class Tally(msgspec.Struct, kw_only=True):
    """What was done since the start."""

    at_s: float = 0.0
    joined: int = 0
    join_s: float = 0.0
    started: int = 0
    finished: int = 0
    failed: int = 0
    errors: int = 0
    last_error: str = ""
    heartbeat_p50_ms: float = 0.0
    heartbeat_p99_ms: float = 0.0
    report_p50_ms: float = 0.0
    report_p99_ms: float = 0.0


class Nothing(msgspec.Struct):
    """Whatever was answered."""


class Readings:
    """The newest durations of one kind."""

    def __init__(self) -> None:
        self._ms: list[float] = []

    def add(self, began_s: float) -> None:
        """One more."""
        self._ms.append((time.perf_counter() - began_s) * 1000)
        if len(self._ms) > 2 * KEPT:
            del self._ms[:-KEPT]

    def at(self, share: float) -> float:
        """A quantile of the newest; 0 without any."""
        newest = sorted(self._ms[-KEPT:])
        return newest[min(len(newest) - 1, int(len(newest) * share))] if newest else 0.0


class Floor:
    """All workers of the process."""

    def __init__(self, crew: Crew) -> None:
        self.crew = crew
        self.random = random.Random(crew.seed)
        self.tally = Tally()
        self.heartbeats, self.reports = Readings(), Readings()
        self.began_s = time.perf_counter()

    async def run(self) -> None:
        """Until the process is ended."""
        gate = asyncio.Semaphore(JOINED_AT_ONCE)
        people = [asyncio.create_task(self._one(number, gate)) for number in range(self.crew.workers)]
        if self.crew.leave_every_s:
            people.append(asyncio.create_task(self._turnover(people[:], gate)))
        while True:
            await asyncio.sleep(1.0)
            self._say()

    async def _turnover(self, people: list[asyncio.Task[None]], gate: asyncio.Semaphore) -> None:
        number = 0
        while True:
            await asyncio.sleep(self.crew.leave_every_s)
            place = number % len(people)
            people[place].cancel()
            await asyncio.gather(people[place], return_exceptions=True)
            people[place] = asyncio.create_task(self._one(place, gate))
            number += 1

    async def _one(self, number: int, gate: asyncio.Semaphore) -> None:
        while True:
            try:
                async with gate:
                    worker = Worker(self, number)
                    await worker.join()
                await worker.work()
            except (OSError, RefusedError, TimeoutError) as error:
                self.note(error)
                await asyncio.sleep(1.0)

    def note(self, error: Exception) -> None:
        """An error of the run."""
        self.tally.errors += 1
        self.tally.last_error = f"{type(error).__name__}: {error}"[:300]

    def _say(self) -> None:
        tally = self.tally
        tally.at_s = round(time.perf_counter() - self.began_s, 3)
        tally.heartbeat_p50_ms, tally.heartbeat_p99_ms = self.heartbeats.at(0.5), self.heartbeats.at(0.99)
        tally.report_p50_ms, tally.report_p99_ms = self.reports.at(0.5), self.reports.at(0.99)
        sys.stdout.write(msgspec.json.encode(tally).decode() + "\n")
        sys.stdout.flush()


class Worker:
    """One session."""

    def __init__(self, floor: Floor, number: int) -> None:
        self._floor = floor
        self._host = f"h{number % floor.crew.hosts}"
        self._name = f"w{number:04d}"
        self._polls, self._calls = (Line(floor.crew.port, key=floor.crew.token) for _ in range(2))
        self._turn = asyncio.Lock()
        self._path = ""
        self._held: set[tuple[str, int]] = set()
        self._waiting: list[Report] = []
        self._news = asyncio.Event()

    async def join(self) -> None:
        """Begin a session."""
        crew = self._floor.crew
        slots = {TaskKind.CHAT: crew.slots, TaskKind.COMMAND: crew.slots}
        capabilities = frozenset({"python"} if int(self._name[1:]) % 2 else ())
        offer = WorkerOffer(name=self._name, host=self._host, slots=slots, capabilities=capabilities)
        session = await self._calls.post("/hub/workers/join", offer, Session)
        self._path = f"/hub/workers/{session.id}"
        self._floor.tally.joined += 1
        self._floor.tally.join_s = time.perf_counter() - self._floor.began_s

    async def work(self) -> None:
        """Until the session or a connection ends."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._beat())
                group.create_task(self._poll(group))
                group.create_task(self._send())
        except* (OSError, RefusedError, TimeoutError) as errors:
            self._floor.note(errors.exceptions[0])
        finally:
            self._polls.close()
            self._calls.close()

    async def _beat(self) -> None:
        await asyncio.sleep(self._floor.random.random() * HEARTBEAT_S)
        while True:
            report = HostReport(host=self._host, at_ms=int(time.time() * 1000), cpu_percent=10.0)
            began_s = time.perf_counter()
            async with self._turn:
                await self._calls.post(f"{self._path}/heartbeat", report, Nothing)
            self._floor.heartbeats.add(began_s)
            await asyncio.sleep(HEARTBEAT_S)

    async def _poll(self, group: asyncio.TaskGroup) -> None:
        while True:
            poll = await self._polls.post(f"{self._path}/poll", {"wait_ms": POLL_MS}, Poll)
            for item in poll.assignments:
                key = (item.task_id, item.generation)
                if key not in self._held:
                    self._held.add(key)
                    group.create_task(self._pretend(item))
            for key in poll.cancel:
                self._hand_in(_stopped(*key))

    async def _pretend(self, item: Assignment) -> None:
        floor = self._floor
        floor.tally.started += 1
        self._hand_in(Started(task_id=item.task_id, generation=item.generation, at_ms=int(time.time() * 1000)))
        await asyncio.sleep(floor.random.expovariate(1000 / floor.crew.work_ms))
        ok = floor.random.random() >= floor.crew.fail_share
        now_ms = int(time.time() * 1000)
        failure = None if ok else Failure(kind=FailureClass.ENVIRONMENT, message="simulated failure", at_ms=now_ms)
        usage = Usage(input_tokens=20, output_tokens=8) if item.route is not None else None
        self._hand_in(
            Finished(
                task_id=item.task_id,
                generation=item.generation,
                at_ms=now_ms,
                ok=ok,
                failure=failure,
                output="simulated" if ok else "",
                usage=usage,
            )
        )
        floor.tally.finished += ok
        floor.tally.failed += not ok

    def _hand_in(self, report: Report) -> None:
        self._waiting.append(report)
        self._news.set()

    async def _send(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            sending, self._waiting = self._waiting, []
            began_s = time.perf_counter()
            async with self._turn:
                await self._calls.post(f"{self._path}/reports", sending, Nothing)
            self._floor.reports.add(began_s)
            self._held -= {(one.task_id, one.generation) for one in sending if isinstance(one, Finished)}


def _stopped(task_id: str, generation: int) -> Finished:
    now_ms = int(time.time() * 1000)
    failure = Failure(kind=FailureClass.CANCELLED, message="stopped", at_ms=now_ms)
    return Finished(task_id=task_id, generation=generation, at_ms=now_ms, ok=False, failure=failure)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(Floor(msgspec.json.decode(sys.argv[1], type=Crew)).run())
