"""Every pair of formats: what both can say is the same after it went from one to the other and back."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostler.wire.codec import Codec, Format
from ostler.wire.fold import fold, pieces
from ostler.wire.formats import codec
from ostler.wire.talk import Answer, Ask, Part, Text, Thinking, ToolChoice, ToolResult, ToolUse, Turn
from tests.wire.talking import cut
from tests.wire.talks import answers, asks, cuts, talks

CODECS = [codec(form) for form in Format]
TALKING = [one for one in CODECS if one.format is not Format.OLLAMA_GENERATE]
"""Formats that know a talk; the other one knows a prompt."""
FEW = settings(max_examples=30)
"""Each format alone is tried with many more; here there are many pairs."""


def name(one: Codec) -> str:
    return one.format.value


def pairs(codecs: list[Codec]) -> list[tuple[Codec, Codec]]:
    return list(product(codecs, codecs))


def titled(pair: list[tuple[Codec, Codec]]) -> list[str]:
    return [f"{name(one)}-{name(other)}" for one, other in pair]


def told(one: Codec, other: Codec, ask: Ask) -> Ask:
    """A client's request in one format, sent on in another, and told back in the first."""
    client = one.decode_ask(one.encode_ask(ask).body)
    endpoint = other.decode_ask(other.encode_ask(client).body)
    return one.decode_ask(one.encode_ask(endpoint).body)


def shared(ask: Ask) -> tuple[object, ...]:
    """What of a request every format says. Results go by the name of their call; `auto` is nothing."""
    names = {part.id: part.name for turn in ask.turns for part in turn.parts if isinstance(part, ToolUse)}
    tools = [(tool.name, tool.description, tool.schema) for tool in ask.tools]
    choice = None if ask.tool_choice == ToolChoice() else ask.tool_choice
    turns = [(turn.role, [plain(part, names) for part in turn.parts]) for turn in ask.turns]
    limits = (ask.max_output_tokens, ask.temperature, ask.top_p)
    return (ask.model, turns, tools, choice, limits, ask.stream)


def plain(part: Part, names: dict[str, str]) -> object:
    if isinstance(part, ToolResult):
        return (part.tool_use_id, names[part.tool_use_id], part.parts)
    return part


@pytest.mark.parametrize(("one", "other"), pairs(TALKING), ids=titled(pairs(TALKING)))
@FEW
@given(ask=asks())
def test_a_request_survives_another_format(one: Codec, other: Codec, ask: Ask) -> None:
    """Whatever a client speaks and whatever its endpoint speaks, the same is asked."""
    assert shared(told(one, other, ask)) == shared(ask), f"{name(one)} over {name(other)} changed a request"


@pytest.mark.parametrize("other", CODECS, ids=name)
@given(turns=talks(), text=st.text(min_size=1, max_size=20).filter(str.strip))
def test_a_prompt_survives_every_format(other: Codec, turns: tuple[Turn, ...], text: str) -> None:
    """A prompt with its system text, sent on in any format, is the same prompt."""
    prompt = (*(turn for turn in turns if turn.role == "system"), Turn(role="user", parts=(Text(text=text),)))
    ask = Ask(model="m", turns=prompt, max_output_tokens=5)

    assert shared(told(codec(Format.OLLAMA_GENERATE), other, ask)) == shared(ask)


def heard(answer: Answer) -> tuple[object, ...]:
    """What of an answer every format says: ids and instants are given anew, signatures prove it to their maker only."""
    parts = [Thinking(text=part.text) if isinstance(part, Thinking) else part for part in answer.parts]
    return (answer.model, parts, answer.finish, answer.tokens.input_tokens, answer.tokens.output_tokens)


@pytest.mark.parametrize(("one", "other"), pairs(TALKING), ids=titled(pairs(TALKING)))
@FEW
@given(answer=answers())
def test_an_answer_survives_another_format(one: Codec, other: Codec, answer: Answer) -> None:
    """Whatever the endpoint speaks, the client hears the same."""
    ask = Ask(model="m")
    endpoint = other.decode_answer(other.encode_answer(answer, ask))
    whole = stamped(endpoint, answer)

    assert heard(one.decode_answer(one.encode_answer(whole, ask))) == heard(answer)


@pytest.mark.parametrize(("one", "other"), pairs(TALKING), ids=titled(pairs(TALKING)))
@FEW
@given(answer=answers(), at=cuts)
def test_a_stream_survives_another_format(one: Codec, other: Codec, answer: Answer, at: list[int]) -> None:
    """Piece by piece as whole: an endpoint's stream, read wherever it is cut and written for the client, folds to the
    same answer, and both streams are whole.
    """
    ask = Ask(model="m", stream=True)
    sent = other.writer(ask, "an_2", 1_700_000_000)
    stream = b"".join(map(sent.piece, pieces(answer))) + sent.end()
    reader, writer, client = other.reader(), one.writer(ask, "an_3", 1_700_000_001), one.reader()
    passed = [piece for chunk in cut(stream, at) for piece in reader.feed(chunk)] + reader.end()
    told_on = b"".join(map(writer.piece, passed)) + writer.end()
    back = fold([*client.feed(told_on), *client.end()])

    assert reader.done
    assert client.done
    assert heard(back) == heard(answer)


@pytest.mark.parametrize("one", CODECS, ids=name)
@given(answer=answers(), at=cuts)
def test_a_watched_stream_is_seen_as_it_is_read(one: Codec, answer: Answer, at: list[int]) -> None:
    """Who only watches a stream learns the same of its end as who reads it, wherever it is cut."""
    writer, tap, reader = one.writer(Ask(model="m", stream=True), "an_2", 1_700_000_000), one.tap(), one.reader()
    stream = b"".join(map(writer.piece, pieces(answer))) + writer.end()
    found = []
    for chunk in cut(stream, at):
        tap.feed(chunk)
        found += reader.feed(chunk)
    read = fold([*found, *reader.end()])

    assert (tap.done, tap.content) == (True, True)
    assert (tap.finish, tap.tokens) == (read.finish, read.tokens)


def stamped(endpoint: Answer, answer: Answer) -> Answer:
    """With what a gateway gives every answer: an id and an instant of its own."""
    return Answer(
        id=answer.id,
        model=endpoint.model,
        parts=endpoint.parts,
        finish=endpoint.finish,
        tokens=endpoint.tokens,
        created_s=answer.created_s,
    )


@pytest.mark.parametrize("one", CODECS, ids=name)
@FEW
@given(ask=asks(), answer=answers())
def test_a_glance_sees_what_the_whole_answer_says_of_its_end(one: Codec, ask: Ask, answer: Answer) -> None:
    """The finish and the counts, which are all that is needed of an answer that is handed on as it is."""
    body = one.encode_answer(answer, ask)
    decoded = one.decode_answer(body)

    assert one.glance(body) == (decoded.finish, decoded.tokens)
