"""How many tasks of a batch are in flight, in all and by model: what the limits of a batch are held against.

A limit is part of each task (`batch_limit`, `batch_slots`), so that it is as durable as the task and needs no table of
its own; what runs is counted here. A task that may not start yet because of them is blocked on its batch, and is looked
at again when one of the batch ends: a round costs what changed. All operations are O(1), or O(models with a limit).
"""

from ostler.domain.tasks import Task, TaskFacts


class Batches:
    """Attempts in flight by batch."""

    def __init__(self) -> None:
        self.running: dict[str, int] = {}
        self.by_model: dict[tuple[str, str], int] = {}

    def take(self, task: Task) -> None:
        """Count an attempt that was assigned."""
        self._add(task, 1)

    def free(self, task: Task) -> str | None:
        """An attempt ended; what waits for its batch is blocked on the name that is returned."""
        self._add(task, -1)
        return resource(task.batch) if task.batch is not None else None

    def _add(self, task: Task, change: int) -> None:
        if task.batch is None:
            return
        running = self.running.get(task.batch, 0) + change
        self.running[task.batch] = running
        if not running:
            del self.running[task.batch]
        if task.model is not None:
            key = (task.batch, task.model)
            self.by_model[key] = self.by_model.get(key, 0) + change
            if not self.by_model[key]:
                del self.by_model[key]

    def full_models(self, facts: TaskFacts) -> tuple[str, ...]:
        """Models that as many tasks of the batch use as may, by name."""
        if facts.batch is None:
            return ()
        used = self.by_model
        return tuple(
            sorted(model for model, most in facts.batch_slots.items() if used.get((facts.batch, model), 0) >= most)
        )

    def is_full(self, facts: TaskFacts) -> bool:
        """Whether as many tasks of the batch run as may."""
        limit = facts.batch_limit
        return facts.batch is not None and limit is not None and self.running.get(facts.batch, 0) >= limit


def resource(batch: str) -> str:
    """The pseudo-resource that tasks held by a limit of the batch are blocked on."""
    return f"\0batch {batch}"


def limits_key(facts: TaskFacts) -> tuple[object, ...] | None:
    """What of its limits two tasks of one class must share; `None` for a task without any."""
    if facts.batch is None or not (facts.batch_limit or facts.batch_slots):
        return None
    return (facts.batch, facts.batch_limit, tuple(sorted(facts.batch_slots.items())))
