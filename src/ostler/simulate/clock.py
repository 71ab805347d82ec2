"""The wall clock of a simulated server, running `factor` times as fast as real time.

The models think in modelled milliseconds. Durations in answers stay modelled; whatever a client holds against its own
clock (when a model expires, when to try again) is converted back to real time.
"""

import asyncio
import time

from ostler.simulate.host_events import FOREVER_MS


class ScaledClock:
    """Modelled time: equal to real time at the start, `factor` times as fast from then on."""

    def __init__(self, factor: float = 1.0) -> None:
        if factor <= 0:
            raise ValueError("the time factor must be above 0")
        self.factor = factor
        self._origin_ms = int(time.time() * 1000)
        self._origin_s = time.monotonic()

    def now_ms(self) -> int:
        """Modelled epoch milliseconds."""
        return self._origin_ms + int((time.monotonic() - self._origin_s) * 1000 * self.factor)

    def wall_ms(self) -> int:
        """Real epoch milliseconds, for time stamps in answers."""
        return self._origin_ms + int((time.monotonic() - self._origin_s) * 1000)

    def real_s(self, modelled_ms: float) -> float:
        """How long a modelled duration takes in reality."""
        return modelled_ms / 1000 / self.factor

    def to_wall_ms(self, modelled_at_ms: int) -> int:
        """The real time at which the modelled clock shows `modelled_at_ms`; "for ever" is kept as it is."""
        ahead_ms = modelled_at_ms - self.now_ms()
        scaled_ms = ahead_ms if ahead_ms > FOREVER_MS // 2 else int(ahead_ms / self.factor)
        return self.wall_ms() + scaled_ms

    async def sleep_until(self, modelled_at_ms: int) -> None:
        """Wait until the modelled clock shows `modelled_at_ms`; at once if it does already."""
        while (left_ms := modelled_at_ms - self.now_ms()) > 0:  # noqa: ASYNC110 -- time itself is awaited; timers may be early
            await asyncio.sleep(self.real_s(left_ms))
