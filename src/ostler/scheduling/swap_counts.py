"""What swapping has cost a host: counts and lost time, in all and in the last hour.

A *swap* is a load for which something had to go. *Lost* is time in which a swap was carried out and no call ran on the
host. The hour is kept as single entries, at most `HOUR_ENTRIES` of them, so that it costs little and forgets exactly.
"""

from collections import deque

HOUR_MS = 3_600_000
HOUR_ENTRIES = 4_096


class SwapCounts:
    """Counters of one host since the start."""

    __slots__ = ("_hour", "failed", "loads", "lost_ms", "swaps", "unloads")

    def __init__(self) -> None:
        self.loads = 0
        self.unloads = 0
        self.swaps = 0
        self.failed = 0
        self.lost_ms = 0
        self._hour: deque[tuple[int, int, int]] = deque(maxlen=HOUR_ENTRIES)
        """(instant, swaps, lost milliseconds) of each end of a load or unload."""

    def loaded(self, now_ms: int, *, unloads: int, swapped: bool, lost_ms: int) -> None:
        """A load ended well."""
        self.loads += 1
        self.swaps += int(swapped)
        self._ended(now_ms, unloads, int(swapped), lost_ms)

    def unloaded(self, now_ms: int, *, lost_ms: int) -> None:
        """An unload alone ended well."""
        self._ended(now_ms, 1, 0, lost_ms)

    def load_failed(self, now_ms: int, *, unloads: int, lost_ms: int) -> None:
        """A load or unload failed, perhaps after something had been unloaded for it."""
        self.failed += 1
        self._ended(now_ms, unloads, 0, lost_ms)

    def last_hour(self, now_ms: int) -> tuple[int, int]:
        """Swaps and lost milliseconds of the last 60 minutes."""
        while self._hour and self._hour[0][0] <= now_ms - HOUR_MS:
            self._hour.popleft()
        return sum(swaps for _, swaps, _ in self._hour), sum(lost for _, _, lost in self._hour)

    def _ended(self, now_ms: int, unloads: int, swaps: int, lost_ms: int) -> None:
        self.unloads += unloads
        self.lost_ms += lost_ms
        self._hour.append((now_ms, swaps, lost_ms))
