"""What a person answers to a task that needs one."""

from ostler.domain.errors import ConflictError
from ostler.domain.states import TaskState, Wait, WaitCode
from ostler.domain.tasks import Answer, Task
from ostler.scheduling.books import Turn
from ostler.scheduling.intake import Settled, expect, place


def answered(turn: Turn, task: Task, text: str, settled: Settled) -> None:
    """The task goes back to the queue as it was: same tier, same count of attempts. Each later attempt is told.

    Raises `ConflictError` when it asks nobody.
    """
    if task.state is not TaskState.NEEDS_HUMAN:
        raise ConflictError(
            f"task {task.id} is {task.state.value}", remedy="only tasks that need a person take an answer"
        )
    asked = task.failure.message if task.failure is not None else ""
    answer = Answer(asked=asked, text=text, at_ms=turn.now_ms)
    wait = Wait(code=WaitCode.DEPS if task.needs else WaitCode.READY, since_ms=turn.now_ms)
    after = turn.moved(
        task,
        TaskState.QUEUED,
        wait=wait,
        failure=None,
        answers=(*task.answers, answer),
        excluded=(),
        handed_tokens=0,
        eligible_ms=None,
        queued_ms=turn.now_ms,
    )
    turn.apply(turn.store(task, after, turn.task_event("task.answered", after, {"answers": len(after.answers)})))
    expect(turn.books, after, settled)
    place(turn, after)
