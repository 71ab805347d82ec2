"""Attempts that fail before a byte has left: where the call goes next, and what its client is told in the end."""

import msgspec
import pytest

from ostler.domain.calls import CallError
from ostler.domain.decision import Candidate, Rejection
from ostler.domain.live import Denial
from ostler.domain.states import FailureClass, Wait, WaitCode
from tests.gateway.stage import (
    ANTHROPIC_ASK,
    ASK,
    DONE,
    ENDING,
    OPENING,
    STREAM,
    WHOLE,
    WORDS,
    Desk,
    Stage,
    decision,
)
from tests.gateway.support import Answer, Piece, Upstream


def broken(kind: FailureClass, retry_after_ms: int | None = None) -> CallError:
    return CallError(kind, f"it is {kind.value}", retry_after_ms=retry_after_ms)


SIDEWAYS = [
    FailureClass.RATE_LIMIT,
    FailureClass.QUOTA,
    FailureClass.OVERLOADED,
    FailureClass.SERVER,
    FailureClass.NETWORK,
    FailureClass.MODEL_MISSING,
    FailureClass.OUT_OF_MEMORY,
    FailureClass.MALFORMED,
]


@pytest.mark.parametrize("kind", SIDEWAYS)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_failure_before_the_first_byte_goes_sideways(kind: FailureClass, stream: bool) -> None:
    """The client sees a good answer and, in a header, that it came from elsewhere."""
    good = Answer(STREAM if stream else [WHOLE])
    stage = Stage(Upstream(broken(kind), good), Desk("a", "b"))
    client = await stage.call(ASK | {"stream": stream})
    assert client.status == 200
    assert client.headers["x-ostler-endpoint"] == "b"
    assert "a failed" in client.headers["x-ostler-fallback"]
    assert [attempt.failure for attempt in stage.record.attempts] == [kind, None]
    assert stage.desk.offers[1].excluded


@pytest.mark.parametrize("silence", [[5.0], [OPENING, 5.0]])
async def test_a_first_token_that_does_not_come_goes_sideways(silence: list[Piece]) -> None:
    """Headers alone, or an opening without content, are no first token."""
    stage = Stage(Upstream(Answer(silence), Answer(STREAM)), Desk("a", "b"))
    client = await stage.call(ASK | {"stream": True})
    assert client.status == 200
    assert stage.record.attempts[0].failure is FailureClass.TIMEOUT
    assert client.headers["x-ostler-endpoint"] == "b"


async def test_an_endpoint_that_never_answers_is_left() -> None:
    """No head at all: the limit for the first token counts from the sending."""
    stage = Stage(Upstream(5.0, Answer([WHOLE])), Desk("a", "b"))
    stage.upstream._script[0:1] = [5.0, Answer([WHOLE])]
    client = await stage.call(ASK)
    assert stage.record.attempts[0].failure is FailureClass.TIMEOUT
    assert client.status in (200, 504)


@pytest.mark.parametrize("kind", [FailureClass.AUTH, FailureClass.REFUSAL, FailureClass.CAPABILITY])
async def test_what_no_other_place_may_mend_is_told_at_once(kind: FailureClass) -> None:
    """One attempt, and no second one although there is another endpoint."""
    stage = Stage(Upstream(broken(kind), Answer([WHOLE])), Desk("a", "b"))
    client = await stage.call(ASK)
    assert client.status == {"auth": 502, "refusal": 400, "capability": 400}[kind.value]
    assert kind.value in client.json()["error"]["message"]
    assert len(stage.upstream.sent) == 1
    if kind is FailureClass.AUTH:
        assert client.headers["x-should-retry"] == "false"


async def test_a_stand_in_that_cannot_take_the_request_is_skipped() -> None:
    """And when nothing else is left, the client is told what was wrong at first."""
    stage = Stage(
        Upstream(broken(FailureClass.SERVER), broken(FailureClass.CAPABILITY), Answer([WHOLE])), Desk("a", "b", "c")
    )
    client = await stage.call(ASK)
    assert client.status == 200
    assert client.headers["x-ostler-endpoint"] == "c"
    stage = Stage(Upstream(broken(FailureClass.OUT_OF_MEMORY), broken(FailureClass.CONTEXT_TOO_LONG)), Desk("a", "b"))
    client = await stage.call(ASK)
    assert client.status == 503
    assert stage.record.failure is FailureClass.OUT_OF_MEMORY


async def test_one_server_error_with_nowhere_else_to_go_is_tried_once_more() -> None:
    """The only endpoint failed once: the second try at the same place answers."""
    stage = Stage(Upstream(broken(FailureClass.SERVER), Answer([WHOLE])))
    client = await stage.call(ASK)
    assert client.status == 200
    assert len(stage.record.attempts) == 2


async def test_a_server_that_keeps_failing_is_tried_twice_and_no_more() -> None:
    """Then the client is told, with both attempts in the message."""
    stage = Stage(Upstream(broken(FailureClass.SERVER), broken(FailureClass.SERVER), Answer([WHOLE])))
    client = await stage.call(ASK)
    assert client.status == 502
    assert "2 attempts" in client.json()["error"]["message"]
    assert len(stage.upstream.sent) == 2


async def test_a_rate_limit_says_when_to_come_back() -> None:
    """The endpoint's own wait is longer than a call may wait in line, so the client gets it."""
    stage = Stage(Upstream(broken(FailureClass.RATE_LIMIT, 60_000)))
    client = await stage.call(ASK)
    assert (client.status, client.headers["retry-after"]) == (429, "60")
    assert len(stage.upstream.sent) == 1


async def test_a_short_rate_limit_is_waited_out_in_line() -> None:
    """The call goes back into the queue without an exclusion, where the endpoint's block holds it."""
    stage = Stage(Upstream(broken(FailureClass.RATE_LIMIT, 500), Answer([WHOLE])))
    client = await stage.call(ASK)
    assert client.status == 200
    assert stage.desk.offers[-1].excluded == ()


async def test_no_more_attempts_than_allowed() -> None:
    """Three endpoints fail, and a fourth is not asked."""
    stage = Stage(Upstream(*[broken(FailureClass.SERVER)] * 3, Answer([WHOLE])), Desk("a", "b", "c", "d"))
    client = await stage.call(ASK)
    assert client.status == 502
    assert len(stage.upstream.sent) == 3


def refused(status: int, body: bytes) -> CallError:
    error = broken(FailureClass.CAPABILITY)
    error.status, error.body = status, body
    return error


async def test_a_server_that_cannot_count_in_streams_is_asked_without_from_then_on() -> None:
    """It refuses the field that we had added; that is no failed attempt, and the next call does not ask again."""
    refusal = refused(400, b'{"error":"unknown field stream_options"}')
    stage = Stage(Upstream(refusal, Answer(STREAM), Answer(STREAM)))
    assert (await stage.call(ASK | {"stream": True})).status == 200
    assert (await stage.call(ASK | {"stream": True})).status == 200
    asked = [b"stream_options" in request.body for _, request in stage.upstream.sent]
    assert asked == [True, False, False]
    assert [len(record.attempts) for record in stage.book.records] == [1, 1]


async def test_a_server_that_wants_the_newer_limit_gets_it() -> None:
    """A translated request says it in the words that the server asked for."""
    refusal = refused(400, b'{"error":{"message":"use max_completion_tokens instead"}}')
    stage = Stage(Upstream(refusal, Answer([WHOLE]), Answer([WHOLE])))
    for _ in range(2):
        assert (await stage.call(ANTHROPIC_ASK, "/v1/messages")).status == 200
    bodies = [request.body for _, request in stage.upstream.sent]
    assert [b"max_completion_tokens" in body for body in bodies] == [False, True, True]


@pytest.mark.parametrize("status", [400, 422, 500])
async def test_what_the_caller_itself_wrote_is_told_to_the_caller(status: int) -> None:
    """Its own field is not taken out behind its back, and nothing is learned from it."""
    refusal = refused(status, b"stream_options max_completion_tokens")
    stage = Stage(Upstream(refusal, Answer(STREAM)))
    ask = ASK | {"stream": True, "stream_options": {"include_usage": True}}
    assert (await stage.call(ask)).status == 400
    assert len(stage.upstream.sent) == 1


async def test_the_stream_of_a_second_attempt_has_its_own_limits() -> None:
    """After a first one that was cut, one that flows for longer than a first token may take is no timeout."""
    slow: list[Piece] = [OPENING, *[step for word in WORDS * 4 for step in (word, 0.05)], ENDING, DONE]
    stage = Stage(Upstream(Answer([OPENING, *WORDS]), Answer(slow)), Desk("a", "b"), first_token_ms=500, stall_ms=500)
    client = await stage.call(ASK | {"stream": True}, x_ostler_whole="true")
    assert client.status == 200
    assert [attempt.failure for attempt in stage.record.attempts] == [FailureClass.CUT, None]


async def test_a_second_stream_that_stalls_is_told_as_stalled() -> None:
    """The limit between two pieces holds for every attempt."""
    stalls: list[Piece] = [OPENING, *WORDS, 5.0]
    stage = Stage(Upstream(Answer(stalls), Answer(stalls)), Desk("a", "b"), stall_ms=50, first_token_ms=2_000)
    client = await stage.call(ASK | {"stream": True}, x_ostler_whole="true")
    assert client.status == 504
    assert [attempt.failure for attempt in stage.record.attempts] == [FailureClass.STALLED] * 2


async def test_a_request_that_cannot_be_read_for_translation_is_the_callers_mistake() -> None:
    """Its own format would have taken it as it is; the attempt is told as what it was, not as a client that left."""
    stage = Stage(Upstream(), Desk("anthropic"))
    client = await stage.call({"model": "m", "messages": [{"role": "user", "content": [{"type": "hologram"}]}]})
    assert client.status == 400
    assert "hologram" in client.json()["error"]["message"]
    assert stage.record.attempts[0].failure is FailureClass.CAPABILITY


async def test_an_endpoint_that_is_removed_meanwhile_is_passed_over() -> None:
    """It was there when the call was dispatched, and is not when it is sent."""
    stage = Stage(Upstream(Answer([WHOLE])), Desk("a", "b"))
    views = dict(stage.gateway.hub.views())
    del views["a"]
    stage.gateway.hub = msgspec.structs.replace(stage.gateway.hub, views=lambda: views)
    client = await stage.call(ASK)
    assert client.status == 200
    assert client.headers["x-ostler-endpoint"] == "b"


SYSTEM_LIST = ANTHROPIC_ASK | {"system": [{"type": "text", "text": "Be short."}, {"type": "text", "text": "Be kind."}]}
STRING_WANTED = b"""{"error":{"message":"10 validation errors: {'loc': ('messages', 0, 'content'), 'msg': 'Input \
should be a valid string', 'input': [{'text': 'context window'}]}","type":"internal_server_error"}}"""


async def test_a_server_that_takes_only_strings_gets_strings() -> None:
    """Asked again at once in the same attempt, and so from then on; no text is lost."""
    stage = Stage(Upstream(refused(500, STRING_WANTED), Answer([WHOLE]), Answer([WHOLE])))

    first = await stage.call(SYSTEM_LIST, "/v1/messages")
    second = await stage.call(SYSTEM_LIST, "/v1/messages")

    assert (first.status, second.status) == (200, 200)
    assert [len(record.attempts) for record in stage.book.records] == [1, 1]
    systems = [msgspec.json.decode(request.body)["messages"][0]["content"] for _, request in stage.upstream.sent]
    assert isinstance(systems[0], list)
    assert systems[1:] == ["Be short.\n\nBe kind."] * 2


async def test_a_server_error_without_such_a_word_is_not_asked_in_another_form() -> None:
    """It may have worked on the request."""
    broke = broken(FailureClass.SERVER)
    broke.status, broke.body = 500, b"it broke"
    stage = Stage(Upstream(broke, Answer([WHOLE])), Desk("a", "b"))

    await stage.call(SYSTEM_LIST, "/v1/messages")

    assert [attempt.failure for attempt in stage.record.attempts] == [FailureClass.SERVER, None]
    systems = [msgspec.json.decode(request.body)["messages"][0]["content"] for _, request in stage.upstream.sent]
    assert all(isinstance(system, list) for system in systems)


@pytest.mark.parametrize(
    ("why", "kind", "says"),
    [
        ([Rejection.CONTEXT], FailureClass.CONTEXT_TOO_LONG, "context_length_exceeded"),
        ([Rejection.CONTEXT, Rejection.PINNED], FailureClass.CONTEXT_TOO_LONG, "context_length_exceeded"),
        ([Rejection.CONTEXT, Rejection.CAPABILITY], FailureClass.CAPABILITY, "no_route"),
        ([Rejection.CAPABILITY], FailureClass.CAPABILITY, "no_route"),
        ([], FailureClass.CAPABILITY, "no_route"),
    ],
)
async def test_a_prompt_that_fits_nowhere_is_called_too_long(
    why: list[Rejection], kind: FailureClass, says: str
) -> None:
    """Agents shorten what they send when they are told so in the words they know, and only then."""
    wait = Wait(code=WaitCode.NO_ROUTE, since_ms=0, detail="m needs a window of 5000 tokens, has 4096")
    candidates = tuple(Candidate(endpoint="", model="m", tier="standard", rejection=reason) for reason in why)
    judged = msgspec.structs.replace(decision("c"), candidates=candidates)
    stage = Stage(Upstream())
    stage.desk.denial = Denial(call_id="c-000001", attempt=1, wait=wait, decision=judged)

    client = await stage.call(ASK)

    assert client.status == 400
    assert client.json()["error"]["code"] == says
    assert ("the prompt is too long" in client.json()["error"]["message"]) is (kind is FailureClass.CONTEXT_TOO_LONG)
    assert stage.record.failure is kind
