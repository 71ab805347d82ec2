"""Time that stands still until a test moves it."""

import asyncio
import heapq
import itertools

_EPOCH_MS = 1_700_000_000_000
_STEPS = 40


class HandTiming:
    """A clock and its sleepers. A sleeper wakes when the clock has been moved to its time, in order of time."""

    def __init__(self) -> None:
        self._us = 0
        self._order = itertools.count()
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []

    def now_ms(self) -> int:
        return _EPOCH_MS + self._us // 1000

    def stopwatch_us(self) -> int:
        return self._us

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._us + round(seconds * 1_000_000), next(self._order), woken))
        await woken

    async def advance(self, seconds: float) -> None:
        """Let that much time pass, with everything that happens in it."""
        end_us = self._us + round(seconds * 1_000_000)
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end_us:
            due_us, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                self._us = max(self._us, due_us)
                woken.set_result(None)
                await settle()
        self._us = max(self._us, end_us)
        await settle()

    def jump(self, seconds: float) -> None:
        """The machine was suspended: the stopwatch ran on, the sleepers did not."""
        self._us += round(seconds * 1_000_000)
        later = round(seconds * 1_000_000)
        self._sleepers = [(due + later, order, woken) for due, order, woken in self._sleepers]


async def settle() -> None:
    """Let everything run that can run without time passing."""
    for _ in range(_STEPS):
        await asyncio.sleep(0)
