"""What every dialect makes of the same answers, frame by frame."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from ostler.simulate.anthropic_wire import CacheUse, MessageEncoder
from ostler.simulate.generation import Encoder
from ostler.simulate.host_openai import CompatEncoder
from ostler.simulate.ollama_wire import ChatEncoder, GenerateEncoder
from ostler.simulate.openai_wire import ChatRequest, OpenAIEncoder, StreamOptions
from ostler.simulate.reply import Finish, Piece, PieceKind, Reply, ToolCall
from ostler.simulate.timing import Timing

WALL_MS = 1_767_225_600_000
STAMP = "2026-01-01T00:00:00.000000Z"
TIMING = Timing(submitted_ms=0, attached_ms=2000, started_ms=2500, prefill_ms=100, decode_ms=400)
FIGURES = {
    "total_duration": 3_000_000_000,
    "load_duration": 2_000_000_000,
    "prompt_eval_count": 7,
    "prompt_eval_duration": 100_000_000,
    "eval_duration": 400_000_000,
}
CALL = ToolCall(serial="0123456789abcdef01234567", index=0, name="add", arguments={"a": 1, "b": [2]})


def text(*parts: str, kind: PieceKind = PieceKind.CONTENT) -> tuple[Piece, ...]:
    return tuple(Piece(kind=kind, tokens=1, text=part) for part in parts)


PLAIN = Reply(pieces=text("Hi ", "all"), finish=Finish.STOP)
CUT = Reply(pieces=text("Hi "), finish=Finish.LENGTH)
EMPTY = Reply(pieces=(), finish=Finish.LENGTH)
THOUGHT = Reply(pieces=text("hm", kind=PieceKind.THINKING) + text("Hi"), finish=Finish.STOP)
TOOL = Reply(pieces=(Piece(kind=PieceKind.TOOL_CALL, tokens=6, call=CALL),), finish=Finish.TOOL_CALLS)
STOPPED = Reply(pieces=text("Hi"), finish=Finish.STOP, stop_sequence="###")


def asked(*, usage: bool = False) -> ChatRequest:
    return ChatRequest(model="m", stream_options=StreamOptions(include_usage=usage))


def chat() -> Encoder:
    return ChatEncoder("m", 7, lambda: WALL_MS)


def generate() -> Encoder:
    return GenerateEncoder("m", 7, lambda: WALL_MS)


def compat(*, usage: bool = False) -> Encoder:
    return CompatEncoder(asked(usage=usage), 7, WALL_MS)


def openai(*, usage: bool = False) -> Encoder:
    return OpenAIEncoder(asked(usage=usage), 7, 4, WALL_MS // 1000, "1")


def anthropic() -> Encoder:
    return MessageEncoder("m", 7, CacheUse(read_tokens=3, written_tokens=2), "1")


ALL = pytest.mark.parametrize("make", [chat, generate, compat, openai, anthropic])


def stream(encoder: Encoder, reply: Reply) -> bytes:
    return b"".join([encoder.opening(), *map(encoder.piece, reply.pieces), encoder.closing(reply, TIMING)])


def lines(encoder: Encoder, reply: Reply) -> list[dict[str, Any]]:
    """The lines of Ollama's stream, without what all of them have."""
    decoded: list[dict[str, Any]] = [msgspec.json.decode(line) for line in stream(encoder, reply).splitlines()]
    for line in decoded:
        assert (line.pop("model"), line.pop("created_at")) == ("m", STAMP)
    return decoded


def chunks(encoder: Encoder, reply: Reply) -> list[dict[str, Any]]:
    """The chunks of an OpenAI stream, which must end with `[DONE]`."""
    *events, done, rest = stream(encoder, reply).split(b"\n\n")
    assert (done, rest) == (b"data: [DONE]", b"")
    return [msgspec.json.decode(event.removeprefix(b"data: ")) for event in events]


def choices(encoder: Encoder, reply: Reply) -> list[tuple[dict[str, Any], str | None]]:
    return [(c["choices"][0]["delta"], c["choices"][0]["finish_reason"]) for c in chunks(encoder, reply)]


def events(reply: Reply) -> list[dict[str, Any]]:
    """The events of an Anthropic stream."""
    frames = stream(anthropic(), reply).decode().removesuffix("\n\n").split("\n\n")
    return [msgspec.json.decode(frame.split("\ndata: ")[1]) for frame in frames]


def test_ollamas_chat_lines() -> None:
    """A line a piece, then the line with `done` and the figures."""
    assert lines(chat(), PLAIN) == [
        {"message": {"role": "assistant", "content": "Hi "}, "done": False},
        {"message": {"role": "assistant", "content": "all"}, "done": False},
        {
            "message": {"role": "assistant", "content": ""},
            "done": True,
            "done_reason": "stop",
            "eval_count": 2,
            **FIGURES,
        },
    ]


def test_ollamas_generate_lines() -> None:
    """The same with `response`."""
    assert lines(generate(), CUT) == [
        {"response": "Hi ", "done": False},
        {"response": "", "done": True, "done_reason": "length", "eval_count": 1, **FIGURES},
    ]


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (chat, {"message": {"role": "assistant", "content": "", "thinking": "hm"}, "done": False}),
        (generate, {"response": "", "thinking": "hm", "done": False}),
    ],
)
def test_ollamas_thinking_lines(make: Callable[[], Encoder], expected: dict[str, Any]) -> None:
    """A field apart, beside an empty text."""
    assert lines(make(), THOUGHT)[0] == expected


def test_ollamas_tool_call_line() -> None:
    """Arguments as an object; the end is an ordinary stop."""
    call, end = lines(chat(), TOOL)

    function = {"index": 0, "name": "add", "arguments": {"a": 1, "b": [2]}}
    assert call["message"] == {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": "call_01234567", "function": function}],
    }
    assert (end["done_reason"], end["eval_count"]) == ("stop", 6)


def test_ollamas_whole_answers() -> None:
    """All pieces in one object."""
    whole: Any = chat().whole(THOUGHT, TIMING)
    generated: Any = generate().whole(THOUGHT, TIMING)
    called: Any = chat().whole(TOOL, TIMING)

    assert whole["message"] == {"role": "assistant", "content": "Hi", "thinking": "hm"}
    assert (generated["response"], generated["thinking"], generated["done"]) == ("Hi", "hm", True)
    assert called["message"]["tool_calls"][0]["function"]["name"] == "add"


def test_ollamas_notices_have_no_figures() -> None:
    """Loading and unloading generate nothing."""
    assert ChatEncoder("m", 0, lambda: WALL_MS).notice("load") == {
        "model": "m",
        "created_at": STAMP,
        "message": {"role": "assistant", "content": ""},
        "done": True,
        "done_reason": "load",
    }
    assert GenerateEncoder("m", 0, lambda: WALL_MS).notice("unload") == {
        "model": "m",
        "created_at": STAMP,
        "response": "",
        "done": True,
        "done_reason": "unload",
    }


def test_ollamas_compatible_chunks() -> None:
    """The role in the first, the finish in an empty delta."""
    assert choices(compat(), PLAIN) == [
        ({"role": "assistant", "content": "Hi "}, None),
        ({"content": "all"}, None),
        ({}, "stop"),
    ]


def test_ollamas_compatible_tool_call_is_one_chunk() -> None:
    """With everything in it."""
    function = {"name": "add", "arguments": '{"a":1,"b":[2]}'}
    call = {"index": 0, "id": "call_01234567", "type": "function", "function": function}

    assert choices(compat(), TOOL) == [
        ({"role": "assistant", "content": "", "tool_calls": [call]}, None),
        ({}, "tool_calls"),
    ]


def test_openais_chunks() -> None:
    """The role in a chunk of its own."""
    assert choices(openai(), PLAIN) == [
        ({"role": "assistant", "content": "", "refusal": None}, None),
        ({"content": "Hi "}, None),
        ({"content": "all"}, None),
        ({}, "stop"),
    ]


def test_openais_tool_call_is_a_head_and_fragments() -> None:
    """Nothing is said twice."""
    _role, head, *fragments, end = choices(openai(), TOOL)

    function = {"name": "add", "arguments": ""}
    call = {"index": 0, "id": f"call_{CALL.serial}", "type": "function", "function": function}
    assert head == ({"tool_calls": [call]}, None)
    parts = [delta["tool_calls"][0] for delta, _finish in fragments]
    assert all(set(part) == {"index", "function"} and set(part["function"]) == {"arguments"} for part in parts)
    assert "".join(part["function"]["arguments"] for part in parts) == CALL.arguments_json
    assert end == ({}, "tool_calls")


@pytest.mark.parametrize(
    ("make", "details"),
    [
        (compat, {}),
        (openai, {"prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0}}),
    ],
)
def test_usage_is_the_last_chunk_when_asked_for(make: Callable[..., Encoder], details: dict[str, Any]) -> None:
    """It has no choices; OpenAI details what was cached."""
    *others, last = chunks(make(usage=True), PLAIN)
    plain = chunks(make(), PLAIN)

    assert last["choices"] == []
    assert last["usage"] | details == last["usage"]
    assert (last["usage"]["prompt_tokens"], last["usage"]["completion_tokens"], last["usage"]["total_tokens"]) == (
        7,
        2,
        9,
    )
    assert len(plain) == len(others)
    assert not any(chunk.get("usage") for chunk in [*others, *plain])


@pytest.mark.parametrize("make", [compat, openai])
def test_all_chunks_of_a_stream_share_their_head(make: Callable[[], Encoder]) -> None:
    """One id, one time, one model."""
    heads = {(c["id"], c["object"], c["created"], c["model"]) for c in chunks(make(), PLAIN)}

    ((chunk_id, kind, created_s, model),) = heads
    assert chunk_id.startswith("chatcmpl-")
    assert (kind, created_s, model) == ("chat.completion.chunk", WALL_MS // 1000, "m")


def test_anthropics_events() -> None:
    """In the order the documentation gives, with what the cache did."""
    got = events(PLAIN)

    assert [event["type"] for event in got] == [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    usage = {"input_tokens": 2, "cache_creation_input_tokens": 2, "cache_read_input_tokens": 3}
    start = got[0]["message"]["usage"]
    assert start | usage == start
    assert start["cache_creation"] == {"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 0}
    assert got[-2] == {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {**usage, "output_tokens": 2},
    }


def test_anthropics_tool_block() -> None:
    """Its input is empty at the start and comes as text."""
    got = events(TOOL)

    block = {"type": "tool_use", "id": f"toolu_{CALL.serial}", "name": "add", "input": {}}
    assert got[1] == {"type": "content_block_start", "index": 0, "content_block": block}
    fragments = [event["delta"] for event in got if event["type"] == "content_block_delta"]
    assert {fragment["type"] for fragment in fragments} == {"input_json_delta"}
    assert fragments[0]["partial_json"] == ""
    assert "".join(fragment["partial_json"] for fragment in fragments) == CALL.arguments_json
    assert got[-2]["delta"]["stop_reason"] == "tool_use"


@pytest.mark.parametrize(
    ("reply", "reason", "sequence"),
    [(PLAIN, "end_turn", None), (CUT, "max_tokens", None), (STOPPED, "stop_sequence", "###"), (TOOL, "tool_use", None)],
)
def test_anthropics_stop_reasons(reply: Reply, reason: str, sequence: str | None) -> None:
    """The same in a stream and in a whole answer."""
    whole: Any = anthropic().whole(reply, TIMING)

    assert (whole["stop_reason"], whole["stop_sequence"]) == (reason, sequence)
    assert events(reply)[-2]["delta"] == {"stop_reason": reason, "stop_sequence": sequence}


@ALL
def test_an_empty_answer_is_still_an_answer(make: Callable[[], Encoder]) -> None:
    """With a beginning, an end and no text."""
    got = stream(make(), EMPTY)

    assert b"assistant" in got or b'"response":""' in got
    assert b"length" in got or b"max_tokens" in got
    assert make().whole(EMPTY, TIMING)


@ALL
def test_a_malformed_frame_is_a_frame_that_is_no_json(make: Callable[[], Encoder]) -> None:
    """It ends where a frame ends, so that what follows can still be read."""
    encoder = make()
    ends = b"\n" if encoder.media_type == "application/x-ndjson" else b"\n\n"

    frame = encoder.malformed()

    assert frame.endswith(ends)
    assert frame.count(ends) == 1
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(frame.strip().split(b"data: ")[-1])


@ALL
def test_a_failure_half_way_is_a_whole_frame(make: Callable[[], Encoder]) -> None:
    """JSON like all others, and no end marker."""
    frame = make().failed()

    assert msgspec.json.decode(frame.strip().split(b"data: ")[-1])
    assert b"[DONE]" not in frame
    assert b'"done":true' not in frame
