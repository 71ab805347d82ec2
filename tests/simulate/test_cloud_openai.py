"""OpenAI's face of a simulated provider, read by the official client."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import openai
import pytest
from openai.types.chat import ChatCompletionChunk

from tests.simulate.support import CLOUD, KEY, Client, cloud_client, messages

TOOL: Any = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}
PATH = "/v1/chat/completions"
BODY: dict[str, Any] = {"model": "gpt-tiny", "messages": messages("hello")}
WRONG_KEY = (
    "Incorrect API key provided: sk-wrong***********6789. "
    "You can find your API key at https://platform.openai.com/account/api-keys."
)
BEARER = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture
async def client(cloud: Client) -> AsyncIterator[openai.AsyncOpenAI]:
    """The official client, without its retries."""
    async with openai.AsyncOpenAI(base_url=cloud.url + "/v1", api_key=KEY, max_retries=0) as client:
        yield client


async def chunks(client: openai.AsyncOpenAI, **settings: object) -> list[ChatCompletionChunk]:
    stream = await client.chat.completions.create(**{**BODY, **settings}, stream=True)
    return [chunk async for chunk in stream]


async def test_a_whole_answer_and_its_price(client: openai.AsyncOpenAI, cloud: Client) -> None:
    """Usage with its details; the price shows in the report only."""
    answer = await client.chat.completions.create(**BODY)

    (choice,) = answer.choices
    assert (choice.message.content or "").startswith("[simulated gpt-tiny] ")
    assert (choice.finish_reason, answer.service_tier) == ("stop", "default")
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (2, 10)
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.cached_tokens == 0
    assert answer.usage.completion_tokens_details is not None
    assert answer.usage.completion_tokens_details.reasoning_tokens == 0
    state = await cloud.state()
    assert (state["counters"]["cost_micro_usd"], state["under_way"]) == (22, 0)


async def test_a_stream_is_the_same_answer(client: openai.AsyncOpenAI) -> None:
    """The role in a chunk of its own, then text, then the finish reason, then usage where asked for."""
    whole = await client.chat.completions.create(**BODY)

    plain = await chunks(client)
    *got, last = await chunks(client, stream_options={"include_usage": True})

    deltas = [chunk.choices[0].delta for chunk in got]
    assert [delta.role for delta in deltas] == ["assistant"] + [None] * 11
    assert "".join(delta.content or "" for delta in deltas) == whole.choices[0].message.content
    assert got[-1].choices[0].finish_reason == "stop"
    assert (last.choices, last.usage) == ([], whole.usage)
    assert len(plain) == len(got)


async def test_a_stream_is_exact_to_the_letter(cloud: Client) -> None:
    """Every chunk before the last carries a null usage; `[DONE]` ends it."""
    body = {**BODY, "stream": True, "stream_options": {"include_usage": True}}
    async with cloud.session.post(cloud.url + PATH, json=body, headers=BEARER) as response:
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert response.headers["x-request-id"].startswith("req_")
        *events, done, empty = (await response.text()).split("\n\n")

    assert (done, empty) == ("data: [DONE]", "")
    frames: list[dict[str, Any]] = [msgspec.json.decode(event.removeprefix("data: ")) for event in events]
    assert [frame["usage"] is None for frame in frames] == [True] * 12 + [False]
    assert frames[0]["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert frames[-2]["choices"][0]["delta"] == {}


async def test_tool_arguments_come_in_fragments(client: openai.AsyncOpenAI) -> None:
    """Id and name once; put together the fragments are the arguments of the whole answer."""
    asked: dict[str, Any] = {"messages": messages('[tool:add {"numbers": [1, 2, 3]}][tool:nop]'), "tools": [TOOL]}
    whole: Any = await client.chat.completions.create(**{**BODY, **asked})

    got = await chunks(client, **asked)

    arguments, names = {0: "", 1: ""}, {}
    for chunk in got:
        for part in chunk.choices[0].delta.tool_calls or []:
            assert part.function is not None
            arguments[part.index] += part.function.arguments or ""
            if part.id is not None:
                names[part.id] = part.function.name
    assert list(arguments.values()) == ['{"numbers":[1,2,3]}', "{}"]
    assert names == {call.id: call.function.name for call in whole.choices[0].message.tool_calls}
    assert (got[-1].choices[0].finish_reason, whole.choices[0].finish_reason) == ("tool_calls", "tool_calls")
    assert whole.choices[0].message.content is None


async def test_a_repeated_prompt_is_read_from_the_cache(client: openai.AsyncOpenAI, cloud: Client) -> None:
    """From 1,024 tokens on, in steps of 128, and cheaper."""
    long = "word " * 1000

    usages = [
        (await client.chat.completions.create(**{**BODY, "messages": messages(long + end)})).usage
        for end in ("first", "second")
    ]

    cached = [usage.prompt_tokens_details.cached_tokens for usage in usages if usage and usage.prompt_tokens_details]
    assert cached == [0, 1152]
    assert (await cloud.state())["counters"]["cached_tokens"] == 1152


async def test_models_are_listed_to_their_own_face(client: openai.AsyncOpenAI) -> None:
    """The other provider's models are not there."""
    assert [model.id async for model in client.models.list()] == ["gpt-tiny"]
    assert (await client.models.retrieve("gpt-tiny")).owned_by == "simulated"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("claude-tiny")


@pytest.mark.parametrize(
    ("headers", "message", "code"),
    [
        ({}, "Missing bearer authentication in header", None),
        ({"Authorization": "Basic x"}, "Missing bearer authentication in header", None),
        (
            {"Authorization": "Bearer sk-wrong-key-0123456789"},
            WRONG_KEY,
            "invalid_api_key",
        ),
    ],
)
async def test_a_wrong_key_is_told_in_openais_words(
    cloud: Client, headers: dict[str, str], message: str, code: str | None
) -> None:
    """Masked, and told apart from a missing one."""
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}

    assert await cloud.post(PATH, BODY, **headers) == (401, {"error": error})


@pytest.mark.parametrize(
    ("change", "status", "code", "param"),
    [
        ({"model": "none"}, 404, "model_not_found", None),
        ({"model": ""}, 400, None, None),
        ({"messages": []}, 400, "missing_required_parameter", "messages"),
        ({"messages": messages("x" * 16_004)}, 400, "context_length_exceeded", "messages"),
        ({"messages": 3}, 400, None, None),
    ],
)
async def test_mistakes_have_openais_shape(
    cloud: Client, change: dict[str, object], status: int, code: str | None, param: str | None
) -> None:
    """A type, a code and the parameter where there is one."""
    got, content = await cloud.post(PATH, {**BODY, **change}, **BEARER)

    assert got == status
    assert content["error"]["type"] == "invalid_request_error"
    assert (content["error"]["code"], content["error"]["param"]) == (code, param)


async def test_the_official_client_reads_the_errors(cloud: Client) -> None:
    """As its own exceptions, with code and request id."""
    async with openai.AsyncOpenAI(base_url=cloud.url + "/v1", api_key="sk-bad", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError) as caught:
            await client.chat.completions.create(**BODY)

    assert caught.value.code == "invalid_api_key"
    assert (caught.value.request_id or "").startswith("req_")


async def test_requests_per_minute_are_limited_and_told_in_headers() -> None:
    """What is left counts down; the error says when to come again, in real seconds."""
    spec = msgspec.structs.replace(CLOUD, requests_per_minute=2)
    async with cloud_client(spec, factor=1) as cloud:
        left = []
        for _ in range(2):
            async with cloud.session.post(cloud.url + PATH, json={**BODY, "max_tokens": 1}, headers=BEARER) as response:
                assert response.status == 200
                left.append(response.headers["x-ratelimit-remaining-requests"])
        async with cloud.session.post(cloud.url + PATH, json=BODY, headers=BEARER) as response:
            error = (await response.json())["error"]
            headers = response.headers

    assert (response.status, left) == (429, ["1", "0"])
    assert (error["type"], error["code"]) == ("requests", "rate_limit_exceeded")
    assert "on requests per min (RPM): Limit 2, Used 2, Requested 1. Please try again in 2" in error["message"]
    assert headers["x-ratelimit-limit-requests"] == "2"
    assert 20 <= int(headers["retry-after"]) <= 30
    assert 20_000 <= int(headers["retry-after-ms"]) <= 30_000
    assert headers["x-ratelimit-reset-requests"].endswith("s")


async def test_calls_at_once_are_limited() -> None:
    """The place is free again when a client hangs up."""
    async with cloud_client(msgspec.structs.replace(CLOUD, concurrency=1)) as cloud:
        await cloud.strike({"kind": "stall", "times": 1})
        stalled = asyncio.create_task(cloud.post(PATH, BODY, **BEARER))
        await cloud.until(lambda state: state["under_way"] == 1)

        status, content = await cloud.post(PATH, BODY, **BEARER)
        stalled.cancel()
        await cloud.until(lambda state: state["under_way"] == 0)

        assert (status, content["error"]["code"]) == (429, "rate_limit_exceeded")
        assert (await cloud.post(PATH, BODY, **BEARER))[0] == 200


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("rate_limited", openai.RateLimitError),
        ("server_error", openai.InternalServerError),
        ("overloaded", openai.InternalServerError),
        ("unavailable", openai.InternalServerError),
    ],
)
async def test_refusals_are_the_clients_own_errors(
    client: openai.AsyncOpenAI, cloud: Client, kind: str, error: type[openai.APIStatusError]
) -> None:
    """Once, then calls pass again; they say that they are simulated."""
    await cloud.strike({"kind": kind, "times": 1})

    with pytest.raises(error) as caught:
        await client.chat.completions.create(**BODY)

    assert "simulated" in caught.value.message
    assert (await client.chat.completions.create(**BODY)).choices


@pytest.mark.parametrize(
    ("kind", "error"), [("stream_error", openai.APIError), ("cut_stream", openai.APIConnectionError)]
)
async def test_a_stream_may_break(
    client: openai.AsyncOpenAI, cloud: Client, kind: str, error: type[openai.APIError]
) -> None:
    """After so many tokens: with an error event, or cut."""
    await cloud.strike({"kind": kind, "after_tokens": 3})
    got: list[str | None] = []

    async def read() -> None:
        async for chunk in await client.chat.completions.create(**BODY, stream=True):
            got.append(chunk.choices[0].delta.content)  # noqa: PERF401 -- what came before the break counts

    with pytest.raises(error):
        await read()

    assert len([content for content in got if content]) == 3
    assert (await cloud.state())["counters"]["calls_cancelled"] == 1
