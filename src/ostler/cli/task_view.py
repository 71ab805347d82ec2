"""One task in words: its state, why it waits, its attempts as a timeline, its decision. Pure text."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from ostler.cli import words
from ostler.domain.decision import Candidate, Decision
from ostler.domain.states import LEASED_STATES, Wait, WaitCode
from ostler.domain.tasks import Attempt, Task
from ostler.hub.results import stands_in_for
from ostler.hub.views import TaskAnswer

WAITS: Mapping[WaitCode, str] = MappingProxyType(
    {
        WaitCode.READY: "about to be looked at",
        WaitCode.DEPS: "waits for tasks it needs",
        WaitCode.CAPACITY: "all slots are taken",
        WaitCode.NO_WORKER: "no worker takes this kind of work",
        WaitCode.FALLBACK_WAIT: "waits for its tier before it uses another",
        WaitCode.ENDPOINT_DOWN: "every endpoint it could use is down",
        WaitCode.QUOTA_UNTIL: "the provider said to come back later",
        WaitCode.MODEL_SWAP: "waits for its model to be loaded",
        WaitCode.BUDGET: "a spending limit is reached",
        WaitCode.APPROVAL: "waits for approval",
        WaitCode.PAUSED: "paused by a person",
        WaitCode.NO_ROUTE: "no model of the profile can take it",
        WaitCode.SCHEDULED: "not due yet",
        WaitCode.RETRY: "waits before the next attempt",
    }
)
"""What each wait code means to a person; a test holds it complete."""


def wait_text(wait: Wait, now_ms: int) -> str:
    """Why a task waits, with detail and the time of the next look."""
    text = WAITS[wait.code]
    if wait.detail:
        text += f": {wait.detail}"
    if wait.next_check_ms is not None:
        text += f" (next look {words.ago(wait.next_check_ms, now_ms)})"
    return text


def place_text(task: Task | Attempt) -> str:
    """Where it runs or ran: model on endpoint, or the worker of a command."""
    if task.model and task.endpoint:
        return f"{task.model} on {task.endpoint}"
    return task.model or task.endpoint or task.worker or words.NONE


def note_text(task: Task, now_ms: int) -> str:
    """What a person wants to know of a task in a list, by its state."""
    if task.wait is not None:
        return ("paused; " if task.paused and task.wait.code is not WaitCode.PAUSED else "") + wait_text(
            task.wait, now_ms
        )
    if task.failure is not None and task.state not in LEASED_STATES:
        return f"{task.failure.kind}: {task.failure.message}"
    if task.finished_ms is not None and task.started_ms is not None:
        return f"{task.outcome or 'ended'} after {words.duration(task.finished_ms - task.started_ms)}"
    if task.started_ms is not None and task.state in LEASED_STATES:
        again = f", attempt {task.generation}" if task.generation > 1 else ""
        return f"for {words.duration(now_ms - task.started_ms)}{again}"
    return ""


def facts(answer: TaskAnswer) -> list[tuple[str, str]]:
    """The head of the page: names and values, empty ones to be left out."""
    task, spec, now_ms = answer.task, answer.spec, answer.now_ms
    classification = task.facts.classification
    stood = stands_in_for(task)
    return [
        ("task", f"{task.id}  {task.title}".rstrip()),
        ("state", task.state + (" (paused)" if task.paused else "") + (f", {task.outcome}" if task.outcome else "")),
        ("waits", wait_text(task.wait, now_ms) if task.wait else ""),
        ("failure", f"{task.failure.kind}: {task.failure.message}" if task.failure else ""),
        ("answer", words.question_text(task.failure.question, now_ms) if task.failure else ""),
        ("asked", words.ago(task.created_ms, now_ms)),
        ("work", f"{spec.kind}, priority {task.priority.name.lower()}" + (", optional" if task.optional else "")),
        ("needs", words.words(task.needs) if task.needs else ""),
        ("class", classification.reason),
        ("tier", (task.tier or "") + (" (fallback)" if task.fallback_used else "")),
        ("place", place_text(task) if task.model or task.endpoint or task.worker else ""),
        ("instead of", f"{stood} ({'; '.join(task.tried) or 'it had no place'})" if stood else ""),
        ("results", f"about {words.count(task.handed_tokens, 'token')} handed to it" if task.handed_tokens else ""),
        ("attempts", f"{task.attempts_used} of {task.max_attempts}" + _lost(task)),
        ("batch", task.batch or ""),
    ]


def timeline(answer: TaskAnswer) -> list[str]:
    """The attempts, oldest first, each on a line with what came of it."""
    return [_attempt(attempt, answer.now_ms) for attempt in answer.attempts]


def decision_lines(decision: Decision, *, every_candidate: bool) -> Iterator[str]:
    """The newest decision: its sentence, the changes of tier, and what was looked at."""
    yield decision.summary or f"{decision.effective_tier}, because {decision.classification_reason}"
    for change in decision.adjustments:
        way = change.to_tier if change.from_tier == change.to_tier else f"{change.from_tier} -> {change.to_tier}"
        yield f"  {change.cause}: {way} ({change.reason})"
    if every_candidate:
        for candidate in decision.candidates:
            yield f"  {_candidate(candidate)}"
        if decision.candidates_omitted:
            yield f"  and {words.count(decision.candidates_omitted, 'candidate')} more that were not recorded"


def _lost(task: Task) -> str:
    return f", {words.count(task.attempts_lost, 'attempt')} lost to outages" if task.attempts_lost else ""


def _attempt(attempt: Attempt, now_ms: int) -> str:
    begin = attempt.started_ms or attempt.assigned_ms
    if attempt.ok is None:
        result = "runs" if attempt.started_ms else "handed to the worker"
    else:
        result = "good" if attempt.ok else "bad"
    length = f"for {words.duration((attempt.finished_ms or now_ms) - begin)}"
    parts = [f"{attempt.generation}.", words.ago(begin, now_ms) + ",", place_text(attempt), f"by {attempt.worker},"]
    parts += [length + ":", result]
    text = " ".join(parts)
    if attempt.failure is not None:
        text += f", {attempt.failure.kind}: {attempt.failure.message}"
    if attempt.usage is not None:
        text += f" ({attempt.usage.input_tokens} tokens in, {attempt.usage.output_tokens} out)"
    return text if attempt.counted else f"{text} [not counted]"


def _candidate(candidate: Candidate) -> str:
    name = f"{candidate.model} on {candidate.endpoint}" + (" (loaded)" if candidate.warm else "")
    if candidate.rejection is not None:
        return f"{name}: {candidate.rejection}" + (f", {candidate.detail}" if candidate.detail else "")
    terms = ", ".join(f"{term} {value:.3g}" for term, value in sorted(candidate.terms.items()))
    score = "no score" if candidate.score is None else f"score {candidate.score:.3g}"
    finish = ""
    if candidate.estimate is not None:
        cost = words.money(candidate.estimate.cost_micro_usd)
        finish = f", done in {words.duration(candidate.estimate.finish_ms)}, cost {cost}"
    return f"{name}: {score}{finish}" + (f" [{terms}]" if terms else "")
