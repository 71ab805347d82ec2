"""The rows of all open tasks by id, and beside them by state and batch, so that who counts or shows some need not walk
all.

Invariants: a row is under its state and its batch and no other; a paused one is in `paused`. All follow from each
change by itself.
Cost: O(1) for a change; a look at a state is O(1), a walk through it O(tasks in it). In the order in which they came
into it, so equal histories give equal walks.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType

from ostler.domain.states import TaskState
from ostler.domain.tasks import Task

_NONE: Mapping[str, Task] = MappingProxyType({})


class OpenTasks(dict[str, Task]):
    """A dictionary of rows. Changed by `[]=`, `del` and `drop` alone."""

    def __init__(self, tasks: Iterable[Task] = ()) -> None:
        super().__init__()
        self._by_state: dict[TaskState, dict[str, Task]] = {}
        self._by_batch: dict[str, dict[str, Task]] = {}
        self.watcher: Callable[[str], None] = lambda _: None
        """Told of each id whose row has changed, or gone."""
        self.paused: dict[str, None] = {}
        """Those that somebody holds up."""
        for task in tasks:
            self[task.id] = task

    def __setitem__(self, name: str, task: Task) -> None:
        before = self.get(name)
        if before is not None and before.state is not task.state:
            del self._by_state[before.state][name]
        super().__setitem__(name, task)
        there = self._by_state.get(task.state)
        if there is None:
            there = self._by_state[task.state] = {}
        there[name] = task
        if before is not None and before.batch != task.batch:
            self._leave(before)
        if task.batch is not None:
            self._by_batch.setdefault(task.batch, {})[name] = task
        if task.paused:
            self.paused[name] = None
        elif self.paused:
            self.paused.pop(name, None)
        self.watcher(name)

    def __delitem__(self, name: str) -> None:
        before = self[name]
        super().__delitem__(name)
        del self._by_state[before.state][name]
        self._leave(before)
        self.paused.pop(name, None)
        self.watcher(name)

    def _leave(self, task: Task) -> None:
        """Take a row out of its batch."""
        if task.batch is not None:
            fellows = self._by_batch[task.batch]
            del fellows[task.id]
            if not fellows:
                del self._by_batch[task.batch]

    def drop(self, name: str) -> None:
        """Forget a task; one that is not here is no error."""
        if name in self:
            del self[name]

    def in_state(self, state: TaskState) -> Mapping[str, Task]:
        """Those in a state, by id."""
        return self._by_state.get(state, _NONE)

    def in_batch(self, batch: str) -> Mapping[str, Task]:
        """Those of a batch, by id."""
        return self._by_batch.get(batch, _NONE)

    def batches(self) -> tuple[str, ...]:
        """Batches with open tasks, the one that came first before the others. O(those)."""
        return tuple(self._by_batch)

    def in_any(self, states: Iterable[TaskState]) -> Iterator[Task]:
        """Those in one of several states, state by state."""
        for state in states:
            yield from self.in_state(state).values()

    def counts(self) -> dict[TaskState, int]:
        """How many there are in each state that has any. O(states)."""
        return {state: len(there) for state, there in self._by_state.items() if there}
