"""Whose turn it is in a group of tasks: of those that are ready by the clock, the one that stands first in the list.

The clock moves on when nobody is ready, and when the one whose turn it is would have to wait: whoever gets ready until
then and stands further ahead goes first. This is list scheduling. O(n log n) in tasks and needs of the group.
"""

import heapq
from collections.abc import Callable, Sequence

from ostler.planning.instance import PlanTask


class Turns:
    """The tasks of a group that have had no turn yet."""

    def __init__(self, tasks: Sequence[PlanTask], start_ms: int, ready_ms: Callable[[PlanTask], int]) -> None:
        """`tasks` in order of preference; `ready_ms` tells when a task is ready whose needs all have had their turn."""
        self._tasks = tasks
        self._ready_ms = ready_ms
        self._clock_ms = start_ms
        self._later: list[tuple[int, int]] = []
        """When it is ready, and its place in the list."""
        self._waiting: list[int] = []
        """The places of those, foremost first; who waits no longer is dropped when it comes up."""
        self._waits = [False] * len(tasks)
        self._now: list[int] = []
        places = {task.id: place for place, task in enumerate(tasks)}
        needs = [[places[need] for need in dict.fromkeys(task.needs) if need in places] for task in tasks]
        self._missing = [len(rows) for rows in needs]
        self._dependents: list[list[int]] = [[] for _ in tasks]
        for place, rows in enumerate(needs):
            for need in rows:
                self._dependents[need].append(place)
        for place, count in enumerate(self._missing):
            if not count:
                self._wait(place)

    def next(self, earliest_ms: Callable[[PlanTask], int]) -> tuple[int, PlanTask] | None:
        """Whose turn it is, with the place in the list for `done`; `None` when all have had theirs.

        `earliest_ms` tells how soon a task that is ready could start.
        """
        if not self._now:
            if not self._later:
                return None
            self._clock_ms = max(self._clock_ms, self._later[0][0])
        self._move(self._clock_ms)
        while self._outranked(self._now[0]):
            # Whoever is ready before this one can start, and stands ahead of it, has the turn.
            start_ms = earliest_ms(self._tasks[self._now[0]])
            if self._later[0][0] > start_ms:
                break
            self._clock_ms = max(self._clock_ms, start_ms)
            self._move(start_ms)
        place = heapq.heappop(self._now)
        return place, self._tasks[place]

    def done(self, place: int, start_ms: int) -> None:
        """The task in that place has its start; what needs it may be ready once it has ended."""
        self._clock_ms = max(self._clock_ms, start_ms)
        for dependent in self._dependents[place]:
            self._missing[dependent] -= 1
            if not self._missing[dependent]:
                self._wait(dependent)

    def _outranked(self, place: int) -> bool:
        """Whether one that stands ahead of it is still to get ready."""
        while self._waiting and not self._waits[self._waiting[0]]:
            heapq.heappop(self._waiting)
        return bool(self._waiting) and self._waiting[0] < place

    def _wait(self, place: int) -> None:
        self._waits[place] = True
        heapq.heappush(self._waiting, place)
        heapq.heappush(self._later, (self._ready_ms(self._tasks[place]), place))

    def _move(self, until_ms: int) -> None:
        while self._later and self._later[0][0] <= until_ms:
            place = heapq.heappop(self._later)[1]
            self._waits[place] = False
            heapq.heappush(self._now, place)
