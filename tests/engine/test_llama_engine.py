"""The real llama.cpp: what a driver may rely on, and what it must not."""

import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
import pytest_asyncio

from ostler.engines.llama import LlamaServer, ServedModel, TinyShape, find_engine_python, write_tiny_model

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="module")]

# About 84 MB and 168 MB of weights: large enough that loading one and holding one of two can be told from noise.
SHAPES = {"first": TinyShape(layers=8, width=512, seed=1), "second": TinyShape(layers=16, width=512, seed=2)}


class Client:
    """The server with one session to it."""

    def __init__(self, server: LlamaServer, session: aiohttp.ClientSession) -> None:
        self.server = server
        self.session = session

    async def listed(self) -> list[str]:
        async with self.session.get("/v1/models") as response:
            assert response.status == 200
            return [model["id"] for model in (await response.json())["data"]]

    async def chat(self, model: str, **fields: object) -> dict[str, Any]:
        body = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "temperature": 0, "max_tokens": 8}
        async with self.session.post("/v1/chat/completions", json=body | fields) as response:
            answer: dict[str, Any] = await response.json()
            return answer | {"status": response.status}

    async def chat_ms(self, model: str) -> float:
        before = time.perf_counter()
        assert (await self.chat(model, max_tokens=1))["status"] == 200
        return (time.perf_counter() - before) * 1000

    async def stream(self, model: str, **fields: object) -> AsyncIterator[str]:
        body = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "temperature": 0, "stream": True}
        async with self.session.post("/v1/chat/completions", json=body | fields) as response:
            assert response.content_type == "text/event-stream"
            async for line in response.content:
                if line.startswith(b"data: "):
                    yield line.removeprefix(b"data: ").decode().strip()

    def resident_mb(self) -> float:
        assert self.server.pid
        return float(psutil.Process(self.server.pid).memory_info().rss) / 1e6


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def files(engine_python: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The two models, written once by the engine's own interpreter."""
    folder = tmp_path_factory.mktemp("models")
    return {name: await write_tiny_model(engine_python, folder / name, shape) for name, shape in SHAPES.items()}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(
    engine_python: Path, files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Client]:
    """One server for the module: starting it is not what is tested here."""
    models = [ServedModel(alias=name, path=path) for name, path in files.items()]
    async with LlamaServer(engine_python, models, tmp_path_factory.mktemp("server")) as server:
        timeout = aiohttp.ClientTimeout(total=60)
        async with aiohttp.ClientSession(server.base_url, timeout=timeout) as session:
            yield Client(server, session)


async def test_the_interpreter_is_found(engine_python: Path) -> None:
    """The variable names the interpreter, and the engine is seen in it."""
    assert await find_engine_python({"OSTLER_ENGINE_PYTHON": str(engine_python)}) == engine_python


async def test_health_is_a_listing_that_loads_nothing(client: Client) -> None:
    """Every alias is listed, resident or not, and asking does not move memory by a model."""
    await client.chat("first")
    before_mb = client.resident_mb()

    assert await client.listed() == ["first", "second"]
    assert abs(client.resident_mb() - before_mb) < 30


async def test_a_whole_answer_has_usage(client: Client) -> None:
    """A chat that is not streamed names its model and its tokens, which add up."""
    answer = await client.chat("first")

    assert answer["object"] == "chat.completion"
    assert answer["model"] == "first"
    choice = answer["choices"][0]
    assert choice["message"]["role"] == "assistant"
    assert choice["finish_reason"] in {"length", "stop"}
    usage = answer["usage"]
    assert usage["prompt_tokens"] > 0
    assert usage["prompt_tokens"] + usage["completion_tokens"] == usage["total_tokens"]


async def test_a_stream_ends_with_a_reason_and_a_marker(client: Client) -> None:
    """A stream starts with the role, carries text, then the reason in an empty delta, then its end marker."""
    rows = [row async for row in client.stream("first", max_tokens=16)]

    assert rows[-1] == "[DONE]"
    chunks = [json.loads(row)["choices"][0] for row in rows[:-1]]
    assert chunks[0]["delta"] == {"role": "assistant"}
    assert chunks[-1]["delta"] == {}
    assert chunks[-1]["finish_reason"] in {"length", "stop"}
    assert all(chunk["finish_reason"] is None for chunk in chunks[:-1])
    assert "".join(chunk["delta"].get("content", "") for chunk in chunks)


async def test_a_stream_has_no_usage_even_when_asked(client: Client) -> None:
    """`stream_options.include_usage` is ignored: a driver counts the chunks and marks the number as estimated."""
    asked = [row async for row in client.stream("first", max_tokens=16, stream_options={"include_usage": True})]

    assert not any(json.loads(row).get("usage") for row in asked[:-1])
    chunks = sum("content" in json.loads(row)["choices"][0]["delta"] for row in asked[:-1])
    whole = (await client.chat("first", max_tokens=16))["usage"]["completion_tokens"]
    assert chunks == pytest.approx(whole, abs=4), "one chunk is about one token"


async def test_a_second_alias_swaps(client: Client, record_property: Callable[[str, object], None]) -> None:
    """A call for the other model unloads the first: it takes longer than a warm call, and memory holds one, not two."""
    await client.chat("first")
    await client.chat("second")
    swaps_ms, warm_ms, resident_mb = [], [], {}
    for name in ("first", "second") * 3:
        swaps_ms.append(await client.chat_ms(name))
        warm_ms.append(min([await client.chat_ms(name) for _ in range(3)]))
        resident_mb[name] = client.resident_mb()

    record_property("swap_ms", round(min(swaps_ms), 1))
    record_property("warm_ms", round(min(warm_ms), 1))
    print(f"swap {min(swaps_ms):.1f} ms, warm {min(warm_ms):.1f} ms, resident {resident_mb}")  # noqa: T201 - the measure
    assert min(swaps_ms) > 2 * min(warm_ms)
    # Were both in memory, neither state would be larger than the other.
    assert resident_mb["second"] - resident_mb["first"] == pytest.approx(84, rel=0.5)


async def test_an_unknown_model_is_answered_by_the_first(client: Client) -> None:
    """A name that is not listed is answered by the first model, under the name asked: a driver checks the listing."""
    await client.chat("second")

    answer = await client.chat("no-such-model")

    assert (answer["status"], answer["model"]) == (200, "no-such-model")


async def test_too_long_a_prompt_is_refused_with_its_code(client: Client) -> None:
    """What does not fit into the context is an error of the request, never cut silently."""
    answer = await client.chat("first", messages=[{"role": "user", "content": "a" * 3000}])

    assert answer["status"] == 400
    assert answer["error"]["code"] == "context_length_exceeded"


async def test_a_listing_waits_and_does_not_cut_a_stream(client: Client) -> None:
    """A listing that arrives while a stream runs waits for its end; the stream is whole."""
    rows: list[str] = []
    async for row in client.stream("second", max_tokens=64):
        if not rows:
            listed_soon = client.session.get("/v1/models", timeout=aiohttp.ClientTimeout(total=0.05))
            with pytest.raises(TimeoutError):
                await listed_soon
        rows.append(row)
    listed = await client.listed()

    assert listed == ["first", "second"]
    assert rows[-1] == "[DONE]"
    assert json.loads(rows[-2])["choices"][0]["finish_reason"] in {"length", "stop"}
