"""Whoever uses a hub, as one process: a client that hands tasks in, and a worker daemon that runs them.

The daemon is the one of `ostler worker` (session, heartbeat, polls, slots, spool, reports over HTTP) with one
part replaced: what "runs" a task is a **no-op in the same process**, because a new process for each task costs the
machine more than all else together. What is measured is the protocol. With `real` the runner is the usual one, and
each task is a process (`true`).

A task's life is over here when the hub has acknowledged its end, which it does after the commit.
One order as JSON on each line of the input, one `Reading` as JSON on each line of the output.
"""

import asyncio
import gc
import os
import secrets
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import uvloop

from bench.lives.line import Line
from ostler.domain.fleet import HostReport, Session, WorkerOffer
from ostler.domain.tasks import TaskKind
from ostler.domain.work import Finished, Poll, Report
from ostler.workers.attempts import Abilities
from ostler.workers.commands import CommandHost
from ostler.workers.daemon import Worker, WorkerSettings
from ostler.workers.guard import NoGuard, ProcessGuard, ReaperGuard
from ostler.workers.link_http import HttpLink
from ostler.workers.rules import WorkerRules
from ostler.workers.run import Run, Runner
from ostler.workers.runners.command import CommandRunner
from ostler.workers.spool import Spool
from ostler.workers.timing import SystemTiming


class Crew(msgspec.Struct, frozen=True, kw_only=True):
    """Where the hub is, and how its worker works."""

    port: int
    token: str
    folder: str
    slots: int = 256
    real: bool = False


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """How many tasks to live, how many at once, and how many in one request."""

    count: int
    in_flight: int
    batch: int = 1
    pause_ms: float = 0.0
    """Between the end of one and the next: for an idle hub."""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """One window. Latencies in milliseconds, each sorted: from just before the request that handed a task in."""

    seconds: float
    submitted_ms: list[float]
    started_ms: list[float]
    """Until its first line would run."""
    ended_ms: list[float]
    """Until its end was acknowledged as durable."""


class Ends:
    """The worker's link to the hub, which notes when a start was seen and an end acknowledged."""

    def __init__(self, link: HttpLink) -> None:
        self._link = link
        self.started: dict[str, float] = {}
        self.waiting: dict[str, asyncio.Future[float]] = {}

    async def join(self, offer: WorkerOffer) -> Session:
        """As it is."""
        return await self._link.join(offer)

    async def heartbeat(self, session_id: str, report: HostReport | None) -> int:
        """As it is."""
        return await self._link.heartbeat(session_id, report)

    async def poll(self, session_id: str, wait_ms: int) -> Poll:
        """As it is."""
        return await self._link.poll(session_id, wait_ms)

    async def report(self, session_id: str, reports: Sequence[Report]) -> None:
        """Note what the hub has for good."""
        await self._link.report(session_id, reports)
        now = time.perf_counter()
        for report in reports:
            if isinstance(report, Finished):
                assert report.ok, report
                waiting = self.waiting.get(report.task_id)
                if waiting is not None and not waiting.done():
                    waiting.set_result(now)

    async def leave(self, session_id: str, life: str = "", *, died: bool = False) -> None:
        """As it is."""
        await self._link.leave(session_id, life, died=died)

    async def close(self) -> None:
        """As it is."""
        await self._link.close()


class InProcess:
    """Runs nothing, at once: the no-op runner."""

    def __init__(self, started: dict[str, float]) -> None:
        self._started = started

    async def run(self, run: Run) -> Finished:
        """Begun is done."""
        self._started[run.spec.id] = time.perf_counter()
        return run.succeeded(output="", exit_code=0)


class Noted:
    """The usual runner, with the instant noted at which it is told to begin."""

    def __init__(self, runner: Runner, started: dict[str, float]) -> None:
        self._runner = runner
        self._started = started

    async def run(self, run: Run) -> Finished:
        """As it is."""
        self._started[run.spec.id] = time.perf_counter()
        return await self._runner.run(run)


def worker(crew: Crew, ends: Ends) -> Worker:
    """The daemon of `ostler worker`, its runner aside."""
    rules = WorkerRules(kinds=frozenset({TaskKind.COMMAND}), commands=("true",))
    guard: ProcessGuard = ReaperGuard(f"bench-{os.getpid()}") if crew.real else NoGuard()
    runner: Runner = InProcess(ends.started)
    if crew.real:
        runner = Noted(CommandRunner(CommandHost(rules, guard, environ=os.environ)), ends.started)
    return Worker(
        ends,
        WorkerOffer(name="crew", host="bench", slots={TaskKind.COMMAND: crew.slots}, instance=secrets.token_hex(8)),
        Abilities(rules=rules, runners={TaskKind.COMMAND: runner}),
        WorkerSettings(identity=f"bench-{os.getpid()}", spool=Spool(Path(crew.folder) / "spool")),
        timing=SystemTiming(),
        guard=guard,
    )


def bodies(order: Order) -> list[tuple[list[str], bytes]]:
    """Requests made before the clock starts."""
    made = []
    for first in range(0, order.count, order.batch):
        ids = [secrets.token_hex(16) for _ in range(min(order.batch, order.count - first))]
        tasks = [{"id": name, "kind": "command", "argv": ["true"], "prompt": "no-op"} for name in ids]
        made.append((ids, msgspec.json.encode({"tasks": tasks})))
    return made


async def carry_out(order: Order, lines: list[Line], ends: Ends) -> Reading:
    """Live them all."""
    queue = iter(bodies(order))
    submitted: list[float] = []
    started: list[float] = []
    ended: list[float] = []

    async def user(line: Line) -> None:
        for ids, body in queue:
            waits = [asyncio.get_running_loop().create_future() for _ in ids]
            ends.waiting.update(zip(ids, waits, strict=True))
            begun = time.perf_counter()
            await line.submit(body)
            submitted.append((time.perf_counter() - begun) * 1000)
            for name, wait in zip(ids, waits, strict=True):
                ended.append((await wait - begun) * 1000)
                started.append((ends.started.pop(name) - begun) * 1000)
                del ends.waiting[name]
            if order.pause_ms:
                await asyncio.sleep(order.pause_ms / 1000)

    users = max(1, order.in_flight // order.batch)
    while len(lines) < users:
        lines.append(Line(lines[0]._port))  # noqa: SLF001 - its own kind
    begun = time.perf_counter()
    await asyncio.gather(*(user(line) for line in lines[:users]))
    seconds = time.perf_counter() - begun
    return Reading(seconds=seconds, submitted_ms=sorted(submitted), started_ms=sorted(started), ended_ms=sorted(ended))


async def serve(crew: Crew) -> None:
    """Orders in, readings out, until the input ends."""
    ends = Ends(HttpLink(f"http://127.0.0.1:{crew.port}", token=crew.token))
    daemon = worker(crew, ends)
    daemon.start()
    lines = [Line(crew.port)]
    gc.collect()
    gc.freeze()
    while (line := await asyncio.to_thread(sys.stdin.buffer.readline)).strip():
        reading = await carry_out(msgspec.json.decode(line, type=Order), lines, ends)
        sys.stdout.buffer.write(msgspec.json.encode(reading) + b"\n")
        sys.stdout.buffer.flush()
    for open_line in lines:
        open_line.close()
    await daemon.stop(0)
    await ends.close()


if __name__ == "__main__":
    uvloop.run(serve(msgspec.json.decode(sys.argv[1].encode(), type=Crew)))
