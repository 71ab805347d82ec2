"""A loop by hand beside a store: one thread, one transaction for all that waits. It answers whatever was written."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from queue import SimpleQueue

from ostler.domain.commands import Applied, Command, Result

MAX_CALLS = 500
"""Taken together into one transaction."""

Writer = Callable[[list[Command]], None]
"""Writes the rows of commands in a transaction of its own."""
_Call = tuple[Sequence[Command], "asyncio.Future[list[Result]]"]


class RawLoop:
    """Takes commands as a store does; `opened` opens the database in the loop's thread."""

    def __init__(self, opened: Callable[[], AbstractContextManager[Writer]]) -> None:
        self._opened = opened
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[_Call | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    async def apply(self, commands: Sequence[Command]) -> list[Result]:
        """Wait for the commit."""
        future: asyncio.Future[list[Result]] = self._loop.create_future()
        self._queue.put((commands, future))
        return await future

    async def close(self) -> None:
        """End the thread."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        with self._opened() as write:
            while self._flush(write):
                pass

    def _flush(self, write: Writer) -> bool:
        waiting = [self._queue.get()]
        while len(waiting) < MAX_CALLS and not self._queue.empty():
            waiting.append(self._queue.get())
        calls = [call for call in waiting if call is not None]
        if calls:
            write([command for commands, _future in calls for command in commands])
            self._loop.call_soon_threadsafe(_resolve, calls)
        return len(calls) == len(waiting)


def _resolve(calls: list[_Call]) -> None:
    for commands, future in calls:
        future.set_result([Applied()] * len(commands))
