"""How much hangs on a task: the longest chain of expected durations from it through what needs it, and the order of a
run that follows from it.

A task without a stated duration counts as one of `UNKNOWN_MS`. Tasks of one run that came together share the places
they have by arrival: the one with the longest chain gets the first. So a run ends as early as its longest chain lets
it, nobody outside is overtaken by more than without it, and where nothing is known order of arrival stays.

A chain only grows while its tasks are open: what needs a task cannot end before it. Cost: O(tasks + needs) for a run
whose tasks come in the order of their needs, or nearly.
"""

from collections.abc import Sequence

from ostler.domain.tasks import Task

UNKNOWN_MS = 10_000


class Paths:
    """Chains and places of tasks that are not final."""

    def __init__(self) -> None:
        self._chain_ms: dict[str, int] = {}
        self._own_ms: dict[str, int] = {}
        self._needs: dict[str, tuple[str, ...]] = {}
        self._places: dict[str, int] = {}

    def add(self, tasks: Sequence[Task]) -> None:
        """Take in tasks that came together."""
        for task in tasks:
            own_ms = task.facts.expected_ms if task.facts.expected_ms is not None else UNKNOWN_MS
            self._own_ms[task.id] = own_ms
            self._chain_ms.setdefault(task.id, own_ms)
            self._needs[task.id] = task.needs
        changed = [task.id for task in tasks]
        while changed:
            name = changed.pop()
            chain_ms = self._chain_ms[name]
            for need in self._needs[name]:
                if need in self._own_ms and self._own_ms[need] + chain_ms > self._chain_ms[need]:
                    self._chain_ms[need] = self._own_ms[need] + chain_ms
                    changed.append(need)
        runs: dict[str, list[Task]] = {}
        for task in tasks:
            if task.batch is not None:
                runs.setdefault(task.batch, []).append(task)
        for run in runs.values():
            self._order(run)

    def _order(self, run: Sequence[Task]) -> None:
        order = sorted(run, key=lambda task: (-self._chain_ms[task.id], task.seq))
        places = sorted(task.seq for task in run)
        for task, place in zip(order, places, strict=True):
            if place != task.seq:
                self._places[task.id] = place

    def chain_ms(self, task_id: str) -> int:
        """The longest chain from a task, its own duration included; 0 for one that is not known."""
        return self._chain_ms.get(task_id, 0)

    def place(self, task: Task) -> int:
        """Its place among those of its priority."""
        return self._places.get(task.id, task.seq)

    def drop(self, task_id: str) -> None:
        """A task ended."""
        for known in (self._chain_ms, self._own_ms, self._needs, self._places):
            known.pop(task_id, None)
