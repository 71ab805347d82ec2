"""The Messages API: system turns, two-part counts, reasons to stop."""

import json
from collections.abc import AsyncIterator

import msgspec
import pytest

from ostler.domain.calls import CallError, Completion, Message, ModelCall
from ostler.domain.states import FailureClass
from ostler.fleet.anthropic import chat_body
from ostler.fleet.drivers import DriverSet
from tests.fleet.fakes import CALL, KEY, AnthropicWire, FakeServer, Script, serving

WIRE = AnthropicWire()


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    """A Messages server."""
    async with serving(WIRE.server()) as running:
        yield running


async def run(drivers: DriverSet, server: FakeServer, call: ModelCall = CALL) -> Completion:
    last = [item async for item in drivers.chat(WIRE.spec(server), call)][-1]
    assert isinstance(last, Completion)
    return last


async def test_the_request_is_as_the_protocol_wants_it(server: FakeServer, drivers: DriverSet) -> None:
    """Key and version in headers, system text in a field of its own."""
    server.script = Script(WIRE.good("Hi"))

    await run(drivers, server, msgspec.structs.replace(CALL, temperature=0.0))

    (seen,) = server.seen
    assert (seen.headers["x-api-key"], seen.headers["anthropic-version"]) == (KEY, "2023-06-01")
    assert seen.body == {
        "model": "small:1b",
        "system": "Be brief.",
        "messages": [{"role": "user", "content": "Say hello to the horse."}],
        "stream": True,
        "max_tokens": 64,
        "temperature": 0.0,
    }


def test_several_system_turns_are_joined_and_none_is_left_out() -> None:
    """Each is a block of the field, also one that came late."""
    system = [Message(role="system", text=text) for text in ("One.", "Two.")]
    call = ModelCall(model="m", messages=(system[0], Message(role="user", text="x"), system[1]))

    assert chat_body(call)["system"] == [{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}]
    assert "system" not in chat_body(ModelCall(model="m", messages=(Message(role="user", text="x"),)))


async def test_the_whole_prompt_is_counted(server: FakeServer, drivers: DriverSet) -> None:
    """Their input count leaves out what the cache wrote and read; later totals replace earlier ones."""
    delta = WIRE.event(
        "message_delta",
        delta={"stop_reason": "end_turn"},
        usage={"output_tokens": 40, "output_tokens_details": {"thinking_tokens": 30}},
    )
    server.script = Script([*WIRE.begin(), WIRE.text("Hi"), delta, WIRE.event("message_stop")])

    usage = (await run(drivers, server)).usage

    assert (usage.input_tokens, usage.cached_tokens) == (9 + 1 + 2, 2)
    assert (usage.output_tokens, usage.reasoning_tokens, usage.estimated) == (40, 30, False)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("something_new", "stop"),
        ("pause_turn", "pause"),
    ],
)
async def test_reasons_to_stop(server: FakeServer, drivers: DriverSet, said: str, expected: str) -> None:
    """In the words of this project."""
    server.script = Script([*WIRE.begin(), WIRE.text("Hi"), *WIRE.finish(said)])

    assert (await run(drivers, server)).finish_reason == expected


@pytest.mark.parametrize("details", [None, {"type": "refusal", "category": "bio", "explanation": "Not this."}])
async def test_a_refusal_is_a_failure(server: FakeServer, drivers: DriverSet, details: object) -> None:
    """With the explanation when there is one."""
    stop = WIRE.event("message_delta", delta={"stop_reason": "refusal", "stop_details": details}, usage={})
    server.script = Script([*WIRE.begin(), stop, WIRE.event("message_stop")])

    with pytest.raises(CallError) as caught:
        await run(drivers, server)

    assert caught.value.kind is FailureClass.REFUSAL
    assert ("Not this." in caught.value.message) == (details is not None)


async def test_events_not_known_today_are_skipped(server: FakeServer, drivers: DriverSet) -> None:
    """The protocol promises to add some."""
    news = WIRE.event("content_block_weather", delta={"type": "rain", "mm": 3}, index=4)
    tool = WIRE.event("content_block_delta", index=1, delta={"type": "input_json_delta", "partial_json": "{"})
    server.script = Script([*WIRE.begin(), news, tool, WIRE.text("Hi"), *WIRE.finish()])

    assert (await run(drivers, server)).finish_reason == "stop"


async def test_one_page_holds_all_models(server: FakeServer, drivers: DriverSet) -> None:
    """The default page has twenty; windows come with the listing where they are known."""
    probe = await drivers.probe(WIRE.spec(server))

    assert server.seen[0].path == "/v1/models?limit=1000"
    assert probe.context_tokens == {"small:1b": 200_000}
    assert probe.residents is None


async def test_an_overload_is_not_a_server_error(server: FakeServer, drivers: DriverSet) -> None:
    """529 means: come back soon."""
    body = json.dumps({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
    server.script = Script(status=529, headers={"retry-after": "3"}, body=body)

    with pytest.raises(CallError) as caught:
        await run(drivers, server)

    assert (caught.value.kind, caught.value.retry_after_ms) == (FailureClass.OVERLOADED, 3_000)


async def test_windows_of_a_subscription_are_read_from_a_refusal(server: FakeServer, drivers: DriverSet) -> None:
    """Where the reason is that one is used up, that is where it is said."""
    headers = {
        "anthropic-ratelimit-unified-5h-utilization": "1.0",
        "anthropic-ratelimit-unified-5h-reset": "1900000000",
    }
    server.script = Script(status=429, headers=headers, body='{"type":"error","error":{"type":"rate_limit_error"}}')

    with pytest.raises(CallError) as caught:
        await run(drivers, server)

    (window,) = caught.value.allowances
    assert (window.window, window.used_percent, window.resets_ms) == ("5h", 100.0, 1_900_000_000_000)


@pytest.mark.parametrize("suffix", ["", "/", "/v1"])
async def test_the_address_may_carry_the_version(server: FakeServer, drivers: DriverSet, suffix: str) -> None:
    """As some documentations write it."""
    probe = await drivers.probe(WIRE.spec(server, url=server.url + suffix))

    assert probe.models
