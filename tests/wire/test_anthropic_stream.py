"""Streams of the Messages API: read, watched and written, wherever they are cut."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import RawMessageStreamEvent
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from ostler.domain.calls import CallError
from ostler.domain.states import FailureClass
from ostler.wire.anthropic import Anthropic
from ostler.wire.codec import Fault, StreamReader, StreamTap
from ostler.wire.fold import fold, pieces
from ostler.wire.framing import MAX_LINE_BYTES, SseParser
from ostler.wire.talk import (
    Answer,
    Ask,
    Counted,
    Ended,
    Finish,
    Piece,
    Refusal,
    RefusalPiece,
    Started,
    Text,
    TextPiece,
    Thinking,
    ThinkingPiece,
    Tokens,
    ToolPiece,
    ToolStarted,
    ToolUse,
)
from tests.wire.talking import cut
from tests.wire.talks import answers, cuts, near, words

CODEC = Anthropic()
ASK = Ask(model="m")
EVENT = TypeAdapter[Any](RawMessageStreamEvent)
USAGE = {"input_tokens": 5, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 0, "output_tokens": 1}


def sse(*events: dict[str, Any]) -> bytes:
    return b"".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events)


def opened(**usage: object) -> dict[str, Any]:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "content": []}
    return {"type": "message_start", "message": message | {"stop_reason": None, "usage": USAGE | usage}}


def block(index: int, content: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": content},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def closed(reason: str = "end_turn", **usage: object) -> list[dict[str, Any]]:
    return [
        {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": usage},
        {"type": "message_stop"},
    ]


WHOLE = sse(
    opened(),
    {"type": "ping"},
    *block(
        0,
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": "h"},
        {"type": "thinking_delta", "thinking": "m"},
        {"type": "signature_delta", "signature": "c2ln"},
    ),
    *block(1, {"type": "redacted_thinking", "data": "eHh4"}),
    *block(
        2,
        {"type": "text", "text": ""},
        {"type": "text_delta", "text": 'say "message_stop" '},
        {"type": "citations_delta", "citation": {"type": "char_location"}},
        {"type": "text_delta", "text": "né"},
    ),
    *block(3, {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}),
    *block(
        4,
        {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}},
        {"type": "input_json_delta", "partial_json": ""},
        {"type": "input_json_delta", "partial_json": '{"a": '},
        {"type": "input_json_delta", "partial_json": '"b"}'},
    ),
    *block(5, {"type": "tool_use", "id": "toolu_2", "name": "none", "input": {}}),
    *closed("tool_use", output_tokens=40),
)
ANSWER = Answer(
    id="msg_1",
    model="claude-x",
    parts=(
        Thinking(text="hm", signature="c2ln"),
        Thinking(redacted="eHh4"),
        Text(text='say "message_stop" né'),
        ToolUse(id="toolu_1", name="look", arguments='{"a": "b"}'),
        ToolUse(id="toolu_2", name="none"),
    ),
    finish=Finish.TOOLS,
    tokens=Tokens(input_tokens=105, cache_read_tokens=100, cache_write_tokens=0, output_tokens=40),
)


def read(*chunks: bytes) -> tuple[Answer, StreamReader]:
    reader = CODEC.reader()
    found = [piece for chunk in chunks for piece in reader.feed(chunk)]
    return fold([*found, *reader.end()]), reader


def written(stream: list[Piece], ask: Ask = ASK) -> bytes:
    writer = CODEC.writer(ask, "msg_9", 0)
    return b"".join(map(writer.piece, stream)) + writer.end()


def events(stream: bytes) -> Iterator[dict[str, Any]]:
    """The events of a stream, once the vendor's own types have taken them."""
    for event in SseParser().feed(stream):
        value = json.loads(event.data)
        assert value["type"] == event.name
        EVENT.validate_python(value)
        yield value


def watched(*chunks: bytes) -> StreamTap:
    tap = CODEC.tap()
    for chunk in chunks:
        tap.feed(chunk)
    return tap


@given(at=cuts)
def test_a_stream_is_understood_wherever_it_is_cut(at: list[int]) -> None:
    """All kinds of blocks fold to the answer they are, and the end marker makes it whole."""
    answer, reader = read(*cut(WHOLE, at))

    assert answer == ANSWER
    assert reader.done


@given(at=cuts)
@example(at=[len(WHOLE) - 1])
@example(at=[len(WHOLE) - 2])
def test_a_stream_is_watched_wherever_it_is_cut(at: list[int]) -> None:
    """End, finish, counts and the number of events are seen at every cut."""
    tap = watched(*cut(WHOLE, at))

    assert (tap.done, tap.content, tap.finish, tap.tokens) == (True, True, "tool_calls", ANSWER.tokens)
    assert tap.events == WHOLE.count(b"event: ")


@given(answer=answers(), at=cuts)
def test_a_written_stream_is_read_as_the_answer_it_was(answer: Answer, at: list[int]) -> None:
    """Writer and reader are inverse, in any chunking; the vendor's types take every event."""
    stream = written(list(pieces(answer)))
    back, reader = read(*cut(stream, at))
    whole = CODEC.decode_answer(CODEC.encode_answer(answer, ASK))

    assert list(events(stream))[-1] == {"type": "message_stop"}
    assert reader.done
    assert (back.id, back.model, back.finish) == ("msg_9", answer.model, answer.finish)
    assert back.parts == whole.parts == answer.parts
    assert back.tokens == whole.tokens


@given(answer=answers(), at=cuts)
def test_the_vendors_client_collects_what_was_written(answer: Answer, at: list[int]) -> None:
    """The official client's own accumulation of our events is our whole answer."""
    snapshot: Any = None
    collected: dict[int, bytes] = {}
    for event in events(written(list(pieces(answer)))):
        parsed = EVENT.validate_python(event)
        snapshot = accumulate_event(event=parsed, current_snapshot=snapshot, json_bufs=collected)
    got = snapshot.model_dump(mode="json", exclude_none=True, warnings=False)
    expected = json.loads(CODEC.encode_answer(answer, ASK))

    assert got["content"] == expected["content"]
    assert got["stop_reason"] == expected["stop_reason"]
    assert got["usage"]["output_tokens"] == expected["usage"]["output_tokens"]


def test_counts_of_the_opening_are_corrected_by_the_end() -> None:
    """The last word counts: some servers know the input only when all is done."""
    answer, _ = read(sse(opened(input_tokens=0, cache_read_input_tokens=0), *closed(input_tokens=7, output_tokens=2)))

    assert (answer.tokens.input_tokens, answer.tokens.output_tokens) == (7, 2)


def test_arguments_may_come_whole_with_the_opening_of_a_call() -> None:
    """Some servers put them there and send no pieces; pieces that follow win."""
    tool = {"type": "tool_use", "id": "t", "name": "x", "input": {"a": 1}}
    delta = {"type": "input_json_delta", "partial_json": '{"b":2}'}
    whole, _ = read(sse(opened(), *block(0, tool), *block(1, tool, delta), *closed("tool_use", output_tokens=1)))

    assert [json.loads(part.arguments) for part in whole.parts if isinstance(part, ToolUse)] == [{"a": 1}, {"b": 2}]


def test_a_refusal_without_content_is_told_in_its_explanation() -> None:
    """Streamed as whole: an empty answer says nothing, its stop details do."""
    details = {"type": "refusal", "category": "bio", "explanation": "Not this."}
    end = {
        "type": "message_delta",
        "delta": {"stop_reason": "refusal", "stop_details": details},
        "usage": {"output_tokens": 0},
    }
    answer, _ = read(sse(opened(), end, {"type": "message_stop"}))

    assert (answer.parts, answer.finish) == ((Refusal(text="Not this."),), Finish.REFUSAL)


def test_a_stream_that_stops_early_is_not_done() -> None:
    """Without its end marker a stream was cut, whatever came before."""
    early = WHOLE[: WHOLE.index(b"event: message_stop")]
    answer, reader = read(early)

    assert (answer.finish, reader.done, watched(early).done) == (Finish.TOOLS, False, False)


@pytest.mark.parametrize("missing", [1, 2])
def test_a_last_event_without_its_blank_line_counts(missing: int) -> None:
    """Some servers close right after the last line."""
    assert read(WHOLE[:-missing])[1].done
    assert watched(WHOLE[:-missing]).done
    assert watched(*cut(WHOLE[:-missing], list(range(len(WHOLE))))).done


def test_a_last_event_that_was_cut_is_dropped() -> None:
    """Half an event at the end is a cut, not nonsense."""
    assert not read(WHOLE[:-10])[1].done


def test_an_end_marker_without_a_reason_is_an_end() -> None:
    """Some servers forget the reason."""
    stream = sse(opened(), *block(0, {"type": "text", "text": "hi"}), {"type": "message_stop"})
    answer, reader = read(stream)

    assert (answer.parts, answer.finish, reader.done) == ((Text(text="hi"),), Finish.STOP, True)
    for whole in (stream, stream[:-2]):
        assert (watched(whole).done, watched(whole).finish) == (True, "stop")


def test_nothing_is_read_after_the_end() -> None:
    """What a server sends after its end marker is not part of the answer; some add the marker of another format."""
    assert watched(WHOLE + b"data: [DONE]\n\n").done
    assert read(WHOLE + b"data: [DONE]\n\n")[1].done
    assert read(WHOLE + sse(*block(9, {"type": "text", "text": "more"})))[0] == ANSWER


@pytest.mark.parametrize("take", [read, watched])
def test_an_error_without_a_type_is_still_one(take: Callable[[bytes], object]) -> None:
    """Proxies write their own errors into a stream."""
    with pytest.raises(CallError, match="slow down") as caught:
        take(b'event: error\ndata: {"error":{"message":"slow down","code":"rate_limit_exceeded"}}\n\n')
    assert caught.value.kind is FailureClass.RATE_LIMIT


ERROR = sse({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})


@pytest.mark.parametrize("take", [read, watched])
def test_an_error_in_the_stream_is_a_failure_of_its_class(take: Callable[[bytes], object]) -> None:
    """It says whether something of the answer had been seen before."""
    with pytest.raises(CallError, match="Overloaded") as early:
        take(sse(opened()) + ERROR)
    with pytest.raises(CallError) as late:
        take(sse(opened(), *block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "hi"})) + ERROR)

    assert (early.value.kind, early.value.emitted) == (FailureClass.OVERLOADED, False)
    assert late.value.emitted


@pytest.mark.parametrize("take", [read, watched])
@pytest.mark.parametrize("data", [b"nonsense", b"{", b'{"type":}', b"[]", b'{"no":"type"}', b'{"type":"message_stop"'])
def test_an_event_that_is_none_is_a_malformed_stream(take: Callable[[bytes], object], data: bytes) -> None:
    """Nonsense in place of an event is a failure of the endpoint."""
    with pytest.raises(CallError) as caught:
        take(b"data: " + data + b"\n\n")
    assert caught.value.kind is FailureClass.MALFORMED


def test_an_event_may_stretch_over_lines() -> None:
    """The format of events allows JSON to be cut between data lines."""
    stream = b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"max_tokens"}\ndata: }\n\n'

    assert watched(stream).finish == "length"
    assert read(stream)[0].finish is Finish.LENGTH


@pytest.mark.parametrize(
    ("stream", "content"),
    [
        (sse(opened(), {"type": "ping"}), False),
        (sse(opened(), *block(0, {"type": "text", "text": ""})), False),
        (sse(opened(), *block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": ""})), False),
        (sse(opened(), *block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "x"})), True),
        (
            sse(opened(), *block(0, {"type": "thinking", "thinking": ""}, {"type": "thinking_delta", "thinking": "x"})),
            True,
        ),
        (sse(opened(), *block(0, {"type": "tool_use", "id": "t", "name": "x", "input": {}})), True),
        (sse(opened(), *closed()), True),
    ],
)
def test_content_is_told_from_mere_openings(stream: bytes, content: bool) -> None:
    """Only what a client could not be given twice counts as content."""
    assert watched(stream).content is content


@settings(max_examples=300)
@given(stream=st.one_of(st.binary(max_size=80), st.lists(near("type", "index", "delta", "message", "usage", "text",
    types=("message_start", "content_block_delta", "error", "message_stop")), max_size=4).map(
        lambda events: b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events))))  # fmt: skip
def test_any_bytes_are_pieces_or_a_failure_of_the_call(stream: bytes) -> None:
    """Nothing but `CallError` comes out of a stream, whatever it is."""
    for take in (read, watched):
        try:
            take(stream)
        except CallError:
            continue


@given(text=words, at=cuts)
def test_text_never_passes_for_the_end(text: str, at: list[int]) -> None:
    """A model that speaks of events does not end its stream by it."""
    stream = sse(opened(), *block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": text}))
    tap = watched(*cut(stream, at))

    assert (tap.done, tap.finish, read(*cut(stream, at))[0].parts) == (False, "", (Text(text=text),))


def test_a_written_stream_opens_with_the_counts_that_are_known() -> None:
    """The input is told at the beginning where the endpoint says it early, and everything at the end."""
    early = Counted(tokens=Tokens(input_tokens=105, cache_read_tokens=100))
    late = Counted(tokens=Tokens(output_tokens=9))
    stream: list[Piece] = [Started(id="x", model="n"), early, TextPiece(text="a"), Ended(finish=Finish.STOP), late]
    first, *_, end, _ = events(written(stream))

    assert first["message"]["usage"] == {
        "input_tokens": 5,
        "cache_read_input_tokens": 100,
        "cache_creation_input_tokens": None,
        "output_tokens": 0,
    }
    assert (first["message"]["id"], first["message"]["model"]) == ("msg_9", "n")
    assert (end["usage"]["input_tokens"], end["usage"]["output_tokens"]) == (5, 9)


def test_an_empty_stream_is_still_a_whole_one() -> None:
    """An answer without content opens and ends like any other."""
    assert [event["type"] for event in events(written([]))] == ["message_start", "message_delta", "message_stop"]


def test_blocks_follow_one_another_as_their_kinds_change() -> None:
    """Each change of kind closes a block and opens the next; indexes count up."""
    stream: list[Piece] = [
        ThinkingPiece(text="a"),
        ThinkingPiece(signature="s"),
        ThinkingPiece(text="b"),
        TextPiece(text="c"),
        RefusalPiece(text="d"),
        ThinkingPiece(redacted="r"),
        TextPiece(text=""),
        ToolStarted(index=0, id="f:0", name="x"),
        ToolStarted(index=1, id="t1", name="y"),
        ToolPiece(index=1, arguments="{}"),
    ]
    seen = list(events(written(stream)))
    starts = [event["content_block"]["type"] for event in seen if event["type"] == "content_block_start"]
    stops = [event["index"] for event in seen if event["type"] == "content_block_stop"]

    assert starts == ["thinking", "thinking", "text", "redacted_thinking", "tool_use", "tool_use"]
    assert stops == [0, 1, 2, 3, 4, 5]
    assert seen[-2]["delta"]["stop_reason"] == "refusal"


def test_arguments_reach_their_call_even_if_they_are_interleaved() -> None:
    """Some servers send the pieces of parallel calls in turn; each goes to its own block."""
    stream: list[Piece] = [
        ToolStarted(index=0, id="a", name="x"),
        ToolStarted(index=1, id="b", name="y"),
        ToolPiece(index=0, arguments='{"a":1}'),
        ToolPiece(index=1, arguments='{"b":2}'),
        ToolPiece(index=2, arguments='{"c":3}'),
        Ended(finish=Finish.TOOLS),
    ]
    back, _ = read(written(stream))

    assert [part.arguments for part in back.parts if isinstance(part, ToolUse)] == ['{"a":1}', '{"b":2}', '{"c":3}']


def test_a_failure_ends_a_stream_in_the_apis_own_event() -> None:
    """The vendor's client raises on it, and no end marker of success follows."""
    writer = CODEC.writer(ASK, "msg_9", 0)
    sent = writer.piece(TextPiece(text="a")) + writer.fault(Fault(kind=FailureClass.CUT, status=502, message="cut off"))
    (event,) = [event for event in SseParser().feed(sent) if event.name == "error"]

    assert json.loads(event.data)["error"] == {"type": "api_error", "message": "cut off"}
    assert b"message_stop" not in sent
    with pytest.raises(CallError, match="cut off"):
        read(sent)


@pytest.mark.parametrize("take", [read, watched])
def test_a_peer_without_line_ends_is_stopped(take: Callable[[bytes], object]) -> None:
    """Memory is bounded, and what never ends is no stream."""
    with pytest.raises(CallError, match="a line of more than") as caught:
        take(b"x" * (MAX_LINE_BYTES + 1))
    assert caught.value.kind is FailureClass.MALFORMED


def test_pieces_that_say_nothing_write_nothing() -> None:
    """No event is sent for empty text, thinking or arguments."""
    writer = CODEC.writer(ASK, "msg_9", 0)

    assert writer.piece(ThinkingPiece()) == writer.piece(TextPiece(text="")) == b""
    assert writer.piece(ToolStarted(index=0, id="a", name="x")) != b""
    assert writer.piece(ToolPiece(index=0, arguments="")) == b""
