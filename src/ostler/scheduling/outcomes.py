"""What becomes of an attempt: started, finished, taken back. Every report is checked against the newest generation.

A report of an older attempt is stored as a late report and changes nothing else. An attempt that ends frees its slots
exactly once, whatever ended it. An agent has no slot of an endpoint: its calls take theirs one by one, at the gateway.
"""

import msgspec

from ostler.domain.commands import LateReport, Refused
from ostler.domain.event import Event
from ostler.domain.fleet import ModelAt
from ostler.domain.policy import Policy
from ostler.domain.states import Failure, FailureClass, TaskState, Wait, WaitCode
from ostler.domain.tasks import Attempt, Task, TaskKind
from ostler.domain.work import Finished, Report, Started
from ostler.routing.aim import find_aim
from ostler.routing.effective import chain, effective, step_of
from ostler.routing.facts import estimate_tokens
from ostler.routing.ladder import ladder_of
from ostler.routing.signature import signature
from ostler.scheduling import allowances, purse
from ostler.scheduling.books import Books, Turn
from ostler.scheduling.effects import Apply, ProbeNow, Stop
from ostler.scheduling.escalating import advise
from ostler.scheduling.failures import DEFAULT_BLOCK_MS, RULES, Move, NextStep, exclusion, next_step
from ostler.scheduling.intake import end, forget, place, settle_dependents, wait_for_money
from ostler.scheduling.loading import call_measured
from ostler.scheduling.noting import note
from ostler.scheduling.people import ask
from ostler.scheduling.queue import slot_of
from ostler.scheduling.timers import TimerKind

AGENT_REPEATS = 2
ENDS_KEPT = 4096
_FOR_A_PERSON = frozenset({Move.FAIL, Move.HUMAN})
"""Moves after a failure by which nothing is tried any more."""
PROGRAM_ENDS = frozenset({FailureClass.CUT, FailureClass.TIMEOUT, FailureClass.STALLED})
"""Ways of an agent's program to end that are no doing of the endpoint: its calls were blamed one by one."""
TRIED_KEPT = 8
"""Failed attempts that a row remembers in words."""
_REPORTS = msgspec.json.Encoder()


def reported(turn: Turn, session_id: str, report: Report) -> None:
    """Take in a report of a worker."""
    books = turn.books
    task = books.tasks.get(report.task_id)
    current = task is not None and task.generation == report.generation and task.session == session_id
    if task is None or not current:
        _late(turn, task, session_id, report)
    elif isinstance(report, Started):
        _started(turn, task, report)
    elif isinstance(report, Finished) and task.state in (TaskState.ASSIGNED, TaskState.RUNNING):
        _finished(turn, task, report)
    elif task.state is TaskState.RUNNING:
        heard(turn, task)


def heard(turn: Turn, task: Task) -> None:
    """An attempt showed a sign of life. Its timer is not moved with each one: it looks when it fires."""
    books = turn.books
    books.heard.at_ms[task.id] = turn.now_ms
    if books.timers.due_ms(TimerKind.QUIET, task.id) is None:
        books.timers.set(TimerKind.QUIET, task.id, turn.now_ms + books.policy.scheduler.stuck_ms)


def quiet_due(turn: Turn, task_id: str) -> None:
    """A running attempt may have been quiet for long: that is told once for each silence, and nothing is done. A
    command may have nothing to say for hours; what ends it is its own timeout, or its worker.
    """
    books = turn.books
    task, at_ms = books.tasks.get(task_id), books.heard.at_ms.get(task_id)
    if task is None or at_ms is None or task.state is not TaskState.RUNNING:
        return
    due_ms = at_ms + books.policy.scheduler.stuck_ms
    if due_ms > turn.now_ms:
        books.timers.set(TimerKind.QUIET, task_id, due_ms)
    else:
        turn.emit(turn.task_event("task.quiet", task, {"quiet_ms": turn.now_ms - at_ms}, **turn.route_meta(task)))


def _late(turn: Turn, task: Task | None, session_id: str, report: Report) -> None:
    if not isinstance(report, Finished):
        return
    if turn.books.heard.ends.get((report.task_id, report.generation)) == report.at_ms:
        return  # the answer to its first delivery was lost on the way
    worker = turn.books.workers.states.get(session_id)
    event = Event(
        name="task.late_report",
        at_ms=turn.now_ms,
        task_id=report.task_id,
        metadata={
            "generation": report.generation,
            "current_generation": task.generation if task is not None else None,
            "worker": worker.session.offer.name if worker is not None else session_id,
            "ok": report.ok,
        },
    )
    late = LateReport(
        task_id=report.task_id,
        generation=report.generation,
        at_ms=report.at_ms,
        body=_REPORTS.encode(report),
        event=event,
    )
    turn.effects.append(Apply(command=late))
    purse.pay(turn, purse.told_late(turn.books, report, turn.now_ms))


def _started(turn: Turn, task: Task, report: Started) -> None:
    if task.state is not TaskState.ASSIGNED:
        return
    books = turn.books
    books.timers.cancel(TimerKind.ASSIGN, task.id)
    attempt = msgspec.structs.replace(books.attempts[task.id], started_ms=report.at_ms)
    books.attempts[task.id] = attempt
    after = turn.moved(task, TaskState.RUNNING, started_ms=report.at_ms)
    delay = {"start_delay_ms": max(0, report.at_ms - attempt.assigned_ms)}
    heard(turn, after)
    event = turn.task_event("task.started", after, delay, **turn.route_meta(after))
    turn.apply(turn.store(task, after, event, attempt=attempt))


def _finished(turn: Turn, task: Task, report: Finished) -> None:
    books = turn.books
    books.heard.ends[task.id, task.generation] = report.at_ms
    if len(books.heard.ends) > ENDS_KEPT:
        books.heard.ends.popitem(last=False)
    attempt = msgspec.structs.replace(
        books.attempts[task.id],
        finished_ms=report.at_ms,
        ok=report.ok,
        failure=report.failure,
        exit_code=report.exit_code,
        usage=report.usage,
        evidence=report.evidence,
    )
    duration = {"duration_ms": max(0, report.at_ms - (attempt.started_ms or attempt.assigned_ms))}
    _learn(turn, task, report)
    release(turn, task)
    judged = turn.moved(task, TaskState.EVALUATING, output_tokens=estimate_tokens(report.output))
    event = turn.task_event("task.evaluating", judged, duration, **turn.route_meta(judged))
    turn.apply(turn.store(task, judged, event, attempt=attempt, output=report.output))
    purse.pay(turn, purse.settlement(books, attempt, report, turn.now_ms))
    if report.allowances:
        allowances.told(turn, purse.provider_of(books, attempt.endpoint), report.allowances)
    books.attempts[task.id] = attempt
    if report.ok:
        purse.answered(books, task.facts, attempt.endpoint, attempt.model, report.usage)
        _succeeded(turn, judged, report, duration["duration_ms"])
    else:
        failure = report.failure or Failure(
            kind=FailureClass.ENVIRONMENT, message="the worker gave no reason", at_ms=turn.now_ms
        )
        failed(turn, judged, failure, attempt)


def _learn(turn: Turn, task: Task, report: Finished) -> None:
    """What the end of a call says about its model: speeds, and whether somebody will be back for it."""
    if task.endpoint is None or task.model is None or task.facts.kind is TaskKind.AGENT:
        return
    if report.wants_tool:
        until_ms = turn.now_ms + turn.books.policy.residency.tool_hold_ms
        turn.books.hosts.hold(ModelAt(task.endpoint, task.model), until_ms)
    if report.ok:
        turn.books.hosts.call_took(task.model, task.id, turn.now_ms)
    if report.ok and report.usage is not None:
        call_measured(turn, task.endpoint, task.model, report.usage)


def _succeeded(turn: Turn, task: Task, report: Finished, duration_ms: int) -> None:
    books = turn.books
    if task.endpoint is not None and task.facts.kind is not TaskKind.AGENT:
        touched(turn, task.endpoint, books.endpoints.call_ok(task.endpoint, turn.now_ms))
    note(turn, task, books.attempts.get(task.id), proof=report.outcome)
    after = turn.moved(task, TaskState.SUCCEEDED, outcome=report.outcome, failure=None)
    measurements = {"duration_ms": duration_ms, "attempts": task.generation}
    meta = turn.route_meta(after)
    event = turn.task_event("task.succeeded", after, measurements, outcome=report.outcome.value, **meta)
    turn.apply(turn.store(task, after, event))
    books.cancelling.pop(task.id, None)
    settle_dependents(turn, after)


def failed(turn: Turn, task: Task, failure: Failure, attempt: Attempt | None) -> None:
    """An attempt failed; `task` is the row with its slots freed. Decides the next move by the table."""
    books, policy = turn.books, turn.books.policy
    reason = books.cancelling.pop(task.id, None)
    if reason is not None:
        failure = Failure(kind=FailureClass.CANCELLED, message=reason, at_ms=turn.now_ms)
    if task.facts.kind is not TaskKind.AGENT:  # its calls were blamed one by one, as calls of the gateway
        blame(turn, task.endpoint, failure)
    step = next_step(
        task,
        failure.kind,
        signature(failure.message),
        policy.scheduler,
        repeats=_repeats(task, policy),
        can_rise=_can_rise(task, policy),
        can_switch=_step_used(task) < len(task.facts.fallback_models),
        advice=advise(task, failure.kind, policy),
    )
    note(turn, task, attempt, failure=failure, is_last=bool(step.exhausted) or step.move in _FOR_A_PERSON)
    task = _remembering(task, failure, counted=step.counted or step.move is Move.MODEL)
    if attempt is not None and attempt.counted != step.counted:
        attempt = msgspec.structs.replace(attempt, counted=step.counted)
    books.attempts.pop(task.id, None)
    if step.move is Move.CANCEL:
        end(turn, task, TaskState.CANCELLED, failure, "task.cancelled", attempt=attempt)
    elif step.move is Move.FAIL:
        end(turn, task, TaskState.FAILED, failure, "task.failed", attempt=attempt)
    elif step.move is Move.HUMAN:
        ask(turn, task, failure, attempt)
    elif step.exhausted:
        tried = f" ({'; '.join(task.tried)})" if task.tried else ""
        message = f"{step.exhausted}{tried}; the last one: {failure.message}"
        final = Failure(kind=failure.kind, message=message, at_ms=turn.now_ms)
        counted = msgspec.structs.replace(
            task, attempts_used=step.attempts_used, attempts_lost=step.attempts_lost, errors=step.errors
        )
        end(turn, counted, TaskState.DEAD_LETTER, final, "task.dead_letter", attempt=attempt)
    else:
        _again(turn, task, failure, step, attempt)


def _repeats(task: Task, policy: Policy) -> int:
    """How many equal failures raise the tier. An attempt of an agent is a whole piece of work: it is repeated once."""
    threshold = policy.routing.repeated_error_threshold
    return min(AGENT_REPEATS, threshold) if task.facts.kind is TaskKind.AGENT else threshold


def _can_rise(task: Task, policy: Policy) -> bool:
    """Whether one more step for lack of quality would lead to another tier. Not for commands, not for pinned models."""
    ladder = ladder_of(policy.catalog)
    facts = effective(task.facts, model_step=task.model_step)
    here, above = (
        find_aim(facts, quality_steps=steps, errors=(), policy=policy, ladder=ladder).start
        for steps in (task.quality_steps, task.quality_steps + 1)
    )
    return here is not None and above is not None and above.name != here.name


def _step_used(task: Task) -> int:
    """The step in its chain of models that the newest attempt ran on: beyond its own when that model was out."""
    models, step = chain(task.facts), step_of(task.facts, task.model_step)
    return models.index(task.model, step) if task.model in models[step:] else step


def _remembering(task: Task, failure: Failure, *, counted: bool) -> Task:
    """A task that names other models, with this attempt added to what was tried."""
    if not counted or not task.facts.fallback_models:
        return task
    said = f"attempt {task.generation} on {task.model or 'no model'} failed ({failure.kind.value})"
    return msgspec.structs.replace(task, tried=(*task.tried, said)[-TRIED_KEPT:])


def _again(turn: Turn, task: Task, failure: Failure, step: NextStep, attempt: Attempt | None) -> None:
    due_ms = turn.now_ms + step.delay_ms
    after = turn.moved(
        task,
        TaskState.RETRY_WAIT,
        failure=failure,
        attempts_used=step.attempts_used,
        attempts_lost=step.attempts_lost,
        quality_steps=step.quality_steps,
        model_step=_step_used(task) + 1 if step.move is Move.MODEL else task.model_step,
        errors=step.errors,
        # Another model may well run where this one failed.
        excluded=() if step.move is Move.MODEL else _left_out(task, failure),
        not_before_ms=due_ms,
    )
    measurements = {"delay_ms": step.delay_ms, "attempts": after.generation}
    detail = {
        "failure": failure.kind.value,
        "message": failure.message,
        "counted": step.counted,
        "move": step.move.value,
        "because": step.reason,
    }
    event = turn.task_event("task.retry_wait", after, measurements, **turn.route_meta(after), **detail)
    turn.apply(turn.store(task, after, event, attempt=attempt))
    place(turn, after)


def _left_out(task: Task, failure: Failure) -> tuple[str, ...]:
    """What the next choice leaves out. How an agent's program ended says nothing of the endpoint."""
    if task.facts.kind is TaskKind.AGENT and failure.kind in PROGRAM_ENDS:
        return ()
    return exclusion(failure.kind, task.endpoint, task.model)


def blame(turn: Turn, name: str | None, failure: Failure) -> None:
    """Charge the endpoint of an attempt with what was its fault."""
    books = turn.books
    if name is None or name not in books.endpoints:
        return
    rule = RULES[failure.kind]
    if rule.blocks:
        after_ms = failure.retry_after_ms or DEFAULT_BLOCK_MS[failure.kind]
        until_ms = turn.now_ms + after_ms
        touched(turn, name, books.endpoints.block(name, until_ms, turn.now_ms, failure.message))
    elif failure.kind is FailureClass.AUTH:
        touched(turn, name, books.endpoints.key_refused(name, turn.now_ms, failure.message))
    elif rule.breaks:
        touched(turn, name, books.endpoints.call_failed(name, turn.now_ms, failure.message))
    if rule.probe:
        turn.effects.append(ProbeNow(endpoint=name))


def touched(turn: Turn, name: str, events: list[Event]) -> None:
    """An endpoint may have changed: publish, set its timer, look again at what waits for it if it did."""
    books = turn.books
    turn.emit(*events)
    due_ms = books.endpoints.next_due_ms(name)
    if due_ms is None:
        books.timers.cancel(TimerKind.ENDPOINT, name)
    else:
        books.timers.set(TimerKind.ENDPOINT, name, due_ms)
    if books.endpoints.take_changed(name):
        books.queue.open_blocked_on(name)


def release(turn: Turn, task: Task) -> None:
    """Free the worker slot and the endpoint slot of a leased task."""
    books = turn.books
    books.timers.cancel(TimerKind.ASSIGN, task.id)
    books.timers.cancel(TimerKind.CANCEL, task.id)
    books.timers.cancel(TimerKind.QUIET, task.id)
    books.heard.at_ms.pop(task.id, None)
    calls_itself = task.facts.kind is not TaskKind.AGENT
    if calls_itself:
        books.free_slot(task.endpoint, task.model)
    blocked_on = books.batches.free(task)
    if blocked_on is not None:
        books.queue.open_blocked_on(blocked_on)
    if calls_itself and task.endpoint is not None and task.model is not None:
        books.hosts.call_ended(ModelAt(task.endpoint, task.model), task.id, turn.now_ms)
    if task.session is not None:
        books.workers.release(task.session, task.facts.kind, task.id)
        books.queue.free(slot_of(task.facts.kind), task.session)


def take_back(turn: Turn, task: Task, reason: str, *, stop: bool) -> None:
    """Take an attempt back from its worker; the task goes to the queue again without using up an attempt.

    `stop` also tells the worker to kill it. Bounded like every lost attempt.
    """
    books = turn.books
    if stop and task.session is not None:
        turn.effects.append(Stop(session_id=task.session, task_id=task.id, generation=task.generation))
    release(turn, task)
    failure = Failure(kind=FailureClass.WORKER_LOST, message=reason, at_ms=turn.now_ms)
    attempt = books.attempts.get(task.id)
    if attempt is not None:
        purse.pay(turn, purse.abandoned(books, attempt, turn.now_ms))
        attempt = msgspec.structs.replace(attempt, finished_ms=turn.now_ms, ok=False, failure=failure, counted=False)
    turn.emit(turn.task_event("task.reclaimed", task, {}, reason=reason, **turn.route_meta(task)))
    failed(turn, task, failure, attempt)


def refused(turn: Turn, task_id: str, generation: int, result: Refused) -> None:
    """The store did not accept an update: its row is the truth; undo what this turn's books assumed.

    A row that is leased is left alone, and so are the books. Only this hub hands out leases, so the update is one whose
    commit was not heard of: it was asked again, and later ones of its task are stored by now.
    """
    books, row, reason = turn.books, result.task, result.message
    mine = books.tasks.get(task_id)
    meta = {"task_id": task_id, "command": "update", "reason": reason}
    turn.emit(Event(name="scheduler.refused", at_ms=turn.now_ms, task_id=task_id, metadata=meta))
    if row is not None and row.session is not None:
        return
    purse.undone(turn, purse.name_of(task_id, generation))
    books.exploration.ended(purse.name_of(task_id, generation), 0, turn.now_ms)
    books.agent_paid.pop(task_id, None)
    if mine is not None and mine.generation == generation and mine.session is not None:
        release(turn, mine)
    if mine is not None:
        forget(turn, mine)
    books.attempts.pop(task_id, None)
    books.tasks.drop(task_id)
    if row is None or row.state is TaskState.SUCCEEDED or row.finished_ms is not None:
        if row is not None:
            settle_dependents(turn, row)
        return
    books.tasks[task_id] = row
    if row.session is None and result.limit:
        due_ms = purse.look_again_ms(books, result.limit, turn.now_ms)
        since_ms = row.queued_ms if row.queued_ms is not None else turn.now_ms
        wait_for_money(turn, row, Wait(code=WaitCode.BUDGET, since_ms=since_ms, detail=reason), due_ms)
    elif row.session is None:
        place(turn, row)


def adopt(books: Books, task: Task, attempt: Attempt) -> None:
    """After a restart: a leased task whose session is still known goes on where it was."""
    books.tasks[task.id] = task
    books.attempts[task.id] = attempt
    if task.facts.kind is not TaskKind.AGENT:
        books.take_slot(task.endpoint, task.model)
    books.batches.take(task)
    if task.session is not None:
        books.workers.take(task.session, task.facts.kind, task.id, task.generation)
