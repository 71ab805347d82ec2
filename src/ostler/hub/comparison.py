"""The comparison of the last hour with first-in-first-out: made elsewhere (`SavedBy`), rarely, and kept with its time.

It is a simulation over the newest tasks. Who looks never waits long for it: an earlier one is shown meanwhile with its
age, as long as that is below `OLD_MS`, and where there is none that is said. At most one is being made at a time.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from ostler.domain.errors import OstlerError
from ostler.domain.fleet import EndpointView
from ostler.domain.policy import Policy
from ostler.domain.ports import Store, TaskDetail, TaskQuery
from ostler.domain.states import TaskState
from ostler.hub.errands import Errands
from ostler.hub.pump import Pump
from ostler.hub.simulated import Saved

SavedBy = Callable[[Sequence[TaskDetail], Policy, Sequence[EndpointView]], Awaitable[Saved]]
"""Compares what happened with first-in-first-out. Raises `OstlerError` when it cannot."""

HOUR_MS = 3_600_000
FRESH_MS = 60_000
OLD_MS = 600_000
FIRST_WAIT_S, NEXT_WAIT_S = 2.0, 0.2
"""How long who looks waits for a new one, where there is none and where there is an earlier one."""
TASKS_MAX = 300
"""It looks at so many of the newest tasks."""
UNDER_WAY = "it is being worked out; look again in a moment"


class Compared(NamedTuple):
    """What came of it."""

    saved: Saved | None = None
    why_not: str = ""
    at_ms: int | None = None
    """The instant of which it speaks."""
    fresh_until_ms: int = 0


class Comparison:
    """The newest comparison of a hub."""

    def __init__(self, pump: Pump, store: Store, saved_by: SavedBy | None) -> None:
        self._pump = pump
        self._store = store
        self._saved_by = saved_by
        self._newest: Compared | None = None
        self._making: asyncio.Task[None] | None = None
        self._errands = Errands("a comparison with first-in-first-out")
        """It may fail when nobody waits for it any more."""

    async def newest(self) -> Compared:
        """The newest one; else why there is none."""
        if self._saved_by is None:
            return Compared(why_not="this hub cannot simulate")
        if self._making is None and (known := self._known()) is not None and self._now_ms() < known.fresh_until_ms:
            return known
        if self._making is None:
            self._making = self._errands.begin(self._make(self._saved_by))
        making = self._making
        await asyncio.wait({making}, timeout=FIRST_WAIT_S if self._known() is None else NEXT_WAIT_S)
        if making.done() and not making.cancelled():
            making.result()
        return self._known() or Compared(why_not=UNDER_WAY)

    async def stop(self) -> None:
        """Make none any more. Safe to repeat."""
        self._saved_by = None
        await self._errands.stop()

    def _now_ms(self) -> int:
        return self._pump.clock.now_ms()

    def _known(self) -> Compared | None:
        """The newest one, unless it speaks of long ago."""
        known = self._newest
        return known if known is not None and self._now_ms() - (known.at_ms or 0) < OLD_MS else None

    async def _make(self, saved_by: SavedBy) -> None:
        """Over no task at all it costs nothing, and is soon untrue: then it is not kept."""
        try:
            now_ms = self._now_ms()
            history, books = await self._last_hour(now_ms), self._pump.scheduler.books
            try:
                found = await saved_by(history, books.policy, tuple(books.endpoints.views.values()))
            except OstlerError as error:
                self._newest = Compared(None, str(error), now_ms, self._now_ms() + FRESH_MS)
                return
            self._newest = Compared(found, "", now_ms, self._now_ms() + FRESH_MS if found.tasks else 0)
        finally:
            self._making = None

    async def _last_hour(self, now_ms: int) -> list[TaskDetail]:
        query = TaskQuery(states=(TaskState.SUCCEEDED,), limit=TASKS_MAX)
        recent = [task for task in await self._store.tasks(query) if (task.finished_ms or 0) > now_ms - HOUR_MS]
        # All at once: one after the other, each would wait for a turn of a busy hub of its own.
        details = await asyncio.gather(*(self._store.task(task.id) for task in recent))
        return [detail for detail in details if detail is not None]
