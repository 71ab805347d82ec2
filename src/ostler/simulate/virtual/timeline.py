"""Virtual time: a heap of things to do, each at its instant, those of one instant in the order they were entered.

Invariant: time never goes back; what is entered for the past happens now. O(log n) for each entry.
"""

import heapq
from collections.abc import Callable

START_MS = 1_000_000_000
"""Where virtual time begins. Not 0, so that nothing mistakes the first instant for "not set"."""


class Timeline:
    """What will happen, and what time it is. It is a clock for the scheduler too, whose stopwatch stands still."""

    def __init__(self, start_ms: int = START_MS) -> None:
        self.start_ms = start_ms
        self.time_ms = start_ms
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._entered = 0

    def __len__(self) -> int:
        return len(self._heap)

    def at(self, due_ms: int, action: Callable[[], None]) -> None:
        """Have something done at an instant."""
        self._entered += 1
        heapq.heappush(self._heap, (max(due_ms, self.time_ms), self._entered, action))

    def step(self) -> bool:
        """Do the next thing; `False` when there is nothing left."""
        if not self._heap:
            return False
        self.time_ms, _, action = heapq.heappop(self._heap)
        action()
        return True

    def now_ms(self) -> int:
        """The virtual instant."""
        return self.time_ms

    def stopwatch_us(self) -> int:
        """Deciding takes no virtual time."""
        return 0
