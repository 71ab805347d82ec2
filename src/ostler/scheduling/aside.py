"""Queued tasks that wait outside of the queue: for others, for their time, for money of their own, for a person.

Whether a task is one of them follows from its row and from whether the queue has it. Both change in turn when a task
is placed, so a change is only noted (`look`), and what was noted is looked at once, when somebody asks. Invariant: what
was not noted is as it was counted. Cost: O(1) for a change; as `Tally`, once, for each task that has changed since the
last question, of which no more are kept than there are open tasks.
"""

from collections import OrderedDict
from collections.abc import Iterator

from ostler.domain.states import TaskState
from ostler.scheduling.open_tasks import OpenTasks
from ostler.scheduling.queue import WaitingQueue
from ostler.scheduling.tally import Tally, Waiting

NOTED_MIN = 1_000
"""So many changes are kept in any case."""


class Aside:
    """Counted by reason."""

    def __init__(self, tasks: OpenTasks, queue: WaitingQueue) -> None:
        self._tasks = tasks
        self._queue = queue
        self._tally = Tally()
        self._noted: OrderedDict[str, None] = OrderedDict()
        tasks.watcher = queue.watcher = self.look

    def look(self, name: str) -> None:
        """The row of a task has changed, or it came into the queue or left it."""
        noted = self._noted
        noted[name] = None
        if len(noted) > NOTED_MIN and len(noted) > len(self._tasks):
            self._count(noted.popitem(last=False)[0])

    def groups(self) -> Iterator[Waiting]:
        """What they wait for; the waiters are tasks."""
        for name in self._noted:
            self._count(name)
        self._noted.clear()
        return self._tally.groups()

    def _count(self, name: str) -> None:
        task = self._tasks.get(name)
        wait = task.wait if task is not None and task.state is TaskState.QUEUED and name not in self._queue else None
        if wait is self._tally.wait_of(name):
            return
        if wait is None:
            self._tally.drop(name)
        else:
            self._tally.put(name, 1, wait)
