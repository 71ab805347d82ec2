"""Effort by the clock, for searches that are handed their time."""

import time


class UntilThen:
    """So many seconds from now on."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds

    def spent(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() >= self._until

    def left_s(self) -> float:
        """Seconds that are left, at least 0."""
        return max(0.0, self._until - time.monotonic())
