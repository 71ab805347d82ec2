"""Live calls in traces: taken from clients, handed on to endpoints, absent where nobody traces."""

from msgspec.structs import replace

from ostler.domain.calls import CallError
from ostler.domain.states import FailureClass
from ostler.domain.trace import Trace, own_trace, parse, try_span
from tests.gateway.stage import ANTHROPIC_ASK, ASK, STREAM, WHOLE, Desk, Stage
from tests.gateway.support import Answer, Upstream

CLIENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"


def sent(stage: Stage) -> list[str | None]:
    """The header of each request that an endpoint was sent."""
    return [request.headers.get("traceparent") for _, request in stage.upstream.sent]


async def test_where_nobody_traces_nothing_is_added() -> None:
    """Neither to the request nor to the record."""
    stage = Stage(Upstream(Answer([WHOLE])))
    await stage.call(ASK)

    assert sent(stage) == [None]
    assert stage.record.trace is None


async def test_a_client_that_traces_is_the_parent_and_the_endpoint_gets_our_span() -> None:
    """The same trace, the span of this very attempt."""
    stage = Stage(Upstream(Answer([WHOLE])))
    await stage.call(ASK, traceparent=CLIENT)

    record = stage.record
    assert record.trace == parse(CLIENT)
    assert sent(stage) == [f"00-{TRACE_ID}-{try_span(record.id, 1)}-01"]


async def test_every_attempt_hands_on_a_span_of_its_own() -> None:
    """An endpoint that failed and the one that took over are told apart."""
    broken = CallError(FailureClass.SERVER, "broken")
    stage = Stage(Upstream(broken, Answer([WHOLE])), Desk("a", "b"))
    await stage.call(ASK, traceparent=CLIENT)

    record = stage.record
    assert sent(stage) == [f"00-{TRACE_ID}-{try_span(record.id, number)}-01" for number in (1, 2)]


async def test_a_call_that_is_not_sampled_says_so_further_on() -> None:
    """The flag is the client's."""
    stage = Stage(Upstream(Answer([WHOLE])))
    await stage.call(ASK, traceparent=CLIENT[:-2] + "00")

    (header,) = sent(stage)
    assert header is not None
    assert header.endswith("-00")


async def test_a_broken_header_is_no_trace_and_no_error() -> None:
    """The call is served as any other."""
    stage = Stage(Upstream(Answer([WHOLE])))
    client = await stage.call(ASK, traceparent="00-zz")

    assert client.status == 200
    assert sent(stage) == [None]


async def test_it_goes_on_whatever_the_formats_are_and_beside_other_headers() -> None:
    """Translated or not, streamed or not; the body keeps every byte."""
    stage = Stage(Upstream(Answer(STREAM), Answer([WHOLE])))
    await stage.call({**ASK, "stream": True}, traceparent=CLIENT)
    await stage.call(ANTHROPIC_ASK, "/v1/messages", traceparent=CLIENT)

    assert all(header is not None and header.startswith(f"00-{TRACE_ID}-") for header in sent(stage))
    assert len(sent(stage)) == 2


async def test_a_hub_that_traces_gives_every_call_a_trace() -> None:
    """Asked with the call's id, its key and what it said."""
    asked: list[tuple[str, str | None, str]] = []

    def trace_of(call_id: str, key: object, said: str) -> Trace | None:
        asked.append((call_id, getattr(key, "name", None), said))
        return own_trace(call_id)

    stage = Stage(Upstream(Answer([WHOLE])))
    stage.gateway.hub = replace(stage.gateway.hub, trace_of=trace_of)
    await stage.call(ASK, authorization="Bearer ost-good")

    record = stage.record
    assert asked == [(record.id, "good", "")]
    assert record.trace == own_trace(record.id)
    assert sent(stage) == [f"00-{own_trace(record.id).trace_id}-{try_span(record.id, 1)}-01"]
