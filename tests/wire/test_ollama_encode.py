"""Requests of Ollama's two endpoints as its server is sent them, whatever format they came from."""

import json

from ostler.wire.talk import (
    Ask,
    Document,
    Image,
    Refusal,
    Shape,
    Text,
    Thinking,
    Tool,
    ToolChoice,
    ToolResult,
    ToolUse,
    Turn,
)
from tests.wire.ollama_rig import CHAT, GENERATE, PNG, chat, generate, said, written


def test_a_longer_talk_is_told_to_generate_as_a_text() -> None:
    """It knows one prompt: roles become words, and that is said."""
    turns = (said("S", "system"), said("Hi"), said("Hello", "assistant"), said("Bye"))
    encoded = GENERATE.encode_ask(Ask(model="m", turns=turns, tools=(Tool(name="x"),)))

    assert json.loads(encoded.body)["prompt"] == "user: Hi\n\nassistant: Hello\n\nuser: Bye"
    assert json.loads(encoded.body)["system"] == "S"
    assert encoded.dropped == ("turns: their roles (told as text)", "tools")


def test_calls_of_tools_are_not_told_to_generate() -> None:
    """They are dropped by name."""
    turn = Turn(role="assistant", parts=(ToolUse(id="c", name="x"),))

    assert "turns: calls of tools" in GENERATE.encode_ask(Ask(model="m", turns=(said("a"), turn))).dropped


def test_fields_of_generate_are_dropped_by_chat() -> None:
    """A template has no meaning there; options that both know are kept."""
    encoded = CHAT.encode_ask(generate(prompt="x", template="t", raw=True, suffix="s", options={"mirostat": 2}))

    assert json.loads(encoded.body)["options"] == {"mirostat": 2}
    assert encoded.dropped == ("raw_prompt", "suffix", "template")


def test_a_request_of_another_format_is_never_cut_in_silence() -> None:
    """Habits of cutting a prompt are turned off for clients that do not know them, and left to those that do."""
    foreign = written(Ask(model="m", origin="openai-chat"))

    assert (foreign["truncate"], foreign["shift"]) == (False, False)
    assert "truncate" not in written(chat())


def test_parts_of_one_kind_are_one_string() -> None:
    """A message has one text: paragraphs keep the parts apart."""
    parts = (
        Text(text="a"),
        Image(data=PNG),
        Refusal(text="b"),
        Document(media_type="text/plain", data="c", name="n.txt"),
    )

    assert written(Ask(model="m", turns=(Turn(role="user", parts=parts),)))["messages"] == [
        {"role": "user", "content": "a\n\nb\n\nn.txt:\nc", "images": [PNG]}
    ]


def test_what_the_api_cannot_say_is_named() -> None:
    """Nothing is lost in silence."""
    turns = (
        Turn(
            role="user",
            name="ann",
            parts=(
                Image(url="https://x/y.png", detail="low"),
                Document(media_type="application/pdf", data="x", name="p.pdf"),
            ),
        ),
        Turn(
            role="assistant",
            parts=(
                Thinking(text="a", signature="s"),
                Thinking(redacted="r"),
                ToolUse(id="c", name="x", arguments="{broken"),
            ),
        ),
        Turn(role="user", parts=(ToolResult(tool_use_id="c", is_error=True),)),
    )
    ask = Ask(
        model="m",
        turns=turns,
        tools=(Tool(name="x", strict=True),),
        tool_choice=ToolChoice(mode="required"),
        parallel_tools=False,
        shape=Shape(name="n"),
        user="u",
        extra={"logit_bias": {}},
        origin="openai-chat",
    )
    encoded = CHAT.encode_ask(ask)

    assert set(encoded.dropped) == {
        "turns[0].name", "turns[0]: image by its address", "turns[0]: detail of an image", "turns[0]: document p.pdf",
        "turns[1]: signature of thinking", "turns[1]: redacted thinking",
        "turns[1]: arguments of x that are no JSON object (sent as text)", "turns[2]: mark of a result as an error",
        "strict arguments of x", "tool_choice", "parallel_tools", "shape.name", "user", "logit_bias",
    }  # fmt: skip
    assert json.loads(encoded.body)["messages"][2]["tool_name"] == "x"


def test_no_choice_of_tools_is_no_tools() -> None:
    """`none` cannot be said, but meant."""
    ask = Ask(model="m", tools=(Tool(name="x"),), tool_choice=ToolChoice(mode="none"))

    assert "tools" not in written(ask)
    assert CHAT.encode_ask(ask).dropped == ()
