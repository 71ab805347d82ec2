"""What the demo tells at its end, as data. Pure: made of the hub's answers and of what the machines counted.

Durations are real milliseconds, except what a machine lost to loads, which is in the machine's own, simulated time.
Money is micro-dollars at the prices of the profile; what is not known is `null`.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum

import msgspec

from ostler.demo.callers import CallRow
from ostler.domain.catalog import Catalog, ModelSpec
from ostler.domain.decision import Cause, Decision
from ostler.domain.money import tokens_cost_micro_usd
from ostler.domain.states import FINAL_STATES, FailureClass, TaskState
from ostler.domain.tasks import Attempt, Task
from ostler.hub.plan_views import RunPlan
from ostler.hub.views import TaskAnswer

NOT_A_CHANGE = frozenset({Cause.CLASSIFICATION, Cause.EXPLICIT, Cause.OVERRIDE})
"""Steps of a decision that only say where it began; fallbacks are told apart."""

HTTP_OK = 200


class TaskRow(msgspec.Struct, frozen=True, kw_only=True):
    """One task from its hand-in to its end."""

    id: str
    title: str
    kind: str
    state: str
    ok: bool
    optional: bool
    tier: str | None
    model: str | None
    endpoint: str | None
    worker: str | None
    attempts: int
    waited_ms: int
    """From when its needs were met to its end, without the time its attempts ran."""
    ran_ms: int
    started_ms: int | None
    """Of its last attempt, epoch milliseconds."""
    finished_ms: int | None
    cost_class: str | None
    cost_micro_usd: int | None
    fallback: str | None
    """Why another tier than its own took it."""
    changes: tuple[str, ...]
    """Other changes of its tier, with the cause."""
    shows: str
    failure: str | None


class FallbackRow(msgspec.Struct, frozen=True, kw_only=True):
    """One decision that left a tier because nothing of it could be used."""

    task: str
    from_tier: str
    to_tier: str
    waited_ms: int
    endpoint: str | None
    model: str | None
    reason: str


class RetryRow(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt that failed, or was taken back."""

    task: str
    attempt: int
    place: str
    kind: str
    message: str
    counted: bool
    """Whether it used up one of the task's attempts."""
    then: str
    """What came of the task."""


class HostRow(msgspec.Struct, frozen=True, kw_only=True):
    """One machine over all its lives."""

    name: str
    engine: str
    simulated: bool
    residents: tuple[str, ...]
    loads: int
    unloads: int
    swaps: int
    lost_ms: int
    calls: int
    input_tokens: int
    output_tokens: int
    switched_off: int


class MoneyRow(msgspec.Struct, frozen=True, kw_only=True):
    """What the calls of one model cost at the prices of the profile."""

    model: str
    endpoint: str
    calls: int
    input_tokens: int
    output_tokens: int
    cost_micro_usd: int | None
    """`null`: no price is known. 0 on machines of one's own."""
    estimated: bool
    """The endpoint gave no counts for some of the calls; they were counted from the pieces of its answers."""


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """The demo in numbers."""

    tasks: int
    succeeded: int
    failed_optional: int
    failed: int
    unfinished: int
    attempts: int
    retries: int
    taken_back: int
    fallbacks: int
    swaps: int
    cost_micro_usd: int
    local_tokens: int
    cloud_tokens: int


class Tone(StrEnum):
    """Of a chapter."""

    PLAIN = "plain"
    GOOD = "good"
    CHANGE = "change"
    BAD = "bad"


class Chapter(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened, at real seconds from the first task."""

    at_s: float
    text: str
    tone: Tone = Tone.PLAIN


class DemoReport(msgspec.Struct, frozen=True, kw_only=True):
    """The whole report."""

    ok: bool
    problems: tuple[str, ...]
    """Why it is not ok."""
    elapsed_s: float
    speed: float
    """Simulated seconds in one real second."""
    totals: Totals
    story: tuple[Chapter, ...]
    tasks: tuple[TaskRow, ...]
    fallbacks: tuple[FallbackRow, ...]
    retries: tuple[RetryRow, ...]
    hosts: tuple[HostRow, ...]
    money: tuple[MoneyRow, ...]
    simulated: tuple[str, ...]
    real: tuple[str, ...]
    why: tuple[str, ...]
    """The explanation of one decision, in the hub's own words."""
    calls: tuple[CallRow, ...] = ()
    """Live calls through the gateway, oldest first."""
    plan: RunPlan | None = None
    """The plan of the pipeline beside what happened."""
    left_running: tuple[str, ...] = ()


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What the report is made of."""

    answers: tuple[TaskAnswer, ...]
    hosts: tuple[HostRow, ...]
    catalog: Catalog
    story: tuple[Chapter, ...]
    shows: Mapping[str, str]
    expected: int
    """Tasks that were handed in."""
    elapsed_s: float
    speed: float
    simulated: tuple[str, ...]
    real: tuple[str, ...]
    why: tuple[str, ...] = ()
    calls: tuple[CallRow, ...] = ()
    calls_expected: int = 0
    """Live calls that were made."""
    plan: RunPlan | None = None
    gave_up: bool = False
    left_running: tuple[str, ...] = ()


def build_report(evidence: Evidence) -> DemoReport:
    """The report. O(tasks, their attempts and decisions)."""
    answers = sorted(evidence.answers, key=lambda answer: answer.task.seq)
    ended_ms = {answer.task.id: answer.task.finished_ms for answer in answers if answer.task.finished_ms is not None}
    rows = tuple(
        task_row(answer, evidence.catalog, ended_ms, evidence.shows.get(answer.task.id, "")) for answer in answers
    )
    attempts = [attempt for answer in answers for attempt in answer.attempts]
    fallbacks = tuple(row for answer in answers for row in fallback_rows(answer))
    retries = tuple(row for answer in answers for row in retry_rows(answer))
    money = money_rows(attempts, evidence.catalog)
    problems = tuple(_problems(rows, evidence))
    local = {name for name, spec in evidence.catalog.endpoints.items() if spec.local}
    return DemoReport(
        ok=not problems,
        problems=problems,
        elapsed_s=round(evidence.elapsed_s, 1),
        speed=evidence.speed,
        totals=Totals(
            tasks=len(rows),
            succeeded=sum(row.ok for row in rows),
            failed_optional=sum(_has_failed(row) and row.optional for row in rows),
            failed=sum(_has_failed(row) and not row.optional for row in rows),
            unfinished=sum(row.state not in FINAL_STATES for row in rows),
            attempts=len(attempts),
            retries=sum(max(0, row.attempts - 1) for row in rows),
            taken_back=sum(row.kind == FailureClass.WORKER_LOST for row in retries),
            fallbacks=len(fallbacks),
            swaps=sum(host.swaps for host in evidence.hosts),
            cost_micro_usd=sum(row.cost_micro_usd or 0 for row in money),
            local_tokens=sum(row.input_tokens + row.output_tokens for row in money if row.endpoint in local),
            cloud_tokens=sum(row.input_tokens + row.output_tokens for row in money if row.endpoint not in local),
        ),
        story=evidence.story,
        tasks=rows,
        fallbacks=fallbacks,
        retries=retries,
        hosts=evidence.hosts,
        money=money,
        simulated=evidence.simulated,
        real=evidence.real,
        why=evidence.why,
        calls=evidence.calls,
        plan=evidence.plan,
        left_running=evidence.left_running,
    )


def _has_failed(row: TaskRow) -> bool:
    return row.state in FINAL_STATES and not row.ok


def _problems(rows: Iterable[TaskRow], evidence: Evidence) -> Iterable[str]:
    if evidence.gave_up:
        yield "the demo gave up waiting: not everything came to its end in time"
    if len(evidence.answers) < evidence.expected:
        yield f"the hub knows {len(evidence.answers)} of the {evidence.expected} tasks that were handed in"
    for row in rows:
        if not row.ok and not (row.optional and row.state in FINAL_STATES):
            yield f"{row.id} is {row.state}: {row.failure or 'no reason is known'}"
    if len(evidence.calls) < evidence.calls_expected:
        yield f"the hub recorded {len(evidence.calls)} of the {evidence.calls_expected} live calls"
    for call in evidence.calls:
        if call.status != HTTP_OK or call.message:
            yield f"a call for {call.asked} was answered with {call.status}: {call.message or 'no reason is known'}"
    for left in evidence.left_running:
        yield f"left running, and killed: {left}"


def task_row(answer: TaskAnswer, catalog: Catalog, ended_ms: Mapping[str, int], shows: str = "") -> TaskRow:
    """One task as a row. `ended_ms`: when the tasks that it may need have ended."""
    task = answer.task
    decision = answer.decisions[-1] if answer.decisions else None
    ran_ms = sum(_ran_ms(attempt, answer.now_ms) for attempt in answer.attempts)
    begun_ms = max([task.created_ms, *(ended_ms[need] for need in task.needs if need in ended_ms)])
    until_ms = task.finished_ms if task.finished_ms is not None else answer.now_ms
    costs = [_cost(attempt, catalog) for attempt in answer.attempts if attempt.usage is not None]
    return TaskRow(
        id=task.id,
        title=task.title,
        kind=task.facts.kind,
        state=task.state,
        ok=task.state is TaskState.SUCCEEDED,
        optional=task.optional,
        tier=task.tier,
        model=task.model,
        endpoint=task.endpoint,
        worker=task.worker,
        attempts=len(answer.attempts),
        waited_ms=max(0, until_ms - begun_ms - ran_ms),
        ran_ms=ran_ms,
        started_ms=task.started_ms,
        finished_ms=task.finished_ms,
        cost_class=decision.estimated_cost_tier if decision is not None else None,
        cost_micro_usd=None if None in costs else sum(cost for cost in costs if cost is not None),
        fallback=decision.fallback_reason if decision is not None and decision.fallback_used else None,
        changes=_changes(decision),
        shows=shows,
        failure=_failure(task),
    )


def _ran_ms(attempt: Attempt, now_ms: int) -> int:
    if attempt.started_ms is None:
        return 0
    return max(0, (attempt.finished_ms if attempt.finished_ms is not None else now_ms) - attempt.started_ms)


def _failure(task: Task) -> str | None:
    if task.state is TaskState.SUCCEEDED:
        return None
    if task.failure is not None:
        return f"{task.failure.message} [{task.failure.kind}]"
    return f"waits: {task.wait.detail or task.wait.code}" if task.wait is not None else None


def _changes(decision: Decision | None) -> tuple[str, ...]:
    """Changes of the tier for other reasons than where the work began; an outage is told as a fallback."""
    if decision is None:
        return ()
    return tuple(
        f"{change.cause}: {change.from_tier} -> {change.to_tier}"
        for change in decision.adjustments
        if change.cause not in NOT_A_CHANGE and change.cause is not Cause.AVAILABILITY
    )


def fallback_rows(answer: TaskAnswer) -> Iterable[FallbackRow]:
    """Every decision of a task that used another tier because of an outage."""
    for decision in answer.decisions:
        if decision.fallback_used:
            yield FallbackRow(
                task=answer.task.id,
                from_tier=decision.fallback_from_tier or "",
                to_tier=decision.effective_tier,
                waited_ms=decision.fallback_wait_ms,
                endpoint=decision.selected_endpoint,
                model=decision.selected_model,
                reason=decision.fallback_reason or "",
            )


def retry_rows(answer: TaskAnswer) -> Iterable[RetryRow]:
    """Every attempt that did not succeed, oldest first, and what came of the task."""
    newest = max((attempt.generation for attempt in answer.attempts), default=0)
    for attempt in answer.attempts:
        if attempt.ok is not False:
            continue
        failure = attempt.failure
        following = next((other for other in answer.attempts if other.generation == attempt.generation + 1), None)
        yield RetryRow(
            task=answer.task.id,
            attempt=attempt.generation,
            place=place(attempt),
            kind=failure.kind if failure is not None else "",
            message=failure.message if failure is not None else "",
            counted=attempt.counted,
            then=answer.task.state if attempt.generation == newest else f"again on {place(following)}",
        )


def place(attempt: Attempt | None) -> str:
    """Where an attempt ran: the endpoint of a model call, the worker of a command."""
    if attempt is None:
        return ""
    return attempt.endpoint if attempt.endpoint is not None else f"worker {attempt.worker}"


def money_rows(attempts: Iterable[Attempt], catalog: Catalog) -> tuple[MoneyRow, ...]:
    """Calls and tokens by model and endpoint, those of failed attempts too where tokens are known."""
    found: dict[tuple[str, str], list[Attempt]] = {}
    for attempt in attempts:
        if attempt.usage is not None and attempt.model is not None and attempt.endpoint is not None:
            found.setdefault((attempt.endpoint, attempt.model), []).append(attempt)
    rows = []
    for (endpoint, model), calls in sorted(found.items()):
        costs = [_cost(attempt, catalog) for attempt in calls]
        rows.append(
            MoneyRow(
                model=model,
                endpoint=endpoint,
                calls=len(calls),
                input_tokens=sum(attempt.usage.input_tokens for attempt in calls if attempt.usage is not None),
                output_tokens=sum(attempt.usage.output_tokens for attempt in calls if attempt.usage is not None),
                cost_micro_usd=None if None in costs else sum(cost for cost in costs if cost is not None),
                estimated=any(attempt.usage.estimated for attempt in calls if attempt.usage is not None),
            )
        )
    return tuple(rows)


def _cost(attempt: Attempt, catalog: Catalog) -> int | None:
    """Micro-dollars of one attempt; 0 on machines of one's own, `None` without a price."""
    endpoint = catalog.endpoints.get(attempt.endpoint or "")
    if endpoint is None or endpoint.local or attempt.usage is None:
        return 0
    model = catalog.models.get(attempt.model or "")
    return None if model is None else _price(model, attempt.usage.input_tokens, attempt.usage.output_tokens)


def _price(model: ModelSpec, input_tokens: int, output_tokens: int) -> int | None:
    if model.input_usd_per_mtok is None or model.output_usd_per_mtok is None:
        return None
    cost = tokens_cost_micro_usd(input_tokens, model.input_usd_per_mtok)
    return cost + tokens_cost_micro_usd(output_tokens, model.output_usd_per_mtok)
