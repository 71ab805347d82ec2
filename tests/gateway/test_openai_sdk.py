"""OpenAI's own package against the gateway, before each kind of upstream: what its users see must not depend on it."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from pydantic import BaseModel

from tests.gateway.dialects import ANSWER_TOKENS, CACHED_TOKENS, PROMPT_TOKENS, Error, Said, Tool, vector
from tests.gateway.plays import (
    CONTEXT,
    GOOD,
    RATE_LIMIT,
    SERVER,
    answers,
    error_in_stream,
    fails,
)
from tests.gateway.stable import Stable, lone
from tests.gateway.upstream import Call, Upstream

PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n simulated").decode()
QUESTION: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Which colours do horses have?"}]
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CITIES = (Tool("call_1", "weather", {"city": "Bonn"}), Tool("call_2", "weather", {"city": "Köln"}))
TWO_CALLS = Said(text="I look.", tools=CITIES, finish="tools")


class Horse(BaseModel):
    name: str
    hands: int


@pytest.fixture(params=["openai", "anthropic", "ollama"])
def upstream(request: pytest.FixtureRequest, stable: Stable) -> Upstream:
    """The only upstream of its model."""
    return stable.stalls[request.param].lone


@pytest.fixture
def model(upstream: Upstream) -> str:
    return lone(upstream.dialect.name)


@pytest.fixture
def client(stable: Stable) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{stable.url}/v1", api_key="sk-of-the-client", max_retries=0, timeout=20) as made:
        yield made


def sent(upstream: Upstream) -> Call:
    """The one call that the upstream was sent."""
    assert len(upstream.calls) == 1
    return upstream.calls[0]


def test_a_whole_answer(client: openai.OpenAI, upstream: Upstream, model: str) -> None:
    """Text, finish reason and counts; cached tokens where the upstream counts them."""
    answer = client.chat.completions.create(model=model, messages=QUESTION)

    choice = answer.choices[0]
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", GOOD.text, "stop")
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (PROMPT_TOKENS, ANSWER_TOKENS)
    if upstream.dialect.name != "ollama":
        assert answer.usage.prompt_tokens_details is not None
        assert answer.usage.prompt_tokens_details.cached_tokens == CACHED_TOKENS


def test_a_stream(client: openai.OpenAI, upstream: Upstream, model: str) -> None:
    """More than one piece, a finish reason, and counts because they were asked for."""
    chunks = list(
        client.chat.completions.create(
            model=model, messages=QUESTION, stream=True, stream_options={"include_usage": True}
        )
    )

    texts = [choice.delta.content for chunk in chunks for choice in chunk.choices if choice.delta.content]
    assert "".join(texts) == GOOD.text
    assert len(texts) > 1
    assert [c.finish_reason for chunk in chunks for c in chunk.choices if c.finish_reason] == ["stop"]
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == ANSWER_TOKENS


def test_an_answer_at_its_limit_says_so(client: openai.OpenAI, upstream: Upstream, model: str) -> None:
    """`length`, and the limit reached the upstream."""
    upstream.script(answers(Said(finish="length")))

    answer = client.chat.completions.create(model=model, messages=QUESTION, max_tokens=7)

    assert answer.choices[0].finish_reason == "length"
    assert 7 in json_numbers(sent(upstream).json)


@pytest.mark.parametrize("stream", [True, False])
def test_parallel_tools(client: openai.OpenAI, upstream: Upstream, model: str, *, stream: bool) -> None:
    """Two calls with their own arguments, streamed or not."""
    upstream.script(answers(TWO_CALLS))

    if stream:
        with client.chat.completions.stream(model=model, messages=QUESTION, tools=[WEATHER]) as events:
            choice = events.get_final_completion().choices[0]
            message, finish = choice.message, choice.finish_reason
    else:
        plain = client.chat.completions.create(model=model, messages=QUESTION, tools=[WEATHER]).choices[0]
        message, finish = plain.message, plain.finish_reason  # type: ignore[assignment]

    calls: list[Any] = list(message.tool_calls or ())
    assert finish == "tool_calls"
    assert [json.loads(call.function.arguments) for call in calls] == [tool.arguments for tool in CITIES]
    assert len({call.id for call in calls}) == 2
    assert message.content == "I look."
    assert "weather" in json.dumps(sent(upstream).json["tools"])


def test_results_of_tools_go_back(client: openai.OpenAI, upstream: Upstream, model: str) -> None:
    """Each result reaches the upstream with the call it belongs to."""
    upstream.script(answers(TWO_CALLS))
    asked = client.chat.completions.create(model=model, messages=QUESTION, tools=[WEATHER]).choices[0].message
    turns: list[Any] = [*QUESTION, asked.model_dump(exclude_none=True)]
    turns += [
        {"role": "tool", "tool_call_id": call.id, "content": f"rain {number}"}
        for number, call in enumerate(asked.tool_calls or ())
    ]

    answer = client.chat.completions.create(model=model, messages=turns, tools=[WEATHER])

    assert answer.choices[0].message.content == GOOD.text
    body = json.dumps(upstream.calls[1].json, ensure_ascii=False)
    assert "rain 0" in body
    assert "rain 1" in body
    assert "Köln" in body


def test_an_image(client: openai.OpenAI, upstream: Upstream, model: str) -> None:
    """Its bytes reach the upstream unchanged, in its own form."""
    image: list[Any] = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
    ]

    client.chat.completions.create(model=model, messages=[{"role": "user", "content": image}])

    turn = sent(upstream).json["messages"][-1]
    assert PIXEL in json.dumps(turn)
    if upstream.dialect.name == "anthropic":
        assert turn["content"][1]["source"] == {"type": "base64", "media_type": "image/png", "data": PIXEL}
    if upstream.dialect.name == "ollama":
        assert turn["images"] == [PIXEL]


def test_a_structured_answer(client: openai.OpenAI, upstream: Upstream, model: str) -> None:
    """The schema reaches the upstream, the package parses the answer."""
    upstream.script(answers(Said(text='{"name": "Sleipnir", "hands": 18}')))

    answer = client.chat.completions.parse(model=model, messages=QUESTION, response_format=Horse)

    assert answer.choices[0].message.parsed == Horse(name="Sleipnir", hands=18)
    assert '"hands"' in json.dumps(sent(upstream).json)


def test_thinking(client: openai.OpenAI, upstream: Upstream, model: str) -> None:
    """What the model thought comes as `reasoning_content`, apart from its answer."""
    upstream.script(answers(Said(thinking="Horses are many.")))

    answer = client.chat.completions.create(model=model, messages=QUESTION, reasoning_effort="low")

    message = answer.choices[0].message
    assert message.content == GOOD.text
    assert message.model_dump()["reasoning_content"] == "Horses are many."


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RATE_LIMIT, openai.RateLimitError),
        (CONTEXT, openai.BadRequestError),
        (SERVER, openai.InternalServerError),
    ],
)
def test_a_failure_is_the_package_s_own_exception(
    client: openai.OpenAI, upstream: Upstream, model: str, error: Error, kind: type[openai.APIStatusError]
) -> None:
    """With the upstream's sentence in it."""
    upstream.script(then=fails(error))

    with pytest.raises(kind, match="simulated"):
        client.chat.completions.create(model=model, messages=QUESTION)


def test_a_failure_in_a_stream_is_raised(client: openai.OpenAI, upstream: Upstream, model: str) -> None:
    """Whoever iterates over the stream cannot take what came for the whole."""
    upstream.script(error_in_stream)
    got: list[str] = []

    def read() -> None:
        for chunk in client.chat.completions.create(model=model, messages=QUESTION, stream=True):
            got.extend(choice.delta.content or "" for choice in chunk.choices)

    with pytest.raises(openai.APIError, match="simulated"):
        read()

    assert GOOD.text.startswith("".join(got))
    assert "".join(got) != GOOD.text


def test_an_unknown_model_is_not_found(client: openai.OpenAI) -> None:
    """404, with the nearest name there is."""
    with pytest.raises(openai.NotFoundError, match="openai-lone"):
        client.chat.completions.create(model="openai-lome", messages=QUESTION)


def test_a_request_that_makes_no_sense_names_the_field(client: openai.OpenAI) -> None:
    """400 before any upstream is asked."""
    wrong: Any = "hello"
    with pytest.raises(openai.BadRequestError, match="messages"):
        client.chat.completions.create(model=lone("openai"), messages=wrong)


def test_the_models(client: openai.OpenAI, stable: Stable) -> None:
    """All that can be asked for, each also by itself."""
    listed = {model.id for model in client.models.list()}

    assert {lone(name) for name in stable.stalls} <= listed
    assert client.models.retrieve(lone("ollama")).id == lone("ollama")


@pytest.mark.parametrize("upstream", ["openai", "ollama"], indirect=True)
def test_embeddings(client: openai.OpenAI, upstream: Upstream, model: str) -> None:
    """One vector for each text, in order."""
    answer = client.embeddings.create(model=model, input=["a", "bcd"], encoding_format="float")

    assert [row.embedding for row in answer.data] == [vector("a"), vector("bcd")]
    assert [row.index for row in answer.data] == [0, 1]


def test_a_whole_response(client: openai.OpenAI, upstream: Upstream, model: str) -> None:
    """The Responses API: text and counts."""
    answer = client.responses.create(model=model, input="Which colours?", instructions="Be short.")

    assert answer.output_text == GOOD.text
    assert answer.status == "completed"
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (PROMPT_TOKENS, ANSWER_TOKENS)
    assert "Be short." in json.dumps(sent(upstream).json)


def test_a_streamed_response(client: openai.OpenAI, upstream: Upstream, model: str) -> None:
    """Its events build the same answer, and the last one says that it is whole."""
    events = list(client.responses.create(model=model, input="Which colours?", stream=True))

    kinds = [event.type for event in events]
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == GOOD.text
    numbers = [event.sequence_number for event in events]
    assert numbers == sorted(set(numbers))
    with client.responses.stream(model=model, input="Which colours?") as stream:
        assert stream.get_final_response().output_text == GOOD.text


@pytest.mark.parametrize("stream", [True, False])
def test_tools_of_a_response(client: openai.OpenAI, upstream: Upstream, model: str, *, stream: bool) -> None:
    """Calls of functions are items of their own; their results go back as items."""
    upstream.script(answers(TWO_CALLS))
    function: Any = {"type": "function", "strict": False, **WEATHER["function"]}

    if stream:
        with client.responses.stream(model=model, input="The weather?", tools=[function]) as events:
            output: list[Any] = list(events.get_final_response().output)
    else:
        output = list(client.responses.create(model=model, input="The weather?", tools=[function]).output)

    calls = [item for item in output if item.type == "function_call"]
    assert [json.loads(call.arguments) for call in calls] == [tool.arguments for tool in CITIES]
    items: list[Any] = [{"role": "user", "content": "The weather?"}]
    items += [{"type": "function_call", "call_id": c.call_id, "name": c.name, "arguments": c.arguments} for c in calls]
    items += [{"type": "function_call_output", "call_id": c.call_id, "output": "rain"} for c in calls]
    assert client.responses.create(model=model, input=items, tools=[function]).output_text == GOOD.text
    assert "rain" in json.dumps(upstream.calls[-1].json)


def test_a_failed_response_is_raised(client: openai.OpenAI, upstream: Upstream, model: str) -> None:
    """By status before the first byte, by an event after it."""
    upstream.script(fails(RATE_LIMIT), error_in_stream)

    with pytest.raises(openai.RateLimitError, match="simulated"):
        client.responses.create(model=model, input="Which colours?")


def json_numbers(value: object) -> list[object]:
    """All numbers anywhere in a JSON value."""
    if isinstance(value, dict):
        return [number for inner in value.values() for number in json_numbers(inner)]
    if isinstance(value, list):
        return [number for inner in value for number in json_numbers(inner)]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []
