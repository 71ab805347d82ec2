"""The event loop of a `ModelRouter`, in a thread of its own, and the hub that is opened in it.

The hub is opened once, when it is first asked for, by a task that is nobody's but this loop's: whoever gives up waiting
for it ends nobody else's wait, and leaves nothing half open. One that could not be opened is tried again by the next
who asks. The end closes what is open, breaks off what is being opened, and then everything else: who waits is told.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Generic, Protocol, TypeVar

T = TypeVar("T")


class Stopped(Protocol):
    """What is opened in the loop."""

    async def stop(self) -> None:
        """Give everything back."""
        ...


OpenT = TypeVar("OpenT", bound=Stopped)


class RouterThread(Generic[OpenT]):
    """A loop that runs until it is closed. `open_it` gives what runs in it; broken off, it leaves nothing behind."""

    def __init__(self, open_it: Callable[[], Coroutine[Any, Any, OpenT]], name: str) -> None:
        self._open_it = open_it
        self._opening: asyncio.Task[OpenT] | None = None
        """Touched by the loop only."""
        self._ended = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def begin(self, work: Callable[[OpenT], Awaitable[T]]) -> "Future[T]":
        """Have work done with what is open here. Called from any thread; to cancel the future cancels the work."""
        return asyncio.run_coroutine_threadsafe(self._done(work), self._loop)

    def close(self) -> None:
        """End all that runs in the loop, and then the loop. Called from another thread, once."""
        try:
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    async def _done(self, work: Callable[[OpenT], Awaitable[T]]) -> T:
        return await work(await self._opened())

    async def _opened(self) -> OpenT:
        if self._ended:
            raise asyncio.CancelledError
        if self._opening is None:
            self._opening = asyncio.create_task(self._open_it(), name="opening")
            self._opening.add_done_callback(self._look_at)
        return await asyncio.shield(self._opening)

    def _look_at(self, opening: asyncio.Task[OpenT]) -> None:
        """Who waited is told why there is none; nobody else is."""
        if opening.cancelled() or opening.exception() is not None:
            self._opening = None

    async def _end(self) -> None:
        self._ended = True
        try:
            opening = self._opening
            if opening is not None and opening.done() and not (opening.cancelled() or opening.exception()):
                await opening.result().stop()
        finally:
            left = asyncio.all_tasks() - {asyncio.current_task()}
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            await self._loop.shutdown_asyncgens()
