"""Requests of the Messages API as its servers demand them, whatever format they came from."""

import json
from typing import Any

import pytest
from hypothesis import given

from ostler.wire.anthropic_encode import DEFAULT_MAX_TOKENS, OPENING, tool_id
from ostler.wire.talk import (
    Ask,
    Effort,
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
from tests.wire.anthropic_rig import CODEC, FULL, checked, read, said, written
from tests.wire.talks import asks, words


def test_a_full_request_is_written_as_it_was_read() -> None:
    """Reading and writing lose nothing and add nothing, and the vendor's own types take the result."""
    encoded = CODEC.encode_ask(CODEC.decode_ask(json.dumps(FULL).encode()))

    assert checked(encoded) == FULL
    assert (encoded.dropped, encoded.added) == ((), ())


@given(ask=asks())
def test_what_formats_share_survives_there_and_back(ask: Ask) -> None:
    """A request that uses only what formats share is the same after it was written and read."""
    encoded = CODEC.encode_ask(ask)
    checked(encoded)
    back = CODEC.decode_ask(encoded.body)

    names = {use.id: use.name for turn in ask.turns for use in turn.parts if isinstance(use, ToolUse)}
    assert named(back, names) == named(ask, names), "a request changed on its way"
    assert encoded.dropped == (), "something shared was dropped"


def named(ask: Ask, names: dict[str, str]) -> tuple[object, ...]:
    """What of a request must survive. Names of tools are not repeated with results here."""
    turns = [
        (
            turn.role,
            [
                (part.tool_use_id, names[part.tool_use_id], part.parts) if isinstance(part, ToolResult) else part
                for part in turn.parts
            ],
        )
        for turn in ask.turns
    ]
    return (ask.model, turns, ask.tools, ask.tool_choice, ask.max_output_tokens, ask.temperature, ask.top_p, ask.stop)


@pytest.mark.parametrize(
    ("sent", "effort"),
    [
        ({"thinking": {"type": "disabled"}}, Effort(enabled=False)),
        ({"thinking": {"type": "adaptive", "display": "summarized"}}, Effort(adaptive=True, summary="summarized")),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}, Effort(adaptive=True, level="max")),
        ({"output_config": {"effort": "low"}}, Effort(level="low")),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, Effort(budget_tokens=1024)),
    ],
)
def test_thinking_is_understood_and_said_again(sent: dict[str, Any], effort: Effort) -> None:
    """Each way to ask for thinking has its own form, and comes back as it went."""
    ask = read(**sent)

    assert ask.effort == effort
    assert written(ask).items() >= sent.items()


def test_levels_of_other_formats_are_brought_near() -> None:
    """`minimal` becomes the lowest there is, an unknown level is left out, and both are said."""
    minimal = CODEC.encode_ask(Ask(model="m", effort=Effort(level="minimal")))
    odd = CODEC.encode_ask(Ask(model="m", effort=Effort(level="extreme")))

    assert json.loads(minimal.body)["output_config"] == {"effort": "low"}
    assert "output_config" not in json.loads(odd.body)
    assert (minimal.dropped, odd.dropped) == (("effort minimal",), ("effort extreme",))


def test_tools_that_the_provider_runs_stay_with_it() -> None:
    """A server tool and odd fields of a tool come back in their places, and other formats drop them by name."""
    custom = {"name": "a", "input_schema": {"type": "object"}, "defer_loading": True}
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
    ask = read(tools=[search, custom])

    assert [tool.name for tool in ask.tools] == ["a"]
    assert ask.extra == {"tools[0]": search, "tools[1].defer_loading": True}
    assert written(ask)["tools"] == [search, custom]


def test_fields_of_another_format_are_not_sent() -> None:
    """`service_tier` of another provider means something else: it is dropped by its name."""
    encoded = CODEC.encode_ask(Ask(model="m", extra={"service_tier": "flex"}, origin="openai-chat"))

    assert "service_tier" not in json.loads(encoded.body)
    assert encoded.dropped == ("service_tier",)


def test_turns_of_one_role_become_one_turn_that_begins_with_results() -> None:
    """Turns alternate, and results of tools stand before what the user adds."""
    turns = (
        said("a"),
        Turn(role="assistant", parts=(ToolUse(id="t1", name="x"), ToolUse(id="t2", name="x"))),
        Turn(role="user", parts=(Text(text="wait"), ToolResult(tool_use_id="t1"))),
        Turn(role="user", parts=(ToolResult(tool_use_id="t2", parts=(Text(text="2"),)),)),
    )
    messages = written(Ask(model="m", turns=turns))["messages"]

    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    assert [block["type"] for block in messages[2]["content"]] == ["tool_result", "tool_result", "text"]


def test_a_system_turn_in_the_middle_moves_to_the_front_and_is_named() -> None:
    """Its words reach the model with a system turn's weight; that its place was lost is said."""
    turns = (said("one", "system"), said("a"), said("two", "system"), said("b", "assistant"), said("c"))
    encoded = CODEC.encode_ask(Ask(model="m", turns=turns))

    assert checked(encoded)["system"] == [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    assert encoded.dropped == ("turns[2]: its place in the talk",)


def test_a_talk_that_begins_with_the_assistant_is_opened_by_a_user() -> None:
    """The API wants the user first; the turn that was added is named."""
    encoded = CODEC.encode_ask(Ask(model="m", turns=(said("Hello!", "assistant"), said("hi")), max_output_tokens=1))

    assert checked(encoded)["messages"][0] == {"role": "user", "content": OPENING}
    assert encoded.added == (f"an opening turn of the user: {OPENING!r}",)


def test_blocks_without_text_are_not_sent() -> None:
    """The API refuses empty text and turns without content."""
    turns = (said("a"), said("", "assistant"), Turn(role="user", parts=(Text(text=" "), Text(text="b"))))

    assert written(Ask(model="m", turns=turns))["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}
    ]


def test_a_beginning_of_the_answer_ends_in_no_white_space() -> None:
    """The API refuses a prefill that does."""
    assert written(Ask(model="m", turns=(said("a"), said("{ \n", "assistant"))))["messages"][1]["content"] == "{"


def test_thinking_that_nobody_signed_is_dropped_by_name() -> None:
    """Only signed thinking is taken back; the rest of the turn stays."""
    turn = Turn(role="assistant", parts=(Thinking(text="hm"), Text(text="yes")))
    encoded = CODEC.encode_ask(Ask(model="m", turns=(said("a"), turn)))

    assert checked(encoded)["messages"][1]["content"] == "yes"
    assert encoded.dropped == ("turns[1]: thinking without a signature",)


@pytest.mark.parametrize("broken", ['{"a": ', "[1]", '"x"', "nonsense", "\ud800", "[" * 100_000])
def test_arguments_that_are_no_object_are_sent_as_text(broken: str) -> None:
    """A model's broken JSON never breaks the request that carries it on."""
    text = broken if broken != "\ud800" else "?"
    turn = Turn(role="assistant", parts=(ToolUse(id="t", name="x", arguments=text),))
    encoded = CODEC.encode_ask(Ask(model="m", turns=(said("a"), turn)))

    assert checked(encoded)["messages"][1]["content"][0]["input"] == {"arguments": text}
    assert encoded.dropped == ("turns[1]: arguments of x that are no JSON object (sent as text)",)


def test_no_arguments_are_an_empty_object() -> None:
    """Some models call a tool without arguments with no text at all."""
    turn = Turn(role="assistant", parts=(ToolUse(id="t", name="x", arguments=""),))

    assert written(Ask(model="m", turns=(said("a"), turn)))["messages"][1]["content"][0]["input"] == {}


@given(one=words, other=words)
def test_ids_become_what_the_api_takes_and_stay_apart(one: str, other: str) -> None:
    """Any id is mapped to allowed letters, the same id to the same, different ids to different ones."""
    assert tool_id(one) == tool_id(one)
    assert tool_id(one).isascii()
    assert tool_id(one).replace("_", "").replace("-", "").isalnum()
    assert (tool_id(one) == tool_id(other)) == (one == other)


def test_a_call_and_its_result_keep_one_id() -> None:
    """Both sides of a call are mapped alike."""
    turns = (
        said("a"),
        Turn(role="assistant", parts=(ToolUse(id="functions.x:0", name="x"),)),
        Turn(role="user", parts=(ToolResult(tool_use_id="functions.x:0"),)),
    )
    _, call, result = written(Ask(model="m", turns=turns))["messages"]

    assert call["content"][0]["id"] == result["content"][0]["tool_use_id"] == tool_id("functions.x:0")


def test_max_tokens_is_chosen_where_nobody_said_it() -> None:
    """The field must be there: the choice leaves room beyond a budget for thinking, and is said."""
    plain = CODEC.encode_ask(Ask(model="m", turns=(said("a"),)))
    thinking = CODEC.encode_ask(Ask(model="m", turns=(said("a"),), effort=Effort(budget_tokens=2000)))

    assert checked(plain)["max_tokens"] == DEFAULT_MAX_TOKENS
    assert checked(thinking)["max_tokens"] == DEFAULT_MAX_TOKENS + 2000
    assert plain.added == ("max_tokens: 4096",)


def test_what_the_api_cannot_say_is_named() -> None:
    """Nothing is lost in silence."""
    ask = Ask(
        model="m",
        turns=(Turn(role="user", name="ann", parts=(Image(url="https://x/y.png", detail="low"), Image())),),
        temperature=1.7,
        stop=(" ", "END"),
        seed=1,
        min_p=0.1,
        presence_penalty=0.0,
        frequency_penalty=0.5,
        context_tokens=8192,
        keep_alive=0,
        suffix="}",
        raw_prompt=True,
        tool_choice=ToolChoice(mode="required"),
        shape=Shape(),
        max_output_tokens=5,
    )
    encoded = CODEC.encode_ask(ask)

    assert checked(encoded)["temperature"] == 1
    assert set(encoded.dropped) == {
        "turns[0].name", "turns[0]: detail of an image", "turns[0]: image without content", "temperature above 1",
        "stop: sequences of white space", "seed", "min_p", "presence_penalty", "frequency_penalty", "context_tokens",
        "keep_alive", "suffix", "raw_prompt", "tool_choice", "shape: any JSON object, without a schema",
    }  # fmt: skip


def test_parts_in_the_wrong_turn_are_dropped_by_name() -> None:
    """A call in the user's turn or a result in the assistant's would be refused."""
    turns = (
        Turn(role="user", parts=(Text(text="a"), ToolUse(id="t", name="x"))),
        Turn(role="assistant", parts=(ToolResult(tool_use_id="t"), Refusal(text="no"))),
    )
    encoded = CODEC.encode_ask(Ask(model="m", turns=turns))

    assert [message["content"] for message in checked(encoded)["messages"]] == ["a", "no"]
    assert len(encoded.dropped) == 2


@pytest.mark.parametrize(
    ("choice", "parallel", "sent"),
    [
        (None, None, None),
        (None, True, None),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        (ToolChoice(mode="required"), None, {"type": "any"}),
        (ToolChoice(mode="none"), False, {"type": "none"}),
        (ToolChoice(mode="tool", name="x"), True, {"type": "tool", "name": "x", "disable_parallel_tool_use": False}),
    ],
)
def test_the_choice_of_tools_is_said(choice: ToolChoice | None, parallel: bool | None, sent: object) -> None:
    """Choice and parallel calls share one field here."""
    ask = Ask(model="m", tools=(Tool(name="x"),), tool_choice=choice, parallel_tools=parallel)

    assert written(ask).get("tool_choice") == sent


def test_what_a_form_and_a_system_turn_cannot_say_is_named() -> None:
    """An image has no place among system text, a schema has neither name nor leniency here."""
    turns = (Turn(role="system", parts=(Text(text="s"), Image(url="https://x/y.png"))), said("a"))
    shape = Shape(schema={"type": "object"}, name="n", description="d", strict=False)
    encoded = CODEC.encode_ask(Ask(model="m", turns=turns, shape=shape))

    assert checked(encoded)["system"] == "s"
    assert encoded.dropped == (
        "turns[0]: image in a system turn",
        "shape.name",
        "shape.description",
        "shape.strict",
    )
