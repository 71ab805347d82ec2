"""Calls from end to end over hand-made parts: what leaves, what is freed, what is recorded, whatever goes wrong."""

import asyncio

import msgspec
import pytest

from ostler.domain.allowances import Reported
from ostler.domain.calls import CallError
from ostler.domain.live import Denial, Refusal
from ostler.domain.states import FailureClass, Wait, WaitCode
from tests.gateway.stage import ANTHROPIC_ASK, ASK, COUNTS, DONE, ENDING, OPENING, STREAM, WHOLE, WORDS, Desk, Stage
from tests.gateway.support import Answer, Client, Piece, Upstream


def events(client: Client) -> list[str]:
    return [event.removeprefix("data: ") for event in client.body.decode().split("\n\n") if event]


async def test_a_whole_answer_goes_through_byte_by_byte() -> None:
    """The same format on both sides: fields that we do not know are in it, as they came."""
    stage = Stage(Upstream(Answer([WHOLE])))
    client = await stage.call(ASK)
    assert (client.status, client.body) == (200, WHOLE)
    assert client.headers["x-ostler-endpoint"] == "a"
    assert client.headers["x-ostler-cost-usd"] == "0"
    assert stage.upstream.sent[0][1].body == msgspec.json.encode(ASK)
    record = stage.record
    assert (record.status, record.failure, record.endpoint, record.cost_micro_usd) == (200, None, "a", 0)
    assert (record.attempts[0].input_tokens, record.attempts[0].output_tokens) == (10, 5)
    assert stage.desk.ends[0].usage is not None


async def test_a_paid_answer_says_what_it_cost() -> None:
    """10 tokens at 2 dollars a million and 5 at 10 are 70 micro-dollars."""
    stage = Stage(Upstream(Answer([WHOLE])), local=False)
    client = await stage.call(ASK)
    assert client.headers["x-ostler-cost-usd"] == "0.00007"
    assert (stage.record.cost_micro_usd, stage.record.cost_basis) == (70, "priced")


@pytest.mark.parametrize("size", [1, 7, 64, 100_000])
async def test_a_stream_goes_through_in_whole_events_however_it_was_cut(size: int) -> None:
    """Counts are asked for, taken, and kept from a client that did not ask for them."""
    raw = b"".join(STREAM)
    pieces = [raw[start : start + size] for start in range(0, len(raw), size)]
    stage = Stage(Upstream(Answer(pieces)))
    client = await stage.call(ASK | {"stream": True})
    assert client.status == 200
    assert client.body == raw.replace(COUNTS, b"")
    assert all(part.endswith(b"\n\n") or not part for part in client.chunks)
    assert (stage.record.attempts[0].input_tokens, stage.record.attempts[0].output_tokens) == (10, 3)
    assert not stage.record.attempts[0].estimated
    assert b'"include_usage":true' in stage.upstream.sent[0][1].body


async def test_a_client_that_asked_for_counts_gets_them() -> None:
    """Then nothing is added and nothing is taken out."""
    stage = Stage(Upstream(Answer(STREAM)))
    client = await stage.call(ASK | {"stream": True, "stream_options": {"include_usage": True}})
    assert client.body == b"".join(STREAM)


CUTS: dict[str, list[Piece]] = {
    "no end marker": [OPENING, *WORDS, ENDING],
    "cut in the middle": [OPENING, *WORDS[:2]],
    "cut in the middle of an event": [OPENING, WORDS[0], WORDS[1][:20]],
    "connection lost": [OPENING, WORDS[0], CallError(FailureClass.CUT, "answer cut off")],
    "malformed": [OPENING, WORDS[0], b"data: {oops\n\n"],
    "error in the stream": [OPENING, WORDS[0], b'data: {"error":{"message":"gone","type":"server_error"}}\n\n'],
    "stalled": [OPENING, WORDS[0], 5.0],
}


@pytest.mark.parametrize("name", CUTS)
async def test_a_stream_that_breaks_after_its_beginning_ends_in_an_error(name: str) -> None:
    """Never in a `[DONE]`: the client sees that it is not whole; the attempt is charged and nothing is repeated."""
    stage = Stage(Upstream(Answer(CUTS[name])), Desk("a", "b"))
    client = await stage.call(ASK | {"stream": True})
    assert client.status == 200
    assert b"[DONE]" not in client.body
    last = msgspec.json.decode(events(client)[-1])
    assert last["error"]["message"]
    assert "one " in client.body.decode()
    assert len(stage.upstream.sent) == 1
    assert stage.record.failure is not None
    assert stage.record.attempts[0].output_tokens > 0
    assert stage.record.attempts[0].estimated


@pytest.mark.parametrize("name", CUTS)
async def test_who_asks_for_whole_answers_gets_a_fresh_one(name: str) -> None:
    """Nothing had left, so another endpoint is asked; the client sees one whole stream and no trace of the first."""
    stage = Stage(Upstream(Answer(CUTS[name]), Answer(STREAM)), Desk("a", "b"))
    client = await stage.call(ASK | {"stream": True}, x_ostler_whole="true")
    assert client.status == 200
    assert client.body == b"".join(STREAM).replace(COUNTS, b"")
    assert [name for name, _ in stage.upstream.sent] == ["a", "b"]
    assert client.headers["x-ostler-attempts"] == "2"
    assert stage.record.failure is None
    assert stage.record.fallback


async def gone(stage: Stage, body: object, after_s: float = 0.03, path: str = "/v1/chat/completions") -> Client:
    """A client that hangs up while its call is under way."""
    client = stage.client(body, path)
    asyncio.get_running_loop().call_later(after_s, client.hang_up)
    started = asyncio.get_running_loop().time()
    await stage.serve(client)
    assert asyncio.get_running_loop().time() - started < 1, "the going was not noticed at once"
    return client


async def test_a_client_that_goes_while_it_waits_in_line_is_withdrawn() -> None:
    """Nothing was sent, and the record says who ended it."""
    stage = Stage(Upstream())
    stage.desk.held.clear()
    await gone(stage, ASK)
    assert stage.desk.withdrawn == 1
    assert (stage.record.status, stage.record.failure) == (499, FailureClass.CANCELLED)
    assert not stage.upstream.sent


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_goes_before_the_first_token_stops_the_endpoint(stream: bool) -> None:
    """Headers or none, streaming or not: the connection is closed, and the prompt is charged."""
    answer = Answer([5.0])
    stage = Stage(Upstream(answer), first_token_ms=5_000, stall_ms=5_000, whole_ms=5_000)
    await gone(stage, ASK | {"stream": stream})
    assert answer.closed
    assert stage.desk.ends[0].failure is not None
    assert stage.desk.ends[0].failure.kind is FailureClass.CANCELLED
    assert stage.record.attempts[0].input_tokens > 0


async def test_a_client_that_goes_in_mid_stream_is_charged_what_it_got() -> None:
    """The endpoint is stopped; what had passed is estimated."""
    answer = Answer([OPENING, *WORDS, 5.0, ENDING])
    stage = Stage(Upstream(answer), stall_ms=5_000)
    client = await gone(stage, ASK | {"stream": True})
    assert "three" in client.body.decode()
    assert not client.complete
    assert answer.closed
    assert answer.left
    assert stage.record.attempts[0].output_tokens >= 2
    assert stage.record.status == 499


async def test_a_reader_that_stalls_stops_the_reading() -> None:
    """While the client takes nothing, the endpoint is not read on, and the call waits for it without stalling."""
    answer = Answer([OPENING, *WORDS * 100, ENDING, DONE])
    stage = Stage(Upstream(answer), stall_ms=50)
    client = stage.client(ASK | {"stream": True})
    client.reading.clear()
    asyncio.get_running_loop().call_later(0.3, client.reading.set)
    serving = asyncio.create_task(stage.serve(client))
    await asyncio.sleep(0.2)
    assert len(answer._chunks) > 290, "the endpoint was read although nobody took it"
    await serving
    assert client.complete
    assert client.body.endswith(DONE)


async def test_the_deadline_of_a_call_ends_it_wherever_it_is() -> None:
    """In line, or while the endpoint works: 504 with what was too late."""
    for upstream, held in ((Upstream(), True), (Upstream(Answer([5.0])), False)):
        stage = Stage(upstream, first_token_ms=9_000, whole_ms=9_000)
        if held:
            stage.desk.held.clear()
        client = await stage.call(ASK, x_ostler_deadline="0.1")
        assert client.status == 504
        assert "deadline" in client.json()["error"]["message"]


async def test_a_call_that_nobody_can_take_is_told_why() -> None:
    """A wait that ended at its deadline: 503, when to come back, the reason of the wait."""
    desk = Desk()
    wait = Wait(code=WaitCode.CAPACITY, since_ms=0, detail="a has no free slot")
    desk.denial = Denial(call_id="c", attempt=1, wait=wait, retry_after_ms=4_200, wait_ms=2_000)
    stage = Stage(Upstream(), desk)
    client = await stage.call(ASK)
    assert (client.status, client.headers["retry-after"]) == (503, "5")
    assert "no free slot" in client.json()["error"]["message"]


async def test_a_stop_lets_answers_end_and_then_ends_them() -> None:
    """Within the grace a stream goes on; after it, it ends with an error; new calls are refused all the while."""
    stage = Stage(Upstream(Answer([OPENING, WORDS[0], 0.1, *WORDS[1:], ENDING, DONE])), stall_ms=5_000)
    client = stage.client(ASK | {"stream": True})
    serving = asyncio.create_task(stage.serve(client))
    await asyncio.sleep(0.03)
    stopping = asyncio.create_task(stage.gateway.stop(2))
    await asyncio.sleep(0)
    late = await stage_call_quietly(stage, ASK)
    assert (late.status, late.headers["retry-after"]) == (503, "1")
    await asyncio.gather(serving, stopping)
    assert client.body.endswith(DONE)

    stage = Stage(Upstream(Answer([OPENING, WORDS[0], 5.0])), stall_ms=5_000)
    client = stage.client(ASK | {"stream": True})
    serving = asyncio.create_task(stage.serve(client))
    await asyncio.sleep(0.03)
    await stage.gateway.stop(0.05)
    await serving
    assert "stopping" in msgspec.json.decode(events(client)[-1])["error"]["message"]


async def stage_call_quietly(stage: Stage, body: object) -> Client:
    client = stage.client(body)
    await stage.face_of(client)
    return client


async def test_other_paths_are_not_ours() -> None:
    """They are left to the application behind."""
    stage = Stage(Upstream())
    assert stage.face.take(stage.client(ASK, "/hub/status").line) is None


async def test_keys_of_ours_are_checked_and_foreign_ones_mean_nothing_on_loopback() -> None:
    """A client that must send some key may send any; one that looks like ours has to be one."""
    stage = Stage(Upstream(Answer([WHOLE])))
    assert (await stage.call(ASK, authorization="Bearer sk-whatever")).status == 200
    assert stage.record.key == ""
    stage = Stage(Upstream(Answer([WHOLE])))
    assert (await stage.call(ASK, authorization="Bearer ost-good")).status == 200
    assert (stage.record.key, stage.record.task) == ("good", "t-1")
    stage = Stage(Upstream())
    refused = await stage.call(ASK, authorization="Bearer ost-bad")
    assert refused.status == 401
    assert "ostler keys create" in refused.json()["error"]["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"model":3}', b'{"messages":[]}'])
async def test_what_is_no_request_is_told_in_the_clients_own_format(body: bytes) -> None:
    """400 with one message; nothing was offered to anybody."""
    stage = Stage(Upstream())
    client = await stage.call(body)
    assert client.status == 400
    assert client.json()["error"]["message"]
    assert not stage.desk.offers


async def test_a_prompt_is_kept_only_where_the_profile_says_so() -> None:
    """By default a record holds no word of it."""
    stage = Stage(Upstream(Answer([WHOLE])))
    await stage.call(ASK)
    assert stage.record.prompt is None
    assert b"hello" not in msgspec.json.encode(stage.record)
    stage = Stage(Upstream(Answer([WHOLE]), Answer(STREAM)), store_prompts=True)
    await stage.call(ASK)
    assert "hello" in (stage.record.prompt or "")
    assert stage.record.answer == WHOLE.decode()
    streamed = await stage.call(ASK | {"stream": True})
    assert stage.book.records[-1].answer == streamed.body.decode()


async def test_an_answer_that_is_not_streamed_may_take_longer_than_a_first_token() -> None:
    """It shows no first piece; its own limit is the one that counts."""
    stage = Stage(Upstream(Answer([0.1, WHOLE])), first_token_ms=20, whole_ms=2_000)
    assert (await stage.call(ASK)).status == 200
    stage = Stage(Upstream(Answer([5.0, WHOLE])), whole_ms=50)
    late = await stage.call(ASK)
    assert late.status == 504
    assert "whole answer" in late.json()["error"]["message"]


async def test_another_format_is_translated_both_ways() -> None:
    """A client of Anthropic's format in front of an OpenAI-compatible server: whole and streamed."""
    stage = Stage(Upstream(Answer([WHOLE])))
    client = await stage.call(ANTHROPIC_ASK, "/v1/messages")
    answer = client.json()
    assert answer["type"] == "message"
    assert answer["content"] == [{"type": "text", "text": "hi"}]
    assert (answer["usage"]["input_tokens"], answer["usage"]["output_tokens"]) == (10, 5)
    assert stage.upstream.sent[0][1].path == "/chat/completions"
    stage = Stage(Upstream(Answer(STREAM)))
    client = await stage.call(ANTHROPIC_ASK | {"stream": True}, "/v1/messages")
    assert client.headers["content-type"].startswith("text/event-stream")
    assert client.body.decode().rstrip().endswith('data: {"type":"message_stop"}')
    assert stage.record.attempts[0].output_tokens == 3


@pytest.mark.parametrize("name", CUTS)
async def test_a_translated_stream_that_breaks_ends_in_an_error_too(name: str) -> None:
    """`message_stop` never follows; the error is an event of the client's format."""
    stage = Stage(Upstream(Answer(CUTS[name])))
    client = await stage.call(ANTHROPIC_ASK | {"stream": True}, "/v1/messages")
    assert client.status == 200
    assert b"message_stop" not in client.body
    assert b"event: error" in client.body
    assert stage.record.failure is not None


async def test_several_answers_at_once_cannot_be_translated_and_say_so() -> None:
    """`n: 2` has no place in the other format."""
    stage = Stage(Upstream(), Desk("anthropic"))
    client = await stage.call(ASK | {"n": 2})
    assert client.status == 400
    assert "2 answers" in client.json()["error"]["message"]


PLAN_HEADERS = {
    "content-type": "application/json",
    "anthropic-ratelimit-unified-5h-utilization": "0.4",
    "anthropic-ratelimit-unified-7d-utilization": "0.9",
}


async def test_what_an_answer_says_of_a_subscription_goes_to_the_scheduler() -> None:
    """Of every paid answer, also of a refusal; what runs on a machine of one's own is not asked."""
    good = Answer([WHOLE])
    good.headers = PLAN_HEADERS
    refused = CallError(FailureClass.RATE_LIMIT, "slow down")
    refused.allowances = (Reported(window="5h", used_percent=100.0, at_ms=0),)
    paid = Stage(Upstream(refused, good), Desk("a", "b"), local=False)
    await paid.call(ASK)
    assert [[(one.window, one.used_percent) for one in end.allowances] for end in paid.desk.ends] == [
        [("5h", 100.0)],
        [("5h", 40.0), ("7d", 90.0)],
    ]

    own = Answer([WHOLE])
    own.headers = PLAN_HEADERS
    free = Stage(Upstream(own))
    await free.call(ASK)
    assert free.desk.ends[0].allowances == ()


@pytest.mark.parametrize(
    ("error", "unworked"),
    [(CallError(FailureClass.NETWORK, "reset"), False), (CallError(FailureClass.MALFORMED, "a web page"), True)],
)
async def test_what_no_model_worked_on_is_told_apart(error: CallError, *, unworked: bool) -> None:
    """A connection that broke may have been heard at the other end; a web page is nobody's answer."""
    error.unworked = unworked
    stage = Stage(Upstream(error, error), local=False)
    await stage.call(ASK)

    end = stage.desk.ends[0]
    assert (end.usage, end.unworked) == (None, unworked)


async def test_a_body_that_is_no_answer_is_estimated_by_its_length() -> None:
    """A model may well have written it: it is not free, and not as dear as what was held."""
    broken = [Answer([b"{" + b"x" * 399]) for _ in range(2)]
    stage = Stage(Upstream(*broken), local=False)
    await stage.call(ASK)

    usage = stage.desk.ends[0].usage
    assert usage is not None
    assert (usage.output_tokens, usage.estimated) == (100, True)
    assert stage.record.failure is FailureClass.MALFORMED


@pytest.mark.parametrize(
    ("body", "headers", "reason", "key"),
    [
        (ASK, {"authorization": "Bearer ost-bad"}, "invalid_api_key", ""),
        (ASK | {"model": "nobody-knows"}, {"authorization": "Bearer ost-good"}, "not_found", "good"),
        (b"{", {}, "invalid_input", ""),
        (ASK, {"origin": "https://evil.example"}, "not_allowed", ""),
    ],
)
async def test_what_is_refused_before_it_is_a_call_is_counted(
    body: object, headers: dict[str, str], reason: str, key: str
) -> None:
    """By its reason, with the name of its key where that is ours; no record is made, and nothing of it is kept."""
    stage = Stage(Upstream())
    refused = await stage.call(body, **headers)

    assert refused.status is not None
    assert refused.status >= 400
    assert stage.book.refusals == [Refusal(reason=reason, path="/v1/chat/completions", key=key)]
    assert stage.book.records == []


async def test_a_call_that_fails_is_a_record_and_no_refusal() -> None:
    """It is in one place only."""
    stage = Stage(Upstream(CallError(FailureClass.AUTH, "no")))
    await stage.call(ASK)

    assert stage.book.refusals == []
    assert len(stage.book.records) == 1


async def test_an_answer_whose_head_cannot_be_taken_in_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever breaks once it is there: its connection is nobody else's to close, and its slot is free again."""

    def breaks(_headers: object, _now_ms: int) -> None:
        raise OverflowError("a mistake of ours")

    monkeypatch.setattr("ostler.gateway.calls.reported", breaks)
    answer = Answer([WHOLE])
    stage = Stage(Upstream(answer), local=False)
    with pytest.raises(OverflowError):
        await stage.call(ASK)
    assert answer.closed == 1
    assert len(stage.desk.ends) == 1
