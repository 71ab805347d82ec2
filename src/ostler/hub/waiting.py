"""Waiting work by reason: all of it as the scheduler has counted it, or some tasks one by one.

Cost: O(reasons + classes that were not looked at yet) for all; O(tasks) for some.
"""

from collections.abc import Iterable, Iterator

from ostler.domain.states import TaskState, Wait, WaitCode
from ostler.domain.tasks import Task
from ostler.hub.views import WaitGroup
from ostler.scheduling.books import Books

Shown = tuple[str, int, Wait, str | None]
"""One of the tasks, how many, why, and the tier."""


def wait_groups(books: Books, tasks: Iterable[Task]) -> tuple[WaitGroup, ...]:
    """Those of the tasks that are queued, by reason, the largest group first."""
    return _grouped(_one_by_one(books, tasks))


def every_group(books: Books) -> tuple[WaitGroup, ...]:
    """All queued tasks, likewise."""
    return _grouped(every_waiting(books))


def every_waiting(books: Books) -> Iterator[Shown]:
    """What waits by reason, with a task that has waited longest; one reason may come several times."""
    queue = books.queue
    for name, count, wait, tier in (*books.aside.groups(), *queue.parked_groups()):
        yield str(name), count, wait, tier
    for key, count, wait, tier in queue.groups():
        head = queue.head(key)
        if head is not None:
            yield head[2], count, wait, tier
    for task_class in queue.unheld():
        count, head = task_class.size - len(task_class.parked), queue.head(task_class.key)
        known = books.tasks[head[2]].wait if head is not None else None
        if head is not None and known is not None:
            yield head[2], count, known, None


def _grouped(rows: Iterable[Shown]) -> tuple[WaitGroup, ...]:
    found: dict[tuple[str, str, str | None], list[Shown]] = {}
    for row in rows:
        _, _, wait, tier = row
        found.setdefault((wait.code.value, "" if wait.code is WaitCode.DEPS else wait.detail, tier), []).append(row)
    groups = [
        WaitGroup(
            wait=min((wait for _, _, wait, _ in members), key=lambda wait: wait.since_ms),
            count=sum(count for _, count, _, _ in members),
            tier=tier,
            example=members[0][0],
        )
        for (_, _, tier), members in found.items()
    ]
    return tuple(sorted(groups, key=lambda group: (-group.count, group.wait.code.value, group.wait.detail)))


def _one_by_one(books: Books, tasks: Iterable[Task]) -> Iterator[Shown]:
    for task in tasks:
        if task.state is not TaskState.QUEUED:
            continue
        wait = books.queue.wait_of(task.id) or task.wait
        if wait is not None:
            yield task.id, 1, wait, _tier(books, task.id)


def _tier(books: Books, task_id: str) -> str | None:
    """The tier on which a task waits, where that is known."""
    pending, task_class = books.queue.pending_fallbacks.get(task_id), books.queue.class_of(task_id)
    if pending is not None:
        return pending.original_tier
    hold = task_class.hold if task_class is not None else None
    return hold.decision.effective_tier if hold is not None else None
