"""How tasks come into the queue and leave it without running: accept, schedule, need, pause, expire, cancel, retry.

The time to live counts from the moment a task became eligible (needs met, not paused, its time come), never from its
creation; work that needs no model never expires, and neither does a task of a run that waits for its turn.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from ostler.domain.decision import RouteRequest
from ostler.domain.errors import ConflictError, NotFoundError
from ostler.domain.states import (
    FINAL_STATES,
    LEASED_STATES,
    Failure,
    FailureClass,
    TaskState,
    Wait,
    WaitCode,
)
from ostler.domain.tasks import Attempt, Task, TaskKind
from ostler.routing.classes import charged_apart, route_class
from ostler.scheduling.batches import limits_key
from ostler.scheduling.books import Books, Turn
from ostler.scheduling.effects import Stop
from ostler.scheduling.followed import host_of, place_of
from ostler.scheduling.guiding import planned_endpoints
from ostler.scheduling.lines import Apart
from ostler.scheduling.residency import foresee
from ostler.scheduling.timers import TimerKind

CANCEL_GRACE_MS = 15_000
"""A worker that does not confirm a stop by then is not waited for; its late report is kept, not applied."""

PAUSED_BY_HAND = "paused by hand"

_NOT_ELIGIBLE = frozenset({WaitCode.DEPS, WaitCode.PAUSED, WaitCode.SCHEDULED})
"""Reasons of a queued task that keep it out of the classes: what waits for another one has been eligible before."""

_IN_LINE = frozenset({WaitCode.CAPACITY, WaitCode.MODEL_SWAP})
"""Reasons of a task that will run when those before it have."""


class Settled(NamedTuple):
    """Needed tasks that ended before: whether the need is met, and the tokens of the results of those that are."""

    met: Mapping[str, bool] = {}
    lengths: Mapping[str, int] = {}


def need_is_met(state: TaskState, *, optional: bool) -> bool:
    """Whether a needed task that ended like this lets its dependents run."""
    return state is TaskState.SUCCEEDED or (optional and state in FINAL_STATES)


def class_key(books: Books, task: Task) -> Hashable:
    """What makes two waiting tasks equal: the route class, what matching to a worker depends on, whose limits count
    them, and a plan in force, which may have the head of a class wait for its turn, with the host on which it has the
    task run. Without plan and limited batch, classes that differ only in whose limits count them are of one kin.
    """
    facts = task.facts
    plan = (task.batch, host_of(books.following, task)) if task.batch in books.following else None
    route = route_class(facts, task, books.policy)
    money, batch = charged_apart(books.policy.budget, facts), limits_key(facts)
    kin = (route, facts.kind, facts.requires, facts.worker, facts.repo, batch, plan)
    return Apart(kin, money) if batch is None and plan is None else (*kin, money)


def route_request(books: Books, task: Task, now_ms: int, *, generation: int = 0) -> RouteRequest:
    """The question that a waiting task puts to `decide`."""
    return RouteRequest(
        facts=task.facts,
        now_ms=now_ms,
        queued_ms=task.queued_ms if task.queued_ms is not None else task.created_ms,
        generation=generation,
        quality_steps=task.quality_steps,
        errors=task.errors,
        excluded=task.excluded,
        model_step=task.model_step,
        tried=task.tried,
        handed_tokens=task.handed_tokens,
        full_models=books.batches.full_models(task.facts) if task.facts.batch_slots else (),
        planned=planned_endpoints(books, task),
    )


def accept(turn: Turn, tasks: Sequence[Task], settled: Settled, plan_by_ms: int | None = None) -> None:
    """Take in tasks that are durable and not leased. `plan_by_ms`: until when they wait for a plan of their run."""
    books = turn.books
    if plan_by_ms is not None:
        books.unplanned.update((task.id, plan_by_ms) for task in tasks if task.batch is not None)
    for task in tasks:
        books.tasks[task.id] = task
    books.paths.add(tasks)
    for task in tasks:
        expect(books, task, settled)
    for task in tasks:
        if task.state is TaskState.NEEDS_HUMAN:
            await_answer(books, task)
        elif task.id in books.tasks:
            place(turn, books.tasks[task.id])


def await_answer(books: Books, task: Task) -> None:
    """Look at a task that needs a person again when its deadline has passed, if it has one."""
    question = task.failure.question if task.failure is not None else None
    if question is not None and question.deadline_ms is not None:
        books.timers.set(TimerKind.ANSWER, task.id, question.deadline_ms)


def expect(books: Books, task: Task, settled: Settled) -> None:
    """Write down what a task still waits for, and how much of its results is there already."""
    # A need on a task that ended badly stays open for ever; `place` ends the task that has it.
    still_open = [need for need in task.needs if need in books.tasks or not settled.met.get(need, False)]
    books.dependencies.add(task.id, still_open)
    tokens = sum(settled.lengths.get(need, 0) for need in task.facts.takes if need not in books.tasks)
    if tokens:
        books.handed[task.id] = tokens


def place(turn: Turn, task: Task) -> None:
    """Put a task that is not leased where it belongs: needs, time, pause, delay, or the queue."""
    books = turn.books
    if task.state is TaskState.RETRY_WAIT and (task.not_before_ms or 0) > turn.now_ms:
        books.timers.set(TimerKind.RETRY, task.id, task.not_before_ms or 0)
        return
    lost = [need for need in books.dependencies.missing(task.id) if need not in books.tasks]
    if lost:
        cancel_dependent(turn, task, min(lost))
    elif books.dependencies.missing(task.id):
        wait = Wait(code=WaitCode.DEPS, since_ms=turn.now_ms, detail=needs_detail(books, task.id))
        hold_back(turn, task, wait)
        foresee(turn, task.id)
    elif books.unplanned.get(task.id, 0) > turn.now_ms:
        due_ms = books.unplanned[task.id]
        books.timers.set(TimerKind.NOT_BEFORE, task.id, due_ms)
        detail = "its run is being planned"
        hold_back(turn, task, Wait(code=WaitCode.SCHEDULED, since_ms=turn.now_ms, detail=detail, next_check_ms=due_ms))
    elif task.not_before_ms is not None and task.not_before_ms > turn.now_ms:
        books.timers.set(TimerKind.NOT_BEFORE, task.id, task.not_before_ms)
        if task.state is TaskState.QUEUED:
            wait = Wait(code=WaitCode.SCHEDULED, since_ms=turn.now_ms, next_check_ms=task.not_before_ms)
            hold_back(turn, task, wait)
    elif task.paused:
        hold_back(turn, task, Wait(code=WaitCode.PAUSED, since_ms=turn.now_ms, detail=PAUSED_BY_HAND))
    else:
        enqueue(turn, task)


def needs_detail(books: Books, task_id: str) -> str:
    """The needs of a task that are open at this moment, in words."""
    return "needs " + ", ".join(sorted(books.dependencies.missing(task_id)))


def hold_back(turn: Turn, task: Task, wait: Wait) -> None:
    """Keep a task queued with a reason of its own, outside the classes."""
    turn.books.queue.remove(task.id)
    turn.books.timers.cancel(TimerKind.TTL, task.id)
    if task.state is TaskState.QUEUED and task.wait is not None and task.wait.code is wait.code:
        return
    after = turn.moved(task, TaskState.QUEUED, wait=wait)
    event = turn.task_event("task.queued", after, wait=wait.code.value, reason=turn.wait(wait))
    turn.apply(turn.store(task, after, event))


def enqueue(turn: Turn, task: Task) -> None:
    """Make a task eligible now: it enters its class, and its time to live starts."""
    books, now_ms = turn.books, turn.now_ms
    known = task.state is TaskState.QUEUED and task.wait is not None and task.wait.code not in _NOT_ELIGIBLE
    handed = books.handed.pop(task.id, task.handed_tokens)
    if not known or task.eligible_ms is None:
        wait = Wait(code=WaitCode.READY, since_ms=now_ms)
        after = turn.moved(
            task,
            TaskState.QUEUED,
            wait=wait,
            eligible_ms=now_ms,
            queued_ms=now_ms,
            not_before_ms=None,
            handed_tokens=handed,
        )
        event = turn.task_event("task.queued", after, wait=wait.code.value, reason="eligible")
        turn.apply(turn.store(task, after, event))
        task = after
    books.fallback_emitted.discard(task.id)
    books.queue.push(
        task.id, class_key(books, task), int(task.priority), place_of(books.following, task, books.paths.place(task))
    )
    ttl_due_ms = _ttl_due_ms(task, now_ms)
    if ttl_due_ms is not None:
        books.timers.set(TimerKind.TTL, task.id, ttl_due_ms)


def _ttl_due_ms(task: Task, now_ms: int) -> int | None:
    """When the time to live of a task is over; `None` = never."""
    if not task.ttl_ms or task.facts.kind is TaskKind.COMMAND:
        return None
    return (task.eligible_ms if task.eligible_ms is not None else now_ms) + task.ttl_ms


def wait_for_money(turn: Turn, task: Task, wait: Wait, due_ms: int) -> None:
    """Have a task wait by itself until there may be money for it, and be looked at again then. Its time to live goes
    on: only a limit keeps it from running.
    """
    ttl_due_ms = _ttl_due_ms(task, turn.now_ms)
    due_ms = due_ms if ttl_due_ms is None else min(due_ms, ttl_due_ms)
    turn.books.timers.set(TimerKind.NOT_BEFORE, task.id, due_ms)
    hold_back(turn, task, msgspec.structs.replace(wait, next_check_ms=due_ms))


def delay_over(turn: Turn, task: Task) -> None:
    """A delay of a task is over: it goes where it belongs, or to its end when it has waited for money long enough."""
    ttl_due_ms = _ttl_due_ms(task, turn.now_ms)
    waits_for_money = task.state is TaskState.QUEUED and task.wait is not None and task.wait.code is WaitCode.BUDGET
    if waits_for_money and ttl_due_ms is not None and ttl_due_ms <= turn.now_ms:
        _give_up(turn, task, task.wait)
    else:
        place(turn, task)


def end(
    turn: Turn, task: Task, state: TaskState, failure: Failure, name: str, *, attempt: Attempt | None = None
) -> None:
    """End a task that holds no lease (any more); `attempt` is the record of the one that brought it to its end."""
    forget(turn, task)
    after = turn.moved(task, state, failure=failure)
    measurements: dict[str, int] = {}
    if state is TaskState.EXPIRED:
        measurements["wait_ms"] = turn.now_ms - (task.eligible_ms or task.created_ms)
    elif state is TaskState.DEAD_LETTER:
        measurements["attempts"] = task.attempts_used + task.attempts_lost
    detail = {"failure": failure.kind.value, "message": failure.message}
    if state is TaskState.CANCELLED:
        detail = {"reason": failure.message}
    elif state is TaskState.EXPIRED:
        detail = {"wait": failure.message, "message": failure.message}
    event = turn.task_event(name, after, measurements, **detail)
    turn.apply(turn.store(task, after, event, attempt=attempt))
    settle_dependents(turn, after)


def forget(turn: Turn, task: Task) -> None:
    """Remove a task from the queue and cancel all its timers: it was assigned, or it ended."""
    books = turn.books
    books.queue.remove(task.id)
    books.fallback_emitted.discard(task.id)
    books.handed.pop(task.id, None)
    for kind in (TimerKind.FALLBACK, TimerKind.TTL, TimerKind.NOT_BEFORE, TimerKind.RETRY, TimerKind.ANSWER):
        books.timers.cancel(kind, task.id)


def settle_dependents(turn: Turn, ended: Task) -> None:
    """A task ended: free what waited for it, or end it too. What ends on the way is settled after it, one by one: a
    chain of tasks may be longer than any stack.
    """
    turn.settling.append(ended)
    if len(turn.settling) > 1:
        return  # the loop that is under way comes to it
    while turn.settling:
        _settle(turn, turn.settling[0])
        turn.settling.popleft()


def _settle(turn: Turn, ended: Task) -> None:
    books = turn.books
    books.dependencies.drop(ended.id)
    if need_is_met(ended.state, optional=ended.optional):
        _hand_over(books, ended)
        for task_id in books.dependencies.met(ended.id):
            task = books.tasks.get(task_id)
            if task is not None:
                place(turn, task)
        return
    for task_id in books.dependencies.dependents(ended.id):
        task = books.tasks.get(task_id)
        if task is not None:
            cancel_dependent(turn, task, ended.id, ended.state)


def _hand_over(books: Books, ended: Task) -> None:
    """Count the result of a task for those that take it."""
    if ended.state is not TaskState.SUCCEEDED or not ended.output_tokens:
        return
    for task_id in books.dependencies.dependents(ended.id):
        task = books.tasks.get(task_id)
        if task is not None and ended.id in task.facts.takes:
            books.handed[task_id] = books.handed.get(task_id, 0) + ended.output_tokens


def cancel_dependent(turn: Turn, task: Task, needed: str, state: TaskState | None = None) -> None:
    """End a task whose need can no longer be met."""
    how = f"ended as {state.value}" if state is not None else "did not succeed"
    message = f"needs {needed}, which {how}; 'ostler tasks retry {needed}' brings both back"
    failure = Failure(kind=FailureClass.DEPENDENCY, message=message, at_ms=turn.now_ms)
    end(turn, task, TaskState.CANCELLED, failure, "task.cancelled")


def expire(turn: Turn, task_id: str) -> None:
    """The time to live of a task is over, if it still waits."""
    books = turn.books
    task = books.tasks.get(task_id)
    if task is None or task.state is not TaskState.QUEUED or task_id not in books.queue:
        return
    wait = books.queue.wait_of(task_id) or task.wait
    if wait is not None and _waits_its_turn(books, task, wait):
        books.timers.set(TimerKind.TTL, task_id, turn.now_ms + task.ttl_ms)
    else:
        _give_up(turn, task, wait)


def _give_up(turn: Turn, task: Task, wait: Wait | None) -> None:
    waited_for = turn.wait(wait) if wait is not None else "unknown"
    seconds = task.ttl_ms / 1000
    message = f"waited longer than its time to live of {seconds:g} s; last reason: {waited_for}"
    failure = Failure(kind=FailureClass.TTL, message=message, at_ms=turn.now_ms)
    end(turn, task, TaskState.EXPIRED, failure, "task.expired")


def _waits_its_turn(books: Books, task: Task, wait: Wait) -> bool:
    """Whether it stands in line behind the other tasks of its run at places that work. A run is as long as it is: only
    a time to live of the task's own ends such a wait.
    """
    is_usual = task.ttl_ms == books.policy.scheduler.task_ttl_ms
    return task.batch is not None and is_usual and wait.code in _IN_LINE


def cancel(turn: Turn, task_id: str, reason: str) -> None:
    """Cancel a task by hand. One that runs is stopped at its worker first."""
    books = turn.books
    task = _known(books, task_id)
    reason = reason or "cancelled by hand"
    if task.state not in LEASED_STATES:
        failure = Failure(kind=FailureClass.CANCELLED, message=reason, at_ms=turn.now_ms)
        end(turn, task, TaskState.CANCELLED, failure, "task.cancelled")
        return
    books.cancelling[task_id] = reason
    books.timers.set(TimerKind.CANCEL, task_id, turn.now_ms + CANCEL_GRACE_MS)
    if task.session is not None:
        turn.effects.append(Stop(session_id=task.session, task_id=task_id, generation=task.generation))


def pause(turn: Turn, task_id: str) -> None:
    """Keep a task from starting (again)."""
    task = _known(turn.books, task_id)
    if task.paused:
        return
    if task.state in LEASED_STATES:
        turn.books.tasks[task_id] = msgspec.structs.replace(task, paused=True)
        turn.emit(turn.task_event("task.paused", task))
        return
    paused = msgspec.structs.replace(task, paused=True)
    turn.emit(turn.task_event("task.paused", paused))
    turn.books.tasks[task_id] = paused
    if task.state is not TaskState.QUEUED:
        return
    if turn.books.dependencies.missing(task_id):
        # Stored at once, though it waits for something else now: what a person said outlives the process.
        after = turn.moved(paused, TaskState.QUEUED)
        reason = turn.wait(task.wait) if task.wait is not None else ""
        event = turn.task_event("task.queued", after, wait=WaitCode.DEPS.value, reason=reason)
        turn.apply(turn.store(paused, after, event))
        return
    hold_back(turn, paused, Wait(code=WaitCode.PAUSED, since_ms=turn.now_ms, detail=PAUSED_BY_HAND))


def resume(turn: Turn, task_id: str) -> None:
    """Let a paused task go on; its time to live starts anew."""
    task = _known(turn.books, task_id)
    if not task.paused:
        return
    resumed = msgspec.structs.replace(task, paused=False)
    turn.books.tasks[task_id] = resumed
    turn.emit(turn.task_event("task.resumed", resumed))
    if resumed.state is TaskState.QUEUED:
        place(turn, resumed)


def retry(turn: Turn, task: Task, settled: Settled) -> None:
    """Send a task that ended badly back to the queue with a fresh budget."""
    if task.state is TaskState.SUCCEEDED or (task.state not in FINAL_STATES | {TaskState.NEEDS_HUMAN}):
        what = f"task {task.id} is {task.state.value}"
        remedy = "only failed, expired, cancelled, dead-letter or needs-human tasks can be retried"
        raise ConflictError(what, remedy=remedy)
    wait = Wait(code=WaitCode.DEPS if task.needs else WaitCode.READY, since_ms=turn.now_ms)
    after = turn.moved(
        task,
        TaskState.QUEUED,
        wait=wait,
        attempts_used=0,
        attempts_lost=0,
        quality_steps=0,
        model_step=0,
        tried=(),
        handed_tokens=0,
        errors=(),
        excluded=(),
        failure=None,
        outcome=None,
        eligible_ms=None,
        queued_ms=turn.now_ms,
    )
    turn.apply(turn.store(task, after, turn.task_event("task.retried", after)))
    expect(turn.books, after, settled)
    place(turn, after)


def _known(books: Books, task_id: str) -> Task:
    task = books.tasks.get(task_id)
    if task is None:
        raise NotFoundError(f"no open task {task_id}", remedy="'ostler tasks list' shows them")
    return task
