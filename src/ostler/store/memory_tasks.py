"""Which tasks of a store without a database are listed, and which may be forgotten: pure, on all of them."""

from collections.abc import Sequence

from ostler.domain.commands import PruneTasks
from ostler.domain.ports import TaskQuery
from ostler.domain.tasks import Task


def listed(tasks: Sequence[Task], query: TaskQuery) -> list[Task]:
    """The tasks that a query names, in its order."""
    if query.after_seq is not None:
        above = sorted((task for task in tasks if task.seq > query.after_seq), key=lambda task: task.seq)
        return above[: max(0, query.limit)]
    found = [
        task
        for task in tasks
        if (not query.states or task.state in query.states)
        and (query.batch is None or task.batch == query.batch)
        and (query.before_seq is None or task.seq < query.before_seq)
    ]
    found.sort(key=lambda task: task.seq, reverse=True)
    return found[: max(0, query.limit)]


def prunable(tasks: Sequence[Task], step: PruneTasks) -> list[Task]:
    """Which of all tasks may be forgotten."""
    last_seq = max((task.seq for task in tasks), default=0)

    def has_ended(task: Task) -> bool:
        return task.finished_ms is not None and task.finished_ms < step.before_ms

    going_on = {task.batch for task in tasks if task.batch is not None and not has_ended(task)}
    return [
        task
        for task in tasks
        if step.after_seq < task.seq <= step.to_seq
        and task.seq < last_seq
        and has_ended(task)
        and task.batch not in going_on
        and task.id not in step.keep
    ]
