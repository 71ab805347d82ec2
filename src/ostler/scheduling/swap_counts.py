"""What swapping has cost a host: counts and lost time, in all and in the last hour.

A *swap* is a load for which something had to go. *Lost* is time in which a swap was carried out and no call ran on the
host. The hour is kept as single entries, at most `HOUR_ENTRIES` of them, so that it costs little and forgets exactly.
"""

from collections import deque

from ostler.domain.managed import Counts

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
        self._hour: deque[tuple[int, Counts]] = deque(maxlen=HOUR_ENTRIES)
        """Each end of a load or unload, and what it adds."""

    def loaded(self, now_ms: int, *, unloads: int, swapped: bool, lost_ms: int) -> None:
        """A load ended well."""
        self._ended(now_ms, Counts(loads=1, unloads=unloads, swaps=int(swapped), lost_ms=lost_ms))

    def unloaded(self, now_ms: int, *, lost_ms: int) -> None:
        """An unload alone ended well."""
        self._ended(now_ms, Counts(unloads=1, lost_ms=lost_ms))

    def load_failed(self, now_ms: int, *, unloads: int, lost_ms: int) -> None:
        """A load or unload failed, perhaps after something had been unloaded for it."""
        self._ended(now_ms, Counts(failed=1, unloads=unloads, lost_ms=lost_ms))

    def since_start(self) -> Counts:
        """All of it."""
        return Counts(
            loads=self.loads, unloads=self.unloads, swaps=self.swaps, failed=self.failed, lost_ms=self.lost_ms
        )

    def last_hour(self, now_ms: int) -> Counts:
        """What ended in the last 60 minutes."""
        while self._hour and self._hour[0][0] <= now_ms - HOUR_MS:
            self._hour.popleft()
        ends = [end for _, end in self._hour]
        return Counts(
            loads=sum(end.loads for end in ends),
            unloads=sum(end.unloads for end in ends),
            swaps=sum(end.swaps for end in ends),
            failed=sum(end.failed for end in ends),
            lost_ms=sum(end.lost_ms for end in ends),
        )

    def _ended(self, now_ms: int, end: Counts) -> None:
        self.loads += end.loads
        self.unloads += end.unloads
        self.swaps += end.swaps
        self.failed += end.failed
        self.lost_ms += end.lost_ms
        self._hour.append((now_ms, end))
