"""Words for a task's whereabouts: a headline, what holds it, what happened so far, and the record of the decision."""

from collections.abc import Sequence

from ostler.domain.decision import Decision, Hold, Route, Verdict
from ostler.domain.ports import TaskDetail
from ostler.domain.states import TaskState, Wait
from ostler.domain.tasks import Attempt, Evidence, Task
from ostler.hub.views import Why
from ostler.routing.explain import explain, plain

TENTHS_BELOW_MS = 10_000
MINUTES_FROM_MS = 600_000


def seconds(duration_ms: int) -> str:
    """A duration for a person.

    >>> seconds(450), seconds(12_400), seconds(3_900_000)
    ('0.5 s', '12 s', '65 min')
    """
    if duration_ms < TENTHS_BELOW_MS:
        return f"{duration_ms / 1000:.1f} s"
    return f"{duration_ms // 1000} s" if duration_ms < MINUTES_FROM_MS else f"{duration_ms // 60_000} min"


def wait_text(wait: Wait, now_ms: int) -> str:
    """A wait reason in one sentence, with how long it has lasted and when it will be looked at again."""
    detail = f": {wait.detail}" if wait.detail else ""
    text = f"{wait.code.value.replace('_', ' ')}{detail}; for {seconds(max(0, now_ms - wait.since_ms))} now"
    if wait.next_check_ms is not None and wait.next_check_ms > now_ms:
        text += f", next look in {seconds(wait.next_check_ms - now_ms)}"
    return text


def headline(task: Task, now_ms: int) -> str:
    """One sentence that says where a task is and why."""
    place = f" on {task.endpoint} with {task.model}" if task.endpoint else ""
    fallback = ", by fallback" if task.fallback_used else ""
    match task.state:
        case TaskState.QUEUED if task.wait is not None:
            return f"{task.id} waits ({wait_text(task.wait, now_ms)})"
        case TaskState.ASSIGNED | TaskState.RUNNING | TaskState.EVALUATING:
            return f"{task.id} is {task.state.value} at worker {task.worker}{place}, tier {task.tier}{fallback}"
        case TaskState.SUCCEEDED:
            how = task.outcome.value if task.outcome is not None else "reported"
            return f"{task.id} succeeded ({how}){place}, tier {task.tier}{fallback}"
        case TaskState.RETRY_WAIT:
            due_ms = max(0, (task.not_before_ms or now_ms) - now_ms)
            return f"{task.id} failed and is tried again in {seconds(due_ms)}: {_failure(task)}"
        case TaskState.SCHEDULED:
            return f"{task.id} starts in {seconds(max(0, (task.not_before_ms or now_ms) - now_ms))}"
        case _:
            return f"{task.id} {_ENDED.get(task.state, task.state.value)}: {_failure(task)}"


_ENDED = {
    TaskState.NEEDS_HUMAN: "needs a person",
    TaskState.DEAD_LETTER: "was given up",
    TaskState.FAILED: "failed",
    TaskState.EXPIRED: "expired",
    TaskState.CANCELLED: "was cancelled",
}


def _failure(task: Task) -> str:
    return f"{task.failure.message} [{task.failure.kind.value}]" if task.failure is not None else "no reason is known"


def why_lines(task: Task, detail: TaskDetail, hold: Hold | None, now_ms: int) -> tuple[str, ...]:
    """Everything after the headline: the attempts so far, then the newest decision, or the one that holds it now."""
    lines: list[str] = []
    if detail.attempts:
        lines += ["Attempts", *(f"  {_attempt(attempt)}" for attempt in detail.attempts), ""]
    record: Verdict | Decision | None = hold or (detail.decisions[-1] if detail.decisions else None)
    if hold is not None:
        lines.append("Decision of this moment")
    elif isinstance(record, Decision):
        lines.append(f"Decision of attempt {record.generation}, {seconds(max(0, now_ms - record.decided_ms))} ago")
    if record is not None:
        lines += plain(explain(record))
    elif not detail.attempts:
        lines.append("No decision has been made yet.")
    if task.failure is not None and task.state is TaskState.QUEUED:
        lines += ["", f"The last attempt failed: {_failure(task)}"]
    return tuple(lines)


def _attempt(attempt: Attempt) -> str:
    place = f"{attempt.endpoint}/{attempt.model}" if attempt.endpoint else "no model"
    took = ""
    if attempt.finished_ms is not None:
        took = f", {seconds(max(0, attempt.finished_ms - (attempt.started_ms or attempt.assigned_ms)))}"
    how = {None: "under way", True: "good", False: "failed"}[attempt.ok]
    why = f": {attempt.failure.message} [{attempt.failure.kind.value}]" if attempt.failure is not None else ""
    left = _left(attempt.evidence)
    counted = "" if attempt.counted else " (does not count)"
    return f"{attempt.generation}. {attempt.tier} on {place}, worker {attempt.worker}{took}: {how}{why}{counted}{left}"


def _left(evidence: Evidence | None) -> str:
    """What an agent's run left."""
    if evidence is None:
        return ""
    work = f"{evidence.files_changed} files changed on {evidence.branch}" if evidence.branch else "nothing changed"
    agent = f"{evidence.agent} {evidence.version}".strip()
    opinion = f"; opinion of a judge: {evidence.opinion}" if evidence.opinion else ""
    return f"; {agent}: {evidence.steps} steps, {evidence.tool_calls} tool calls, {work}{opinion}"


def verdict_why(task_id: str, verdict: Verdict, now_ms: int, shown: Sequence[str] = ()) -> Why:
    """The explanation of a question. `shown`: what outcomes say of its type of work."""
    history = ("", "History", *(f"  {line}" for line in shown)) if shown else ()
    if isinstance(verdict, Route):
        head = f"{task_id} would run now: {verdict.decision.summary}"
        return Why(task_id=task_id, headline=head, lines=(*_lines(verdict), *history), decision=verdict.decision)
    head = f"{task_id} would wait ({wait_text(verdict.wait, now_ms)})"
    lines = (*_lines(verdict), *history)
    return Why(task_id=task_id, headline=head, lines=lines, decision=verdict.decision, wait=verdict.wait)


def _lines(verdict: Verdict) -> tuple[str, ...]:
    lines: Sequence[str] = plain(explain(verdict))
    return tuple(lines)
