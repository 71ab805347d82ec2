"""Keeps the store bounded: tasks and events that are older than their time are pruned; what events added up to is kept
by day.

It works in small steps: at most `STEP` events are looked at in one transaction, with a pause between two, so that the
writer of the store serves others meanwhile. A step looks at events by their numbers, oldest first; the first page that
is young ends the sweep; events of tasks that are open, or ended lately, stay and are passed by. O(events that are old).
Tasks likewise; those that an open task needs stay.
"""

import asyncio
import contextlib

from ostler.domain.commands import PruneEvents, PruneTasks
from ostler.domain.errors import OstlerError
from ostler.domain.ports import Store, TaskQuery
from ostler.hub.pump import Pump

KEEP_EVENTS_MS, KEEP_TASKS_MS = 30 * 86_400_000, 90 * 86_400_000
EVERY_S, OFTEN_S = 3_600.0, 10.0
PART = 10
"""What is kept for a short time is looked at so often in it: no more than a tenth of it is there too long."""
STEP = 500
TASKS_STEP = 100
"""A task is a row in six tables, some of them large: so many of them take a writer some milliseconds."""
NEEDED_EVERY = 10 * TASKS_STEP
"""After so many tasks it is asked again what open tasks need, which looks at all of those."""
PAUSE_S = 0.02


def sweep_every_s(keep_ms: int) -> float:
    """How long to wait between two sweeps of what is kept for so long: an hour, less where that is much of the time."""
    return min(EVERY_S, max(OFTEN_S, keep_ms / 1000 / PART))


class Janitor:
    """Prunes what is old now and then. How long it is kept may be changed at any time."""

    def __init__(self, pump: Pump, store: Store) -> None:
        self._pump = pump
        self._store = store
        self.keep_events_ms, self.keep_tasks_ms = KEEP_EVENTS_MS, KEEP_TASKS_MS
        self._sweeping: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Sweep now, and then every hour, or more often what is kept for less than ten."""
        self._sweeping = asyncio.create_task(self._sweep_for_ever(), name="janitor")

    async def stop(self) -> None:
        """Sweep no longer. Safe to repeat."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)

    async def sweep(self) -> int:
        """Prune all events that are old; how many events were looked at."""
        before_ms = self._pump.clock.now_ms() - self.keep_events_ms
        after_seq = looked = 0
        while page := await self._store.events(after_seq=after_seq, limit=STEP):
            if page[0].at_ms >= before_ms:
                break
            to_seq = page[-1].seq
            await self._pump.apply([PruneEvents(before_ms=before_ms, after_seq=after_seq, to_seq=to_seq)])
            after_seq, looked = to_seq, looked + len(page)
            await asyncio.sleep(PAUSE_S)
        return looked

    async def sweep_tasks(self) -> int:
        """Prune all tasks that ended long ago and that no open task needs; how many tasks were looked at. A task that
        is younger than that ends the sweep: what came after it cannot have ended before.
        """
        before_ms = self._pump.clock.now_ms() - self.keep_tasks_ms
        after_seq = looked = 0
        needed: set[str] = set()
        while page := await self._store.tasks(TaskQuery(after_seq=after_seq, limit=TASKS_STEP)):
            if page[0].created_ms >= before_ms:
                break
            to_seq = page[-1].seq
            if any(task.finished_ms is not None and task.finished_ms < before_ms for task in page):
                if not looked % NEEDED_EVERY:
                    needed = {need for task in self._pump.scheduler.books.tasks.values() for need in task.needs}
                keep = tuple(sorted(task.id for task in page if task.id in needed))
                command = PruneTasks(before_ms=before_ms, after_seq=after_seq, to_seq=to_seq, keep=keep)
                await self._pump.apply([command])
            after_seq, looked = to_seq, looked + len(page)
            await asyncio.sleep(PAUSE_S)
        return looked

    async def _sweep_for_ever(self) -> None:
        while True:
            with contextlib.suppress(OstlerError):  # a store that fails is told of by whoever must write
                await self.sweep_tasks()
                await self.sweep()
            await asyncio.sleep(sweep_every_s(min(self.keep_events_ms, self.keep_tasks_ms)))
