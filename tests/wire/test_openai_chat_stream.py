"""Streamed chat completions: read, watched and written, however they are cut and whatever a server makes of them."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionChunk

from ostler.domain.calls import CallError
from ostler.domain.states import FailureClass
from ostler.wire.codec import Fault
from ostler.wire.fold import fold, pieces
from ostler.wire.openai_chat import OpenAIChat
from ostler.wire.talk import (
    Answer,
    Ask,
    Counted,
    Ended,
    Finish,
    Json,
    Piece,
    Refusal,
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
from tests.wire.talking import CUTS, JSON_VALUES, answers, cut, read

CODEC = OpenAIChat()
DONE = b"data: [DONE]\n\n"


def event(delta: object = None, finish: str | None = None, **fields: object) -> bytes:
    choices = [] if delta is None and finish is None else [{"index": 0, "delta": delta or {}, "finish_reason": finish}]
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 7, "model": "m", "choices": choices}
    return b"data: " + msgspec.json.encode(chunk | fields) + b"\n\n"


def call(name: str | None = None, arguments: str | None = None, **fields: object) -> Json:
    return {"tool_calls": [fields | {"function": {"name": name, "arguments": arguments}}]}


def stream_of(answer: Answer, ask: Ask) -> bytes:
    writer = CODEC.writer(ask, answer.id, answer.created_s or 0)
    return b"".join([writer.piece(piece) for piece in pieces(answer)]) + writer.end()


@given(answer=answers(), at=CUTS)
def test_a_written_stream_is_read_as_the_same_answer(answer: Answer, at: list[int]) -> None:
    """However a stream is cut, it folds to the answer that it was written from."""
    reader = CODEC.reader()

    assert fold(read(reader, cut(stream_of(answer, Ask(model="auto")), at))) == answer
    assert reader.done


@given(answer=answers(), at=CUTS)
def test_a_tap_sees_of_a_stream_what_a_reader_reads(answer: Answer, at: list[int]) -> None:
    """End, counts, reason and whether there was content, without building the events."""
    data = stream_of(answer, Ask(model="auto"))
    tap = CODEC.tap()
    for chunk in cut(data, at):
        tap.feed(chunk)

    assert (tap.done, tap.content, tap.finish, tap.tokens) == (True, True, answer.finish, answer.tokens)
    assert tap.events == data.count(b"data: {")


@given(answer=answers(), counted=st.booleans())
def test_a_written_stream_is_what_the_official_client_reads(answer: Answer, counted: bool) -> None:
    """Every event is valid for the official package's own types, strictly; the first one has the role."""
    data = stream_of(answer, Ask(model="auto", stream_counts=counted))
    *events, marker, nothing = data.split(b"\n\n")
    chunks = [ChatCompletionChunk.model_validate_json(line.removeprefix(b"data: "), strict=True) for line in events]

    assert (marker, nothing) == (b"data: [DONE]", b"")
    assert chunks[0].choices[0].delta.role == "assistant"
    assert {(chunk.id, chunk.model, chunk.created) for chunk in chunks} == {(answer.id, answer.model, answer.created_s)}
    usages = [chunk.usage for chunk in chunks if chunk.usage]
    assert len(usages) == (1 if counted and answer.tokens != Tokens() else 0)
    assert all(not chunk.choices for chunk in chunks if chunk.usage)


VLLM = (
    b": keep-alive\r\n\r\n"
    + event({"role": "assistant", "content": ""}).replace(b"\n", b"\r\n")
    + event({"reasoning": "2+2"})
    + event({"content": "4"})
    + event({}, "stop", usage=None)
    + event(usage={"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12})
    + DONE
)


@given(at=CUTS)
def test_a_stream_of_vllm_is_read_at_every_cut(at: list[int]) -> None:
    """Comments, mixed line ends, `reasoning`, and counts in an event without choices after the reason."""
    reader = CODEC.reader()

    assert read(reader, cut(VLLM, at)) == [
        Started(id="chatcmpl-1", model="m", created_s=7),
        ThinkingPiece(text="2+2"),
        TextPiece(text="4"),
        Ended(finish=Finish.STOP),
        Counted(tokens=Tokens(input_tokens=9, output_tokens=3)),
    ]
    assert reader.done


CALLS = (ToolUse(id="a", name="look", arguments='{"at":1}'), ToolUse(id="b", name="look", arguments='{"at":2}'))
BY_NO_ID = tuple(
    msgspec.structs.replace(part, id=f"call_chatcmpl-1_{index}") for index, part in enumerate(CALLS)
)  # fmt: skip

TEMPERS: dict[str, tuple[list[Json], tuple[ToolUse, ...]]] = {
    "as documented": (
        [
            call("look", "", index=0, id="a", type="function"),
            call(None, '{"at"', index=0),
            call(None, ":1}", index=0),
            call("look", "", index=1, id="b", type="function"),
            call(None, '{"at":2}', index=1),
        ],
        CALLS,
    ),
    "two at once in turns": (
        [
            {"tool_calls": [
                {"index": 0, "id": "a", "function": {"name": "look", "arguments": ""}},
                {"index": 1, "id": "b", "function": {"name": "look", "arguments": ""}},
            ]},
            call(None, '{"at":2}', index=1),
            call(None, '{"at":1}', index=0),
        ],
        CALLS,
    ),
    "whole calls, every index zero, no ids (Gemini)": (
        [call("look", '{"at":1}', index=0, id=""), call("look", '{"at":2}', index=0, id="")],
        BY_NO_ID,
    ),
    "no index": (
        [call("look", "", id="a"), call(None, '{"at":1}'), call("look", '{"at":2}', id="b")],
        CALLS,
    ),
    "told by id alone, in turns": (
        [
            call("look", "", id="a"),
            call("look", "", id="b"),
            call(None, '{"at":1}', id="a"),
            call(None, '{"at":2}', id="b"),
        ],
        CALLS,
    ),
    "id and name repeated": (
        [
            call("look", '{"at"', index=0, id="a"),
            call("look", ":1}", index=0, id="a"),
            call("look", '{"at":2}', index=1, id="b"),
        ],
        CALLS,
    ),
    "name repeated without ids": (
        [call("look", '{"at"', index=0), call("look", ":1}", index=0), call("look", '{"at":2}', index=1)],
        BY_NO_ID,
    ),
    "a fresh id in each delta": (
        [
            call("look", '{"at"', index=0, id="a"),
            call(None, ":1}", index=0, id="x"),
            call("look", '{"at":2}', index=1, id="b"),
        ],
        CALLS,
    ),
    "the second call begins at the index of the first": (
        [
            call("look", '{"at":1}', index=0, id="a"),
            call("look", '{"at"', index=0, id="b"),
            call(None, ":2}", index=1),
        ],
        CALLS,
    ),
    "arguments as objects": (
        [{"tool_calls": [{"index": 0, "id": "a", "function": {"name": "look", "arguments": {"at": 1}}}]}],
        CALLS[:1],
    ),
    "older form": (
        [{"function_call": {"name": "look", "arguments": ""}}, {"function_call": {"arguments": '{"at":1}'}}],
        BY_NO_ID[:1],
    ),
}  # fmt: skip


@pytest.mark.parametrize("temper", TEMPERS)
def test_calls_are_put_together_whatever_a_server_leaves_out(temper: str) -> None:
    """Arguments reach the call they belong to; the answer waits for results even if the server says it stopped."""
    deltas, expected = TEMPERS[temper]
    data = b"".join(event(delta) for delta in deltas) + event({}, "stop") + DONE

    answer = fold(read(CODEC.reader(), [data]))
    tap = CODEC.tap()
    tap.feed(data)

    assert answer.parts == expected
    assert (answer.finish, tap.finish) == (Finish.TOOLS, Finish.TOOLS)


def test_a_second_answer_in_the_same_stream_is_not_mixed_in() -> None:
    """Of several choices the first is read."""
    choices = [{"index": 1, "delta": {"content": "B"}, "finish_reason": "length"}]
    data = event({"content": "A"}) + event(choices=choices) + event({}, "stop") + DONE

    answer = fold(read(CODEC.reader(), [data]))

    assert (answer.parts, answer.finish) == ((Text(text="A"),), Finish.STOP)


def test_a_refusal_streams_as_one() -> None:
    """The model's own words for why it does not answer are kept apart from text, both ways."""
    data = event({"refusal": "I can"}) + event({"refusal": "not"}) + event({}, "stop") + DONE
    answer = fold(read(CODEC.reader(), [data]))

    assert answer.parts == (Refusal(text="I cannot"),)
    assert fold(read(CODEC.reader(), [stream_of(answer, Ask(model="m"))])).parts == answer.parts


def test_a_stream_without_its_marker_was_cut() -> None:
    """A finish reason alone does not make a stream whole, neither for the reader nor for the tap."""
    data = event({"content": "x"}) + event({}, "stop")
    reader, tap = CODEC.reader(), CODEC.tap()
    read(reader, [data])
    tap.feed(data)

    assert (reader.done, tap.done) == (False, False)
    assert tap.finish == "stop"


def test_a_marker_without_its_line_end_ends_the_stream() -> None:
    """Some servers close right after it."""
    reader, tap = CODEC.reader(), CODEC.tap()
    read(reader, [event({"content": "x"}) + b"data: [DONE]"])
    for byte in event({"content": "x"}) + b"data: [DONE]":
        tap.feed(bytes((byte,)))

    assert (reader.done, tap.done) == (True, True)


def test_a_marker_inside_a_text_ends_nothing() -> None:
    """Neither what a model says about the format nor a line that goes on is the end."""
    tap = CODEC.tap()
    tap.feed(event({"content": '\ndata: [DONE]\n\n"usage":{"prompt_tokens":1}'}))
    tap.feed(b"data: [DONE]")
    ended = tap.done
    with pytest.raises(CallError, match="not what this API sends"):
        tap.feed(b"x\n")

    assert (ended, tap.done, tap.tokens) == (True, False, Tokens())


def test_a_whole_stream_that_gave_no_reason_has_stopped() -> None:
    """Some servers send the marker alone."""
    assert fold(read(CODEC.reader(), [event({"content": "x"}) + DONE])).finish is Finish.STOP


def test_what_comes_after_the_marker_is_not_read() -> None:
    """The stream is at its end."""
    data = event({"content": "x"}, "stop") + DONE + event({"content": "y"}) + b"data: junk\n\n"
    tap = CODEC.tap()
    tap.feed(data)

    assert fold(read(CODEC.reader(), [data])).parts == (Text(text="x"),)
    assert tap.events == 1


FAILURES = {
    "error object": (b'data: {"error": {"message": "overloaded", "code": 503}}\n\n', FailureClass.OVERLOADED),
    "error event": (b'event: error\ndata: {"error": {"type": "rate_limit_error"}}\n\n', FailureClass.RATE_LIMIT),
    "bare error": (b'data: {"object": "error", "message": "CUDA out of memory"}\n\n', FailureClass.OUT_OF_MEMORY),
    "reason": (event({}, "insufficient_system_resource"), FailureClass.OVERLOADED),
    "web page": (b"data: <html>\n\n", FailureClass.MALFORMED),
    "half an event": (b'data: {"choices": [\n\n', FailureClass.MALFORMED),
}


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("said", [b"", event({"role": "assistant", "content": ""}), event({"content": "x"})])
def test_a_failure_inside_a_stream_is_one_of_its_class(failure: str, said: bytes) -> None:
    """Reader and tap tell the same class, and whether something had been said before."""
    data, kind = FAILURES[failure]
    for watch in (CODEC.reader(), CODEC.tap()):
        watch.feed(said)
        with pytest.raises(CallError) as caught:
            watch.feed(data)

        assert caught.value.kind is kind
        assert caught.value.emitted is (b'"x"' in said)


def test_a_tap_parses_only_what_it_must() -> None:
    """An event it has no reason to parse may be wrong inside: the check is of its two ends. A reader finds it."""
    wrong = b'data: {"choices": [{"delta": {"content": oops}}]}\n\n'
    tap = CODEC.tap()
    tap.feed(event({"content": "x"}) + wrong)

    assert tap.events == 2
    with pytest.raises(CallError):
        CODEC.reader().feed(wrong)


def test_a_line_without_end_is_stopped() -> None:
    """A peer that never ends a line is no stream of this format."""
    for watch in (CODEC.reader(), CODEC.tap()):
        for _ in range(64):
            watch.feed(b"x" * 1_048_576)
        with pytest.raises(CallError, match="a line of more than"):
            watch.feed(b"x")


EVENTS_OF_ANYTHING = st.lists(JSON_VALUES, max_size=3).map(
    lambda values: b"".join(b"data: " + msgspec.json.encode(value) + b"\n\n" for value in values)
)


@given(data=st.binary(max_size=80) | EVENTS_OF_ANYTHING, at=CUTS)
def test_no_bytes_break_reader_or_tap(data: bytes, at: list[int]) -> None:
    """Whatever an endpoint sends is read or is a failed call, and the same at every cut."""
    outcomes = set()
    for chunks in ([data], cut(data, at)):
        try:
            outcomes.add(repr(read(CODEC.reader(), chunks)))
        except CallError as error:
            outcomes.add(repr(error))
        tap = CODEC.tap()
        try:
            for chunk in chunks:
                tap.feed(chunk)
        except CallError as error:
            outcomes.add(f"tap {error!r}")
        else:
            outcomes.add(f"tap {tap.done} {tap.events} {tap.finish} {tap.content} {tap.tokens}")

    assert len(outcomes) == 2, "reader or tap depends on where the stream was cut"


def test_a_client_of_the_older_form_streams_its_function() -> None:
    """Who asked with `functions` is told of one call, without index and id."""
    writer = CODEC.writer(Ask(model="m", legacy_functions=True, stream_counts=False), "id", 1)
    told: list[Piece] = [ToolStarted(index=0, id="a", name="f"), ToolPiece(index=0, arguments="{}"),
            ToolStarted(index=1, id="b", name="g"), Ended(finish=Finish.TOOLS)]  # fmt: skip
    data = b"".join(writer.piece(piece) for piece in told)

    chunks = [msgspec.json.decode(line[6:]) for line in data.split(b"\n\n") if line]
    assert [chunk["choices"][0]["delta"] for chunk in chunks[1:]] == [
        {"function_call": {"name": "f", "arguments": ""}},
        {"function_call": {"arguments": "{}"}},
        {},
    ]
    assert chunks[-1]["choices"][0]["finish_reason"] == "function_call"


def test_an_error_ends_a_stream_without_a_marker_of_success() -> None:
    """What had been said is followed by the error; official clients raise it, and a reader of ours too."""
    writer = CODEC.writer(Ask(model="m"), "id", 1)
    data = writer.piece(TextPiece(text="half"))
    data += writer.fault(Fault(kind=FailureClass.CUT, status=502, message="the endpoint hung up"))

    assert b"[DONE]" not in data
    with pytest.raises(CallError, match="the endpoint hung up"):
        read(CODEC.reader(), [data])


def test_proofs_of_thinking_have_no_place_in_this_stream() -> None:
    """Signatures and redacted thinking belong to the provider that made them: nothing is written for them."""
    writer = CODEC.writer(Ask(model="m"), "id", 1)
    answer = Answer(parts=(Thinking(text="hm", signature="s"), Thinking(redacted="r")))
    data = b"".join(writer.piece(piece) for piece in pieces(answer)) + writer.end()

    assert fold(read(CODEC.reader(), [data])).parts == (Thinking(text="hm"),)


@pytest.mark.parametrize("cut", [b'data: {"choices":[{"delta":{"con', b"data: [DO", b"data: "])
def test_a_last_event_that_was_cut_in_the_middle_is_dropped(cut: bytes) -> None:
    """The stream is cut, and its reader says so by not being done; it is not malformed."""
    reader = OpenAIChat().reader()
    found = reader.feed(event({"content": "Hel"}) + cut)

    assert TextPiece(text="Hel") in found
    assert reader.end() == []
    assert not reader.done


def test_a_last_event_without_its_line_end_counts() -> None:
    """Some servers close right after the last byte that matters."""
    reader = OpenAIChat().reader()
    reader.feed(event({"content": "Hel"}) + event({"content": "lo"}).rstrip())

    assert TextPiece(text="lo") in reader.end()
