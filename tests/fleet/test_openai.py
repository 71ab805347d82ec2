"""How OpenAI-compatible servers differ, and what the driver makes of it."""

import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from ostler.domain.calls import CallError, Completion, Delta, ModelCall
from ostler.domain.fleet import Resident
from ostler.domain.states import FailureClass
from ostler.fleet.drivers import DriverSet
from ostler.fleet.openai import chat_body, versioned
from tests.fleet.fakes import CALL, FakeServer, OpenAIWire, Script, serving, sse

WIRE = OpenAIWire()
PATH = WIRE.chat_path


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    """An OpenAI-compatible server."""
    async with serving(WIRE.server()) as running:
        yield running


async def run(drivers: DriverSet, server: FakeServer, call: ModelCall = CALL) -> tuple[str, Completion]:
    items = [item async for item in drivers.chat(WIRE.spec(server), call)]
    last = items[-1]
    assert isinstance(last, Completion)
    return "".join(item.text for item in items if isinstance(item, Delta)), last


def refusal(message: str, status: int = 400) -> Script:
    return Script(status=status, body=json.dumps({"error": {"message": message, "type": "invalid_request_error"}}))


async def test_a_call_asks_for_usage(server: FakeServer, drivers: DriverSet) -> None:
    """Counts in a stream come only on request."""
    server.script = Script(WIRE.good("Hi"))

    await run(drivers, server, msgspec.structs.replace(CALL, temperature=0.2, options={"top_p": 0.9}))

    assert server.bodies(PATH) == [
        {
            "model": "small:1b",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Say hello to the horse."},
            ],
            "stream": True,
            "max_tokens": 64,
            "stream_options": {"include_usage": True},
            "temperature": 0.2,
            "top_p": 0.9,
        }
    ]


@pytest.mark.parametrize(
    "refused",
    [
        refusal("Unrecognized request argument supplied: stream_options"),
        Script(
            status=422,
            body=json.dumps(
                {
                    "detail": [
                        {"type": "extra_forbidden", "loc": ["body", "stream_options", "include_usage"], "msg": "x"}
                    ]
                }
            ),
        ),
    ],
)
async def test_a_server_without_stream_options_is_asked_again_without(
    server: FakeServer, drivers: DriverSet, refused: Script
) -> None:
    """Once; from then on it is asked in the form it takes."""
    server.scripts = [refused]
    server.script = Script([*WIRE.begin(), WIRE.text("Hi"), WIRE.chunk({}, "stop"), sse("[DONE]")])

    first, _ = await run(drivers, server)
    await run(drivers, server)

    assert first == "Hi"
    assert ["stream_options" in body for body in server.bodies(PATH)] == [True, False, False]


async def test_a_model_that_wants_the_newer_limit_gets_it(server: FakeServer, drivers: DriverSet) -> None:
    """Newer models refuse `max_tokens` and name its successor."""
    server.scripts = [refusal("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")]
    server.script = Script(WIRE.good("Hi"))

    await run(drivers, server)

    assert [body.get("max_completion_tokens") for body in server.bodies(PATH)] == [None, 64]
    assert "max_tokens" not in server.bodies(PATH)[1]


async def test_a_refusal_that_stays_is_reported(server: FakeServer, drivers: DriverSet) -> None:
    """Adapting ends: the same complaint twice is a failure."""
    server.script = refusal("stream_options and max_completion_tokens, everything is wrong")

    with pytest.raises(CallError, match="everything is wrong") as caught:
        await run(drivers, server)

    assert caught.value.kind is FailureClass.CAPABILITY
    assert len(server.bodies(PATH)) == 2


async def test_a_stream_without_counts_is_counted_and_marked(server: FakeServer, drivers: DriverSet) -> None:
    """The Python server of llama.cpp reports none when it streams."""
    server.script = Script([*WIRE.begin(), *[WIRE.text("ab")] * 7, WIRE.chunk({}, "stop"), sse("[DONE]")])

    _, completion = await run(drivers, server)

    assert completion.usage.estimated
    assert completion.usage.output_tokens == 7  # pieces, as they say more than 14 characters do
    assert completion.usage.input_tokens == 8  # 32 characters


async def test_details_of_usage_are_taken_over(server: FakeServer, drivers: DriverSet) -> None:
    """Cached and reasoning tokens are parts of the totals; llama.cpp adds its own timing."""
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "prompt_tokens_details": {"cached_tokens": 80},
        "completion_tokens_details": {"reasoning_tokens": 30},
    }
    timings = {"prompt_n": 20, "prompt_ms": 30.9, "predicted_n": 50, "predicted_ms": 661.4}
    last = WIRE.chunk({}, "stop", usage=usage, timings=timings)
    server.script = Script([*WIRE.begin(), WIRE.text("Hi"), last, sse("[DONE]")])

    _, completion = await run(drivers, server)
    counted = completion.usage

    assert (counted.input_tokens, counted.cached_tokens) == (100, 80)
    assert (counted.output_tokens, counted.reasoning_tokens) == (50, 30)
    assert (counted.prefill_ms, counted.decode_ms) == (31, 661)
    assert not counted.estimated


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
async def test_thinking_has_two_names(server: FakeServer, drivers: DriverSet, field: str) -> None:
    """DeepSeek, vLLM and llama.cpp say one, OpenRouter and newer vLLM the other."""
    server.script = Script([WIRE.chunk({field: "hm"}), WIRE.text("Hi"), *WIRE.finish()])

    items = [item async for item in drivers.chat(WIRE.spec(server), CALL)]

    assert items[0] == Delta(reasoning="hm")


@pytest.mark.parametrize(
    "frames",
    [
        [WIRE.text("I c"), WIRE.chunk({}, "content_filter")],
        [WIRE.chunk({"refusal": "I cannot "}), WIRE.chunk({"refusal": "do that."}), WIRE.chunk({}, "stop")],
    ],
)
async def test_refused_content_is_a_refusal(server: FakeServer, drivers: DriverSet, frames: list[bytes]) -> None:
    """It must not look like a short answer, and nothing may route around it."""
    server.script = Script([*frames, sse("[DONE]")])

    with pytest.raises(CallError) as caught:
        await run(drivers, server)

    assert caught.value.kind is FailureClass.REFUSAL


async def test_a_finish_reason_is_no_end_marker(server: FakeServer, drivers: DriverSet) -> None:
    """The counts and the marker that should follow are missing: the stream was cut."""
    server.script = Script([*WIRE.begin(), WIRE.text("Hi"), WIRE.chunk({}, "stop")])

    with pytest.raises(CallError) as caught:
        await run(drivers, server)

    assert caught.value.kind is FailureClass.CUT


async def test_other_finish_reasons_are_handed_on(server: FakeServer, drivers: DriverSet) -> None:
    """Except for old spellings of known ones."""
    for said, expected in [("tool_calls", "tool_calls"), ("function_call", "tool_calls"), ("eos", "stop")]:
        server.script = Script([WIRE.text("Hi"), WIRE.chunk({}, said), sse("[DONE]")])

        assert (await run(drivers, server))[1].finish_reason == expected


@pytest.mark.parametrize(
    ("card", "window"),
    [
        ({"max_model_len": 131_072}, 131_072),
        ({"context_length": 64_000}, 64_000),
        ({"context_window": 32_768}, 32_768),
        ({"max_context_length": 16_384}, 16_384),
        ({"meta": {"n_ctx": 4096, "n_ctx_train": 131_072}}, 4096),
        ({"meta": {"n_ctx_train": 131_072}}, 131_072),
        ({"meta": {"n_ctx": "many"}}, None),
        ({}, None),
    ],
)
async def test_the_window_has_many_names(
    server: FakeServer, drivers: DriverSet, card: dict[str, Any], window: int | None
) -> None:
    """vLLM, OpenRouter, Groq, Mistral and llama.cpp each have their own; most servers have none."""
    server.routes["/v1/models"] = {"object": "list", "data": [{"id": "m", "object": "model", **card}]}

    probe = await drivers.probe(WIRE.spec(server))

    assert probe.context_tokens == ({} if window is None else {"m": window})
    assert probe.residents is None


async def test_a_llama_cpp_router_says_what_is_loaded(server: FakeServer, drivers: DriverSet) -> None:
    """The only server of this kind that does."""
    server.routes["/v1/models"] = {
        "data": [
            {"id": "a", "status": {"value": "loaded"}, "meta": {"n_ctx": 2048}},
            {"id": "b", "status": {"value": "unloaded"}},
        ]
    }

    probe = await drivers.probe(WIRE.spec(server))

    assert probe.models == ("a", "b")
    assert probe.residents == (Resident(model="a", context_tokens=2048),)


async def test_it_cannot_load_or_unload(server: FakeServer, drivers: DriverSet) -> None:
    """And says so instead of pretending."""
    spec = WIRE.spec(server)

    assert await drivers.load(spec, "small:1b") is None
    assert await drivers.unload(spec, "small:1b") is False
    assert server.seen == []


def test_openai_itself_gets_the_newer_limit_at_once(drivers: DriverSet) -> None:
    """All its models take it, so the first call need not be refused."""
    spec = WIRE.spec(FakeServer(PATH), url="https://api.openai.com", local=False)

    exchange = drivers.of(spec.kind)._exchange(spec, CALL)

    assert exchange.request.url == "https://api.openai.com/v1/chat/completions"
    assert exchange.request.body is not None
    assert json.loads(exchange.request.body)["max_completion_tokens"] == 64


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/v1"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/v1"),
        ("http://127.0.0.1:8080/v1/", "http://127.0.0.1:8080/v1"),
        ("https://api.groq.com/openai/v1", "https://api.groq.com/openai/v1"),
        ("https://openrouter.ai/api", "https://openrouter.ai/api/v1"),
        ("https://x.googleapis.com/v1beta/openai/", "https://x.googleapis.com/v1beta/openai"),
        ("https://v1.example.com", "https://v1.example.com/v1"),
    ],
)
def test_the_version_segment_may_be_left_out(url: str, expected: str) -> None:
    """Every documentation writes the address another way."""
    assert versioned(url) == expected


def test_options_of_a_call_win() -> None:
    """They are what the user wrote."""
    body = chat_body(msgspec.structs.replace(CALL, options={"max_tokens": 5}), frozenset({"stream_options"}))

    assert body["max_tokens"] == 5
    assert "stream_options" not in body
