"""The actor's own timers: a heap of due instants. The shell keeps one alarm, for the earliest.

Invariant: a timer is identified by (kind, key); setting it again replaces it. Stale heap entries are skipped when they
surface, so that setting and cancelling cost O(log n) and O(1).
"""

import heapq
from enum import StrEnum


class TimerKind(StrEnum):
    """What a timer is for."""

    FALLBACK = "fallback"
    TTL = "ttl"
    NOT_BEFORE = "not_before"
    RETRY = "retry"
    ASSIGN = "assign"
    CANCEL = "cancel"
    SESSION = "session"
    ENDPOINT = "endpoint"
    CLASS = "class"
    TIER_ALERT = "tier_alert"
    LATE = "late"
    """A running task takes longer than its plan allows."""
    REPLAN = "replan"
    QUIET = "quiet"
    """A running attempt shows no sign of life."""
    RESIDENCY = "residency"
    ANSWER = "answer"
    """A person was to answer by then."""
    CALL = "call"
    """A live call is to have begun by then."""


class Timers:
    """Timers by (kind, key)."""

    def __init__(self) -> None:
        self._due: dict[tuple[TimerKind, object], int] = {}
        self._heap: list[tuple[int, int, tuple[TimerKind, object]]] = []
        self._count = 0

    def set(self, kind: TimerKind, key: object, due_ms: int) -> None:
        """Start or move a timer."""
        identity = (kind, key)
        if self._due.get(identity) == due_ms:
            return
        self._due[identity] = due_ms
        self._count += 1
        heapq.heappush(self._heap, (due_ms, self._count, identity))

    def cancel(self, kind: TimerKind, key: object) -> None:
        """Stop a timer; one that is not set is no error."""
        self._due.pop((kind, key), None)

    def due_ms(self, kind: TimerKind, key: object) -> int | None:
        """When a timer is due, `None` if it is not set."""
        return self._due.get((kind, key))

    def pop_due(self, now_ms: int) -> list[tuple[TimerKind, object]]:
        """Take all timers that are due, earliest first, ties in the order they were set."""
        fired: list[tuple[TimerKind, object]] = []
        if not self._heap or self._heap[0][0] > now_ms:
            return fired
        while self._heap and self._heap[0][0] <= now_ms:
            due_ms, _, identity = heapq.heappop(self._heap)
            if self._due.get(identity) == due_ms:
                del self._due[identity]
                fired.append(identity)
        return fired

    def next_ms(self) -> int | None:
        """When the earliest timer is due."""
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None
