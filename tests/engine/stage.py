"""What the tests of Ostler over a real engine stand on: two models, the engine behind a tap, a hub process over it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ostler.domain.calls import Completion, Delta, Message, ModelCall
from ostler.domain.catalog import EndpointKind, EndpointSpec
from ostler.domain.event import Event
from ostler.domain.fleet import Health
from ostler.domain.states import FINAL_STATES
from ostler.domain.tasks import Attempt, TaskKind, TaskSpec
from ostler.engines.llama import LlamaServer, ServedModel, TinyShape, write_tiny_model
from ostler.fleet.drivers import DriverSet
from ostler.fleet.settings import DriverSettings
from ostler.hub.views import TaskAnswer
from tests.e2e.process import HubProcess
from tests.engine.tap import Tap

T = TypeVar("T")

# About 84 MB and 168 MB of weights, so that loading one takes much longer than a first token of a loaded one.
SHAPES = {"first": TinyShape(layers=8, width=512, seed=1), "second": TinyShape(layers=16, width=512, seed=2)}
WINDOW_TOKENS = 1024
PROMPT = "Hello"
LEGIBLE = Path(__file__).parent / "legible.py"
TOO_LONG = "a" * 3 * WINDOW_TOKENS
"""A token for each character, as the models have no larger ones for it."""
SETTINGS = DriverSettings(first_token_timeout_ms=60_000, idle_timeout_ms=30_000)

PROFILE = """\
routing:
  tiers:
    standard:
      provider: llamacpp
      models: [first, second]
      max_output_tokens: {max_output_tokens}
endpoints:
  - name: llama
    provider: llamacpp
    url: {url}
    local: true
    slots: 1
models:
  second: {{provider: llamacpp, context: {window_tokens}}}
scheduler:
  probe_interval: {probe_ms}ms
  probe_timeout: {probe_ms}ms
hub:
  port: 0
"""


async def write_models(engine_python: Path, folder: Path) -> list[ServedModel]:
    """Two models that talk until they are stopped."""
    served = []
    for name, shape in SHAPES.items():
        path = await write_tiny_model(engine_python, folder / name, shape)
        process = await asyncio.create_subprocess_exec(engine_python, LEGIBLE, path)
        assert await process.wait() == 0
        served.append(ServedModel(alias=name, path=path, context_tokens=WINDOW_TOKENS))
    return served


@dataclass
class Engine:
    """The engine, seen through the tap by drivers and hubs alike."""

    server: LlamaServer
    tap: Tap
    drivers: DriverSet

    @property
    def spec(self) -> EndpointSpec:
        return EndpointSpec(
            name="llama",
            kind=EndpointKind.OPENAI,
            url=self.tap.url,
            provider="llamacpp",
            host="localhost",
            local=True,
        )

    async def chat(self, call: ModelCall) -> tuple[list[Delta], Completion]:
        items = [item async for item in self.drivers.chat(self.spec, call)]
        last = items[-1]
        assert isinstance(last, Completion)
        deltas = [item for item in items[:-1] if isinstance(item, Delta)]
        assert len(deltas) == len(items) - 1
        return deltas, last


def call(model: str, text: str = PROMPT, *, max_output_tokens: int = 16, stream: bool = True) -> ModelCall:
    return ModelCall(
        model=model,
        messages=(Message(role="user", text=text),),
        max_output_tokens=max_output_tokens,
        temperature=0,
        options={} if stream else {"stream": False},
    )


async def until(look: Callable[[], T | None], what: str, limit_s: float = 60.0) -> T:
    """What `look` finds, as soon as it finds something; it may block. Fails with what was waited for."""
    end = time.monotonic() + limit_s
    while (found := await asyncio.to_thread(look)) is None:
        assert time.monotonic() < end, f"never happened: {what}"
        await asyncio.sleep(0.02)
    return found


@asynccontextmanager
async def hub_over(
    url: str, folder: Path, *, probe_ms: int = 3_000, max_output_tokens: int = 16
) -> AsyncIterator[HubProcess]:
    """`ostler up` with the engine as its one endpoint."""
    profile = PROFILE.format(
        url=url, probe_ms=probe_ms, max_output_tokens=max_output_tokens, window_tokens=WINDOW_TOKENS
    )
    async with hub_with(profile, folder) as hub:
        yield hub


@asynccontextmanager
async def hub_with(profile: str, folder: Path) -> AsyncIterator[HubProcess]:
    """`ostler up` with a profile of one endpoint; it stops in good order and says nothing of a traceback."""
    hub = await asyncio.to_thread(HubProcess, folder, profile=profile)
    with hub:
        await until(lambda: health(hub) is Health.UP or None, "the engine is seen")
        yield hub
        assert await asyncio.to_thread(hub.stop) == 0
    assert "Traceback" not in hub.log.read_text(encoding="utf-8")


def health(hub: HubProcess) -> Health:
    (row,) = hub.client.endpoints().endpoints
    return row.view.health


def task(task_id: str, model: str, prompt: str = PROMPT, *, ttl_ms: int = 120_000) -> TaskSpec:
    return TaskSpec(
        id=task_id, kind=TaskKind.CHAT, prompt=prompt, model=model, temperature=0, local_only=True, ttl_ms=ttl_ms
    )


async def run(hub: HubProcess, specs: Sequence[TaskSpec]) -> list[TaskAnswer]:
    """Hand in tasks and wait until each has ended."""
    await asyncio.to_thread(hub.client.submit, specs)
    return [await ended(hub, spec.id) for spec in specs]


async def ended(hub: HubProcess, task_id: str) -> TaskAnswer:
    def look() -> TaskAnswer | None:
        answer = hub.client.task(task_id)
        return answer if answer.task.state in FINAL_STATES else None

    return await until(look, f"task {task_id} ends", 120)


def first_token_ms(attempt: Attempt) -> int:
    assert attempt.usage is not None
    assert attempt.usage.first_token_ms is not None
    return attempt.usage.first_token_ms


def began_ms(attempt: Attempt) -> int:
    assert attempt.started_ms is not None
    return attempt.started_ms


def named(hub: HubProcess, name: str) -> list[Event]:
    return [event for event in hub.client.events(limit=500).events if event.name == name]
