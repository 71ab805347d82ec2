"""An event loop in virtual time: when nothing can run, time jumps to the next timer, so an hour takes as long as what
happens in it. Threads and sockets do not exist here: work for a thread is done on the spot. What belongs to a process
that is frozen is held back until it is thawed: its tasks take no step, its timers ring late.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar

from tests.simulator.owners import Owner, owner_in

T = TypeVar("T")
TICK_S = 1e-6
"""What a turn of the loop takes at least, as on a computer: a wait for less than a rounding has an end, too."""
TURNS_MAX = 400_000
"""Turns of the loop in one world: many times what a world takes, and a few seconds of a computer."""


class StuckError(AssertionError):
    """Everybody waits, and nothing will ever happen."""


class _NoWaiting(selectors.SelectSelector):
    """Instead of waiting for sockets, time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self._turns = 0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise StuckError("everybody waits for somebody else")
        self._turns += 1
        if self._turns > TURNS_MAX:
            raise StuckError("busy without end")
        self.now_s += max(timeout, TICK_S)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """See the module."""

    def __init__(self) -> None:
        self._time = _NoWaiting()
        super().__init__(self._time)
        # A timer is due when its instant is reached: the real loop's tolerance could let it come a moment early.
        self._clock_resolution = 1e-9

    def time(self) -> float:
        """Seconds since the beginning of the world."""
        return self._time.now_s

    def call_soon(  # type: ignore[override]
        self,
        callback: Any,  # noqa: ANN401 - as the base
        *args: Any,  # noqa: ANN401 - as the base
        context: Context | None = None,
    ) -> asyncio.Handle:
        """As the base does, unless it is for a process that is frozen."""
        owner = owner_in(context)
        if owner is None or not owner.frozen:
            return super().call_soon(callback, *args, context=context)
        handle = asyncio.Handle(callback, args, self, context)
        owner.held.append((handle.cancelled, handle))
        return handle

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Any,  # noqa: ANN401 - as the base
        *args: Any,  # noqa: ANN401 - as the base
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """As above."""
        owner = owner_in(context)
        if owner is None:
            return super().call_at(when, callback, *args, context=context)

        def ring() -> None:
            if owner.frozen:
                owner.held.append((timer.cancelled, asyncio.Handle(callback, args, self, context)))
            else:
                callback(*args)

        timer = super().call_at(when, ring, context=context)
        return timer

    def thaw(self, owner: Owner) -> None:
        """All that was held back happens now, in its order."""
        owner.frozen = False
        held, owner.held = owner.held, []
        for given_up, handle in held:
            if not given_up():
                super().call_soon(handle._run)

    def run_in_executor(self, _executor: object, func: Callable[..., T], *args: object) -> "asyncio.Future[T]":
        """Work for a thread, on the spot."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # boundary: it belongs to whoever waits
            future.set_exception(error)
        return future


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end; what is left then is cancelled."""
    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(main)
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        asyncio.set_event_loop(None)
        loop.close()


class VirtualTiming:
    """A machine's clock: the world's time, with a wall clock that may be wrong and may jump."""

    EPOCH_MS = 1_700_000_000_000

    def __init__(self, skew_ms: int = 0) -> None:
        self.skew_ms = skew_ms

    def now_ms(self) -> int:
        """Epoch milliseconds, as this machine believes."""
        return self.EPOCH_MS + self.skew_ms + self.stopwatch_us() // 1000

    def stopwatch_us(self) -> int:
        """Microseconds since the beginning of the world."""
        return round(asyncio.get_running_loop().time() * 1_000_000)

    async def sleep(self, seconds: float) -> None:
        """Wait in the world's time."""
        await asyncio.sleep(seconds)
