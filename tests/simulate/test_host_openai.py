"""Ollama's OpenAI-compatible face of a simulated host, read by the official client."""

from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionChunk

from tests.simulate.support import Client, messages

TOOL: Any = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture
async def client(host: Client) -> AsyncIterator[openai.AsyncOpenAI]:
    """The official client, without its retries."""
    async with openai.AsyncOpenAI(base_url=host.url + "/v1", api_key="ignored", max_retries=0) as client:
        yield client


async def chunks(client: openai.AsyncOpenAI, **settings: object) -> list[ChatCompletionChunk]:
    asked: dict[str, Any] = {"model": "quick:1b", "messages": messages("hello"), **settings}
    stream = await client.chat.completions.create(**asked, stream=True)
    return [chunk async for chunk in stream]


async def test_models_are_listed_and_found(client: openai.AsyncOpenAI) -> None:
    """By their tagged names; one that is absent is not found."""
    listed = [model.id async for model in client.models.list()]
    found = await client.models.retrieve("quick:1b")

    assert listed[:2] == ["slow:latest", "quick:1b"]
    assert (found.id, found.object, found.owned_by) == ("quick:1b", "model", "library")
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("none")


async def test_a_whole_answer(client: openai.AsyncOpenAI) -> None:
    """Text, finish reason and usage."""
    answer = await client.chat.completions.create(model="quick:1b", messages=messages("hello"))

    (choice,) = answer.choices
    assert answer.object == "chat.completion"
    assert (answer.model, answer.system_fingerprint) == ("quick:1b", "fp_ollama")
    assert (choice.message.role, choice.finish_reason) == ("assistant", "stop")
    assert (choice.message.content or "").startswith("[simulated quick:1b] ")
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (2, 12, 14)


async def test_a_stream_is_the_same_answer(client: openai.AsyncOpenAI) -> None:
    """The role once, the finish reason in a chunk of its own, no usage unless asked for."""
    whole = await client.chat.completions.create(model="quick:1b", messages=messages("hello"))

    got = await chunks(client)

    deltas = [chunk.choices[0].delta for chunk in got]
    assert [delta.role for delta in deltas] == ["assistant"] + [None] * 12
    assert "".join(delta.content or "" for delta in deltas) == whole.choices[0].message.content
    assert [chunk.choices[0].finish_reason for chunk in got] == [None] * 12 + ["stop"]
    assert len({(chunk.id, chunk.created) for chunk in got}) == 1
    assert all(chunk.usage is None for chunk in got)


async def test_usage_comes_last_when_asked_for(client: openai.AsyncOpenAI) -> None:
    """In a chunk without choices."""
    *_others, last = await chunks(client, stream_options={"include_usage": True}, max_tokens=5)

    assert last.choices == []
    assert last.usage is not None
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (2, 5)


async def test_a_stream_ends_with_done(host: Client) -> None:
    """As server-sent events, to the letter."""
    body = {"model": "quick:1b", "messages": messages("hello"), "stream": True, "max_completion_tokens": 1}
    async with host.session.post(host.url + "/v1/chat/completions", json=body) as response:
        assert response.headers["content-type"] == "text/event-stream"
        raw = await response.text()

    events = raw.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    assert all(event.startswith("data: {") for event in events[:-2])
    assert '"finish_reason":"length"' in events[-3]
    assert '"delta":{}' in events[-3]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_tool_call_has_its_arguments_as_text(client: openai.AsyncOpenAI, stream: bool) -> None:
    """In one chunk of a stream; finished by `tool_calls`; not made when the client forbids it."""
    asked: dict[str, Any] = {"messages": messages('[tool:add {"a": 1}][tool:add {"a": 2}]'), "tools": [TOOL]}
    if stream:
        got = await chunks(client, **asked)
        calls = [call for chunk in got for call in chunk.choices[0].delta.tool_calls or []]
        functions = [(call.function.name, call.function.arguments) for call in calls if call.function]
        finish = got[-1].choices[0].finish_reason
        assert [call.index for call in calls] == [0, 1]
    else:
        answer = await client.chat.completions.create(model="quick:1b", **asked)
        made: Any = answer.choices[0].message.tool_calls
        functions = [(call.function.name, call.function.arguments) for call in made]
        finish = answer.choices[0].finish_reason
        assert len({call.id for call in made}) == 2

    assert functions == [("add", '{"a":1}'), ("add", '{"a":2}')]
    assert finish == "tool_calls"
    forbidden = await client.chat.completions.create(model="quick:1b", tool_choice="none", **asked)
    assert forbidden.choices[0].finish_reason == "stop"


async def test_thinking_is_a_field_apart(client: openai.AsyncOpenAI) -> None:
    """Ollama calls it `reasoning`, in a stream and in a whole answer."""
    answer: Any = await client.chat.completions.create(model="thinker", messages=messages("hm"))
    got: Any = await chunks(client, model="thinker")

    assert answer.choices[0].message.reasoning.startswith("[simulated thinking")
    assert sum(bool(getattr(chunk.choices[0].delta, "reasoning", None)) for chunk in got) == 6


async def test_parts_of_a_message_are_its_text(client: openai.AsyncOpenAI) -> None:
    """A content given as a list of parts counts like a string."""
    parts: Any = [{"role": "user", "content": [{"type": "text", "text": "hello wo"}, {"type": "text", "text": "rld"}]}]

    answer = await client.chat.completions.create(model="quick:1b", messages=parts)

    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 3


async def test_json_can_be_demanded(client: openai.AsyncOpenAI) -> None:
    """By the response format."""
    answer = await client.chat.completions.create(
        model="quick:1b",
        messages=messages("hello"),
        response_format={"type": "json_object"},
    )

    assert (answer.choices[0].message.content or "").startswith('{"simulated"')


async def test_embeddings_come_in_both_encodings(client: openai.AsyncOpenAI, host: Client) -> None:
    """The client asks for base64 by itself and gets the same numbers as without."""
    encoded = await client.embeddings.create(model="embed", input=["a", "b"])
    _status, plain = await host.post("/v1/embeddings", {"model": "embed", "input": ["a", "b"]})

    assert [len(row.embedding) for row in encoded.data] == [8, 8]
    for row, other in zip(encoded.data, plain["data"], strict=True):
        assert row.embedding == pytest.approx(other["embedding"], abs=1e-6)
    assert plain["usage"] == {"prompt_tokens": 2, "total_tokens": 2}


@pytest.mark.parametrize(
    ("body", "status", "error_type", "message"),
    [
        ({"model": "none", "messages": messages("x")}, 404, "not_found_error", "model 'none' not found"),
        ({"model": "quick:1b", "messages": []}, 400, "invalid_request_error", "[] is too short - 'messages'"),
        (
            {"model": "plain", "messages": messages("x"), "tools": [TOOL]},
            400,
            "invalid_request_error",
            "registry.ollama.ai/library/plain:latest does not support tools",
        ),
        (
            {"model": "embed", "messages": messages("x")},
            400,
            "invalid_request_error",
            '"embed" does not support chat',
        ),
    ],
)
async def test_errors_have_ollamas_compatible_shape(
    host: Client, body: dict[str, object], status: int, error_type: str, message: str
) -> None:
    """A message and a type, never a code."""
    got = await host.post("/v1/chat/completions", body)

    error = {"message": message, "type": error_type, "param": None, "code": None}
    assert got == (status, {"error": error})


async def test_it_reloads_a_model_that_was_loaded_with_another_context(
    client: openai.AsyncOpenAI, host: Client
) -> None:
    """The protocol cannot name a context, so the default applies: a trap of mixing the two faces."""
    await host.post("/api/generate", {"model": "quick:1b", "options": {"num_ctx": 8192}})
    await client.chat.completions.create(model="quick:1b", messages=messages("x"))

    _status, ps = await host.get("/api/ps")
    assert [model["context_length"] for model in ps["models"]] == [4096]
    assert (await host.state())["host"]["counters"]["swaps"] == 1
