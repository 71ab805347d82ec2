"""From any format to any other: what a client asks reaches the endpoint, and what the endpoint says reaches the client.

Formats differ in what they can say (Ollama has no ids of calls, `generate` no tools); compared is what both have.
"""

import json

import msgspec
import pytest
from hypothesis import given, settings

from ostler.domain.states import FailureClass
from ostler.wire.codec import Codec, Fault, Format
from ostler.wire.fold import fold, pieces
from ostler.wire.formats import codec
from ostler.wire.talk import Answer, Ask, Finish, Text, Thinking, Tokens, Tool, ToolResult, ToolUse, Turn
from tests.wire.talking import CUTS, answers, cut, read

TALKING = [Format.OPENAI_CHAT, Format.OPENAI_RESPONSES, Format.ANTHROPIC, Format.OLLAMA_CHAT]
"""Formats with turns and tools."""
PAIRS = [(served, spoken) for served in TALKING for spoken in TALKING]

ASK = Ask(
    model="m",
    max_output_tokens=50,
    turns=(
        Turn(role="system", parts=(Text(text="be brief"),)),
        Turn(role="user", parts=(Text(text="what is the weather in Ulm?"),)),
        Turn(
            role="assistant", parts=(Text(text="I look."), ToolUse(id="call_1", name="look", arguments='{"at":"Ulm"}'))
        ),
        Turn(role="user", parts=(ToolResult(tool_use_id="call_1", name="look", parts=(Text(text="rain"),)),)),
        Turn(role="assistant", parts=(Text(text="It rains."),)),
        Turn(role="user", parts=(Text(text="and tomorrow?"),)),
    ),
    tools=(Tool(name="look", description="Look", schema={"type": "object", "properties": {"at": {"type": "string"}}}),),
    temperature=0.5,
    stream=True,
)


def stream_of(spoken: Codec, answer: Answer) -> bytes:
    """An answer as this format streams it."""
    writer = spoken.writer(ASK, answer.id, answer.created_s or 0)
    return b"".join([writer.piece(piece) for piece in pieces(answer)]) + writer.end()


def said(answer: Answer) -> tuple[object, ...]:
    """What every format can tell of an answer."""
    calls = [(part.name, json.loads(part.arguments)) for part in answer.parts if isinstance(part, ToolUse)]
    text = "".join(part.text for part in answer.parts if isinstance(part, Text))
    thinking = "".join(part.text for part in answer.parts if isinstance(part, Thinking))
    return calls, text, thinking, answer.finish


def counted(answer: Answer) -> Answer:
    """Formats that always tell counts need to know them."""
    return msgspec.structs.replace(answer, tokens=Tokens(input_tokens=7, output_tokens=3))


@pytest.mark.parametrize(("served", "spoken"), PAIRS)
@settings(max_examples=25)
@given(answer=answers(), at=CUTS)
def test_a_stream_says_the_same_in_every_format(served: Format, spoken: Format, answer: Answer, at: list[int]) -> None:
    """An endpoint's stream, read in its format and written in the client's piece by piece, is the same answer."""
    endpoint, client = codec(served), codec(spoken)
    reader, writer = endpoint.reader(), client.writer(ASK, "an_1", 1)
    told = b""
    for chunk in cut(stream_of(endpoint, counted(answer)), at):
        told += b"".join(writer.piece(piece) for piece in reader.feed(chunk))
    told += b"".join(writer.piece(piece) for piece in reader.end()) + writer.end()

    heard = fold(read(client.reader(), [told]))

    assert said(heard) == said(answer)
    assert (heard.tokens.input_tokens, heard.tokens.output_tokens) == (7, 3)


@pytest.mark.parametrize(("served", "spoken"), PAIRS)
@settings(max_examples=25)
@given(answer=answers())
def test_a_whole_answer_says_the_same_in_every_format(served: Format, spoken: Format, answer: Answer) -> None:
    """As does one that is not streamed."""
    endpoint, client = codec(served), codec(spoken)
    read_here = endpoint.decode_answer(endpoint.encode_answer(counted(answer), ASK))

    assert said(client.decode_answer(client.encode_answer(read_here, ASK))) == said(answer)


@pytest.mark.parametrize(("asked", "served"), PAIRS)
def test_a_talk_with_tools_reaches_every_endpoint(asked: Format, served: Format) -> None:
    """Who said what, which tool was called with what, and what came of it: the endpoint reads what the client meant."""
    client, endpoint = codec(asked), codec(served)
    meant = client.decode_ask(client.encode_ask(ASK).body)

    heard = endpoint.decode_ask(endpoint.encode_ask(meant).body)

    assert [turn.role for turn in heard.turns] == [turn.role for turn in ASK.turns]
    assert [turn.text for turn in heard.turns] == [turn.text for turn in ASK.turns]
    assert (heard.model, heard.max_output_tokens, heard.temperature, heard.stream) == ("m", 50, 0.5, True)
    assert [(tool.name, tool.description, tool.schema) for tool in heard.tools] == [
        (tool.name, tool.description, tool.schema) for tool in ASK.tools
    ]
    call = next(part for part in heard.turns[2].parts if isinstance(part, ToolUse))
    result = next(part for part in heard.turns[3].parts if isinstance(part, ToolResult))
    assert (call.name, json.loads(call.arguments)) == ("look", {"at": "Ulm"})
    assert result.parts == (Text(text="rain"),)
    assert result.tool_use_id == call.id


@pytest.mark.parametrize("form", Format)
def test_a_tap_and_a_reader_agree_in_every_format(form: Format) -> None:
    """Whether a stream is handed on or translated, its end and its counts are seen alike."""
    spoken = codec(form)
    answer = counted(Answer(id="a", model="m", parts=(Text(text="hello"),), finish=Finish.LENGTH, created_s=1))
    data = stream_of(spoken, answer)
    reader, tap = spoken.reader(), spoken.tap()
    heard = fold(read(reader, [data]))
    tap.feed(data)

    assert (reader.done, tap.done, tap.content) == (True, True, True)
    assert heard.finish is Finish.LENGTH
    assert tap.finish == "length"
    assert tap.tokens.output_tokens == heard.tokens.output_tokens == 3


@pytest.mark.parametrize("form", Format)
def test_a_stream_that_was_not_ended_is_never_whole(form: Format) -> None:
    """Without what its writer's `end` adds, nobody takes a stream for complete."""
    spoken = codec(form)
    writer = spoken.writer(ASK, "a", 1)
    answer = Answer(id="a", model="m", parts=(Text(text="half"),))
    data = b"".join(writer.piece(piece) for piece in list(pieces(answer))[:-1])
    reader, tap = spoken.reader(), spoken.tap()
    read(reader, [data])
    tap.feed(data)

    assert (reader.done, tap.done) == (False, False)


@pytest.mark.parametrize("form", Format)
def test_an_error_body_names_what_went_wrong(form: Format) -> None:
    """In every format the message is in the body as it was given."""
    fault = Fault(kind=FailureClass.OVERLOADED, status=503, message="nobody is free, says \u00fcber")

    assert "nobody is free, says \u00fcber" in json.dumps(
        msgspec.json.decode(codec(form).encode_fault(fault)), ensure_ascii=False
    )
