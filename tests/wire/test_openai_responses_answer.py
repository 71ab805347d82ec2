"""Answers of Responses, whole and streamed: as the official client reads them, whatever an endpoint makes of them."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from ostler.wire.fold import fold, pieces
from ostler.wire.openai_responses import OpenAIResponses
from ostler.wire.talk import (
    Answer,
    Ask,
    Counted,
    Ended,
    Finish,
    Part,
    Piece,
    Refusal,
    Started,
    Text,
    TextPiece,
    Thinking,
    Tokens,
    ToolPiece,
    ToolStarted,
    ToolUse,
)
from tests.wire.talking import CUTS, answers, asks, cut, events_of, read

CODEC = OpenAIResponses()
EVENT: TypeAdapter[object] = TypeAdapter(ResponseStreamEvent)


def told(answer: Answer) -> Answer:
    """As this format tells it: where counts are known, so are all details."""
    tokens = answer.tokens
    if tokens != Tokens():
        details = (tokens.cache_read_tokens, tokens.cache_write_tokens, tokens.reasoning_tokens)
        cached, written, thought = (value or 0 for value in details)
        tokens = msgspec.structs.replace(
            tokens, cache_read_tokens=cached, cache_write_tokens=written, reasoning_tokens=thought
        )
    return msgspec.structs.replace(answer, tokens=tokens)


def with_proof(answer: Answer, proof: str) -> Answer:
    """The same, its thinking signed."""
    parts: list[Part] = [
        msgspec.structs.replace(part, signature=proof) if isinstance(part, Thinking) else part for part in answer.parts
    ]
    return msgspec.structs.replace(answer, parts=tuple(parts))


ANSWERS = st.builds(with_proof, answers(), st.sampled_from(["", "proof"])).map(told)


def stream_of(answer: Answer, ask: Ask) -> bytes:
    writer = CODEC.writer(ask, answer.id, answer.created_s or 0)
    return b"".join([writer.piece(piece) for piece in pieces(answer)]) + writer.end()


@given(answer=ANSWERS, ask=asks())
def test_an_answer_survives_there_and_back(answer: Answer, ask: Ask) -> None:
    """Written for a client and read as an endpoint's, it is the same answer."""
    assert CODEC.decode_answer(CODEC.encode_answer(answer, ask)) == answer


@given(answer=ANSWERS, ask=asks())
def test_a_written_answer_is_what_the_official_client_reads(answer: Answer, ask: Ask) -> None:
    """Every answer is valid for the official package's own types, strictly, and its text is found there."""
    response = Response.model_validate_json(CODEC.encode_answer(answer, ask), strict=True)

    assert response.output_text == "".join(part.text for part in answer.parts if isinstance(part, Text))
    assert response.status == ("incomplete" if answer.finish is Finish.LENGTH else "completed")


@given(answer=ANSWERS, ask=asks(), at=CUTS)
def test_a_written_stream_is_read_as_the_same_answer(answer: Answer, ask: Ask, at: list[int]) -> None:
    """However a stream is cut, it folds to the answer that it was written from."""
    reader = CODEC.reader()

    assert fold(read(reader, cut(stream_of(answer, ask), at))) == answer
    assert reader.done


@given(answer=ANSWERS, ask=asks(), at=CUTS)
def test_a_tap_sees_of_a_stream_what_a_reader_reads(answer: Answer, ask: Ask, at: list[int]) -> None:
    """End, counts, reason and whether there was content, without building the events."""
    data = stream_of(answer, ask)
    tap = CODEC.tap()
    for chunk in cut(data, at):
        tap.feed(chunk)

    assert (tap.done, tap.content, tap.finish, tap.tokens) == (True, True, answer.finish, answer.tokens)
    assert tap.events == len(events_of(data))


@given(answer=ANSWERS, ask=asks())
def test_a_written_stream_is_what_the_official_client_reads(answer: Answer, ask: Ask) -> None:
    """Every event is valid for the official package's own types, strictly, numbered, and named by its type."""
    data = stream_of(answer, ask)
    events = events_of(data)

    for event in events:
        EVENT.validate_json(msgspec.json.encode(event), strict=True)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [block.split(b"\n")[0] for block in data.split(b"\n\n") if block] == [
        b"event: " + str(event["type"]).encode() for event in events
    ]
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]


@given(answer=ANSWERS, ask=asks())
def test_the_last_event_has_the_whole_answer(answer: Answer, ask: Ask) -> None:
    """Clients that read only the end of a stream get what they would have got unstreamed."""
    last = events_of(stream_of(answer, ask))[-1]

    assert last["response"] == msgspec.json.decode(CODEC.encode_answer(answer, ask))


@given(answer=ANSWERS)
def test_every_item_that_is_added_is_done(answer: Answer) -> None:
    """Deltas, `done` events and items agree: what grew is what is said to be there."""
    events = events_of(stream_of(answer, Ask(model="m")))
    grown: dict[object, str] = {}
    for event in events:
        if str(event["type"]).endswith(".delta"):
            grown[event["item_id"]] = grown.get(event["item_id"], "") + str(event["delta"])
        for field in ("text", "arguments"):
            if str(event["type"]).endswith(".done") and field in event:
                assert event[field] == grown.get(event["item_id"], "{}")
    added = [event["output_index"] for event in events if event["type"] == "response.output_item.added"]
    done = [event["output_index"] for event in events if event["type"] == "response.output_item.done"]

    assert sorted(added) == sorted(done) == list(range(len(added)))  # type: ignore[type-var]


def test_a_stream_of_text_has_the_documented_events() -> None:
    """Golden: the events of a short text, in their order."""
    writer = CODEC.writer(Ask(model="auto"), "resp_7", 9)
    data = (
        writer.piece(Started(id="x", model="m"))
        + writer.piece(TextPiece(text="he"))
        + writer.piece(TextPiece(text="llo"))
    )
    data += writer.piece(Ended(finish=Finish.STOP)) + writer.piece(
        Counted(tokens=Tokens(input_tokens=1, output_tokens=2))
    )
    events = events_of(data + writer.end())

    assert [event["type"] for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert events[4] == {
        "type": "response.output_text.delta",
        "sequence_number": 4,
        "item_id": "msg_7_0",
        "output_index": 0,
        "content_index": 0,
        "delta": "he",
        "logprobs": [],
    }
    response = events[-1]["response"]
    assert isinstance(response, dict)
    assert (response["id"], response["model"], response["created_at"]) == ("resp_7", "m", 9)
    assert response["usage"]["total_tokens"] == 3


def test_thinking_text_refusal_and_calls_are_items_of_their_own() -> None:
    """Each kind opens and closes its own item; a refusal after text is a second part of the same message."""
    answer = Answer(
        id="r",
        parts=(
            Thinking(text="hm", signature="s"),
            Thinking(redacted="x"),
            Text(text="a"),
            Refusal(text="b"),
            ToolUse(id="c", name="f", arguments="{}"),
            Text(text="d"),
        ),
        finish=Finish.TOOLS,
    )
    data = stream_of(answer, Ask(model="m"))
    for event in events_of(data):
        EVENT.validate_json(msgspec.json.encode(event), strict=True)
    response = events_of(data)[-1]["response"]

    assert isinstance(response, dict)
    assert [item["type"] for item in response["output"]] == [
        "reasoning", "reasoning", "message", "function_call", "message",
    ]  # fmt: skip
    assert [part["type"] for part in response["output"][2]["content"]] == ["output_text", "refusal"]
    assert fold(read(CODEC.reader(), [data])).parts == answer.parts


def test_calls_whose_arguments_come_in_turns_are_told_by_their_item() -> None:
    """Two calls written at the same time stay apart, both ways."""
    writer = CODEC.writer(Ask(model="m"), "r", 1)
    told_in_turns: list[Piece] = [
        ToolStarted(index=0, id="a", name="f"),
        ToolStarted(index=1, id="b", name="g"),
        ToolPiece(index=1, arguments='{"x":'),
        ToolPiece(index=0, arguments='{"y":1}'),
        ToolPiece(index=1, arguments="2}"),
        Ended(finish=Finish.TOOLS),
    ]
    data = b"".join(writer.piece(piece) for piece in told_in_turns) + writer.end()

    assert fold(read(CODEC.reader(), [data])).parts == (
        ToolUse(id="a", name="f", arguments='{"y":1}'),
        ToolUse(id="b", name="g", arguments='{"x":2}'),
    )


@pytest.mark.parametrize(
    ("finish", "status", "reason"),
    [(Finish.LENGTH, "incomplete", "max_output_tokens"), (Finish.CONTEXT, "incomplete", "max_output_tokens"),
     (Finish.REFUSAL, "incomplete", "content_filter"), (Finish.STOP, "completed", None),
     (Finish.PAUSE, "completed", None)],
)  # fmt: skip
def test_every_end_has_a_status(finish: Finish, status: str, reason: str | None) -> None:
    """An answer that was cut by a limit or a filter is incomplete and says why, whole and streamed."""
    answer = Answer(id="r", parts=(Text(text="x"),), finish=finish)
    whole = Response.model_validate_json(CODEC.encode_answer(answer, Ask(model="m")), strict=True)
    last = events_of(stream_of(answer, Ask(model="m")))[-1]

    assert whole.status == status
    assert (whole.incomplete_details and whole.incomplete_details.reason) == reason
    assert last["type"] == f"response.{status}"
