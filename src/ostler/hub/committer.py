"""One road to the store: batches go in order, everything that waits goes together, and a failing store is retried.

Each batch is one call of the store, and so one atomic unit: a value that cannot be stored fails its own batch only. The
calls of all batches that wait are made at once and share a transaction, in order.

Two kinds of batches. The scheduler's books run ahead of the store, so its batches *must* be stored: they are retried,
and when that does not help the hub stops (`on_fatal`), because going on would promise what is not durable. A batch of a
caller who waits for the answer is not retried: the caller is told.
"""

import asyncio
from collections.abc import Callable, Sequence

import msgspec
import structlog

from ostler.domain.commands import Command, Refused, Result
from ostler.domain.errors import OstlerError
from ostler.domain.ports import Store

RETRY_DELAYS_S = (0.1, 0.5, 2.0, 5.0)


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Commands that belong together, and who waits for their results."""

    commands: Sequence[Command]
    must: bool
    future: asyncio.Future[list[Result]]


class Committer:
    """Hands batches to the store."""

    def __init__(self, store: Store, on_fatal: Callable[[BaseException], None]) -> None:
        self._store = store
        self._on_fatal = on_fatal
        self._waiting: list[Batch] = []
        self._under_way: list[Batch] = []
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._log = structlog.get_logger("ostler.store")
        self._given_up: BaseException | None = None
        self.failing = ""
        """Why nothing is durable at this moment; empty when all is well."""

    def start(self) -> None:
        """Start the committing task; a second call does nothing."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="committer")

    def apply(self, commands: Sequence[Command], *, must: bool = False) -> asyncio.Future[list[Result]]:
        """Queue a batch; the future has its results once they are durable. `must`: the books are ahead already. After
        the store gave up it has why; it is cancelled where the committing task was, as when a whole loop is ended.
        """
        future: asyncio.Future[list[Result]] = asyncio.get_running_loop().create_future()
        if self._given_up is not None:
            _fail(future, self._given_up)
            return future
        if self._task is not None and self._task.done():
            future.cancel()
            return future
        self._waiting.append(Batch(commands=commands, must=must, future=future))
        self._wake.set()
        return future

    async def settled(self) -> None:
        """Wait until all that the books ran ahead with is stored: an answer that says only what they say rests on it.

        Raises what the store gave up for.
        """
        ahead = [batch.future for batch in (*self._under_way, *self._waiting) if batch.must and not batch.future.done()]
        if ahead:
            await asyncio.wait(ahead)
        if self._given_up is not None:
            raise self._given_up

    async def stop(self) -> None:
        """Commit what waits or is under way, then stop."""
        if self._task is None:
            return
        while not self._task.done():
            answers = [batch.future for batch in (*self._under_way, *self._waiting) if not batch.future.done()]
            if not answers:
                break
            await asyncio.wait(answers)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None

    async def _run(self) -> None:
        try:
            await self._commit()
        except asyncio.CancelledError:
            for batch in (*self._under_way, *self._waiting):
                batch.future.cancel()  # nobody stores it any more: who waits for it would wait for ever
            raise

    async def _commit(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            batches, self._waiting = self._waiting, []
            self._under_way = batches
            calls = (self._store.apply(batch.commands) for batch in batches)
            answers = await asyncio.gather(*calls, return_exceptions=True)
            try:
                await self._settle_all(batches, answers)
            except Exception as error:  # boundary: whatever a store raises, the hub cannot go on without it
                self._given_up = error
                for batch in (*batches, *self._waiting):
                    _fail(batch.future, error)
                self._waiting = []
                self._on_fatal(error)
                return

    async def _settle_all(self, batches: Sequence[Batch], answers: Sequence[list[Result] | BaseException]) -> None:
        """In order. What came after a batch that failed was judged without it: where something of it was refused, it is
        asked again once the earlier one is stored, and what was applied of it is applied once all the same.
        """
        one_failed = False
        for batch, given in zip(batches, answers, strict=True):
            answer = given
            if one_failed and isinstance(answer, list) and any(isinstance(result, Refused) for result in answer):
                answer = await self._asked(batch)
            one_failed = one_failed or isinstance(answer, Exception)
            await self._settle(batch, answer)

    async def _asked(self, batch: Batch) -> list[Result] | BaseException:
        (answer,) = await asyncio.gather(self._store.apply(batch.commands), return_exceptions=True)
        return answer

    async def _settle(self, batch: Batch, answer: list[Result] | BaseException) -> None:
        """Give the answer to who waits; a batch that must be stored is tried again first."""
        for delay_s in RETRY_DELAYS_S if batch.must else ():
            if not isinstance(answer, Exception) or (isinstance(answer, OstlerError) and answer.for_good):
                break
            self.failing = f"the store refuses to write: {answer}"
            self._log.warning("store failed, trying again", error=str(answer), delay_s=delay_s)
            await asyncio.sleep(delay_s)
            answer = await self._asked(batch)
        if not isinstance(answer, BaseException):
            self.failing = ""
            if not batch.future.done():
                batch.future.set_result(answer)
            return
        _fail(batch.future, answer)
        if batch.must:
            raise answer


def _fail(future: asyncio.Future[list[Result]], error: BaseException) -> None:
    """Tell who waits, if anybody does: `on_fatal` tells the hub."""
    if not future.done():
        future.set_exception(error)
        future.exception()  # looked at
