"""Requests of the Messages API as clients send them: understood, or refused with the place of the mistake."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostler.domain.errors import InvalidInputError
from ostler.wire.codec import Format
from ostler.wire.talk import (
    Ask,
    Document,
    Effort,
    Image,
    Shape,
    Text,
    Thinking,
    Tool,
    ToolChoice,
    ToolResult,
    ToolUse,
    Turn,
)
from tests.wire.anthropic_rig import CACHE, CODEC, FULL, read, written
from tests.wire.talks import near


def test_everything_a_client_says_is_understood() -> None:
    """Each field of a full request finds its place in the shared form."""
    ask = CODEC.decode_ask(json.dumps(FULL).encode())

    assert ask == Ask(
        model="claude-x",
        turns=(
            Turn(role="system", parts=(Text(text="Be brief.", cache=CACHE),)),
            Turn(
                role="user",
                parts=(
                    Text(text="What is this?"),
                    Image(media_type="image/png", data="iVBORw0KGgo="),
                    Image(url="https://example.com/a.png"),
                    Document(media_type="application/pdf", data="JVBERi0=", name="Paper"),
                    Document(media_type="text/plain", data="plain"),
                    Document(url="https://example.com/a.pdf"),
                ),
            ),
            Turn(
                role="assistant",
                parts=(
                    Thinking(text="hm", signature="c2ln"),
                    Thinking(redacted="eHh4"),
                    Text(text="I look."),
                    ToolUse(id="toolu_1", name="look", arguments='{"x": 1}', cache=CACHE),
                ),
            ),
            Turn(
                role="user",
                parts=(
                    ToolResult(tool_use_id="toolu_1", parts=(Text(text="no"), Text(text="way")), is_error=True),
                    Text(text="Go on."),
                ),
            ),
        ),
        tools=(
            Tool(
                name="look",
                description="Looks.",
                schema={"type": "object", "properties": {}},
                strict=True,
                cache=CACHE,
            ),
        ),
        tool_choice=ToolChoice(mode="tool", name="look"),
        parallel_tools=False,
        max_output_tokens=4000,
        temperature=0.5,
        top_p=0.9,
        top_k=5,
        stop=("END",),
        shape=Shape(schema={"type": "object"}),
        effort=Effort(budget_tokens=2048, level="high", summary="omitted"),
        stream=True,
        user="u1",
        extra={"service_tier": "auto"},
        origin=Format.ANTHROPIC,
    )


def test_short_forms_mean_the_same() -> None:
    """A plain string is a block of text, as system, as content and as a tool's result."""
    result = {"type": "tool_result", "tool_use_id": "t", "content": "42"}
    ask = read(system="s", messages=[{"role": "user", "content": "hi"}, {"role": "user", "content": [result]}])

    assert [turn.text for turn in ask.turns] == ["s", "hi", ""]
    assert ask.turns[2].parts == (ToolResult(tool_use_id="t", parts=(Text(text="42"),)),)


def test_the_older_place_of_the_answers_form_is_known() -> None:
    """`output_format` came before `output_config.format`."""
    assert read(output_format={"type": "json_schema", "schema": {"a": 1}}).shape == Shape(schema={"a": 1})


def test_blocks_of_the_providers_own_tools_are_kept_by_their_path() -> None:
    """What no other format can say is named by the place where it stood."""
    block = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "x"}}
    ask = read(messages=[{"role": "assistant", "content": [block, {"type": "text", "text": "found"}]}])

    assert ask.turns[0].text == "found"
    assert list(ask.extra) == ["messages[0].content[0]"]
    assert CODEC.encode_ask(ask).dropped == ("messages[0].content[0]",)


def test_a_search_result_is_read_as_the_text_it_is() -> None:
    """What a search found is what the model is to read: another format gets it as a document."""
    block = {
        "type": "search_result",
        "source": "https://example.com",
        "title": "Horses",
        "content": [{"type": "text", "text": "They eat hay."}],
        "citations": {"enabled": True},
    }
    ask = read(messages=[{"role": "user", "content": [block]}])

    assert ask.turns[0].parts == (Document(media_type="text/plain", data="They eat hay.", name="Horses"),)
    assert ask.extra == {"messages[0].content[0].citations": {"enabled": True}}


@pytest.mark.parametrize(
    ("sent", "where", "says"),
    [
        ({"model": ""}, "model", "missing"),
        ({"model": 1}, "model", "expected a text, got a whole number"),
        ({"max_tokens": "many"}, "max_tokens", "expected a whole number, got a text"),
        ({"messages": "hi"}, "messages", "a list"),
        ({"messages": []}, "messages", "at least one"),
        ({"messages": [{"role": "usr", "content": "x"}]}, "messages[0].role", "did you mean 'user'?"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "missing"),
        ({"messages": [{"role": "user", "content": [{"type": "txt"}]}]}, "messages[0].content[0].type", "'text'"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text", "missing"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "messages[0].content[0].source", "missing"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "uri"}}]}]},
            "messages[0].content[0].source.type",
            "did you mean 'url'?",
        ),
        (
            {"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "b"}]}]},
            "messages[0].content[0].input",
            "object",
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {
                                "type": "tool_result",
                                "tool_use_id": "a",
                                "content": [{"type": "thinking", "thinking": "x"}],
                            }
                        ],
                    }
                ]
            },
            "messages[0].content[0].content[0].type",
            "text, images and documents",
        ),
        ({"tools": [{"name": "x"}]}, "tools[0].input_schema", "missing"),
        ({"tool_choice": {"type": "anny"}}, "tool_choice.type", "did you mean 'any'?"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name", "missing"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens", "missing"),
        ({"thinking": {"type": "adaptiv"}}, "thinking.type", "did you mean 'adaptive'?"),
        ({"output_config": {"format": {"type": "json"}}}, "output_config.format.type", "valid: json_schema"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema", "missing"),
        ({"metadata": {"user_id": 7}}, "metadata.user_id", "text"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_the_nearest_right_word(
    sent: dict[str, object], where: str, says: str
) -> None:
    """What, where, and what would be right."""
    with pytest.raises(InvalidInputError) as caught:
        read(**sent)

    assert caught.value.where == where
    assert says in str(caught.value)


def refusal(read_it: Callable[[bytes], object], body: bytes) -> InvalidInputError | None:
    try:
        read_it(body)
    except InvalidInputError as error:
        return error
    return None


FIELDS = (
    "model", "messages", "role", "content", "type", "text", "source", "input", "id", "name", "tools", "input_schema",
    "tool_choice", "thinking", "output_config", "format", "system", "metadata", "user_id", "tool_use_id", "citations",
)  # fmt: skip
TYPES = ("user", "assistant", "text", "image", "document", "tool_use", "tool_result", "base64", "content", "thinking")


@settings(max_examples=300)
@given(body=near(*FIELDS, types=TYPES), messages=near(*FIELDS, types=TYPES))
def test_any_json_is_read_or_refused_with_a_place(body: object, messages: object) -> None:
    """Whatever a client sends, it is told what is wrong and where."""
    for sent in (body, {"model": "m", "messages": [{"role": "user", "content": messages}]}):
        for read_it in (CODEC.decode_ask, CODEC.peek):
            refused = refusal(read_it, json.dumps(sent).encode())
            assert refused is None or refused.where, "a mistake without a place"


@given(body=st.binary(max_size=60))
def test_any_bytes_are_refused_with_a_place(body: bytes) -> None:
    """A body that is no request at all is refused, never a failure of ours."""
    for read_it in (CODEC.decode_ask, CODEC.peek):
        with pytest.raises(InvalidInputError) as caught:
            read_it(body)
        assert caught.value.where


def test_documents_of_every_kind_are_read() -> None:
    """Text within a document is read as text; what a document says beside its content keeps its path."""
    pages = [{"type": "text", "text": "p1"}, {"type": "text", "text": "p2"}]
    content = [
        {"type": "document", "title": "A", "context": "scan", "source": {"type": "content", "content": "plain"}},
        {"type": "document", "source": {"type": "content", "content": pages}},
        {"type": "document", "source": {"type": "file", "file_id": "file_1"}},
    ]
    ask = read(messages=[{"role": "user", "content": content}])

    assert ask.turns[0].parts == (
        Document(media_type="text/plain", data="plain", name="A"),
        Text(text="p1"),
        Text(text="p2"),
    )
    assert list(ask.extra) == ["messages[0].content[0].context", "messages[0].content[2]"]


def test_what_has_no_place_comes_back_where_it_was() -> None:
    """Thinking between tools and other metadata are this format's own."""
    sent = {"thinking": {"type": "between_tools"}, "metadata": {"user_id": "u", "trace": "t"}, "speed": "fast"}
    ask = read(**sent)

    assert (ask.effort, ask.user) == (None, "u")
    assert written(ask).items() >= sent.items()
