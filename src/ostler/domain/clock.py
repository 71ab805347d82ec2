"""Time as a port: the core receives `now_ms`, only shells own a clock."""

from typing import Protocol


class Clock(Protocol):
    """Wall time and a stopwatch. The simulator gives a virtual one, tests a hand-moved one."""

    def now_ms(self) -> int:
        """Epoch milliseconds."""
        ...

    def stopwatch_us(self) -> int:
        """Microseconds from an arbitrary origin, for durations only; never goes back."""
        ...
