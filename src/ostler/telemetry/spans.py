"""Spans of what is durable: one trace for each task, from its submit to its end, and one for each live call.

    task
      queue                 from the queue to a worker, once for each stay
        decide              the decision, with its route
      attempt               from its assignment to its end; `settle` is an event in it
        chat MODEL          of a chat task: the call to the model
        call                of an agent: each live call with the key of the attempt
          chat MODEL        one for each endpoint that was tried

A span is made from the record that tells of its end, so nothing is kept meanwhile and no prompt can be in it. Where a
client traces, its `traceparent` is the parent of the task or call.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from ostler.domain.commands import Applied, Command, PutCalls, Settle, UpdateTask
from ostler.domain.event import Event
from ostler.domain.live import CallAttempt, CallRecord
from ostler.domain.money import MICRO_USD_PER_USD
from ostler.domain.states import FINAL_STATES, TaskState
from ostler.domain.tasks import Attempt, Task, TaskKind
from ostler.domain.trace import Trace, attempt_span, call_span, own_trace, span_id, task_span, try_span
from ostler.telemetry import genai
from ostler.telemetry.otlp import Span, SpanEvent, SpanKind

ProviderOf = Callable[[str], str]
"""Endpoint -> its provider."""
_TAKEN_BACK = frozenset({"task.reclaimed"})


def trace_of(task: Task) -> Trace:
    """The trace that a task is part of."""
    return task.trace if task.trace is not None else own_trace(task.id)


def spans_of(applied: Sequence[tuple[Command, Applied]], provider_of: ProviderOf) -> Iterator[Span]:
    """Spans that ended with these commands."""
    settled = {command.attempt: command for command, _ in applied if isinstance(command, Settle)}
    for command, _ in applied:
        if isinstance(command, UpdateTask):
            yield from _of_task(command, settled, provider_of)
        elif isinstance(command, PutCalls):
            for record in command.records:
                yield from _of_call(record, provider_of)


def _of_task(command: UpdateTask, settled: Mapping[str, Settle], provider_of: ProviderOf) -> Iterator[Span]:
    task = command.task
    trace = trace_of(task)
    if not trace.sampled:
        return
    for event in command.events:
        if event.name == "task.assigned":
            yield from _waited(task, trace, event, command.events)
        elif (event.name == "task.evaluating" or event.name in _TAKEN_BACK) and command.attempt is not None:
            yield from _attempt(task, trace, command.attempt, settled, provider_of, end_ms=event.at_ms)
    if task.state in FINAL_STATES and task.finished_ms is not None:
        yield Span(
            name=f"task {task.facts.kind.value}",
            trace_id=trace.trace_id,
            span_id=task_span(task.id),
            parent_id=trace.parent_id,
            kind=SpanKind.SERVER,
            start_ms=task.created_ms,
            end_ms=task.finished_ms,
            attributes={
                "ostler.task.id": task.id,
                "ostler.task.state": task.state.value,
                "ostler.task.type": task.facts.classification.task_type,
                "ostler.batch": task.batch,
                "ostler.tier": task.tier,
                "ostler.attempts": task.generation,
                "ostler.fallback": task.fallback_used,
            },
            error="" if task.state is TaskState.SUCCEEDED else _failure(task),
        )


def _failure(task: Task) -> str:
    return task.failure.kind.value if task.failure is not None else task.state.value


def _waited(task: Task, trace: Trace, event: Event, events: Sequence[Event]) -> Iterator[Span]:
    queue = span_id("queue", task.id, task.generation)
    wait_ms = int(event.measurements.get("wait_ms", 0))
    yield Span(
        name="queue",
        trace_id=trace.trace_id,
        span_id=queue,
        parent_id=task_span(task.id),
        start_ms=event.at_ms - wait_ms,
        end_ms=event.at_ms,
        attributes={"ostler.task.id": task.id, "ostler.attempt": task.generation},
    )
    for route in events:
        if route.name == "scheduler.route":
            meta = route.metadata
            yield Span(
                name="decide",
                trace_id=trace.trace_id,
                span_id=span_id("decide", task.id, task.generation),
                parent_id=queue,
                start_ms=event.at_ms,
                end_ms=event.at_ms,
                attributes={
                    "ostler.candidates": int(route.measurements.get("candidate_count", 0)),
                    "ostler.decision_us": int(route.measurements.get("scoring_duration_us", 0)),
                    "ostler.tier": meta.get("effective_tier"),
                    "ostler.target": meta.get("target_type"),
                    "ostler.endpoint": meta.get("selected_endpoint"),
                    "ostler.model": meta.get("selected_model"),
                    "ostler.fallback": meta.get("fallback_used"),
                    "ostler.fallback.reason": meta.get("fallback_reason"),
                    "ostler.classification": meta.get("classification_reason"),
                },
            )


def _attempt(
    task: Task,
    trace: Trace,
    attempt: Attempt,
    settled: Mapping[str, Settle],
    provider_of: ProviderOf,
    *,
    end_ms: int,
) -> Iterator[Span]:
    own, kind = attempt_span(task.id, attempt.generation), task.facts.kind
    ended_ms = attempt.finished_ms if attempt.finished_ms is not None else end_ms
    failure = attempt.failure.kind.value if attempt.failure is not None else ""
    settle = settled.get(f"{task.id}/{attempt.generation}")
    yield Span(
        name="attempt",
        trace_id=trace.trace_id,
        span_id=own,
        parent_id=task_span(task.id),
        start_ms=attempt.assigned_ms,
        end_ms=ended_ms,
        attributes={
            "ostler.task.id": task.id,
            "ostler.attempt": attempt.generation,
            "ostler.worker": attempt.worker,
            "ostler.tier": attempt.tier,
            "ostler.endpoint": attempt.endpoint,
            "ostler.model": attempt.model,
            "ostler.exit_code": attempt.exit_code,
            genai.OPERATION: genai.INVOKE_AGENT if kind is TaskKind.AGENT else None,
        },
        events=(_settled(settle),) if settle is not None else (),
        error=failure,
    )
    if kind is TaskKind.CHAT and attempt.model is not None and attempt.started_ms is not None:
        usage = attempt.usage
        yield Span(
            name=f"{genai.CHAT} {attempt.model}",
            trace_id=trace.trace_id,
            span_id=span_id("model", task.id, attempt.generation),
            parent_id=own,
            kind=SpanKind.CLIENT,
            start_ms=attempt.started_ms,
            end_ms=ended_ms,
            attributes={
                genai.OPERATION: genai.CHAT,
                genai.PROVIDER: provider_of(attempt.endpoint or "") or None,
                genai.REQUEST_MODEL: attempt.model,
                genai.INPUT_TOKENS: usage.input_tokens if usage is not None else None,
                genai.OUTPUT_TOKENS: usage.output_tokens if usage is not None else None,
                genai.CACHE_READ_TOKENS: (usage.cached_tokens or None) if usage is not None else None,
                genai.REASONING_TOKENS: (usage.reasoning_tokens or None) if usage is not None else None,
                "ostler.endpoint": attempt.endpoint,
            },
            error=failure,
        )


def _settled(settle: Settle) -> SpanEvent:
    attributes = {
        "ostler.cost_usd": settle.amount.micro_usd / MICRO_USD_PER_USD,
        "ostler.cost_basis": settle.basis.value,
    }
    return SpanEvent(name="settle", at_ms=settle.at_ms, attributes=attributes)


def _of_call(record: CallRecord, provider_of: ProviderOf) -> Iterator[Span]:
    trace = record.trace if record.trace is not None else own_trace(record.id)
    if not trace.sampled:
        return
    operation = genai.EMBEDDINGS if "embed" in record.path else genai.CHAT
    yield Span(
        name="call",
        trace_id=trace.trace_id,
        span_id=call_span(record.id),
        parent_id=trace.parent_id,
        kind=SpanKind.SERVER,
        start_ms=record.at_ms,
        end_ms=record.at_ms + record.duration_ms,
        attributes={
            genai.OPERATION: operation,
            genai.REQUEST_MODEL: record.asked_model,
            genai.RESPONSE_MODEL: record.model or None,
            genai.REQUEST_STREAM: record.stream,
            genai.HTTP_STATUS: record.status,
            "ostler.call.id": record.id,
            "ostler.task.id": record.task or None,
            "ostler.format": record.format,
            "ostler.tier": record.tier or None,
            "ostler.endpoint": record.endpoint or None,
            "ostler.wait_ms": record.wait_ms,
            "ostler.overhead_us": record.overhead_us,
            "ostler.fallback": bool(record.fallback),
            "ostler.cost_usd": _usd(record.cost_micro_usd),
            "ostler.cost_basis": record.cost_basis,
        },
        error=record.failure.value if record.failure is not None else "",
    )
    for number, attempt in enumerate(record.attempts, 1):
        yield _try(record, trace, attempt, number, operation, provider_of)


def _try(
    record: CallRecord, trace: Trace, attempt: CallAttempt, number: int, operation: str, provider_of: ProviderOf
) -> Span:
    counted = attempt.input_tokens or attempt.output_tokens or attempt.cache_read_tokens
    cached = attempt.cache_read_tokens + attempt.cache_write_tokens
    return Span(
        name=f"{operation} {attempt.model}",
        trace_id=trace.trace_id,
        span_id=try_span(record.id, number),
        parent_id=call_span(record.id),
        kind=SpanKind.CLIENT,
        start_ms=attempt.started_ms,
        end_ms=attempt.started_ms + attempt.duration_ms,
        attributes={
            genai.OPERATION: operation,
            genai.PROVIDER: provider_of(attempt.endpoint) or None,
            genai.REQUEST_MODEL: attempt.model,
            genai.HTTP_STATUS: attempt.status,
            genai.INPUT_TOKENS: attempt.input_tokens + cached if counted else None,
            genai.OUTPUT_TOKENS: attempt.output_tokens if counted else None,
            genai.CACHE_READ_TOKENS: attempt.cache_read_tokens or None,
            genai.CACHE_WRITE_TOKENS: attempt.cache_write_tokens or None,
            genai.REASONING_TOKENS: attempt.reasoning_tokens or None,
            "ostler.endpoint": attempt.endpoint,
            "ostler.tier": attempt.tier,
            "ostler.cost_usd": _usd(attempt.cost_micro_usd),
        },
        error=attempt.failure.value if attempt.failure is not None else "",
    )


def _usd(micro_usd: int | None) -> float | None:
    return None if micro_usd is None else micro_usd / MICRO_USD_PER_USD
