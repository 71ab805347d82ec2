"""Requests that were refused before they became calls: counted, and told as events, few of them however many come.

The first one is told at once. What comes in the minute after it is told at its end, together: one event for each
reason, key and path, with how many there were. A flood of wrong keys costs the log one event a minute.
"""

import asyncio
from collections import Counter

import structlog

from ostler.domain.commands import AppendEvents
from ostler.domain.errors import OstlerError
from ostler.domain.event import Event
from ostler.domain.live import Refusal
from ostler.hub.pump import Pump

EVERY_S = 60.0
MAX_KINDS = 100
"""Combinations told apart in a minute; beyond them only the reason is."""


class Refusals:
    """Takes refusals in; needs a running event loop."""

    def __init__(self, pump: Pump, every_s: float = EVERY_S) -> None:
        self._pump = pump
        self._every_s = every_s
        self._untold: Counter[Refusal] = Counter()
        self._timer: asyncio.TimerHandle | None = None
        self._telling: asyncio.Task[None] | None = None
        self._log = structlog.get_logger("ostler.hub")

    def add(self, refusal: Refusal) -> None:
        """Count a refusal. Never waits and never raises."""
        if refusal not in self._untold and len(self._untold) >= MAX_KINDS:
            refusal = Refusal(reason=refusal.reason, path="")
        self._untold[refusal] += 1
        if self._timer is None:
            self._tell()

    async def stop(self) -> None:
        """Tell what is untold, and no more."""
        if self._untold:
            self._tell()
        if self._timer is not None:
            self._timer.cancel()
        if self._telling is not None:
            await asyncio.wait((self._telling,))

    def _ring(self) -> None:
        self._timer = None
        if self._untold:
            self._tell()

    def _tell(self) -> None:
        loop, now_ms = asyncio.get_running_loop(), self._pump.clock.now_ms()
        untold, self._untold = self._untold, Counter()
        events = tuple(
            Event(
                name="call.refused",
                at_ms=now_ms,
                measurements={"refused": count},
                metadata={"reason": refusal.reason, "key": refusal.key, "path": refusal.path},
            )
            for refusal, count in untold.items()
        )
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_later(self._every_s, self._ring)
        self._telling = loop.create_task(self._write(events), name="refusals")

    async def _write(self, events: tuple[Event, ...]) -> None:
        try:
            await self._pump.apply([AppendEvents(events=events)])
        except OstlerError as error:
            self._log.warning("refusals cannot be written", error=str(error), kinds=len(events))
