"""Tasks that need a person: who is asked until when, and what is answered.

Invariants: the question is part of the failure that asks, so it is as durable as that and is over with it. Where it
names choices, no other answer is taken by mistake. A default is taken only when the deadline has passed, in the same
way as the answer of a person, and each later attempt is told that nobody had answered. Without a default the task waits
on or fails, as the policy says, and that is told: once, and where it waits on once more after each restart.
"""

from msgspec.structs import replace

from ostler.domain.errors import ConflictError, InvalidInputError, nearest
from ostler.domain.policy import Unanswered
from ostler.domain.states import Failure, FailureClass, Question, TaskState, Wait, WaitCode
from ostler.domain.tasks import Answer, Attempt, Task
from ostler.scheduling.books import Turn
from ostler.scheduling.intake import Settled, await_answer, end, expect, place
from ostler.scheduling.timers import TimerKind

_NOTHING_SAID = Question()


def ask(turn: Turn, task: Task, failure: Failure, attempt: Attempt | None) -> None:
    """A person must act. What the asker left open is filled in: who, and until when."""
    policy, facts = turn.books.policy.scheduler, task.facts
    within_ms = facts.answer_within_ms if facts.answer_within_ms is not None else policy.answer_within_ms
    question = replace(
        failure.question or _NOTHING_SAID,
        owner=facts.owner or policy.owner,
        deadline_ms=turn.now_ms + within_ms if within_ms else None,
    )
    failure = replace(failure, question=question if question != _NOTHING_SAID else None)
    after = turn.moved(task, TaskState.NEEDS_HUMAN, failure=failure)
    event = turn.task_event(
        "task.needs_human",
        after,
        {},
        failure=failure.kind.value,
        message=failure.message,
        owner=question.owner,
        choices=" | ".join(question.choices),
        default=question.default,
        deadline_ms=question.deadline_ms,
    )
    turn.apply(turn.store(task, after, event, attempt=attempt))
    await_answer(turn.books, after)


def chosen(question: Question | None, text: str, *, other: bool) -> str:
    """The choice that an answer means, whatever its case; `other`: it is meant to be none of them.

    Raises `InvalidInputError` with the nearest choice.

    >>> chosen(Question(choices=("left", "right")), " Left", other=False)
    'left'
    """
    words = text.strip()
    choices = question.choices if question is not None else ()
    for choice in choices:
        if choice.casefold() == words.casefold():
            return choice
    if choices and not other:
        what = f"'{words}' is none of the choices"
        raise InvalidInputError(what, where="answer", remedy=nearest(words, choices))
    return words


def answered(turn: Turn, task: Task, text: str, settled: Settled, *, other: bool = False) -> None:
    """The task goes back to the queue as it was: same tier, same count of attempts. Each later attempt is told.

    Raises `ConflictError` when it asks nobody, `InvalidInputError` when it asks for something else.
    """
    if task.state is not TaskState.NEEDS_HUMAN:
        raise ConflictError(
            f"task {task.id} is {task.state.value}", remedy="only tasks that need a person take an answer"
        )
    text = chosen(task.failure.question if task.failure is not None else None, text, other=other)
    answer = Answer(asked=_asked(task), text=text, at_ms=turn.now_ms)
    _go_on(turn, replace(task, handed_tokens=0), answer, settled)


def answer_due(turn: Turn, task_id: str) -> None:
    """The deadline of a question may have passed: its default is taken, else what the policy says."""
    books = turn.books
    task = books.tasks.get(task_id)
    if task is None or task.state is not TaskState.NEEDS_HUMAN or task.failure is None:
        return
    question = task.failure.question
    if question is None or question.deadline_ms is None:
        return
    if question.deadline_ms > turn.now_ms:
        await_answer(books, task)
        return
    if question.default is None:
        _unanswered(turn, task, question)
        return
    # It has run, so what it needs was met, and that does not change; what of it is under way again is waited for.
    settled = Settled(met={need: True for need in task.needs if need not in books.tasks})
    answer = Answer(asked=_asked(task), text=question.default, at_ms=turn.now_ms, by_default=True)
    _go_on(turn, task, answer, settled)


def _unanswered(turn: Turn, task: Task, question: Question) -> None:
    action = turn.books.policy.scheduler.unanswered
    turn.emit(turn.task_event("task.unanswered", task, {}, owner=question.owner, action=action.value))
    if action is Unanswered.FAIL:
        who = f"{question.owner} has not" if question.owner else "nobody has"
        message = f"{who} answered in time: {_asked(task)}"
        failure = Failure(kind=FailureClass.QUESTION, message=message, at_ms=turn.now_ms, question=question)
        end(turn, task, TaskState.FAILED, failure, "task.failed")


def _asked(task: Task) -> str:
    return task.failure.message if task.failure is not None else ""


def _go_on(turn: Turn, task: Task, answer: Answer, settled: Settled) -> None:
    turn.books.timers.cancel(TimerKind.ANSWER, task.id)
    wait = Wait(code=WaitCode.DEPS if task.needs else WaitCode.READY, since_ms=turn.now_ms)
    after = turn.moved(
        task,
        TaskState.QUEUED,
        wait=wait,
        failure=None,
        answers=(*task.answers, answer),
        excluded=(),
        eligible_ms=None,
        queued_ms=turn.now_ms,
    )
    event = turn.task_event("task.answered", after, {"answers": len(after.answers)}, by_default=answer.by_default)
    turn.apply(turn.store(task, after, event))
    expect(turn.books, after, settled)
    place(turn, after)
