"""Time as the daemon uses it: the domain's clock plus a sleep, so that tests move both by hand."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

from ostler.domain.clock import Clock
from ostler.domain.errors import UnreachableError

T = TypeVar("T")


class Timing(Clock, Protocol):
    """A clock one can also wait on."""

    async def sleep(self, seconds: float) -> None:
        """Wait; `seconds` may be fractional."""
        ...


class SystemTiming:
    """The machine's clock.

    `through_suspend`: whether the stopwatch runs on while the machine is suspended. A worker whose hub is elsewhere
    wants that (the hub's clock ran on, and its lease with it); the worker inside the hub's own process does not (the
    hub slept too). Where the system cannot tell, the stopwatch stands still.
    """

    def __init__(self, *, through_suspend: bool = True) -> None:
        boot_time = getattr(time, "CLOCK_BOOTTIME", None)
        self.clock_id: int = boot_time if through_suspend and boot_time is not None else time.CLOCK_MONOTONIC
        """The clock of the stopwatch, the same in all processes of the machine."""

    def now_ms(self) -> int:
        """Epoch milliseconds."""
        return time.time_ns() // 1_000_000

    def stopwatch_us(self) -> int:
        """Microseconds from an arbitrary origin."""
        return time.clock_gettime_ns(self.clock_id) // 1_000

    async def sleep(self, seconds: float) -> None:
        """Wait on the event loop."""
        await asyncio.sleep(seconds)


async def within(timing: Timing, seconds: float, call: Coroutine[Any, Any, T], what: str) -> T:
    """The result of `call`, which is cancelled after `seconds`.

    Raises `UnreachableError` when time is up, saying that `what` got no answer.
    """
    answer = asyncio.ensure_future(call)
    timer = asyncio.ensure_future(timing.sleep(seconds))
    try:
        await asyncio.wait({answer, timer}, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        raise UnreachableError(f"no answer within {seconds:g} s", where=what)
    finally:
        await cancelled(answer, timer)


async def cancelled(*tasks: "asyncio.Future[Any]") -> None:
    """Cancel tasks and wait until each has ended, whatever its result."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Backoff:
    """Pauses between tries that fail in a row, doubling from `first_s` up to `last_s`."""

    def __init__(self, first_s: float = 0.1, last_s: float = 5.0) -> None:
        self._first_s = first_s
        self._last_s = last_s
        self._next_s = first_s

    def next_s(self) -> float:
        """How long to wait before the next try."""
        pause_s = self._next_s
        self._next_s = min(self._last_s, pause_s * 2)
        return pause_s

    def reset(self) -> None:
        """Note a success."""
        self._next_s = self._first_s


async def first(*waits: Coroutine[Any, Any, object]) -> None:
    """Return when the first of `waits` has ended; the others are cancelled. Raises what that one raised."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await cancelled(*tasks)
