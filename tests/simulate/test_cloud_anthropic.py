"""Anthropic's face of a simulated provider, read by the official client."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import anthropic
import msgspec
import pytest

from tests.simulate.support import CLOUD, KEY, Client, cloud_client, messages

TOOL: Any = {"name": "add", "description": "adds", "input_schema": {"type": "object", "properties": {}}}
PATH = "/v1/messages"
BODY: dict[str, Any] = {"model": "claude-tiny", "max_tokens": 100, "messages": messages("hello")}
HEADERS = {"x-api-key": KEY, "anthropic-version": "2023-06-01"}


@pytest.fixture
async def client(cloud: Client) -> AsyncIterator[anthropic.AsyncAnthropic]:
    """The official client, without its retries."""
    async with anthropic.AsyncAnthropic(base_url=cloud.url, api_key=KEY, max_retries=0) as client:
        yield client


async def events(cloud: Client, body: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Names and data of a stream, which are checked to agree."""
    async with cloud.session.post(cloud.url + PATH, json={**body, "stream": True}, headers=HEADERS) as response:
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        frames = (await response.text()).removesuffix("\n\n").split("\n\n")
    pairs = []
    for frame in frames:
        name, data = frame.split("\n")
        content = msgspec.json.decode(data.removeprefix("data: "))
        assert name == f"event: {content['type']}"
        pairs.append((content["type"], content))
    return pairs


async def test_a_whole_answer(client: anthropic.AsyncAnthropic) -> None:
    """A text block, a stop reason and usage."""
    answer = await client.messages.create(**BODY)

    (block,) = answer.content
    assert block.type == "text"
    assert block.text.startswith("[simulated claude-tiny] ")
    assert (answer.type, answer.role, answer.stop_reason, answer.stop_sequence) == (
        "message",
        "assistant",
        "end_turn",
        None,
    )
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (2, 10)
    assert answer.id.startswith("msg_")


async def test_a_stream_is_the_same_answer(client: anthropic.AsyncAnthropic) -> None:
    """Put together by the client's own accumulator."""
    whole = await client.messages.create(**BODY)

    async with client.messages.stream(**BODY) as stream:
        final = await stream.get_final_message()

    assert [block.to_dict() for block in final.content] == [block.to_dict() for block in whole.content]
    assert (final.stop_reason, final.usage.output_tokens) == ("end_turn", 10)
    assert final.usage.input_tokens == 2


async def test_a_stream_is_exact_to_the_letter(cloud: Client) -> None:
    """From `message_start` to `message_stop`, with one ping and blocks that are opened and closed."""
    got = await events(cloud, {**BODY, "max_tokens": 3})

    assert [name for name, _content in got] == [
        "message_start",
        "content_block_start",
        "ping",
        *["content_block_delta"] * 3,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    start = got[0][1]["message"]
    assert (start["content"], start["stop_reason"], start["usage"]["output_tokens"]) == ([], None, 1)
    assert got[1][1] == {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    assert got[3][1] == {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "text_delta", "text": "[sim"},
    }
    assert got[-2][1]["delta"] == {"stop_reason": "max_tokens", "stop_sequence": None}
    assert got[-2][1]["usage"]["output_tokens"] == 3


async def test_tools_are_blocks_with_indices(client: anthropic.AsyncAnthropic, cloud: Client) -> None:
    """The input starts empty and comes as fragments of JSON; the client puts it together."""
    asked = {**BODY, "messages": messages('[tool:add {"numbers": [1, 2]}][tool:nop]'), "tools": [TOOL]}
    whole = await client.messages.create(**asked)
    async with client.messages.stream(**asked) as stream:
        final = await stream.get_final_message()

    got = await events(cloud, asked)

    used: Any = whole.content
    assert [(block.type, block.name, block.input) for block in used] == [
        ("tool_use", "add", {"numbers": [1, 2]}),
        ("tool_use", "nop", {}),
    ]
    assert whole.stop_reason == "tool_use"
    assert [block.to_dict() for block in final.content] == [block.to_dict() for block in whole.content]
    starts = [content for name, content in got if name == "content_block_start"]
    assert [(start["index"], start["content_block"]["input"]) for start in starts] == [(0, {}), (1, {})]
    assert [content["index"] for name, content in got if name == "content_block_stop"] == [0, 1]
    fragments = [content["delta"]["partial_json"] for name, content in got if name == "content_block_delta"]
    assert "".join(fragments) == '{"numbers":[1,2]}{}'


async def test_after_a_tools_result_comes_text(client: anthropic.AsyncAnthropic) -> None:
    """The result is a message of the user, but not the one with the marker."""
    history: Any = [
        *messages("[tool:add {}]"),
        {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "add", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "42"}]},
    ]

    answer = await client.messages.create(**{**BODY, "messages": history, "tools": [TOOL]})

    assert answer.stop_reason == "end_turn"


async def test_a_stop_sequence_is_named(client: anthropic.AsyncAnthropic) -> None:
    """And is not part of the text."""
    answer: Any = await client.messages.create(**BODY, stop_sequences=["claude"])

    assert (answer.stop_reason, answer.stop_sequence) == ("stop_sequence", "claude")
    assert answer.content[0].text == "[simulated "


async def test_tokens_can_be_counted_without_an_answer(client: anthropic.AsyncAnthropic) -> None:
    """System prompt and tools count; the number is the one that an answer reports."""
    asked: dict[str, Any] = {**BODY, "system": "be brief", "tools": [TOOL]}
    limit = asked.pop("max_tokens")

    counted = await client.messages.count_tokens(**asked)
    answer = await client.messages.create(**asked, max_tokens=limit)

    assert counted.input_tokens == answer.usage.input_tokens > 4


async def test_a_marked_prefix_is_cached(client: anthropic.AsyncAnthropic) -> None:
    """Written the first time, read after; input tokens are only what is neither."""
    system: Any = [{"type": "text", "text": "rule " * 1000, "cache_control": {"type": "ephemeral"}}]

    usages = [(await client.messages.create(**BODY, system=system)).usage for _ in range(2)]

    told = [(u.input_tokens, u.cache_creation_input_tokens, u.cache_read_input_tokens) for u in usages]
    assert told == [(2, 1250, 0), (2, 0, 1250)]
    assert usages[0].cache_creation is not None
    assert usages[0].cache_creation.ephemeral_5m_input_tokens == 1250


async def test_models_are_listed_to_their_own_face(client: anthropic.AsyncAnthropic) -> None:
    """Told apart from the other face by the headers."""
    page = await client.models.list()
    found = await client.models.retrieve("claude-tiny")

    assert [model.id for model in page.data] == ["claude-tiny"]
    assert (page.first_id, page.last_id, page.has_more) == ("claude-tiny", "claude-tiny", False)
    assert (found.display_name, found.max_input_tokens) == ("Simulated claude-tiny", 4000)
    with pytest.raises(anthropic.NotFoundError):
        await client.models.retrieve("gpt-tiny")


@pytest.mark.parametrize(
    ("headers", "status", "error_type", "message"),
    [
        ({**HEADERS, "x-api-key": "sk-bad"}, 401, "authentication_error", "invalid x-api-key"),
        ({"anthropic-version": "2023-06-01"}, 401, "authentication_error", "x-api-key header is required"),
        ({"Authorization": "Bearer sk-bad"}, 401, "authentication_error", "Invalid bearer token"),
        ({"Authorization": f"Bearer {KEY}"}, 400, "invalid_request_error", "anthropic-version: header is required"),
    ],
)
async def test_a_wrong_key_is_told_in_anthropics_words(
    cloud: Client, headers: dict[str, str], status: int, error_type: str, message: str
) -> None:
    """With a request id in the body, and told apart by the header it came in."""
    got, content = await cloud.post(PATH, BODY, **headers)

    assert got == status
    assert content["error"] == {"type": error_type, "message": message}
    assert (content["type"], content["request_id"][:4]) == ("error", "req_")


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ({"model": "none"}, 404, "model: none"),
        ({"max_tokens": None}, 400, "max_tokens: Field required"),
        ({"model": ""}, 400, "model: Field required"),
        ({"messages": []}, 400, "messages: at least one message is required"),
        ({"messages": messages("x" * 16_004)}, 400, "prompt is too long: 4001 tokens > 4000 maximum"),
        (
            {"max_tokens": 501},
            400,
            "max_tokens: 501 > 500, which is the maximum allowed number of output tokens for claude-tiny",
        ),
    ],
)
async def test_mistakes_have_anthropics_shape(
    cloud: Client, change: dict[str, object], status: int, message: str
) -> None:
    """A type for each status."""
    got, content = await cloud.post(PATH, {**BODY, **change}, **HEADERS)

    assert (got, content["error"]["message"]) == (status, message)
    assert content["error"]["type"] == {404: "not_found_error", 400: "invalid_request_error"}[status]


async def test_requests_per_minute_are_limited_and_told_in_headers() -> None:
    """Resets are points in real time."""
    async with cloud_client(msgspec.structs.replace(CLOUD, requests_per_minute=1), factor=10) as cloud:
        async with cloud.session.post(cloud.url + PATH, json={**BODY, "max_tokens": 1}, headers=HEADERS) as response:
            assert response.status == 200
            assert response.headers["anthropic-ratelimit-requests-remaining"] == "0"
        async with cloud.session.post(cloud.url + PATH, json=BODY, headers=HEADERS) as response:
            content, headers = await response.json(), response.headers

    assert (response.status, content["error"]["type"]) == (429, "rate_limit_error")
    assert "rate limit of 1 requests per minute" in content["error"]["message"]
    assert headers["anthropic-ratelimit-requests-limit"] == "1"
    assert 1 <= int(headers["retry-after"]) <= 6
    reset = datetime.fromisoformat(headers["anthropic-ratelimit-requests-reset"])
    assert -2 < (reset - datetime.now(UTC)).total_seconds() < 7


@pytest.mark.parametrize(
    ("kind", "status", "error_type"),
    [
        ("overloaded", 529, "overloaded_error"),
        ("rate_limited", 429, "rate_limit_error"),
        ("server_error", 500, "api_error"),
        ("unavailable", 503, "api_error"),
    ],
)
async def test_refusals_are_the_clients_own_errors(
    client: anthropic.AsyncAnthropic, cloud: Client, kind: str, status: int, error_type: str
) -> None:
    """Overload is 529 here."""
    await cloud.strike({"kind": kind, "times": 1})

    with pytest.raises(anthropic.APIStatusError) as caught:
        await client.messages.create(**BODY)

    assert (caught.value.status_code, caught.value.type) == (status, error_type)
    assert (await client.messages.create(**BODY)).content


async def test_a_stream_may_fail_with_an_error_event(client: anthropic.AsyncAnthropic, cloud: Client) -> None:
    """After so many tokens; the client raises it."""
    await cloud.strike({"kind": "stream_error", "after_tokens": 2})
    got: list[str] = []

    async def read() -> None:
        async for event in await client.messages.create(**BODY, stream=True):
            got.append(event.type)  # noqa: PERF401 -- what came before the error counts

    with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
        await read()

    assert got.count("content_block_delta") == 2


async def test_a_stream_without_its_end_has_no_stop_reason(cloud: Client) -> None:
    """It closes properly and yet is not complete."""
    await cloud.strike({"kind": "missing_end"})

    names = [name for name, _content in await events(cloud, BODY)]

    assert names[-1] == "content_block_delta"
    assert names.count("content_block_delta") == 10


@pytest.mark.parametrize("kind", ["cut_stream", "malformed_chunk"])
async def test_a_broken_stream_is_noticed_by_the_client(
    client: anthropic.AsyncAnthropic, cloud: Client, kind: str
) -> None:
    """Cut, or with a chunk that is no JSON."""
    await cloud.strike({"kind": kind, "after_tokens": 2})

    with pytest.raises(Exception) as caught:  # noqa: PT011 -- transport or JSON error, as the client pleases
        async for _event in await client.messages.create(**BODY, stream=True):
            pass

    assert not isinstance(caught.value, AssertionError)
