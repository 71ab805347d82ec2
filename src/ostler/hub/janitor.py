"""Keeps the log of events bounded: what is older than its time is pruned, and what it added up to is kept by day.

It works in small steps: at most `STEP` events are looked at in one transaction, with a pause between two, so that the
writer of the store serves others meanwhile. A step looks at events by their numbers, oldest first; the first page that
is young ends the sweep; events of tasks that are open, or ended lately, stay and are passed by. O(events that are old).
"""

import asyncio
import contextlib

from ostler.domain.commands import PruneEvents
from ostler.domain.errors import OstlerError
from ostler.domain.ports import Store
from ostler.hub.pump import Pump

KEEP_EVENTS_MS = 30 * 86_400_000
EVERY_S, OFTEN_S = 3_600.0, 10.0
PART = 10
"""What is kept for a short time is looked at so often in it: no more than a tenth of it is there too long."""
STEP = 500
PAUSE_S = 0.02


def sweep_every_s(keep_ms: int) -> float:
    """How long to wait between two sweeps of what is kept for so long: an hour, less where that is much of the time."""
    return min(EVERY_S, max(OFTEN_S, keep_ms / 1000 / PART))


class Janitor:
    """Prunes old events now and then. `keep_events_ms` may be changed at any time."""

    def __init__(self, pump: Pump, store: Store) -> None:
        self._pump = pump
        self._store = store
        self.keep_events_ms = KEEP_EVENTS_MS
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
        """Prune all that is old; how many events were looked at."""
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

    async def _sweep_for_ever(self) -> None:
        while True:
            with contextlib.suppress(OstlerError):  # a store that fails is told of by whoever must write
                await self.sweep()
            await asyncio.sleep(sweep_every_s(self.keep_events_ms))
