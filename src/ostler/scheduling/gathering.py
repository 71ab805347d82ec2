"""Batches made of tasks that are there: which tasks belong together, and how many of them run at once.

A batch is no row of its own. Its name and its limit are part of each of its tasks, so they are as durable as those; it
exists as long as one of them does. All is checked before anything changes.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from ostler.domain.errors import ConflictError, NotFoundError
from ostler.domain.states import LEASED_STATES, TaskState
from ostler.domain.tasks import Task
from ostler.scheduling.batches import resource
from ostler.scheduling.books import Books, Turn
from ostler.scheduling.intake import place


def gather(turn: Turn, batch: str, task_ids: Sequence[str], limit: int | None) -> None:
    """Put open tasks into a batch and give the whole batch this limit. Raises `NotFoundError`, `ConflictError`."""
    books = turn.books
    named = [_fit(books, task_id, batch) for task_id in dict.fromkeys(task_ids)]
    known = {task.id for task in named}
    rest = [task for task in books.tasks.in_batch(batch).values() if task.id not in known]
    changed = [*named, *(task for task in rest if task.facts.batch_limit != limit)]
    for task in changed:
        _put(turn, task, batch, limit, free=task.id in known)
    books.queue.open_blocked_on(resource(batch))


def _fit(books: Books, task_id: str, batch: str) -> Task:
    task = books.tasks.get(task_id)
    if task is None:
        raise NotFoundError(f"no open task {task_id}", where="tasks", remedy="'ostler add' makes one")
    if task.batch is not None and task.batch != batch:
        remedy = "a task is in one batch at most"
        raise ConflictError(f"task {task_id} is in batch {task.batch}", where="tasks", remedy=remedy)
    if task.batch is None and task.state in LEASED_STATES:
        remedy = "leave it out, or cancel it first"
        raise ConflictError(f"task {task_id} runs already", where="tasks", remedy=remedy)
    return task


def _put(turn: Turn, task: Task, batch: str, limit: int | None, *, free: bool) -> None:
    books = turn.books
    facts = replace(task.facts, batch=batch, batch_limit=limit)
    paused = task.paused and not free
    after = replace(task, facts=facts, batch=batch, paused=paused)
    event = turn.task_event("task.gathered", after, batch=batch, limit=limit)
    if task.state is not TaskState.QUEUED:
        # No transition of its own: the row is stored with the next one.
        books.tasks[task.id] = after
        turn.emit(event)
        return
    books.queue.remove(task.id)
    queued = turn.moved(after, TaskState.QUEUED)
    turn.apply(turn.store(task, queued, event))
    place(turn, queued)
