"""A runner that is played by hand: each run ends when the test says so, or soon after it was asked to stop."""

import asyncio
from typing import Any

from ostler.domain.work import Finished
from ostler.workers.run import Key, Run


class PlayedRunner:
    def __init__(self) -> None:
        self.runs: list[Run] = []
        self.open: dict[Key, asyncio.Future[Finished | Exception]] = {}
        self.most_open = 0
        self.dies_slowly = asyncio.Event()
        """Clear it to keep stopped runs from ending."""
        self.dies_slowly.set()

    async def run(self, run: Run) -> Finished:
        self.runs.append(run)
        ending: asyncio.Future[Finished | Exception] = asyncio.get_running_loop().create_future()
        self.open[run.key] = ending
        self.most_open = max(self.most_open, len(self.open))
        stopping = asyncio.create_task(run.stop.asked())
        waits: list[asyncio.Future[Any]] = [ending, stopping]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if not ending.done():
                await self.dies_slowly.wait()
                return run.stopped()
        finally:
            stopping.cancel()
            del self.open[run.key]
        result = ending.result()
        if isinstance(result, Exception):
            raise result
        return result

    def end(self, task_id: str = "t1", generation: int = 1, error: Exception | None = None) -> None:
        """End a run, well or with an error."""
        key = (task_id, generation)
        run = next(run for run in self.runs if run.key == key)
        self.open[key].set_result(error or run.succeeded(output="done"))
