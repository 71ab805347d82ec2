"""Work that is begun and that nobody waits for: kept until it is over, ended with its owner, told of where it fails.

A task that nobody holds may be collected in the middle of its work, and what it raises is told by nobody, or by Python
itself, in its own words, at the end of the process.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog


class Errands:
    """Those of one owner. `what`: how the log calls one, as in "a load"."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._under_way: set[asyncio.Task[None]] = set()

    def begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin one; returns at once."""
        task = asyncio.get_running_loop().create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._over)
        return task

    async def wait(self) -> None:
        """Wait for those that are under way."""
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def stop(self) -> None:
        """End them."""
        for task in self._under_way:
            task.cancel()
        await self.wait()

    def _over(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log = structlog.get_logger("ostler.hub")
            log.warning("work in the background failed", work=self._what, error=str(error), kind=type(error).__name__)
