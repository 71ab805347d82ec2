"""The rows of all open tasks by id, and beside them by state, so that who counts or shows some need not walk all.

Invariants: a row is under its state and no other; a paused one is in `paused`. Both follow from each change by itself.
Cost: O(1) for a change; a look at a state is O(1), a walk through it O(tasks in it). In the order in which they came
into it, so equal histories give equal walks.
"""

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from ostler.domain.states import TaskState
from ostler.domain.tasks import Task

_NONE: Mapping[str, Task] = MappingProxyType({})


class OpenTasks(dict[str, Task]):
    """A dictionary of rows. Changed by `[]=`, `del` and `drop` alone."""

    def __init__(self) -> None:
        super().__init__()
        self._by_state: dict[TaskState, dict[str, Task]] = {}
        self.paused: dict[str, None] = {}
        """Those that somebody holds up."""

    def __setitem__(self, name: str, task: Task) -> None:
        before = self.get(name)
        if before is not None and before.state is not task.state:
            del self._by_state[before.state][name]
        super().__setitem__(name, task)
        there = self._by_state.get(task.state)
        if there is None:
            there = self._by_state[task.state] = {}
        there[name] = task
        if task.paused:
            self.paused[name] = None
        elif self.paused:
            self.paused.pop(name, None)

    def __delitem__(self, name: str) -> None:
        state = self[name].state
        super().__delitem__(name)
        del self._by_state[state][name]
        self.paused.pop(name, None)

    def drop(self, name: str) -> None:
        """Forget a task; one that is not here is no error."""
        if name in self:
            del self[name]

    def in_state(self, state: TaskState) -> Mapping[str, Task]:
        """Those in a state, by id."""
        return self._by_state.get(state, _NONE)

    def in_any(self, states: Iterable[TaskState]) -> Iterator[Task]:
        """Those in one of several states, state by state."""
        for state in states:
            yield from self.in_state(state).values()

    def counts(self) -> dict[TaskState, int]:
        """How many there are in each state that has any. O(states)."""
        return {state: len(there) for state, there in self._by_state.items() if there}
