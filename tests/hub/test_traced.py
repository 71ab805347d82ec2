"""Tasks in traces: who hands them in, what their attempts hand on, and what a hub that traces sends."""

from collections.abc import Iterable

from msgspec.structs import replace

from ostler.app.trace_parts import TraceParts
from ostler.config.observing import TelemetrySettings
from ostler.domain.fleet import WorkerOffer
from ostler.domain.live import GatewayKey
from ostler.domain.tasks import TaskKind, TaskSpec
from ostler.domain.trace import Trace, attempt_span, own_trace, parse, task_span
from ostler.domain.work import Assignment, Finished, Started
from ostler.hub.attempt_keys import name_of
from ostler.telemetry.otlp import Span
from tests.hub.house import House, house

CLIENT = Trace(trace_id="0af7651916cd43dd8448eb211c80319c", parent_id="b7ad6b7169203331")
COMMAND = TaskSpec(id="t", kind=TaskKind.COMMAND, argv=("true",))


async def given(built: House, trace: Trace | None = None) -> tuple[str, Assignment]:
    """A session, and the attempt it was given."""
    session = (await built.hub.link.join(WorkerOffer(name="w", host="h", slots={TaskKind.COMMAND: 1}))).id
    await built.hub.submit([COMMAND], trace=trace)
    (assignment,) = (await built.hub.link.poll(session, 1_000)).assignments
    return session, assignment


async def test_where_nobody_traces_an_attempt_hands_nothing_on() -> None:
    """No variable, no header."""
    async with house() as built:
        _, assignment = await given(built)

    assert assignment.traceparent == ""


async def test_the_attempt_of_a_traced_task_is_the_parent_of_what_it_calls() -> None:
    """In the trace of who handed it in."""
    async with house() as built:
        _, assignment = await given(built, CLIENT)

    assert parse(assignment.traceparent) == Trace(
        trace_id=CLIENT.trace_id, parent_id=attempt_span("t", assignment.generation)
    )


async def test_a_hub_that_traces_gives_a_task_a_trace_of_its_own() -> None:
    """The same after a restart, because it follows from the task."""
    async with house() as built:
        built.pump.traces = True
        _, assignment = await given(built)

    found = parse(assignment.traceparent)
    assert found is not None
    assert found.trace_id == own_trace("t").trace_id


async def test_a_submit_that_is_repeated_under_another_trace_is_a_duplicate() -> None:
    """What it is part of is no part of what was asked for."""
    async with house() as built:
        await built.hub.submit([COMMAND], trace=CLIENT)
        again = await built.hub.submit([COMMAND], trace=replace(CLIENT, parent_id="00f067aa0ba902b7"))
        kept = (await built.hub.task("t")).task

    assert again.tasks[0].duplicate
    assert kept.trace == CLIENT


class Kept:
    """An exporter that sends nowhere."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def add(self, spans: Iterable[Span]) -> None:
        self.spans += spans


async def test_a_task_leaves_one_whole_tree() -> None:
    """From submit to end every span has its parent in the trace, and the root is that of the client."""
    async with house() as built:
        settings = TelemetrySettings(traces_url="http://127.0.0.1:9")
        parts = TraceParts(built.pump, settings, built.hub.metrics.metering, {})
        kept = Kept()
        assert parts.exporter is not None
        parts.exporter.add = kept.add  # type: ignore[method-assign]
        session, assignment = await given(built, CLIENT)
        for report in (
            Started(task_id="t", generation=assignment.generation, at_ms=built.clock.now_ms()),
            Finished(task_id="t", generation=assignment.generation, at_ms=built.clock.now_ms(), ok=True),
        ):
            await built.hub.link.report(session, [report])
        await parts.stop()

    by_id = {span.span_id: span for span in kept.spans}
    assert {span.name for span in kept.spans} == {"queue", "decide", "attempt", "task command"}
    assert {span.trace_id for span in kept.spans} == {CLIENT.trace_id}
    roots = [span for span in kept.spans if span.parent_id not in by_id]
    assert [(root.span_id, root.parent_id) for root in roots] == [(task_span("t"), CLIENT.parent_id)]
    assert all(root.start_ms <= span.start_ms and span.end_ms <= root.end_ms for root in roots for span in kept.spans)


async def test_a_live_call_is_part_of_the_trace_of_its_caller_or_of_its_attempt_or_has_its_own() -> None:
    """In that order."""
    async with house() as built:
        parts = TraceParts(
            built.pump, TelemetrySettings(traces_url="http://127.0.0.1:9"), built.hub.metrics.metering, {}
        )
        said = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        agents = GatewayKey(name=name_of("t", 3), key_hash="h", created_ms=1, task="t")
        persons = replace(agents, name="laptop", task="")

        assert parts.trace_of("c", agents, said) == CLIENT
        above = parts.trace_of("c", agents, "")
        assert above == Trace(trace_id=own_trace("t").trace_id, parent_id=attempt_span("t", 3))
        assert parts.trace_of("c", persons, "") == own_trace("c")
        await built.hub.submit([COMMAND], trace=CLIENT)
        under = parts.trace_of("c", agents, "")
        assert under is not None
        assert under.trace_id == CLIENT.trace_id
        await parts.stop()


async def test_without_a_receiver_only_what_clients_bring_is_handed_on() -> None:
    """Nothing is made, nothing is sent, nobody observes."""
    async with house() as built:
        observers = len(built.pump.observers)
        parts = TraceParts(built.pump, TelemetrySettings(), built.hub.metrics.metering, {})

        assert parts.exporter is None
        assert len(built.pump.observers) == observers
        assert parts.trace_of("c", None, "") is None
        assert parts.trace_of("c", None, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01") == CLIENT
        await parts.stop()
