"""Direct calls in each wire format: one codec for tasks and for the gateway."""

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.domain.calls import CallError, Delta, Message, ModelCall
from ostler.domain.states import FailureClass
from ostler.fleet import anthropic, ollama, openai
from ostler.fleet.answer import AnswerReader
from ostler.fleet.asking import Body, asked
from ostler.wire.codec import Codec, Format
from ostler.wire.formats import codec
from tests.fleet.fakes import CALL, WIRES, Wire

BODIES: dict[Format, Callable[[ModelCall], Body]] = {
    Format.OLLAMA_CHAT: ollama.chat_body,
    Format.OPENAI_CHAT: openai.chat_body,
    Format.ANTHROPIC: anthropic.chat_body,
}
TALKS = st.lists(
    st.builds(
        Message,
        role=st.sampled_from(["system", "user", "assistant"]),
        text=st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]), min_size=1, max_size=20),
    ),
    min_size=1,
    max_size=5,
)


def reader_of(wire: Wire) -> AnswerReader:
    form = {"ollama": Format.OLLAMA_CHAT, "openai": Format.OPENAI_CHAT, "anthropic": Format.ANTHROPIC}[wire.kind.value]
    return AnswerReader(CALL, codec(form).reader())


@given(TALKS, st.sampled_from(sorted(BODIES)))
def test_nothing_that_is_said_is_left_out(messages: list[Message], form: Format) -> None:
    """Every text of a call is in the body, in each format."""
    body = str(BODIES[form](ModelCall(model="m", messages=tuple(messages))))

    for message in messages:
        assert repr(message.text)[1:-1] in body, f"{message} is missing"


@pytest.mark.parametrize("form", sorted(BODIES))
def test_a_gateway_reads_what_a_task_asks(form: Format) -> None:
    """The body is a request of its format like any client's."""
    spoken: Codec = codec(form)
    call = msgspec.structs.replace(CALL, temperature=0.5)
    read = spoken.decode_ask(msgspec.json.encode(BODIES[form](call)))

    assert read.stream
    assert (read.model, read.max_output_tokens, read.temperature) == ("small:1b", 64, 0.5)
    assert [turn.text for turn in read.turns] == [turn.text for turn in asked(call).turns]


@pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.kind.value)
def test_what_came_before_an_error_is_given_first(wire: Wire) -> None:
    """Also when the network brings both in one piece."""
    reader = reader_of(wire)
    feed = reader.feed(b"".join([*wire.begin(), wire.text("Good "), wire.error_frame()]))

    assert next(feed) == Delta(text="Good ")
    with pytest.raises(CallError) as caught:
        next(feed)
    assert caught.value.kind is FailureClass.OVERLOADED


@pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.kind.value)
@given(st.integers(1, 40))
def test_an_answer_does_not_depend_on_where_it_was_cut(wire: Wire, size: int) -> None:
    """Deltas, counts and the end are the same for every size of the pieces."""
    stream = b"".join([*wire.begin(), wire.thinking("hm"), wire.text("Grüße"), *wire.finish()])
    whole, cut = reader_of(wire), reader_of(wire)
    expected = list(whole.feed(stream))
    found = [delta for at in range(0, len(stream), size) for delta in cut.feed(stream[at : at + size])]

    assert found == expected == [Delta(reasoning="hm"), Delta(text="Grüße")]
    assert cut.completion(0) == whole.completion(0)
