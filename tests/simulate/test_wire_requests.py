"""How requests of each dialect are reduced to what a simulated model needs. Unknown fields pass."""

from typing import Any

import msgspec
import pytest

from ostler.simulate import anthropic_wire, ollama_wire, openai_wire
from ostler.simulate.reply import Message, estimate_tokens

TOOL = {"type": "function", "function": {"name": "f"}}


def openai(**fields: object) -> openai_wire.ChatRequest:
    return msgspec.convert(fields, openai_wire.ChatRequest)


def anthropic(**fields: object) -> anthropic_wire.MessagesRequest:
    return msgspec.convert(fields, anthropic_wire.MessagesRequest)


def ollama(**fields: object) -> ollama_wire.ChatRequest:
    return msgspec.convert(fields, ollama_wire.ChatRequest)


@pytest.mark.parametrize(
    "read",
    [openai_wire.ChatRequest, anthropic_wire.MessagesRequest, ollama_wire.ChatRequest, ollama_wire.GenerateRequest],
)
def test_fields_nobody_knows_pass(read: type[msgspec.Struct]) -> None:
    """As servers that are older than their clients do it."""
    decoded = msgspec.json.decode(b'{"model": "m", "brand_new": {"x": [1]}}', type=read)

    assert getattr(decoded, "model") == "m"  # noqa: B009 -- the field all of them have


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"role": "user", "content": "plain"}, Message("user", "plain")),
        (
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            Message("user", "a\nb"),
        ),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}, Message("user", "")),
        ({"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}, Message("assistant", '[{"id":"1"}]')),
        ({"role": "tool", "tool_call_id": "1", "content": "42"}, Message("tool", "42")),
        ({"role": "assistant"}, Message("assistant", "")),
    ],
)
def test_openai_messages_are_reduced_to_their_text(message: dict[str, Any], expected: Message) -> None:
    """Parts are joined, tool calls count as text, what has no text counts nothing."""
    assert openai(messages=[message]).reduced_messages() == (expected,)


@pytest.mark.parametrize(
    ("fields", "limit"),
    [
        ({}, None),
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 6}, 6),
        ({"max_tokens": 5, "max_completion_tokens": 6}, 6),
    ],
)
def test_openais_limit_has_two_names(fields: dict[str, Any], limit: int | None) -> None:
    """The newer wins."""
    assert openai(**fields).limit_tokens == limit


@pytest.mark.parametrize(("stop", "expected"), [(None, ()), ("x", ("x",)), (["x", "y"], ("x", "y"))])
def test_openais_stop_is_one_or_several(stop: object, expected: tuple[str, ...]) -> None:
    """Or none."""
    assert openai(stop=stop).stop_sequences == expected


@pytest.mark.parametrize(
    ("fields", "offers"),
    [({}, False), ({"tools": []}, False), ({"tools": [TOOL]}, True), ({"tools": [TOOL], "tool_choice": "none"}, False)],
)
def test_openais_tools_may_be_forbidden(fields: dict[str, Any], offers: bool) -> None:
    """And still count as prompt."""
    asked = openai(**fields)

    assert asked.offers_tools is offers
    assert (asked.tools_tokens() > 0) is bool(fields.get("tools"))


@pytest.mark.parametrize(
    ("shape", "wants"),
    [(None, False), ({"type": "text"}, False), ({"type": "json_object"}, True), ({"type": "json_schema"}, True)],
)
def test_openais_response_format_may_demand_json(shape: object, wants: bool) -> None:
    """With or without a schema."""
    assert openai(response_format=shape).wants_json is wants


def test_openais_embedding_input_is_one_text_or_several() -> None:
    """Or none at all."""
    read = openai_wire.EmbeddingsRequest

    assert [read(input=value).texts for value in ("a", ["a", "b"], None)] == [["a"], ["a", "b"], []]


def test_anthropics_system_prompt_comes_first() -> None:
    """As text or as blocks."""
    turn = {"role": "user", "content": "hi"}
    blocks = [{"type": "text", "text": "be"}, {"type": "text", "text": "brief"}]

    as_text = anthropic(system="be\nbrief", messages=[turn]).reduced_messages()
    as_blocks = anthropic(system=blocks, messages=[turn]).reduced_messages()

    assert as_text == as_blocks == (Message("system", "be\nbrief"), Message("user", "hi"))
    assert anthropic(messages=[turn]).reduced_messages() == (Message("user", "hi"),)


def test_anthropics_prompt_counts_tools_system_and_every_block() -> None:
    """A cache mark is no part of the prompt."""
    tool = {"name": "f", "input_schema": {}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": "42"}
    asked = anthropic(tools=[tool], system="be brief", messages=[{"role": "user", "content": [result]}])
    marked = {**result, "cache_control": {"type": "ephemeral"}}
    with_mark = anthropic(tools=[tool], system="be brief", messages=[{"role": "user", "content": [marked]}])

    texts = [openai_wire.compact(tool), "be brief", openai_wire.compact(result)]
    assert asked.prompt_tokens() == with_mark.prompt_tokens() == sum(estimate_tokens(text) for text in texts)


def test_anthropics_cache_marks_end_prefixes() -> None:
    """Each covers all that stands before it: tools, then system, then messages."""
    mark = {"cache_control": {"type": "ephemeral"}}
    system = [{"type": "text", "text": "x" * 40, **mark}, {"type": "text", "text": "y" * 40}]
    turns = [{"role": "user", "content": [{"type": "text", "text": "z" * 40, **mark}]}]

    prefixes = list(anthropic(system=system, messages=turns).cache_prefixes())

    assert [tokens for _text, tokens in prefixes] == [10, 30]
    assert prefixes[1][0].startswith(prefixes[0][0])
    assert list(anthropic(system="x" * 40, messages=[]).cache_prefixes()) == []


@pytest.mark.parametrize(
    ("fields", "offers"),
    [({}, False), ({"tools": [TOOL]}, True), ({"tools": [TOOL], "tool_choice": {"type": "none"}}, False)],
)
def test_anthropics_tools_may_be_forbidden(fields: dict[str, Any], offers: bool) -> None:
    """By a choice that is an object here."""
    assert anthropic(**fields).offers_tools is offers


def test_ollamas_messages_are_reduced_to_their_text() -> None:
    """Roles in any case, thinking and tool calls included, a missing content as none."""
    turns = [
        {"role": "User", "content": "hi"},
        {"role": "assistant", "content": None, "thinking": "hm", "tool_calls": [{"function": {"name": "f"}}]},
        {"role": "tool", "content": "42", "tool_name": "f"},
    ]

    assert [turn.reduced() for turn in ollama(messages=turns).messages] == [
        Message("user", "hi"),
        Message("assistant", 'hm\n[{"function":{"name":"f"}}]'),
        Message("tool", "42"),
    ]


@pytest.mark.parametrize(("value", "texts"), [("a", ["a"]), ("", []), (["a", ""], ["a", ""]), (None, [])])
def test_ollamas_embedding_input_is_one_text_or_several(value: object, texts: list[str]) -> None:
    """An empty one is none and only loads the model."""
    assert msgspec.convert({"input": value}, ollama_wire.EmbedRequest).texts == texts
