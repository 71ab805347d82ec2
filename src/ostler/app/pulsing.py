"""`ostler pulse` where no hub runs: a hub that ends by itself, when a wave of work is over.

It is the same engine as `ostler up`, over the same files. A second pulse that comes while this one works finds it as a
running hub and asks it for a step; two that start at the same instant are kept apart by the lock of the database.
"""

import asyncio
import os
import time
from pathlib import Path

from ostler.app.footprint import footprint, limit_bytes, write_history
from ostler.app.hub_parts import HubParts
from ostler.app.options import PulseOptions, UpOptions
from ostler.app.serve import serve_hub
from ostler.domain.commands import AppendEvents
from ostler.domain.errors import ConflictError
from ostler.domain.event import Event
from ostler.domain.states import WaitCode
from ostler.hub.pulse_views import PulseReport

LOOK_S = 0.5
SETTLE_S = 10.0
"""How long open work that nobody can take is waited for: workers elsewhere join anew when a hub is back."""
PERIOD_MS = 120_000
"""What moves by itself within the time to the next pulse is waited for."""

_MOVING = frozenset({WaitCode.READY, WaitCode.CAPACITY, WaitCode.MODEL_SWAP})
_SETTLING = frozenset({WaitCode.NO_WORKER, WaitCode.ENDPOINT_DOWN, WaitCode.NO_ROUTE})


async def serve_pulse(options: PulseOptions) -> PulseReport | None:
    """Be the engine until the wave is over; the last look. `None`: the folder is served by another process."""
    engine = _Engine(options)
    try:
        await serve_hub(
            UpOptions(profile=options.profile, data_dir=options.data_dir, log_level="warning"), until=engine.until
        )
    except ConflictError as error:
        if engine.report is None and error.where != "--name":
            return None
        raise
    return engine.report


class _Engine:
    """Watches one wave of work."""

    def __init__(self, options: PulseOptions) -> None:
        self._options = options
        self.report: PulseReport | None = None

    async def until(self, parts: HubParts, folder: Path) -> None:
        """Return when the wave is over, or the time is up."""
        begun_s, begun_seq = time.monotonic(), parts.pump.last_seq
        while True:
            self.report = await parts.hub.pulse.since(begun_seq, self._options.batch)
            lasted_s = time.monotonic() - begun_s
            longest_s = self._options.longest_s
            if is_wave_over(self.report, lasted_s) or (longest_s is not None and lasted_s >= longest_s):
                break
            await asyncio.sleep(LOOK_S)
        await respawn_if_large(parts, folder, limit_bytes(), batch=self._options.batch)


def is_wave_over(report: PulseReport, lasted_s: float) -> bool:
    """Whether nothing runs, and nothing would start before the next pulse comes."""
    if report.is_over:
        return True
    if report.running:
        return False
    for group in report.waiting:
        wait = group.wait
        if wait.code in _MOVING or (wait.code in _SETTLING and lasted_s < SETTLE_S):
            return False
        if wait.next_check_ms is not None and wait.next_check_ms - report.now_ms < PERIOD_MS:
            return False
    return not report.retrying


async def respawn_if_large(parts: HubParts, folder: Path, limit: int, *, batch: str | None = None) -> bool:
    """At the end of a wave: note it when the process has grown above its limit. Whether it has."""
    found = await asyncio.to_thread(footprint, os.getpid(), limit)
    if found is None or not found.is_above:
        return False
    clock = parts.pump.clock
    event = Event(
        name="hub.respawn",
        at_ms=clock.now_ms(),
        measurements={"footprint_bytes": found.bytes, "limit_bytes": found.limit_bytes},
    )
    await parts.pump.apply([AppendEvents(events=(event,))])
    ended = sum(parts.pump.scheduler.books.ended.values())
    await asyncio.to_thread(write_history, folder, found, clock, batch=batch, ended=ended)
    return True


async def until_large(parts: HubParts, folder: Path, limit: int) -> None:
    """For a hub that stays: return when a wave of work has ended and the process has grown above its limit."""
    worked = False
    while True:
        await asyncio.sleep(LOOK_S)
        report = await parts.hub.pulse.look()
        books = parts.pump.scheduler.books
        quiet = not report.running and not books.calls.running and is_wave_over(report, SETTLE_S)
        if worked and quiet and await respawn_if_large(parts, folder, limit):
            return
        worked = not quiet
