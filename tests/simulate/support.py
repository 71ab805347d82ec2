"""A small simulated host and cloud, and a client that speaks plain HTTP to them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec

from ostler.simulate import cloud, host
from ostler.simulate.server import running
from ostler.simulate.spec import SimulatedCloudModelSpec, SimulatedCloudSpec, SimulatedHostSpec, SimulatedModelSpec

State = dict[str, Any]
FACTOR = 500.0
"""Fast enough that a modelled minute is a tenth of a second."""
SLOW = SimulatedModelSpec(name="slow", weights_gib=4, kv_bytes_per_token=0, load_s=1, unload_s=1, decode_tokens_per_s=1)
QUICK = SimulatedModelSpec(
    name="quick:1b", weights_gib=1, kv_bytes_per_token=1024, load_s=2, unload_s=1, slots=2, output_tokens=12
)
THINKER = SimulatedModelSpec(
    name="thinker",
    weights_gib=1,
    thinking_tokens=6,
    output_tokens=8,
    capabilities=("completion", "tools", "thinking"),
    family="qwen3",
)
PLAIN = SimulatedModelSpec(name="plain", weights_gib=1, capabilities=("completion",), output_tokens=4)
EMBED = SimulatedModelSpec(name="embed", weights_gib=0.5, capabilities=("embedding",), embedding_length=8)
HOST = SimulatedHostSpec(
    name="tiny-host",
    memory_gib=10,
    reserve_gib=2,
    models=(SLOW, QUICK, THINKER, PLAIN, EMBED),
    max_queue=2,
    keep_alive_s=3600,
)
GPT = SimulatedCloudModelSpec(
    name="gpt-tiny",
    api="openai",
    context_length=4000,
    output_tokens=10,
    input_usd_per_mtok=1.0,
    cached_input_usd_per_mtok=0.1,
    output_usd_per_mtok=2.0,
)
CLAUDE = SimulatedCloudModelSpec(
    name="claude-tiny", api="anthropic", context_length=4000, max_output_tokens=500, output_tokens=10
)
CLOUD = SimulatedCloudSpec(models=(GPT, CLAUDE), keys=("sk-good",))
KEY = "sk-good"


def messages(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


class Client:
    """Plain HTTP to one server."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str) -> None:
        self.session = session
        self.url = base_url

    async def get(self, path: str, **headers: str) -> tuple[int, Any]:
        async with self.session.get(self.url + path, headers=headers) as response:
            return response.status, await response.json()

    async def post(self, path: str, body: object, **headers: str) -> tuple[int, Any]:
        async with self.session.post(self.url + path, json=body, headers=headers) as response:
            return response.status, await response.json()

    async def lines(self, path: str, body: object) -> list[Any]:
        """All lines of a stream of JSON."""
        async with self.session.post(self.url + path, json=body) as response:
            assert response.status == 200
            assert response.headers["content-type"] == "application/x-ndjson"
            return [msgspec.json.decode(line) for line in (await response.read()).splitlines()]

    async def strike(self, *faults: dict[str, object]) -> None:
        """Switch these faults on and all others off."""
        status, content = await self.post("/simulate/faults", {"faults": list(faults)})
        assert status == 200, content

    async def state(self) -> State:
        _status, state = await self.get("/simulate/state")
        assert isinstance(state, dict)
        return state

    async def until(self, reached: Callable[[State], bool]) -> State:
        """The state as soon as it is as wanted; fails after five seconds."""
        async with asyncio.timeout(5):
            while not reached(state := await self.state()):  # noqa: ASYNC110 -- the server is asked, as a client can
                await asyncio.sleep(0.002)
        return state


@asynccontextmanager
async def host_client(spec: SimulatedHostSpec = HOST, factor: float = FACTOR) -> AsyncIterator[Client]:
    async with running(host.build_app(spec, time_factor=factor)) as url, aiohttp.ClientSession() as session:
        yield Client(session, url)


@asynccontextmanager
async def cloud_client(spec: SimulatedCloudSpec = CLOUD, factor: float = FACTOR) -> AsyncIterator[Client]:
    async with running(cloud.build_app(spec, time_factor=factor)) as url, aiohttp.ClientSession() as session:
        yield Client(session, url)
