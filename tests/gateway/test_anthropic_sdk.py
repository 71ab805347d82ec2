"""Anthropic's own package against the gateway, before each kind of upstream: what users see does not depend on it."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import anthropic
import pytest
from anthropic.types import Message, MessageParam, ToolParam
from anthropic.types.beta import BetaMessage

from tests.gateway.dialects import ANSWER_TOKENS, CACHED_TOKENS, PROMPT_TOKENS, Error, Said, Tool
from tests.gateway.plays import (
    CONTEXT,
    GOOD,
    RATE_LIMIT,
    SERVER,
    answers,
    error_in_stream,
    fails,
    missing_end,
)
from tests.gateway.stable import Stable, lone
from tests.gateway.upstream import Call, Play, Upstream

PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n simulated").decode()
QUESTION: list[MessageParam] = [{"role": "user", "content": "Which colours do horses have?"}]
SCHEMA: dict[str, object] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER: ToolParam = {"name": "weather", "description": "The weather in a city.", "input_schema": SCHEMA}
CITIES = (Tool("toolu_1", "weather", {"city": "Bonn"}), Tool("toolu_2", "weather", {"city": "Köln"}))
TWO_CALLS = Said(text="I look.", tools=CITIES, finish="tools")
LIMIT = 200


@pytest.fixture(params=["openai", "anthropic", "ollama"])
def upstream(request: pytest.FixtureRequest, stable: Stable) -> Upstream:
    """The only upstream of its model."""
    return stable.stalls[request.param].lone


@pytest.fixture
def model(upstream: Upstream) -> str:
    return lone(upstream.dialect.name)


@pytest.fixture
def client(stable: Stable) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=stable.url, api_key="sk-of-the-client", max_retries=0, timeout=20) as made:
        yield made


def sent(upstream: Upstream) -> Call:
    """The one call that the upstream was sent."""
    assert len(upstream.calls) == 1
    return upstream.calls[0]


def text_of(message: Message | BetaMessage) -> str:
    """The text of an answer."""
    return "".join(block.text for block in message.content if block.type == "text")


def test_a_whole_answer(client: anthropic.Anthropic, upstream: Upstream, model: str) -> None:
    """Text, stop reason and counts; what was cached is not in `input_tokens`, as everywhere in this format."""
    answer = client.messages.create(model=model, max_tokens=LIMIT, messages=QUESTION, system="Be short.")

    cached = 0 if upstream.dialect.name == "ollama" else CACHED_TOKENS
    assert (answer.role, text_of(answer), answer.stop_reason) == ("assistant", GOOD.text, "end_turn")
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (PROMPT_TOKENS - cached, ANSWER_TOKENS)
    assert (answer.usage.cache_read_input_tokens or 0) == cached
    assert "Be short." in json.dumps(sent(upstream).json)


def test_a_stream(client: anthropic.Anthropic, upstream: Upstream, model: str) -> None:
    """More than one piece; the message that the package builds of them is the whole answer with its counts."""
    with client.messages.stream(model=model, max_tokens=LIMIT, messages=QUESTION) as stream:
        texts = list(stream.text_stream)
        answer = stream.get_final_message()

    assert "".join(texts) == GOOD.text
    assert len(texts) > 1
    assert (text_of(answer), answer.stop_reason) == (GOOD.text, "end_turn")
    assert answer.usage.output_tokens == ANSWER_TOKENS


def test_the_beta_interface(client: anthropic.Anthropic, upstream: Upstream, model: str) -> None:
    """`/v1/messages?beta=true` is the same route; its header reaches an upstream of this format."""
    answer = client.beta.messages.create(
        model=model, max_tokens=LIMIT, messages=[{"role": "user", "content": "?"}], betas=["context-1m-2025-08-07"]
    )

    assert text_of(answer) == GOOD.text
    if upstream.dialect.name == "anthropic":
        assert sent(upstream).headers["anthropic-beta"] == "context-1m-2025-08-07"


def test_an_answer_at_its_limit_says_so(client: anthropic.Anthropic, upstream: Upstream, model: str) -> None:
    """`max_tokens`."""
    upstream.script(answers(Said(finish="length")))

    assert client.messages.create(model=model, max_tokens=7, messages=QUESTION).stop_reason == "max_tokens"


@pytest.mark.parametrize("stream", [True, False])
def test_parallel_tools(client: anthropic.Anthropic, upstream: Upstream, model: str, *, stream: bool) -> None:
    """Two calls with their own arguments after the text, streamed or not."""
    upstream.script(answers(TWO_CALLS))

    if stream:
        with client.messages.stream(model=model, max_tokens=LIMIT, messages=QUESTION, tools=[WEATHER]) as events:
            answer: Any = events.get_final_message()
    else:
        answer = client.messages.create(model=model, max_tokens=LIMIT, messages=QUESTION, tools=[WEATHER])

    calls = [block for block in answer.content if block.type == "tool_use"]
    assert answer.stop_reason == "tool_use"
    assert [call.input for call in calls] == [tool.arguments for tool in CITIES]
    assert len({call.id for call in calls}) == 2
    assert text_of(answer) == "I look."


def test_results_of_tools_go_back(client: anthropic.Anthropic, upstream: Upstream, model: str) -> None:
    """Each result reaches the upstream, an error among them as one."""
    upstream.script(answers(TWO_CALLS))
    asked = client.messages.create(model=model, max_tokens=LIMIT, messages=QUESTION, tools=[WEATHER])
    results: list[Any] = [
        {"type": "tool_result", "tool_use_id": block.id, "content": f"rain in {block.input['city']}"}
        for block in asked.content
        if block.type == "tool_use" and isinstance(block.input, dict)
    ]
    results[1] |= {"content": [{"type": "text", "text": "no such city"}], "is_error": True}
    turns: list[Any] = [
        *QUESTION,
        {"role": "assistant", "content": asked.content},
        {"role": "user", "content": results},
    ]

    answer = client.messages.create(model=model, max_tokens=LIMIT, messages=turns, tools=[WEATHER])

    assert text_of(answer) == GOOD.text
    body = json.dumps(upstream.calls[1].json)
    assert "rain in Bonn" in body
    assert "no such city" in body


def test_an_image(client: anthropic.Anthropic, upstream: Upstream, model: str) -> None:
    """Its bytes reach the upstream unchanged."""
    source: Any = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    content: list[Any] = [{"type": "image", "source": source}, {"type": "text", "text": "What is this?"}]

    client.messages.create(model=model, max_tokens=LIMIT, messages=[{"role": "user", "content": content}])

    assert PIXEL in json.dumps(sent(upstream).json)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("upstream", ["anthropic"], indirect=True)
def test_thinking_keeps_its_signature(
    client: anthropic.Anthropic, upstream: Upstream, model: str, *, stream: bool
) -> None:
    """And goes back to the upstream as it came, so that it is accepted there."""
    upstream.script(answers(Said(thinking="Horses are many.", tools=CITIES, finish="tools")))
    thinking: Any = {"type": "enabled", "budget_tokens": 1_024}
    asked: dict[str, Any] = {"model": model, "max_tokens": 2_048, "messages": QUESTION, "thinking": thinking}
    if stream:
        with client.messages.stream(**asked, tools=[WEATHER]) as events:
            answer: Any = events.get_final_message()
    else:
        answer = client.messages.create(**asked, tools=[WEATHER])
    results: list[Any] = [{"type": "tool_result", "tool_use_id": tool.id, "content": "rain"} for tool in CITIES]
    turns = [*QUESTION, {"role": "assistant", "content": answer.content}, {"role": "user", "content": results}]

    client.messages.create(**{**asked, "messages": turns}, tools=[WEATHER])

    block = answer.content[0]
    assert (block.type, block.thinking, block.signature) == ("thinking", "Horses are many.", "simulated-signature")
    back = upstream.calls[1].json["messages"][1]["content"][0]
    assert (back["thinking"], back["signature"]) == ("Horses are many.", "simulated-signature")
    assert sent_thinking(upstream) == [thinking, thinking]


def sent_thinking(upstream: Upstream) -> list[object]:
    """What each call asked for."""
    return [call.json.get("thinking") for call in upstream.calls]


def test_thinking_of_a_foreign_model_is_a_thinking_block(
    client: anthropic.Anthropic, upstream: Upstream, model: str
) -> None:
    """Apart from the answer, whoever thought it."""
    upstream.script(answers(Said(thinking="Horses are many.")))

    answer = client.messages.create(
        model=model, max_tokens=2_048, messages=QUESTION, thinking={"type": "enabled", "budget_tokens": 1_024}
    )

    assert [block.thinking for block in answer.content if block.type == "thinking"] == ["Horses are many."]
    assert text_of(answer) == GOOD.text


def test_a_structured_answer(client: anthropic.Anthropic, upstream: Upstream, model: str) -> None:
    """The schema reaches the upstream."""
    upstream.script(answers(Said(text='{"city": "Bonn"}')))
    wanted: Any = {"format": {"type": "json_schema", "schema": SCHEMA}}

    answer = client.messages.create(model=model, max_tokens=LIMIT, messages=QUESTION, output_config=wanted)

    assert json.loads(text_of(answer)) == {"city": "Bonn"}
    assert '"city"' in json.dumps(sent(upstream).json)


def test_counting_tokens(client: anthropic.Anthropic, upstream: Upstream, model: str) -> None:
    """By the upstream where it can, else by estimate; no answer is asked for."""
    counted = client.messages.count_tokens(model=model, messages=QUESTION)

    assert counted.input_tokens > 0
    if upstream.dialect.name == "anthropic":
        assert counted.input_tokens == PROMPT_TOKENS
    assert upstream.calls == []


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RATE_LIMIT, anthropic.RateLimitError),
        (CONTEXT, anthropic.BadRequestError),
        (SERVER, anthropic.InternalServerError),
    ],
)
def test_a_failure_is_the_package_s_own_exception(
    client: anthropic.Anthropic, upstream: Upstream, model: str, error: Error, kind: type[anthropic.APIStatusError]
) -> None:
    """With the upstream's sentence in it, in the shape of this format."""
    upstream.script(then=fails(error))

    with pytest.raises(kind, match="simulated") as caught:
        client.messages.create(model=model, max_tokens=LIMIT, messages=QUESTION)

    assert isinstance(caught.value.body, dict)
    assert caught.value.body["type"] == "error"


@pytest.mark.parametrize("play", [error_in_stream, missing_end])
def test_a_failure_in_a_stream_is_raised(
    client: anthropic.Anthropic, upstream: Upstream, model: str, play: Play
) -> None:
    """Also where the package itself would take a stream without its end for a whole one."""
    upstream.script(play)

    with (
        pytest.raises(anthropic.APIError),
        client.messages.stream(model=model, max_tokens=LIMIT, messages=QUESTION) as stream,
    ):
        stream.get_final_message()


def test_an_unknown_model_is_not_found(client: anthropic.Anthropic) -> None:
    """404, with the nearest name there is."""
    with pytest.raises(anthropic.NotFoundError, match="anthropic-lone"):
        client.messages.create(model="anthropic-lome", max_tokens=LIMIT, messages=QUESTION)


def test_a_request_that_makes_no_sense_names_the_field(client: anthropic.Anthropic) -> None:
    """400 before any upstream is asked."""
    wrong: Any = "hello"
    with pytest.raises(anthropic.BadRequestError, match="messages"):
        client.messages.create(model=lone("anthropic"), max_tokens=LIMIT, messages=wrong)


def test_the_models(client: anthropic.Anthropic, stable: Stable) -> None:
    """The same list in this package's own form."""
    listed = {model.id for model in client.models.list()}

    assert {lone(name) for name in stable.stalls} <= listed
