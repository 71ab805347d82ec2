"""Waiters by reason, counted as they come and go: who shows what waits for what need not walk those who wait.

A *waiter* is a task, or a class of tasks that wait alike, and stands for as many as it says. Waiters of one reason are
a group: how many there are, and the one that has waited longest. What needs others waits for one reason, whatever these
are called. Invariant: a waiter is in one group or none, and a group is not empty.

Cost: O(log waiters) for one that comes, O(1) for one that goes or changes its number; a look is O(groups).
"""

import heapq
from collections.abc import Hashable, Iterator
from typing import NamedTuple

from ostler.domain.states import Wait, WaitCode

Reason = tuple[WaitCode, str, str | None]
"""(code, detail, tier)."""
SLACK = 16
"""So many entries that are stale are always allowed."""


class Waiting(NamedTuple):
    """A group: the waiter that has waited longest, how many wait, why that one does, and the tier."""

    first: Hashable
    number: int
    wait: Wait
    tier: str | None


class _Group:
    __slots__ = ("count", "heap", "members")

    def __init__(self) -> None:
        self.count = 0
        self.members: dict[Hashable, tuple[int, int, Wait]] = {}
        """Waiter -> (its turn, for how many it stands, why)."""
        self.heap: list[tuple[int, int, Hashable]] = []
        """(since when, its turn, waiter); stale unless the turn is that of the member."""


class Tally:
    """Waiters by reason."""

    def __init__(self) -> None:
        self._groups: dict[Reason, _Group] = {}
        self._at: dict[Hashable, Reason] = {}
        self._turns = 0

    def put(self, waiter: Hashable, number: int, wait: Wait, tier: str | None = None) -> None:
        """Have a waiter stand for so many, for this reason and no other."""
        self.drop(waiter)
        reason = (wait.code, "" if wait.code is WaitCode.DEPS else wait.detail, tier)
        group = self._groups.get(reason)
        if group is None:
            group = self._groups[reason] = _Group()
        self._at[waiter] = reason
        self._turns += 1
        group.members[waiter] = (self._turns, number, wait)
        group.count += number
        if len(group.heap) > 2 * len(group.members) + SLACK:
            group.heap = [(one.since_ms, turn, name) for name, (turn, _, one) in group.members.items()]
            heapq.heapify(group.heap)
        else:
            heapq.heappush(group.heap, (wait.since_ms, self._turns, waiter))

    def change(self, waiter: Hashable, by: int) -> None:
        """Have a waiter stand for more, or fewer; one that is not here is no error."""
        reason = self._at.get(waiter)
        if reason is not None:
            group = self._groups[reason]
            turn, number, wait = group.members[waiter]
            group.members[waiter] = (turn, number + by, wait)
            group.count += by

    def drop(self, waiter: Hashable) -> None:
        """A waiter goes; one that is not here is no error."""
        reason = self._at.pop(waiter, None)
        if reason is None:
            return
        group = self._groups[reason]
        group.count -= group.members.pop(waiter)[1]
        if not group.members:
            del self._groups[reason]

    def wait_of(self, waiter: Hashable) -> Wait | None:
        """Why one waits; `None` when it is not here."""
        reason = self._at.get(waiter)
        return None if reason is None else self._groups[reason].members[waiter][2]

    def groups(self) -> Iterator[Waiting]:
        """Those that stand for any, the one that was begun first before the others."""
        for (_, _, tier), group in self._groups.items():
            if group.count:
                first = self._first(group)
                yield Waiting(first, group.count, group.members[first][2], tier)

    def _first(self, group: _Group) -> Hashable:
        """The one that has waited longest; of several the one that came first. Any that stands for none is passed
        over, for it shows nothing.
        """
        aside = []
        while True:
            entry = group.heap[0]
            member = group.members.get(entry[2])
            if member is not None and member[0] == entry[1]:
                if member[1]:
                    break
                aside.append(entry)
            heapq.heappop(group.heap)
        for one in aside:
            heapq.heappush(group.heap, one)
        return entry[2]
