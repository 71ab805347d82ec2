"""Answers of endpoints that speak Responses: recorded shapes, servers of other tempers, failures, nonsense."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from ostler.domain.calls import CallError
from ostler.domain.states import FailureClass
from ostler.wire.codec import Fault
from ostler.wire.fold import fold
from ostler.wire.openai_responses import OpenAIResponses
from ostler.wire.talk import Answer, Ask, Finish, Json, Piece, Text, TextPiece, Thinking, ThinkingPiece, Tokens, ToolUse
from tests.wire.talking import CUTS, JSON_VALUES, cut, events_of, read

CODEC = OpenAIResponses()
EVENT: TypeAdapter[object] = TypeAdapter(ResponseStreamEvent)


def event(kind: str, **fields: object) -> bytes:
    data = msgspec.json.encode({"type": kind, "sequence_number": 0} | fields)
    return b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"


RESPONSE: Json = {"id": "resp_1", "object": "response", "created_at": 7.0, "model": "m", "status": "in_progress",
                  "error": None, "output": []}  # fmt: skip
USAGE: Json = {"input_tokens": 9, "input_tokens_details": {"cached_tokens": 4}, "output_tokens": 3,
               "output_tokens_details": {"reasoning_tokens": 2}, "total_tokens": 12}  # fmt: skip
SUMMARY = [{"type": "summary_text", "text": "hm"}, {"type": "summary_text", "text": "so"}]
SAID = [{"type": "output_text", "text": "hi", "annotations": []}]
ITEMS: list[Json] = [
    {"id": "rs_1", "type": "reasoning", "summary": SUMMARY, "encrypted_content": "p"},
    {"id": "ws_1", "type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "q"}},
    {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": SAID},
    {"id": "fc_1", "type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a":1}'},
]
DONE_RESPONSE: Json = RESPONSE | {"status": "completed", "output": ITEMS, "usage": USAGE}
EXPECTED = Answer(
    id="resp_1",
    model="m",
    created_s=7,
    parts=(
        Thinking(text="hm\n\nso", signature="p"),
        Text(text="hi"),
        ToolUse(id="c1", name="f", arguments='{"a":1}'),
    ),
    finish=Finish.TOOLS,
    tokens=Tokens(input_tokens=9, cache_read_tokens=4, output_tokens=3, reasoning_tokens=2),
)
AT = {"item_id": "i", "content_index": 0}
RECORDED = b"".join([
    event("response.created", response=RESPONSE),
    event("response.in_progress", response=RESPONSE),
    event("response.output_item.added", output_index=0, item={"id": "rs_1", "type": "reasoning", "summary": []}),
    event("response.reasoning_summary_part.added", output_index=0, summary_index=0, part={}),
    event("response.reasoning_summary_text.delta", output_index=0, summary_index=0, delta="hm"),
    event("response.reasoning_summary_part.added", output_index=0, summary_index=1, part={}),
    event("response.reasoning_summary_text.delta", output_index=0, summary_index=1, delta="so"),
    event("response.output_item.done", output_index=0, item=ITEMS[0]),
    event("response.output_item.added", output_index=1, item=ITEMS[1]),
    event("response.web_search_call.searching", output_index=1, item_id="ws_1"),
    event("response.output_item.done", output_index=1, item=ITEMS[1]),
    event("response.output_item.added", output_index=2, item=ITEMS[2] | {"content": []}),
    event("response.output_text.delta", output_index=2, delta="h", **AT),
    event("response.output_text.delta", output_index=2, delta="i", **AT),
    event("response.output_text.done", output_index=2, text="hi", **AT),
    event("response.output_item.done", output_index=2, item=ITEMS[2]),
    event("response.output_item.added", output_index=3, item=ITEMS[3] | {"arguments": ""}),
    event("response.function_call_arguments.delta", output_index=3, item_id="fc_1", delta='{"a"'),
    event("response.function_call_arguments.delta", output_index=3, item_id="fc_1", delta=":1}"),
    event("response.function_call_arguments.done", output_index=3, item_id="fc_1", arguments='{"a":1}'),
    event("response.output_item.done", output_index=3, item=ITEMS[3]),
    event("response.completed", response=DONE_RESPONSE),
])  # fmt: skip
WITHOUT_DELTAS = b"".join([
    event("response.created", response=RESPONSE),
    *(event("response.output_item.done", output_index=index, item=item) for index, item in enumerate(ITEMS)),
    event("response.completed", response=DONE_RESPONSE),
    b"data: [DONE]\n\n",
])  # fmt: skip


@pytest.mark.parametrize("data", [RECORDED, WITHOUT_DELTAS], ids=["deltas", "whole items"])
def test_a_stream_of_an_endpoint_is_the_whole_answer(data: bytes) -> None:
    """Summaries in parts, hosted tools in between, and servers that send items whole: the same answer."""
    tap = CODEC.tap()
    tap.feed(data)

    assert fold(read(CODEC.reader(), [data])) == EXPECTED
    assert CODEC.decode_answer(msgspec.json.encode(DONE_RESPONSE)) == EXPECTED
    assert (tap.done, tap.content, tap.finish, tap.tokens) == (True, True, Finish.TOOLS, EXPECTED.tokens)


@given(at=CUTS)
def test_a_stream_is_read_the_same_at_every_cut(at: list[int]) -> None:
    """The cut between chunks never shows."""
    assert read(CODEC.reader(), cut(RECORDED, at)) == read(CODEC.reader(), [RECORDED])


def test_thinking_of_open_models_is_read() -> None:
    """VLLM streams it as text, not as a summary, and gives its response no proof."""
    data = event("response.reasoning_text.delta", output_index=0, delta="hm") + event(
        "response.completed", response=RESPONSE | {"status": "completed"}
    )
    whole = RESPONSE | {"status": "completed", "output": [{"type": "reasoning", "summary": [],
                        "content": [{"type": "reasoning_text", "text": "hm"}]}]}  # fmt: skip

    assert fold(read(CODEC.reader(), [data])).parts == (Thinking(text="hm"),)
    assert CODEC.decode_answer(msgspec.json.encode(whole)).parts == (Thinking(text="hm"),)


def test_a_stream_without_its_last_event_was_cut() -> None:
    """A marker of another format does not make it whole."""
    data = RECORDED[: RECORDED.index(b"event: response.completed")] + b"data: [DONE]\n\ndata: [DONE]"
    reader, tap = CODEC.reader(), CODEC.tap()
    read(reader, [data])
    tap.feed(data)

    assert (reader.done, tap.done, tap.content, tap.finish) == (False, False, True, "")


ERROR: Json = {"code": "rate_limit_exceeded", "message": "slow down"}
FAILURES = {
    "failed": (event("response.failed", response=RESPONSE | {"status": "failed", "error": ERROR}), "rate_limit"),
    "failed, no reason": (event("response.failed", response=RESPONSE | {"status": "failed"}), "server"),
    "error event": (event("error", code="context_length_exceeded", message="too long"), "context_too_long"),
    "error of the other format": (b'data: {"error": {"message": "overloaded"}}\n\n', "overloaded"),
    "no JSON": (b"data: <html>\n\n", "malformed"),
    "no text": (event("response.output_text.delta", output_index=0, delta=3, response=None), "malformed"),
    "half an event": (b'data: {"type": "response.completed", "response": {}\n\n', "malformed"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_inside_a_stream_is_one_of_its_class(failure: str) -> None:
    """The reader tells the class and whether something had been said; so does the tap where it looks."""
    data, kind = FAILURES[failure]
    text = event("response.output_text.delta", output_index=0, delta="x")
    for said in (b"", text):
        reader = CODEC.reader()
        reader.feed(said)
        with pytest.raises(CallError) as caught:
            reader.feed(data)
        assert (caught.value.kind, caught.value.emitted) == (kind, bool(said))
    tap = CODEC.tap()
    if failure != "no text":
        with pytest.raises(CallError) as caught:
            tap.feed(data)
        assert caught.value.kind == kind


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", FailureClass.MALFORMED),
        (b"[]", FailureClass.MALFORMED),
        (b"{}", FailureClass.MALFORMED),
        (msgspec.json.encode(RESPONSE), FailureClass.MALFORMED),
        (msgspec.json.encode(RESPONSE | {"status": "failed", "error": ERROR}), FailureClass.RATE_LIMIT),
        (b'{"error": {"type": "insufficient_quota", "message": "pay"}}', FailureClass.QUOTA),
    ],
)
def test_what_is_no_answer_is_a_failure_of_its_class(data: bytes, kind: FailureClass) -> None:
    """Nonsense, a response that is not done, and errors that come with success."""
    with pytest.raises(CallError) as caught:
        CODEC.decode_answer(data)

    assert caught.value.kind is kind


def test_an_error_ends_a_stream_as_clients_listen_for_it() -> None:
    """An error event and a response that failed, both valid for the official client; ours reads the class again."""
    for kind in (FailureClass.OVERLOADED, FailureClass.RATE_LIMIT, FailureClass.CUT):
        writer = CODEC.writer(Ask(model="m"), "r", 1)
        data = writer.piece(TextPiece(text="half"))
        data += writer.fault(Fault(kind=kind, status=502, message="it went wrong"))

        for told_event in events_of(data):
            EVENT.validate_json(msgspec.json.encode(told_event), strict=True)
        assert [told_event["type"] for told_event in events_of(data)][-2:] == ["error", "response.failed"]
        with pytest.raises(CallError, match="it went wrong"):
            read(CODEC.reader(), [data])


EVENTS_OF_ANYTHING = st.lists(JSON_VALUES, max_size=3).map(
    lambda values: b"".join(b"data: " + msgspec.json.encode(value) + b"\n\n" for value in values)
)
EVENT_NAMES = st.sampled_from(
    ["type", "delta", "output_index", "item", "response", "error", "output", "content", "arguments"]
)
EVENT_WORDS = st.sampled_from([
    "response.completed", "response.output_text.delta", "response.output_item.done", "function_call", "message",
    "response.function_call_arguments.delta", "reasoning", "error",
])  # fmt: skip
NEARLY = st.recursive(
    JSON_VALUES | EVENT_WORDS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(EVENT_NAMES, inner, max_size=4),
    max_leaves=8,
).map(lambda value: b"data: " + msgspec.json.encode(value) + b"\n\n")


@given(data=st.binary(max_size=80) | EVENTS_OF_ANYTHING | NEARLY)
def test_no_bytes_break_reader_tap_or_answer(data: bytes) -> None:
    """Whatever an endpoint sends is read or is a failed call."""
    for take in (
        lambda: read(CODEC.reader(), [data]),
        lambda: CODEC.tap().feed(data),
        lambda: CODEC.decode_answer(data[6:]),
    ):
        try:
            take()
        except CallError as error:
            assert error.message  # noqa: PT017


def test_thinking_piece_by_piece_is_one_item() -> None:
    """A proof that comes last belongs to the thinking before it."""
    writer = CODEC.writer(Ask(model="m"), "r", 1)
    thinking: list[Piece] = [ThinkingPiece(text="a"), ThinkingPiece(text="b"), ThinkingPiece(signature="s")]
    data = b"".join(writer.piece(piece) for piece in thinking) + writer.end()
    response = events_of(data)[-1]["response"]

    assert isinstance(response, dict)
    assert response["output"] == [
        {
            "type": "reasoning",
            "id": "rs_r_0",
            "summary": [{"type": "summary_text", "text": "ab"}],
            "encrypted_content": "s",
        }
    ]
