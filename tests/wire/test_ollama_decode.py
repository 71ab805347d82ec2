"""Requests of Ollama's two endpoints as clients send them: understood, or refused with the place of the mistake."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostler.domain.errors import InvalidInputError
from ostler.wire.codec import Format
from ostler.wire.formats import codec
from ostler.wire.ollama import OllamaChat, OllamaGenerate
from ostler.wire.talk import (
    Ask,
    Effort,
    Image,
    Shape,
    Text,
    Thinking,
    Tool,
    ToolResult,
    ToolUse,
    Turn,
)
from tests.wire.ollama_rig import CHAT, FULL, GENERATE, PNG, chat, generate, said, written
from tests.wire.talks import near


def test_everything_a_client_says_is_understood() -> None:
    """Each field of a full request finds its place in the shared form."""
    assert CHAT.decode_ask(json.dumps(FULL).encode()) == Ask(
        model="llama3.2:3b",
        turns=(
            said("Be brief.", "system"),
            Turn(role="user", parts=(Text(text="What is this?"), Image(media_type="image/png", data=PNG))),
            Turn(
                role="assistant",
                parts=(
                    Thinking(text="hm"),
                    Text(text="I look."),
                    ToolUse(id="c1", name="look", arguments='{"x": 1}'),
                ),
            ),
            Turn(role="user", parts=(ToolResult(tool_use_id="c1", parts=(Text(text="a horse"),), name="look"),)),
        ),
        tools=(Tool(name="look", description="Looks.", schema={"type": "object"}),),
        max_output_tokens=100,
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        min_p=0.05,
        seed=-1,
        stop=("END",),
        presence_penalty=0.1,
        frequency_penalty=0.2,
        shape=Shape(schema={"type": "object"}),
        effort=Effort(level="high"),
        stream=False,
        context_tokens=8192,
        keep_alive="5m",
        extra={"options": {"mirostat": 1}, "truncate": False, "logprobs": True},
        origin=Format.OLLAMA_CHAT,
    )


def test_a_full_request_is_written_as_it_was_read() -> None:
    """Reading and writing lose nothing and add nothing."""
    encoded = CHAT.encode_ask(CHAT.decode_ask(json.dumps(FULL).encode()))

    assert json.loads(encoded.body) == FULL
    assert (encoded.dropped, encoded.added) == ((), ())


@pytest.mark.parametrize(("sent", "stream"), [({}, True), ({"stream": None}, True), ({"stream": False}, False)])
def test_a_stream_is_meant_unless_it_is_declined(sent: dict[str, Any], stream: bool) -> None:
    """The default of this API is a stream, for both endpoints and for the glance."""
    assert chat(**sent).stream is generate(**sent).stream is stream
    assert CHAT.peek(json.dumps({"model": "m"} | sent).encode()).stream is stream


@pytest.mark.parametrize("ask", [chat(), chat(messages=[]), generate(), generate(prompt="", system="x")])
def test_a_request_without_words_loads_the_model(ask: Ask) -> None:
    """It has no turns: that is how it is seen."""
    assert ask.turns == ()


def test_calls_without_ids_are_tied_to_their_results() -> None:
    """By name where it is given, else in order; ids follow from the place alone."""
    calls: list[object] = [{"function": {"name": name, "arguments": {}}} for name in ("a", "b", "b")]
    results = [{"role": "tool", "content": "1", "tool_name": "b"}, *({"role": "tool", "content": x} for x in "23")]
    ask = chat(messages=[{"role": "assistant", "tool_calls": calls}, *results])
    uses, found = ask.turns[0].parts, ask.turns[1].parts

    assert [use.id for use in uses if isinstance(use, ToolUse)] == ["call_0", "call_1", "call_2"]
    assert [(result.tool_use_id, result.name) for result in found if isinstance(result, ToolResult)] == [
        ("call_1", "b"),
        ("call_0", "a"),
        ("call_2", "b"),
    ]


def test_a_result_of_no_call_is_kept() -> None:
    """A history that was cut loses nothing more."""
    (turn,) = chat(
        messages=[{"role": "tool", "content": "x"}, {"role": "tool", "content": "y", "tool_call_id": "z"}]
    ).turns

    assert [part.tool_use_id for part in turn.parts if isinstance(part, ToolResult)] == ["call_0", "z"]


def test_what_a_user_adds_to_results_is_part_of_their_turn() -> None:
    """Results and the user's next words are one turn, as other formats have it; images may come from tools."""
    messages = [{"role": "tool", "content": "", "images": [PNG]}, {"role": "user", "content": "And?"}]
    (turn,) = chat(messages=[*messages]).turns

    assert [type(part) for part in turn.parts] == [ToolResult, Text]
    assert written(Ask(model="m", turns=(turn,)))["messages"] == [
        {"role": "tool", "content": "", "tool_call_id": "call_0", "images": [PNG]},
        {"role": "user", "content": "And?"},
    ]


@pytest.mark.parametrize(
    ("sent", "effort"),
    [
        (None, None),
        (True, Effort()),
        (False, Effort(enabled=False)),
        ("low", Effort(level="low")),
        ("", None),
    ],
)
def test_thinking_is_understood_and_said_again(sent: object, effort: Effort | None) -> None:
    """On, off, at a level, or nothing said."""
    ask = chat(think=sent)

    assert ask.effort == effort
    assert written(ask).get("think") == (sent or (None if sent in (None, "") else sent))


@pytest.mark.parametrize(
    ("effort", "think", "dropped"),
    [
        (Effort(level="minimal"), "low", ("effort minimal",)),
        (Effort(level="xhigh"), "high", ("effort xhigh",)),
        (Effort(level="odd"), True, ("effort odd",)),
        (Effort(budget_tokens=1024, summary="auto"), True, ("effort.budget_tokens", "effort.summary")),
        (Effort(adaptive=True), True, ()),
    ],
)
def test_thinking_of_other_formats_is_brought_near(effort: Effort, think: object, dropped: tuple[str, ...]) -> None:
    """The nearest word is sent, and what it does not say is named."""
    encoded = CHAT.encode_ask(Ask(model="m", effort=effort))

    assert json.loads(encoded.body)["think"] == think
    assert encoded.dropped == dropped


@pytest.mark.parametrize(
    ("sent", "shape"), [("json", Shape()), ("", None), (None, None), ({"a": 1}, Shape(schema={"a": 1}))]
)
def test_the_form_of_the_answer_is_understood_and_said_again(sent: object, shape: Shape | None) -> None:
    """Any JSON, a schema, or nothing."""
    ask = chat(format=sent)

    assert ask.shape == shape
    assert written(ask).get("format") == (sent or None)


def test_no_limit_is_no_number() -> None:
    """Negative counts mean there is no limit; one stop sequence needs no list."""
    ask = chat(options={"num_predict": -1, "num_ctx": 4096.0, "stop": "END", "temperature": None})

    assert (ask.max_output_tokens, ask.context_tokens, ask.stop, ask.temperature) == (None, 4096, ("END",), None)
    assert "num_predict" not in written(ask)["options"]
    assert chat(options={"num_predict": -2}).extra == {"options": {"num_predict": -2}}


def test_a_prompt_is_a_talk_of_one_turn() -> None:
    """`/api/generate` has system, prompt, images, and what only it has."""
    sent = {
        "model": "m",
        "prompt": "def f(",
        "system": "Code.",
        "images": [PNG],
        "raw": True,
        "suffix": "return x",
        "template": "{{ .Prompt }}",
        "context": [1, 2],
        "stream": True,
    }
    ask = generate(**sent)

    assert ask.turns == (
        said("Code.", "system"),
        Turn(role="user", parts=(Text(text="def f("), Image(media_type="image/png", data=PNG))),
    )
    assert (ask.raw_prompt, ask.suffix, ask.extra) == (
        True,
        "return x",
        {"template": "{{ .Prompt }}", "context": [1, 2]},
    )
    assert json.loads(GENERATE.encode_ask(ask).body) == sent


@pytest.mark.parametrize(
    ("sent", "where", "says"),
    [
        ({"model": ""}, "model", "missing"),
        ({"messages": [{"role": "usr"}]}, "messages[0].role", "did you mean 'user'?"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content", "a list"),
        ({"messages": [{"role": "assistant", "tool_calls": [{}]}]}, "messages[0].tool_calls[0].function", "missing"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "x", "arguments": "{}"}}]}]},
            "messages[0].tool_calls[0].function.arguments",
            "object",
        ),
        ({"tools": [{"type": "function"}]}, "tools[0].function", "missing"),
        ({"options": {"temperature": "hot"}}, "options.temperature", "a number"),
        ({"options": {"num_ctx": 1.5}}, "options.num_ctx", "an integer"),
        ({"options": {"stop": [1]}}, "options.stop", "a list of strings"),
        ({"format": "xml"}, "format", '"json"'),
        ({"think": "hihg"}, "think", "did you mean 'high'?"),
        ({"keep_alive": []}, "keep_alive", "a list"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_the_nearest_right_word(
    sent: dict[str, Any], where: str, says: str
) -> None:
    """What, where, and what would be right."""
    with pytest.raises(InvalidInputError) as caught:
        chat(**sent)

    assert caught.value.where == where
    assert says in str(caught.value)


def refusal(read_it: Callable[[bytes], object], body: bytes) -> InvalidInputError | None:
    try:
        read_it(body)
    except InvalidInputError as error:
        return error
    return None


READERS = (CHAT.decode_ask, GENERATE.decode_ask, CHAT.peek)
FIELDS = (
    "model", "messages", "role", "content", "images", "tool_calls", "function", "name", "arguments", "tools", "options",
    "stop", "num_ctx", "seed", "format", "think", "keep_alive", "prompt", "system", "parameters",
)  # fmt: skip


@settings(max_examples=300)
@given(body=near(*FIELDS, types=("user", "tool", "assistant")), field=st.sampled_from(FIELDS), value=near(*FIELDS))
def test_any_json_is_read_or_refused_with_a_place(body: object, field: str, value: object) -> None:
    """Whatever a client sends, it is told what is wrong and where."""
    for sent in (body, {"model": "m", field: value}):
        for read_it in READERS:
            refused = refusal(read_it, json.dumps(sent).encode())
            assert refused is None or refused.where, "a mistake without a place"


@given(body=st.binary(max_size=60))
def test_any_bytes_are_refused_with_a_place(body: bytes) -> None:
    """A body that is no request at all is refused, never a failure of ours."""
    for read_it in READERS:
        refused = refusal(read_it, body)
        assert refused is not None
        assert refused.where


def test_a_glance_says_what_a_decision_needs() -> None:
    """Model, stream, limits, tools, images, thinking and size, without the bytes of images."""
    big = FULL | {"messages": [{"role": "user", "content": "x", "images": ["A" * 1_000_000]}, said_by_assistant()]}
    glance = CHAT.peek(json.dumps(big).encode())

    assert (glance.model, glance.stream, glance.max_output_tokens) == ("llama3.2:3b", False, 100)
    assert (glance.context_tokens, glance.tools, glance.images, glance.thinking) == (8192, True, True, True)
    assert glance.prefill
    assert glance.prompt_chars < 2000


def said_by_assistant() -> dict[str, Any]:
    return {"role": "assistant", "content": "{"}


def test_a_glance_is_not_fooled_by_words() -> None:
    """Empty lists are nothing, and words about images are words."""
    body: dict[str, object] = {
        "model": "m",
        "prompt": '"images"',
        "images": [],
        "tools": None,
        "think": False,
        "options": {"num_ctx": 0},
    }
    glance = GENERATE.peek(json.dumps(body).encode())

    assert (glance.images, glance.tools, glance.thinking, glance.prefill) == (False, False, False, False)
    assert (glance.context_tokens, glance.max_output_tokens) == (None, None)


def test_a_request_is_renamed_in_its_bytes() -> None:
    """Nothing but the name of the model changes."""
    body = b'{"model":"a","messages":[{"role":"user","content":"\\"model\\":\\"a\\""}]}'

    assert CHAT.renamed(body, "b") == body.replace(b'{"model":"a"', b'{"model":"b"')


def test_both_formats_are_spoken() -> None:
    """The registry hands out these codecs."""
    assert isinstance(codec(Format.OLLAMA_CHAT), OllamaChat)
    assert isinstance(codec(Format.OLLAMA_GENERATE), OllamaGenerate)
