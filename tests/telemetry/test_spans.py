"""Traces: one for each task and call, made of what is durable, understood by the protocol's own parser."""

import base64
import json
from collections.abc import Sequence

import pytest
from google.protobuf import json_format  # type: ignore[import-untyped]
from msgspec.structs import replace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.semconv.attributes import error_attributes, http_attributes, service_attributes

from ostler.domain.commands import Applied, Command, PutCalls, Settle, UpdateTask
from ostler.domain.event import Event
from ostler.domain.ledger import Amount
from ostler.domain.live import CallRecord
from ostler.domain.states import Failure, FailureClass, TaskState
from ostler.domain.tasks import Attempt, Task, TaskFacts, TaskKind, Usage
from ostler.domain.trace import Trace, attempt_span, call_span, own_trace, task_span, try_span
from ostler.telemetry import genai
from ostler.telemetry.otlp import Span, SpanEvent, SpanKind, body
from ostler.telemetry.spans import spans_of
from tests.store.rows_made import CLASSIFICATION, make_task
from tests.telemetry.test_metrics import CALL

CLIENT = Trace(trace_id="0af7651916cd43dd8448eb211c80319c", parent_id="b7ad6b7169203331")


def spans(*commands: Command) -> list[Span]:
    return list(
        spans_of([(command, Applied()) for command in commands], lambda name: {"stable": "ollama"}.get(name, ""))
    )


def task(kind: TaskKind = TaskKind.CHAT, **changes: object) -> Task:
    facts = TaskFacts(id="t", kind=kind, classification=CLASSIFICATION)
    return replace(make_task("t"), facts=facts, generation=2, **changes)


def update(one: Task, *events: Event, attempt: Attempt | None = None) -> UpdateTask:
    return UpdateTask(task=one, expect_generation=2, expect_states=(), events=events, attempt=attempt)


ATTEMPT = Attempt(
    task_id="t",
    generation=2,
    session="s",
    worker="w",
    tier="low",
    endpoint="stable",
    model="qwen",
    assigned_ms=1_000,
    started_ms=1_100,
    finished_ms=3_000,
    ok=True,
    usage=Usage(input_tokens=10, output_tokens=5, cached_tokens=4),
)
ENDED = Event(name="task.evaluating", at_ms=3_000, task_id="t")


def test_names_are_those_that_are_published() -> None:
    """Every attribute of the conventions that we use exists there."""
    published = {
        value
        for module in (gen_ai_attributes, error_attributes, http_attributes, service_attributes)
        for value in vars(module).values()
        if isinstance(value, str)
    }

    assert len(genai.PUBLISHED) > 10
    assert set(genai.PUBLISHED) - published == set()
    values = {item.value for item in gen_ai_attributes.GenAiOperationNameValues}
    assert {genai.CHAT, genai.EMBEDDINGS, genai.INVOKE_AGENT} <= values


def test_a_task_is_one_trace_from_submit_to_end() -> None:
    """Queue, decision, attempt, model call and settlement below the task; times as they were."""
    route = Event(
        name="scheduler.route",
        at_ms=1_000,
        task_id="t",
        measurements={"candidate_count": 3, "scoring_duration_us": 90},
        metadata={"effective_tier": "low", "selected_model": "qwen", "fallback_used": False},
    )
    assigned = Event(name="task.assigned", at_ms=1_000, task_id="t", measurements={"wait_ms": 400})
    settle = Settle(attempt="t/2", at_ms=3_000, amount=Amount(micro_usd=2_500))
    done = task(state=TaskState.SUCCEEDED, created_ms=500, finished_ms=3_001)

    found = spans(update(task(), assigned, route), update(task(), ENDED, attempt=ATTEMPT), settle, update(done))

    tree = {span.name: span for span in found}
    assert list(tree) == ["queue", "decide", "attempt", "chat qwen", "task chat"]
    assert {span.trace_id for span in found} == {own_trace("t").trace_id}
    root = tree["task chat"]
    assert (root.span_id, root.parent_id, root.start_ms, root.end_ms) == (task_span("t"), "", 500, 3_001)
    assert (tree["queue"].parent_id, tree["queue"].start_ms, tree["queue"].end_ms) == (task_span("t"), 600, 1_000)
    assert tree["decide"].parent_id == tree["queue"].span_id
    assert tree["decide"].attributes["ostler.candidates"] == 3
    assert (tree["attempt"].span_id, tree["attempt"].parent_id) == (attempt_span("t", 2), task_span("t"))
    assert [event.name for event in tree["attempt"].events] == ["settle"]
    assert tree["attempt"].events[0].attributes["ostler.cost_usd"] == 0.0025
    model = tree["chat qwen"]
    assert (model.parent_id, model.kind) == (attempt_span("t", 2), SpanKind.CLIENT)
    assert (model.attributes[genai.PROVIDER], model.attributes[genai.INPUT_TOKENS]) == ("ollama", 10)


def test_a_task_of_a_client_that_traces_is_part_of_its_trace() -> None:
    """Its span is the parent; one that is not sampled there is not sampled here."""
    done = task(state=TaskState.SUCCEEDED, finished_ms=9, trace=CLIENT)
    (root,) = spans(update(done))

    assert (root.trace_id, root.parent_id) == (CLIENT.trace_id, CLIENT.parent_id)
    assert spans(update(replace(done, trace=replace(CLIENT, sampled=False)))) == []


def test_an_error_is_a_class_and_never_a_message() -> None:
    """The last words of a program are in no span."""
    failure = Failure(kind=FailureClass.TIMEOUT, message="secret words", at_ms=1)
    ended = task(state=TaskState.FAILED, finished_ms=9, failure=failure)
    found = spans(update(ended, ENDED, attempt=replace(ATTEMPT, ok=False, failure=failure)))

    assert {span.error for span in found} == {"timeout"}
    assert "secret" not in str(found)


def test_an_attempt_that_was_taken_back_ends_when_it_was() -> None:
    """Nobody said when it ended, so the event does."""
    event = Event(name="task.reclaimed", at_ms=7_000, task_id="t")
    open_attempt = replace(ATTEMPT, finished_ms=None, ok=None, usage=None)

    attempt = spans(update(task(TaskKind.COMMAND), event, attempt=open_attempt))[0]

    assert (attempt.name, attempt.end_ms) == ("attempt", 7_000)


@pytest.mark.parametrize(("kind", "names"), [(TaskKind.AGENT, ["attempt"]), (TaskKind.COMMAND, ["attempt"])])
def test_only_a_chat_task_is_one_call_to_a_model(kind: TaskKind, names: list[str]) -> None:
    """An agent's calls have spans of their own."""
    found = spans(update(task(kind), ENDED, attempt=ATTEMPT))

    assert [span.name for span in found] == names
    assert (found[0].attributes.get(genai.OPERATION) == genai.INVOKE_AGENT) is (kind is TaskKind.AGENT)


def test_a_live_call_has_a_span_for_each_endpoint_that_was_tried() -> None:
    """The ids are those that were sent upstream."""
    call, broken, good = spans(PutCalls(records=(CALL,)))

    assert (call.name, call.kind, call.span_id) == ("call", SpanKind.SERVER, call_span("c-1"))
    assert [span.span_id for span in (broken, good)] == [try_span("c-1", 1), try_span("c-1", 2)]
    assert {span.parent_id for span in (broken, good)} == {call_span("c-1")}
    assert (broken.error, good.error) == ("server", "")
    assert good.attributes[genai.CACHE_WRITE_TOKENS] == 4
    assert good.attributes[genai.INPUT_TOKENS] == 14
    assert "canary" not in str([call, broken, good])


def test_a_call_of_an_agent_is_below_its_attempt() -> None:
    """In the trace of its task."""
    above = Trace(trace_id=own_trace("t").trace_id, parent_id=attempt_span("t", 2))
    call = spans(PutCalls(records=(replace(CALL, trace=above, task="t"),)))[0]

    assert (call.trace_id, call.parent_id) == (own_trace("t").trace_id, attempt_span("t", 2))
    assert call.attributes["ostler.task.id"] == "t"


def parsed(data: bytes) -> ExportTraceServiceRequest:
    """As a receiver reads it: the protocol's JSON has ids in hexadecimal where protobuf's own has base64."""
    document = json.loads(data)
    for resource in document["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                for name in ("traceId", "spanId", "parentSpanId"):
                    if name in span:
                        span[name] = base64.b64encode(bytes.fromhex(span[name])).decode()
    request = ExportTraceServiceRequest()
    json_format.ParseDict(document, request)
    return request


def test_the_protocols_own_parser_reads_every_field() -> None:
    """Unknown names would be refused; numbers, times and kinds come through."""
    one = Span(
        name="x",
        trace_id="0af7651916cd43dd8448eb211c80319c",
        span_id="b7ad6b7169203331",
        parent_id="00f067aa0ba902b7",
        kind=SpanKind.CLIENT,
        start_ms=1_700_000_000_123,
        end_ms=1_700_000_000_456,
        attributes={"text": "ä", "whole": 2**60, "real": 0.5, "flag": True, "none": None},
        events=(SpanEvent(name="settle", at_ms=5, attributes={"usd": 0.25}),),
        error="timeout",
    )
    (resource,) = parsed(body([one], "ostler", "1.0")).resource_spans
    (span,) = resource.scope_spans[0].spans

    assert (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()) == (
        one.trace_id,
        one.span_id,
        one.parent_id,
    )
    assert (span.start_time_unix_nano, span.end_time_unix_nano) == (
        1_700_000_000_123_000_000,
        1_700_000_000_456_000_000,
    )
    assert (span.kind, span.status.code) == (3, 2)
    values = {pair.key: pair.value for pair in span.attributes}
    assert set(values) == {"text", "whole", "real", "flag", "error.type"}
    assert (values["text"].string_value, values["whole"].int_value) == ("ä", 2**60)
    assert (values["real"].double_value, values["flag"].bool_value) == (0.5, True)
    assert span.events[0].name == "settle"
    assert {pair.key: pair.value.string_value for pair in resource.resource.attributes} == {
        "service.name": "ostler",
        "service.version": "1.0",
    }


def test_everything_that_is_made_can_be_sent() -> None:
    """All spans above, in one request."""
    records: Sequence[CallRecord] = (CALL, replace(CALL, id="c-2", attempts=(), failure=FailureClass.SERVER))
    done = task(state=TaskState.SUCCEEDED, finished_ms=9)
    made = spans(update(task(), ENDED, attempt=ATTEMPT), update(done), PutCalls(records=tuple(records)))

    (resource,) = parsed(body(made, "ostler", "1")).resource_spans
    assert len(resource.scope_spans[0].spans) == len(made) == 7
