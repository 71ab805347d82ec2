"""A result that came too late is taken after all, because a person says so.

Never by itself: what the report of a fenced-off attempt says is true of that attempt, and somebody may have begun the
work anew. Invariants: only a good result is adopted; never over a result that the task has, never beside an attempt
that is under way. The adopted result becomes an attempt of its own with the next generation, so that the record of the
one that was given up stays as it was; what it cost is put right from its own count.
"""

from msgspec.structs import replace

from ostler.domain.errors import ConflictError
from ostler.domain.states import LEASED_STATES, TaskState, Wait, WaitCode
from ostler.domain.tasks import Attempt, Task
from ostler.domain.work import Finished
from ostler.routing.facts import estimate_tokens
from ostler.scheduling import purse
from ostler.scheduling.books import Turn
from ostler.scheduling.intake import forget, settle_dependents
from ostler.scheduling.noting import note

ADOPTED_SESSION = "adopted"
"""Stands for the session in the rows on the way: nobody holds them."""


def adopt(turn: Turn, task: Task, attempt: Attempt, report: Finished) -> None:
    """Take a late result for that of its task. `attempt`: its record. Raises `ConflictError` when it must not be."""
    refuse_unfit(task, report)
    books = turn.books
    if task.state is not TaskState.QUEUED:
        queued = turn.moved(task, TaskState.QUEUED, wait=Wait(code=WaitCode.READY, since_ms=turn.now_ms))
        turn.apply(turn.store(task, queued, turn.task_event("task.retried", queued)))
        task = queued
    forget(turn, task)
    assigned = turn.moved(
        task,
        TaskState.ASSIGNED,
        generation=task.generation + 1,
        session=ADOPTED_SESSION,
        worker=attempt.worker,
        tier=attempt.tier,
        endpoint=attempt.endpoint,
        model=attempt.model,
        started_ms=attempt.started_ms,
    )
    told = turn.task_event(
        "task.late_adopted",
        assigned,
        adopted=report.generation,
        worker=attempt.worker,
        outcome=report.outcome.value,
    )
    turn.apply(turn.store(task, assigned, told))
    purse.pay(turn, purse.settlement(books, attempt, report, turn.now_ms))
    taken = replace(
        attempt,
        generation=assigned.generation,
        session=ADOPTED_SESSION,
        finished_ms=report.at_ms,
        ok=True,
        failure=None,
        exit_code=report.exit_code,
        usage=report.usage,
        counted=True,
        evidence=report.evidence,
        adopted=report.generation,
    )
    duration_ms = max(0, report.at_ms - (attempt.started_ms or attempt.assigned_ms))
    judged = turn.moved(assigned, TaskState.EVALUATING, output_tokens=estimate_tokens(report.output))
    event = turn.task_event("task.evaluating", judged, {"duration_ms": duration_ms}, **turn.route_meta(judged))
    turn.apply(turn.store(assigned, judged, event, attempt=taken, output=report.output))
    note(turn, judged, taken, proof=report.outcome)
    after = turn.moved(judged, TaskState.SUCCEEDED, outcome=report.outcome, failure=None)
    figures = {"duration_ms": duration_ms, "attempts": after.generation}
    event = turn.task_event("task.succeeded", after, figures, outcome=report.outcome.value, **turn.route_meta(after))
    turn.apply(turn.store(judged, after, event))
    settle_dependents(turn, after)


def refuse_unfit(task: Task, report: Finished) -> None:
    """Raises `ConflictError` when a late report cannot become the result of its task."""
    where = f"{task.id} attempt {report.generation}"
    if not report.ok:
        raise ConflictError("the late report is of a failure", where=where, remedy="there is no result to adopt")
    if task.state is TaskState.SUCCEEDED:
        what = f"task {task.id} is settled: attempt {task.generation} of it has succeeded"
        raise ConflictError(what, where=where, remedy="its result stands; the late one can still be read")
    if task.state in LEASED_STATES:
        what = f"attempt {task.generation} of task {task.id} is under way on worker {task.worker}"
        remedy = f"'ostler tasks cancel {task.id}' stops it; then adopt the late result"
        raise ConflictError(what, where=where, remedy=remedy)


def is_open_to(task: Task, report: Finished) -> bool:
    """Whether `adopt` would take it now."""
    return report.ok and task.state not in LEASED_STATES | {TaskState.SUCCEEDED}
