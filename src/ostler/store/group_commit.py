"""Group commit: one thread that turns everything that waits into the next transaction.

    event loop                       writer thread
    apply(batch) --- queue --------> take all that waits, up to the cap
      await future                   flush: one transaction
      <------- call_soon_threadsafe, once per flush, after the commit

There is no linger: the thread sleeps only while nothing waits, and what arrives during a flush makes up the next one.
So a lone caller waits for one commit, and a thousand callers share few. A batch (the commands of one `apply`) is never
split over two transactions. A caller that stops waiting does not stop its write.

The thread owns the backend: `open`, `flush` and `close` run in it and nowhere else.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any, Protocol

from ostler.domain.commands import Command, Result
from ostler.store.errors import StoreError

MAX_FLUSH_COMMANDS = 500
"""A flush takes no further batch once it has this many commands: bounds how long the first of them waits."""

Outcome = list[Result] | Exception


class Backend(Protocol):
    """What the thread works on."""

    def flush(self, batches: Sequence[Sequence[Command]]) -> list[Outcome]:
        """Apply the batches, answer each in order; returns after the commit.

        An error is the answer of the batches that could not be applied; it is not raised.
        """
        ...


class _Batch:
    __slots__ = ("commands", "future")

    def __init__(self, commands: tuple[Command, ...], future: "asyncio.Future[list[Result]]") -> None:
        self.commands = commands
        self.future = future


class _Job:
    __slots__ = ("future", "work")

    def __init__(self, work: Callable[[], Any], future: "asyncio.Future[Any]") -> None:
        self.work = work
        self.future = future


class _Stop:
    """The last item of the queue."""

    __slots__ = ("work",)

    def __init__(self, work: Callable[[], Any]) -> None:
        self.work = work


_Item = _Batch | _Job | _Stop


def _nothing() -> None:
    pass


class GroupCommit:
    """The writer thread of one backend. Made, used and stopped on one event loop, which must be running."""

    def __init__(self, backend: Backend, name: str) -> None:
        self._backend = backend
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[_Item] = SimpleQueue()
        self._stopped = False
        self._failure: Exception | None = None
        """What the last work raised."""
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.flush_count = 0
        """Transactions tried so far, the retries inside one flush not counted."""
        self.command_count = 0
        self._thread.start()

    def apply(self, commands: tuple[Command, ...]) -> "asyncio.Future[list[Result]]":
        """Hand a batch over; the future is done when its transaction is. Cancelling it does not cancel the write."""
        future = self._loop.create_future()
        self._put(_Batch(commands, future))
        return future

    def run(self, work: Callable[[], Any]) -> "asyncio.Future[Any]":
        """Run something else in the thread, in turn with the batches."""
        future = self._loop.create_future()
        self._put(_Job(work, future))
        return future

    async def stop(self) -> None:
        """Finish what was handed over, then end the thread. Safe to repeat."""
        await asyncio.to_thread(self.end)

    def end(self, last: Callable[[], Any] = _nothing) -> None:
        """As `stop`, for who is in a thread and may wait there. `last` is run in the writer's before it ends; raises
        what that raised.
        """
        if not self._stopped:
            self._stopped = True
            self._queue.put(_Stop(last))
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _put(self, item: _Batch | _Job) -> None:
        if self._stopped:
            raise StoreError("the store is closed")
        self._queue.put(item)

    def _run(self) -> None:
        item = self._queue.get()
        while not isinstance(item, _Stop):
            if isinstance(item, _Job):
                self._work(item)
                item = self._queue.get()
            else:
                batches, following = self._gather(item)
                self._flush(batches)
                item = following if following is not None else self._queue.get()
        try:
            item.work()
        except Exception as error:  # boundary: it belongs to whoever ends the thread
            self._failure = error

    def _gather(self, first: _Batch) -> tuple[list[_Batch], _Item | None]:
        """All batches that wait, up to the cap, and the item that ended the gathering if it is none of them."""
        batches = [first]
        size = len(first.commands)
        # Only this thread takes from the queue, so what is not empty now will not make `get` wait.
        while size < MAX_FLUSH_COMMANDS and not self._queue.empty():
            item = self._queue.get()
            if not isinstance(item, _Batch):
                return batches, item
            batches.append(item)
            size += len(item.commands)
        return batches, None

    def _flush(self, batches: list[_Batch]) -> None:
        outcomes: Sequence[Outcome]
        try:
            outcomes = self._backend.flush([batch.commands for batch in batches])
        except Exception as error:  # boundary: those who wait must hear of it, and the thread must live on
            outcomes = [error] * len(batches)
        self.flush_count += 1
        self.command_count += sum(len(batch.commands) for batch in batches)
        self._answer([(batch.future, outcome) for batch, outcome in zip(batches, outcomes, strict=True)])

    def _work(self, job: _Job) -> None:
        try:
            outcome = job.work()
        except Exception as error:  # boundary: it belongs to whoever asked for the work
            outcome = error
        self._answer([(job.future, outcome)])

    def _answer(self, outcomes: "list[tuple[asyncio.Future[Any], Any]]") -> None:
        try:
            self._loop.call_soon_threadsafe(_resolve, outcomes)
        except RuntimeError:
            # The loop is closed: nobody waits any more. The write is done all the same.
            return


def _resolve(outcomes: "list[tuple[asyncio.Future[Any], Any]]") -> None:
    for future, outcome in outcomes:
        if future.done():  # cancelled: its caller does not wait any more
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
