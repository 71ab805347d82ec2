"""What the programs of all peers share. The standard library only: they run with an interpreter of their own.

    PROGRAM version
    PROGRAM lives URL       one order as JSON on each line of the input, one reading as JSON on each line of the output
    PROGRAM work URL FILE   a worker with its defaults; a job writes a line into FILE and then takes a minute
    PROGRAM put URL         one such job

A life is: put into the queue (durable), claimed, run (a no-op), its end durable. Each user waits for the run of one
before putting the next; the clock stops when the queue says that nothing is left.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

JOB_S = 60.0
"""A job that is to be interrupted."""

Put = Callable[[str], Awaitable[None]]
Settled = Callable[[], Awaitable[bool]]


class Lives:
    """Who waits for the run of which job."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[float]] = {}
        self._loop = asyncio.get_running_loop()

    def ran(self, name: str) -> None:
        """A job of that name runs; in the thread of the loop."""
        waiting = self._waiting.pop(name, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(time.perf_counter())

    def ran_in_thread(self, name: str) -> None:
        """A job of that name runs; in any thread."""
        self._loop.call_soon_threadsafe(self.ran, name)

    async def serve(self, put: Put, settled: Settled) -> None:
        """Carry out orders until the input ends."""
        number = 0
        while line := (await asyncio.to_thread(sys.stdin.readline)).strip():
            order = json.loads(line)
            number += 1
            reading = await self._live(
                [f"{number}-{i}" for i in range(order["count"])], order["in_flight"], put, settled
            )
            sys.stdout.write(json.dumps(reading) + "\n")
            sys.stdout.flush()

    async def _live(self, names: list[str], in_flight: int, put: Put, settled: Settled) -> dict[str, object]:
        queue = iter(names)
        waits: list[float] = []

        async def user() -> None:
            for name in queue:
                run = self._waiting[name] = self._loop.create_future()
                begun = time.perf_counter()
                await put(name)
                waits.append((await run - begun) * 1000)

        begun = time.perf_counter()
        await asyncio.gather(*(user() for _ in range(in_flight)))
        while not await settled():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.002)
        return {"seconds": time.perf_counter() - begun, "ended_ms": sorted(waits)}


def interrupted(file: str) -> None:
    """What a job does that is to be interrupted, at its start."""
    with Path(file).open("a", encoding="utf-8") as out:
        out.write("run\n")
