"""Answers of Ollama's two endpoints: whole, and as lines of JSON, wherever they are cut."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ostler.domain.calls import CallError
from ostler.domain.states import FailureClass
from ostler.wire.codec import Fault, StreamReader, StreamTap
from ostler.wire.fold import fold, pieces
from ostler.wire.framing import MAX_LINE_BYTES
from ostler.wire.ollama import OllamaChat, OllamaGenerate
from ostler.wire.talk import (
    Answer,
    Ask,
    Counted,
    Ended,
    Finish,
    Piece,
    Refusal,
    RefusalPiece,
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

CHAT = OllamaChat()
GENERATE = OllamaGenerate()
ASK = Ask(model="m")
BASE = {"model": "m", "created_at": "2023-11-14T22:13:20.123456789Z"}
END = {
    "done": True,
    "done_reason": "stop",
    "total_duration": 9_000_000_000,
    "load_duration": 1_000_000_000,
    "prompt_eval_count": 20,
    "prompt_eval_cached_count": 5,
    "prompt_eval_duration": 2_000_000_000,
    "eval_count": 7,
    "eval_duration": 6_000_000_000,
}
TOKENS = Tokens(input_tokens=20, cache_read_tokens=5, output_tokens=7, load_ms=1000, prefill_ms=2000, decode_ms=6000)
CALL = {"function": {"name": "look", "arguments": {"x": 1}}}


def line(**fields: object) -> bytes:
    return json.dumps(BASE | fields, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def piece(**message: object) -> bytes:
    return line(message={"role": "assistant", "content": ""} | message, done=False)


WHOLE = b"".join((
    piece(thinking="h"),
    piece(thinking="m"),
    piece(content='say "done":true}'),
    piece(content=" né"),
    piece(tool_calls=[CALL, CALL | {"id": "c9"}]),
    line(message={"role": "assistant", "content": ""}, **END),
))  # fmt: skip


def read(*chunks: bytes) -> tuple[Answer, StreamReader]:
    reader = CHAT.reader()
    found = [piece for chunk in chunks for piece in reader.feed(chunk)]
    return fold([*found, *reader.end()]), reader


def watched(*chunks: bytes) -> StreamTap:
    tap = CHAT.tap()
    for chunk in chunks:
        tap.feed(chunk)
    return tap


def written(stream: list[Piece], codec: OllamaChat = CHAT) -> bytes:
    writer = codec.writer(ASK, "an_1", 1_700_000_000)
    return b"".join(map(writer.piece, stream)) + writer.end()


def test_an_answer_is_understood() -> None:
    """Thinking, text, calls, counts and durations; a call for a tool is told as one though the reason says stop."""
    message = {"role": "assistant", "content": "Let me look.", "thinking": "hm", "tool_calls": [CALL | {"id": "c1"}]}
    answer = CHAT.decode_answer(line(message=message, **END))

    assert answer == Answer(
        model="m",
        parts=(
            Thinking(text="hm"),
            Text(text="Let me look."),
            ToolUse(id="c1", name="look", arguments='{"x":1}'),
        ),
        finish=Finish.TOOLS,
        tokens=TOKENS,
        created_s=1_700_000_000,
    )


def test_an_answer_is_written_as_it_was_read() -> None:
    """Reading and writing lose nothing but parts of a second."""
    message = {"role": "assistant", "content": "hi", "thinking": "hm"}
    body = line(message=message, **END)

    assert json.loads(CHAT.encode_answer(CHAT.decode_answer(body), ASK)) == {
        "model": "m",
        "created_at": "2023-11-14T22:13:20Z",
        "message": message,
        **END,
    }


def test_generate_has_its_text_beside_the_counts() -> None:
    """The same answer in the other endpoint's form, whole and streamed."""
    body = line(response="hi", thinking="hm", **END, context=[1, 2])
    answer = GENERATE.decode_answer(body)
    lines = [json.loads(row) for row in written(list(pieces(answer)), GENERATE).splitlines()]

    assert answer.parts == (Thinking(text="hm"), Text(text="hi"))
    assert json.loads(GENERATE.encode_answer(answer, ASK))["response"] == "hi"
    assert [(row["response"], row.get("thinking"), row["done"]) for row in lines] == [
        ("", "hm", False),
        ("hi", None, False),
        ("", None, True),
    ]


@pytest.mark.parametrize("codec", [CHAT, GENERATE])
@given(answer=answers(), at=cuts)
def test_a_written_stream_is_read_as_the_answer_it_was(codec: OllamaChat, answer: Answer, at: list[int]) -> None:
    """Writer and reader are inverse in any chunking, and the whole answer says the same."""
    stream = written(list(pieces(answer)), codec)
    back, reader = read(*cut(stream, at))
    whole = codec.decode_answer(codec.encode_answer(answer, ASK))

    assert reader.done
    assert plain(back) == plain(whole) == plain(answer)
    assert watched(*cut(stream, at)).done


def plain(answer: Answer) -> tuple[object, ...]:
    """What this format can say: no ids of answers, no signatures."""
    parts = [Thinking(text=part.text) if isinstance(part, Thinking) else part for part in answer.parts]
    return (answer.model, parts, answer.finish, answer.tokens, answer.created_s)


@given(at=cuts)
def test_a_stream_is_understood_wherever_it_is_cut(at: list[int]) -> None:
    """Pieces fold to the answer they are, and the last line makes it whole."""
    answer, reader = read(*cut(WHOLE, at))
    uses = [part for part in answer.parts if isinstance(part, ToolUse)]

    assert reader.done
    assert answer.parts[:2] == (Thinking(text="hm"), Text(text='say "done":true} né'))
    assert [(use.name, use.arguments) for use in uses] == [("look", '{"x":1}')] * 2
    assert uses[1].id == "c9"
    assert (answer.finish, answer.tokens, answer.created_s) == (Finish.TOOLS, TOKENS, 1_700_000_000)


@given(at=cuts)
@example(at=[len(WHOLE) - 1])
def test_a_stream_is_watched_wherever_it_is_cut(at: list[int]) -> None:
    """End, finish, counts and the number of lines are seen at every cut."""
    tap = watched(*cut(WHOLE, at))

    assert (tap.done, tap.content, tap.finish, tap.tokens, tap.events) == (True, True, "tool_calls", TOKENS, 6)


def test_ids_that_are_missing_are_made_and_stay_apart() -> None:
    """The same line gives the same ids; another instant, place or call another."""
    first, second = read(piece(tool_calls=[CALL, CALL]))[0], read(piece(tool_calls=[CALL, CALL]))[0]
    later = read(line(message={"tool_calls": [CALL]}, created_at="2023-11-14T22:13:20.123456790Z"))[0]
    ids = [part.id for answer in (first, later) for part in answer.parts if isinstance(part, ToolUse)]

    assert first == second
    assert len(set(ids)) == 3


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("stop", Finish.STOP),
        ("length", Finish.LENGTH),
        ("load", Finish.STOP),
        ("unload", Finish.STOP),
        (None, Finish.STOP),
    ],
)
def test_each_reason_has_its_meaning(reason: str | None, finish: Finish) -> None:
    """A load is an end without words."""
    assert CHAT.decode_answer(line(response="", done=True, done_reason=reason)).finish is finish


@pytest.mark.parametrize("finish", list(Finish))
def test_each_finish_has_a_reason(finish: Finish) -> None:
    """There are two: the answer was cut at its limit, or it was not."""
    body = json.loads(CHAT.encode_answer(Answer(model="m", finish=finish), ASK))

    assert body["done_reason"] == ("length" if finish in {Finish.LENGTH, Finish.CONTEXT} else "stop")


def test_counts_that_are_absent_are_not_known() -> None:
    """The count of a prompt may be missing when all of it was cached; nothing is made up, either way."""
    answer = CHAT.decode_answer(line(message={"content": "x"}, done=True, eval_count=3))

    assert answer.tokens == Tokens(output_tokens=3)
    assert "prompt_eval_count" not in json.loads(CHAT.encode_answer(answer, ASK))


def test_a_refusal_of_another_format_becomes_text() -> None:
    """There is no other place for it here."""
    whole = CHAT.decode_answer(CHAT.encode_answer(Answer(model="m", parts=(Refusal(text="No."),)), ASK))
    streamed, _ = read(written([RefusalPiece(text="No.")]))

    assert whole.parts == streamed.parts == (Text(text="No."),)


def test_calls_are_written_when_they_are_whole() -> None:
    """Pieces are collected, interleaved or not; text that follows comes after them; broken JSON is sent as text."""
    stream: list[Piece] = [
        TextPiece(text="a"),
        ToolStarted(index=0, id="c0", name="x"),
        ToolStarted(index=1, id="", name="y"),
        ToolPiece(index=0, arguments='{"a":\n'),
        ToolPiece(index=1, arguments="{broken"),
        ToolPiece(index=0, arguments="1}"),
        TextPiece(text="b"),
        ThinkingPiece(signature="s"),
        ToolPiece(index=2, arguments="{}"),
        Ended(finish=Finish.TOOLS),
        Counted(tokens=Tokens(output_tokens=4)),
    ]
    rows = [json.loads(row) for row in written(stream).splitlines()]
    calls = [call for row in rows for call in row["message"].get("tool_calls", [])]

    assert [row["message"]["content"] for row in rows] == ["a", "", "", "b", "", ""]
    assert calls[0] == {"id": "c0", "function": {"index": 0, "name": "x", "arguments": {"a": 1}}}
    assert calls[1] == {"function": {"index": 1, "name": "y", "arguments": {"arguments": "{broken"}}}
    assert calls[2]["function"]["index"] == 2
    assert (rows[-1]["done"], rows[-1]["eval_count"]) == (True, 4)


def test_a_stream_that_stops_early_is_not_done() -> None:
    """Without its last line a stream was cut, and half a line at the end is no nonsense."""
    for early in (WHOLE[: WHOLE.rindex(b"{")], WHOLE[:-9]):
        assert not read(early)[1].done
        assert not watched(early).done


def test_a_last_line_without_its_end_counts() -> None:
    """A server may close right after the last brace; nothing is read after the end."""
    assert read(WHOLE[:-1])[1].done
    assert watched(WHOLE[:-1]).done
    assert watched(*cut(WHOLE[:-1], list(range(len(WHOLE))))).tokens == TOKENS
    assert read(WHOLE + piece(content="more"))[0] == read(WHOLE)[0]
    assert watched(WHOLE + b"nonsense\n").events == 6


ERROR = b'{"error":"model requires more system memory (8 GiB) than is available (4 GiB)"}\n'
TAKES = [read, watched]


@pytest.mark.parametrize("take", TAKES)
def test_an_error_in_the_stream_is_a_failure_of_its_class(take: Callable[[bytes], object]) -> None:
    """It says whether something of the answer had been seen before."""
    with pytest.raises(CallError, match="memory") as early:
        take(piece() + ERROR)
    with pytest.raises(CallError) as late:
        take(piece(content="hi") + ERROR)

    assert (early.value.kind, early.value.emitted) == (FailureClass.OUT_OF_MEMORY, False)
    assert late.value.emitted


def test_an_error_with_a_good_status_is_still_an_error() -> None:
    """Whole as streamed."""
    with pytest.raises(CallError, match="memory"):
        CHAT.decode_answer(ERROR)


@pytest.mark.parametrize("take", [*TAKES, CHAT.decode_answer])
@pytest.mark.parametrize(
    "data", [b"nonsense", b'{"model":"m","mess', b"[]", b'{"message":"x"}', b"\xff", b"[" * 99_999]
)
def test_what_is_no_line_is_a_malformed_stream(take: Callable[[bytes], object], data: bytes) -> None:
    """Nonsense in place of an answer is a failure of the endpoint."""
    with pytest.raises(CallError) as caught:
        take(data + b"\n")
    assert caught.value.kind is FailureClass.MALFORMED


def test_an_answer_that_is_not_done_is_malformed() -> None:
    """A whole answer that says it goes on is none."""
    with pytest.raises(CallError, match="not done"):
        CHAT.decode_answer(piece(content="x"))


@pytest.mark.parametrize(
    ("stream", "content"),
    [
        (piece(), False),
        (piece(content="x"), True),
        (piece(thinking="x"), True),
        (piece(tool_calls=[CALL]), True),
        (line(response="x", done=False), True),
        (line(done=True), True),
    ],
)
def test_content_is_told_from_mere_openings(stream: bytes, content: bool) -> None:
    """Only what a client could not be given twice counts as content."""
    assert watched(stream).content is content


@settings(max_examples=300)
@given(stream=st.one_of(st.binary(max_size=80), st.lists(near("message", "content", "done", "error", "tool_calls",
    "function", "arguments", "name", "eval_count", types=("x", "stop")), max_size=4).map(
        lambda rows: b"".join(json.dumps(row).encode() + b"\n" for row in rows))))  # fmt: skip
def test_any_bytes_are_pieces_or_a_failure_of_the_call(stream: bytes) -> None:
    """Nothing but `CallError` comes out of a stream or an answer, whatever it is."""
    for take in (read, watched, CHAT.decode_answer):
        try:
            take(stream)
        except CallError:
            continue


@given(text=words, at=cuts)
def test_text_never_passes_for_the_end(text: str, at: list[int]) -> None:
    """A model that writes JSON does not end its stream by it."""
    stream = piece(content=text) + piece(tool_calls=[{"function": {"name": "x", "arguments": {"done": True}}}])
    tap = watched(*cut(stream, at))

    assert (tap.done, tap.finish, tap.events) == (False, "", 2)


def test_a_failure_is_told_in_the_apis_own_form() -> None:
    """One field, whole and as the last line of a stream."""
    fault = Fault(kind=FailureClass.CUT, status=502, message="cut off")
    writer = CHAT.writer(ASK, "an_1", 0)
    sent: dict[str, Any] = json.loads(writer.fault(fault))

    assert sent == json.loads(CHAT.encode_fault(fault)) == {"error": "cut off"}
    with pytest.raises(CallError, match="cut off"):
        read(writer.fault(fault))


@pytest.mark.parametrize("take", TAKES)
def test_a_peer_without_line_ends_is_stopped(take: Callable[[bytes], object]) -> None:
    """Memory is bounded, and what never ends is no stream."""
    with pytest.raises(CallError, match="a line of more than") as caught:
        take(b"x" * (MAX_LINE_BYTES + 1))
    assert caught.value.kind is FailureClass.MALFORMED
