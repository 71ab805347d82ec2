"""Ollama's own ways: residents, windows, loading, unloading, and prompts it would cut."""

import asyncio
import json
from collections.abc import AsyncIterator

import msgspec
import pytest
from aiohttp import web

from ostler.domain.calls import CallError, Completion, ModelCall
from ostler.domain.fleet import ProbeStatus, Resident
from ostler.domain.states import FailureClass
from ostler.fleet.drivers import DriverSet
from ostler.fleet.ollama import SHOWS_PER_PROBE, OllamaReader
from tests.fleet.conftest import PLENTY
from tests.fleet.fakes import CALL, FakeServer, OllamaWire, Script, WallClock, serving

WIRE = OllamaWire()
LOADED = {
    "name": "small:1b",
    "model": "small:1b",
    "size": 1_900_000_000,
    "size_vram": 1_500_000_000,
    "digest": "aa11",
    "expires_at": "2026-10-14T17:51:40Z",
    "context_length": 4096,
}


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    """An Ollama with two models, of which it shows one window."""
    fake = WIRE.server()
    fake.routes["/api/version"] = {"version": "0.40.2"}
    fake.routes["/api/ps"] = {"models": [LOADED]}
    fake.routes["/api/show"] = {"model_info": {"general.architecture": "qwen2", "qwen2.context_length": 32_768}}
    async with serving(fake) as running:
        yield running


async def run(drivers: DriverSet, server: FakeServer, call: ModelCall = CALL) -> Completion:
    last = [item async for item in drivers.chat(WIRE.spec(server), call)][-1]
    assert isinstance(last, Completion)
    return last


async def test_a_probe_brings_residents_windows_and_version(server: FakeServer, drivers: DriverSet) -> None:
    """The size of the context a model runs with belongs to the resident, the trained window to the model."""
    probe = await drivers.probe(WIRE.spec(server))

    assert probe.version == "0.40.2"
    assert probe.residents == (
        Resident(model="small:1b", context_tokens=4096, size_bytes=1_900_000_000, vram_bytes=1_500_000_000),
    )
    assert probe.context_tokens == {"small:1b": 32_768, "big": 32_768}
    assert set(probe.versions) == {"small:1b", "big"}, "by the digest of the weights"


async def test_windows_are_looked_up_once(server: FakeServer, drivers: DriverSet) -> None:
    """A digest names weights, so the next probes are cheap; a model without a window is not asked again either."""
    server.routes["/api/show"] = {"model_info": {}}
    for _ in range(3):
        probe = await drivers.probe(WIRE.spec(server))

    assert len(server.bodies("/api/show")) == 2
    assert probe.context_tokens == {}


async def test_many_new_models_are_learned_over_several_probes(server: FakeServer, drivers: DriverSet) -> None:
    """One probe of a host with hundreds of models stays one probe."""
    count = SHOWS_PER_PROBE + 3
    server.routes["/api/tags"] = {"models": [{"name": f"m{i}", "digest": f"d{i}"} for i in range(count)]}

    first = await drivers.probe(WIRE.spec(server))
    second = await drivers.probe(WIRE.spec(server))

    assert (len(first.context_tokens), len(second.context_tokens)) == (SHOWS_PER_PROBE, count)
    assert len(first.models) == count


async def test_slow_details_do_not_fail_the_probe(server: FakeServer) -> None:
    """What can be used now matters more than windows."""

    async def hang(_request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    del server.routes["/api/show"]
    server.handlers["/api/show"] = hang
    drivers = DriverSet({"TEST_KEY": "k"}, WallClock(), msgspec.structs.replace(PLENTY, probe_timeout_ms=1_000))

    probe = await drivers.probe(WIRE.spec(server))

    assert probe.status is ProbeStatus.AVAILABLE
    assert probe.residents is not None
    assert probe.context_tokens == {}
    await drivers.close()


async def test_an_old_server_without_ps_does_not_say_what_is_loaded(server: FakeServer, drivers: DriverSet) -> None:
    """Unknown is not the same as nothing."""
    del server.routes["/api/ps"]
    assert (await drivers.probe(WIRE.spec(server))).residents is None

    server.routes["/api/ps"] = {"models": None}
    assert (await drivers.probe(WIRE.spec(server))).residents == ()


async def test_cloud_models_are_not_offered_as_local(server: FakeServer, drivers: DriverSet) -> None:
    """A model that runs elsewhere would break the promise that data stays here; as a cloud endpoint it is fine."""
    cloud = {"name": "huge:cloud", "digest": "cc", "remote_model": "huge", "remote_host": "https://ollama.com:443"}
    server.routes["/api/tags"] = {"models": [*OllamaWire.listing["models"], cloud]}

    local = await drivers.probe(WIRE.spec(server))
    remote = await drivers.probe(WIRE.spec(server, local=False))

    assert local.models == ("small:1b", "big")
    assert "cloud" in local.message
    assert "huge:cloud" in remote.models


async def test_calls_forbid_cutting_the_prompt(server: FakeServer, drivers: DriverSet) -> None:
    """And ask for a context size only when one was asked for: another size reloads the model."""
    server.script = Script(WIRE.good("Hi"))
    await run(drivers, server)
    await run(
        drivers,
        server,
        msgspec.structs.replace(
            CALL,
            context_tokens=8192,
            temperature=0.5,
            keep_alive_s=60,
            options={"top_k": 5, "think": False, "num_predict": 7},
        ),
    )

    plain, rich = server.bodies("/api/chat")
    assert (plain["truncate"], plain["shift"], plain["stream"]) == (False, False, True)
    assert plain["options"] == {"num_predict": 64}
    assert "keep_alive" not in plain
    assert plain["messages"][0] == {"role": "system", "content": "Be brief."}
    assert rich["options"] == {"num_predict": 7, "temperature": 0.5, "num_ctx": 8192, "top_k": 5}
    assert (rich["keep_alive"], rich["think"]) == (60, False)


async def test_durations_become_milliseconds(server: FakeServer, drivers: DriverSet) -> None:
    """They are nanoseconds on the wire."""
    server.script = Script(WIRE.good("Hi"))

    usage = (await run(drivers, server)).usage

    assert (usage.load_ms, usage.prefill_ms, usage.decode_ms) == (400, 200, 300)


async def test_a_prompt_that_an_old_server_cut_is_refused(server: FakeServer, drivers: DriverSet) -> None:
    """A prompt counted at the whole window was cut to it, and the answer is to another question."""
    server.script = Script([WIRE.text("Hi"), *WIRE.finish(tokens=(512, 3))])

    with pytest.raises(CallError) as caught:
        await run(drivers, server, msgspec.structs.replace(CALL, context_tokens=512))

    assert (caught.value.kind, caught.value.emitted) == (FailureClass.CONTEXT_TOO_LONG, True)


async def test_counts_the_server_leaves_out_are_estimated(server: FakeServer, drivers: DriverSet) -> None:
    """A prompt that was wholly in the cache is not counted by older servers."""
    server.script = Script([WIRE.text("Hi"), WIRE.line(done=True)])

    completion = await run(drivers, server)

    assert completion.usage.estimated
    assert completion.usage.input_tokens == 8  # 32 characters
    assert completion.finish_reason == "stop"


async def test_loading_waits_and_tells_what_was_loaded(server: FakeServer, drivers: DriverSet) -> None:
    """With the size the server gave it, which may be another than was asked for."""
    server.routes["/api/generate"] = {"model": "small:1b", "response": "", "done": True, "done_reason": "load"}

    resident = await drivers.load(WIRE.spec(server), "small:1b", 4096)

    assert resident is not None
    assert (resident.model, resident.context_tokens, resident.size_bytes) == ("small:1b", 4096, 1_900_000_000)
    assert server.bodies("/api/generate") == [
        {"model": "small:1b", "prompt": "", "stream": False, "keep_alive": 1800, "options": {"num_ctx": 4096}}
    ]


async def test_loading_without_a_size_asks_for_none(server: FakeServer, drivers: DriverSet) -> None:
    """The server's own default stays in force, and the latest tag is the same model."""
    server.routes["/api/generate"] = {"done": True}

    resident = await drivers.load(WIRE.spec(server), "big:latest")

    assert resident == Resident(model="big")
    assert "options" not in server.bodies("/api/generate")[0]


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (404, "model 'x' not found", FailureClass.MODEL_MISSING),
        (500, "model requires more system memory (7 GiB) than is available (5 GiB)", FailureClass.OUT_OF_MEMORY),
    ],
)
async def test_a_load_that_fails_says_why(
    server: FakeServer, drivers: DriverSet, status: int, text: str, kind: FailureClass
) -> None:
    """No memory and no such model need different remedies."""
    server.routes["/api/generate"] = web.Response(status=status, text=json.dumps({"error": text}))

    with pytest.raises(CallError) as caught:
        await drivers.load(WIRE.spec(server), "x")

    assert caught.value.kind is kind


async def test_a_load_that_takes_too_long_is_given_up(server: FakeServer) -> None:
    """And says how long was waited."""

    async def hang(_request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    server.handlers["/api/generate"] = hang
    drivers = DriverSet({"TEST_KEY": "k"}, WallClock(), msgspec.structs.replace(PLENTY, load_timeout_ms=100))

    with pytest.raises(CallError, match=r"small:1b was not loaded within 0\.1 s") as caught:
        await drivers.load(WIRE.spec(server), "small:1b")

    assert caught.value.kind is FailureClass.TIMEOUT
    await drivers.close()


async def test_unloading_returns_when_the_memory_is_free(server: FakeServer, drivers: DriverSet) -> None:
    """The server answers at once and unloads later; the time it takes is part of the swap."""
    server.routes["/api/generate"] = {"done": True, "done_reason": "unload"}
    left = [{"models": [LOADED]}, {"models": [LOADED]}, {"models": []}]

    async def ps(_request: web.Request) -> web.StreamResponse:
        return web.json_response(left.pop(0))

    server.handlers["/api/ps"] = ps

    assert await drivers.unload(WIRE.spec(server), "small:1b") is True
    assert left == []
    assert server.bodies("/api/generate") == [{"model": "small:1b", "keep_alive": 0, "stream": False}]


async def test_a_model_in_use_does_not_unload_for_ever(server: FakeServer) -> None:
    """The wait is bounded, and the failure says what may be the matter."""
    server.routes["/api/generate"] = {"done": True}
    drivers = DriverSet({"TEST_KEY": "k"}, WallClock(), msgspec.structs.replace(PLENTY, unload_timeout_ms=150))

    with pytest.raises(CallError, match="is it in use") as caught:
        await drivers.unload(WIRE.spec(server), "small:1b")

    assert caught.value.kind is FailureClass.TIMEOUT
    await drivers.close()


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/api/"])
async def test_the_address_may_carry_the_path_of_another_protocol(
    server: FakeServer, drivers: DriverSet, suffix: str
) -> None:
    """People copy the address from somewhere."""
    probe = await drivers.probe(WIRE.spec(server, url=server.url + suffix))

    assert probe.status is ProbeStatus.AVAILABLE


async def test_a_local_server_needs_no_key(server: FakeServer) -> None:
    """And gets none."""
    drivers = DriverSet({}, WallClock(), PLENTY)

    probe = await drivers.probe(WIRE.spec(server, api_key_env=None))

    assert probe.status is ProbeStatus.AVAILABLE
    assert all("Authorization" not in seen.headers for seen in server.seen)
    await drivers.close()


async def test_a_server_that_wants_a_key_when_none_is_configured(server: FakeServer) -> None:
    """The message says what to set."""
    server.routes["/api/tags"] = web.Response(status=401, text='{"error": "unauthorized"}')
    drivers = DriverSet({}, WallClock(), PLENTY)

    probe = await drivers.probe(WIRE.spec(server, api_key_env=None))

    assert probe.status is ProbeStatus.KEY_INVALID
    assert "api_key_env" in probe.message
    await drivers.close()


def test_what_follows_the_end_marker_is_ignored() -> None:
    """One answer ends once."""
    reader = OllamaReader(CALL)
    chunk = WIRE.text("a") + WIRE.finish()[0] + WIRE.text("b")

    assert [delta.text for delta in reader.feed(chunk)] == ["a"]
    assert reader.done


def test_an_answer_that_asks_for_a_tool_says_so() -> None:
    """A call for a tool ends with `stop` here; that the caller will be back is read from the message."""
    calls = [{"function": {"name": "read", "arguments": {"path": "a.py"}}}]
    reader = OllamaReader(CALL)
    last = {"done": True, "done_reason": "stop", "prompt_eval_count": 9, "eval_count": 3}

    for line in ({"message": {"content": "let me see", "tool_calls": calls}}, last):
        list(reader.feed(json.dumps(line).encode() + b"\n"))

    assert reader.completion(0).finish_reason == "tool_calls"
    assert reader.completion(0).wants_tool
