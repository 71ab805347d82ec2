"""What waits to be fetched by each worker: new attempts and attempts to stop.

Invariants: an assignment is put here only after it is durable, and is handed out with every poll until the worker
reports about it, so that an answer lost on the way costs one poll and not a time-out. Workers know what they hold, so
the repetition is harmless. A stop is handed out likewise until the end of its attempt is reported: an answer that is
lost, or goes to a poll that came twice, would else leave work running that nobody wants.
"""

import asyncio

from ostler.domain.work import Assignment, Poll

REPEAT_MS = 500
"""Pause before what was handed out, and not reported about, is handed out again."""
DOUBLINGS = 4
"""So often that pause becomes twice as long while nothing is reported: a thousand workers whose reports stand in line
before a busy hub would else ask it all the time for what they have.
"""

Key = tuple[str, int]
"""(task id, generation)."""


class Outbox:
    """Mail for one session."""

    def __init__(self) -> None:
        self._open: dict[Key, Assignment] = {}
        self._stops: dict[Key, None] = {}
        self._mail = asyncio.Event()
        self._repeated = 0
        """How often all of it was handed out again since anything changed."""
        self.drain = False

    def assign(self, assignment: Assignment) -> None:
        """Put a new attempt in."""
        self._open[(assignment.task_id, assignment.generation)] = assignment
        self._repeated = 0
        self._mail.set()

    def confirm(self, task_id: str, generation: int, *, ended: bool = False) -> None:
        """The worker reported about an attempt: it has it, or has had it."""
        self._repeated = 0
        self._open.pop((task_id, generation), None)
        if ended:
            self._stops.pop((task_id, generation), None)

    def stop(self, task_id: str, generation: int) -> None:
        """Put an attempt to stop in; it is not handed out any more."""
        self.confirm(task_id, generation)
        self._stops[task_id, generation] = None
        self._mail.set()

    def start_drain(self) -> None:
        """Tell the worker that no new work will come."""
        self.drain = True
        self._mail.set()

    async def fetch(self, wait_ms: int, lease_ms: int) -> Poll:
        """Everything that waits; if nothing new does, wait up to `wait_ms` for the first."""
        repeats = bool(self._open or self._stops)
        limit_ms = min(wait_ms, REPEAT_MS << min(self._repeated, DOUBLINGS)) if repeats else wait_ms
        if not self._mail.is_set() and limit_ms > 0:
            try:
                async with asyncio.timeout(limit_ms / 1000):
                    await self._mail.wait()
            except TimeoutError:  # an empty answer, or a repetition
                self._repeated += repeats
        if not self.drain:
            self._mail.clear()
        return Poll(
            assignments=tuple(self._open.values()), cancel=tuple(self._stops), lease_ms=lease_ms, drain=self.drain
        )
