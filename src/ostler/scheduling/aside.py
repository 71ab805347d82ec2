"""Queued tasks that wait outside of the queue: for others, for their time, for money of their own, for a person.

Whether a task is one of them follows from its row and from whether the queue has it; it is looked at again whenever
either has changed (`look`). Cost: as `Tally`.
"""

from collections.abc import Iterator

from ostler.domain.states import TaskState
from ostler.scheduling.open_tasks import OpenTasks
from ostler.scheduling.queue import WaitingQueue
from ostler.scheduling.tally import Tally, Waiting


class Aside:
    """Counted by reason."""

    def __init__(self, tasks: OpenTasks, queue: WaitingQueue) -> None:
        self._tasks = tasks
        self._queue = queue
        self._tally = Tally()
        tasks.watcher = queue.watcher = self.look

    def look(self, name: str) -> None:
        """The row of a task has changed, or it came into the queue or left it."""
        task = self._tasks.get(name)
        wait = task.wait if task is not None and task.state is TaskState.QUEUED and name not in self._queue else None
        if wait is self._tally.wait_of(name):
            return
        if wait is None:
            self._tally.drop(name)
        else:
            self._tally.put(name, 1, wait)

    def groups(self) -> Iterator[Waiting]:
        """What they wait for; the waiters are tasks."""
        return self._tally.groups()
