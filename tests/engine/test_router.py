"""Loading and unloading at a real llama.cpp server in router mode: two tiny models, one address."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ostler.domain.calls import CallError, Completion
from ostler.domain.catalog import EndpointKind, EndpointSpec
from ostler.domain.fleet import Probe, ProbeStatus
from ostler.domain.states import TaskState
from ostler.engines.llama import TinyShape, write_tiny_model
from ostler.fleet.drivers import DriverSet
from tests.engine.stage import LEGIBLE, SETTINGS, call, hub_with, named, run, task
from tests.fleet.fakes import WallClock
from tests.postgres_server import free_port

pytestmark = pytest.mark.engine

CONTEXT_TOKENS = 512
SHAPES = {"first": TinyShape(layers=4, width=256, seed=1), "second": TinyShape(layers=4, width=256, seed=2)}
PROFILE = """\
routing:
  tiers:
    one: {{provider: llamacpp, models: [first], max_output_tokens: 8}}
    two: {{provider: llamacpp, models: [second], max_output_tokens: 8}}
endpoints:
  - {{name: router, provider: llamacpp, url: "{url}", local: true, slots: 1, host: box}}
hosts:
  box: {{memory: 20MiB, reserve: 0}}
models:
  first: {{provider: llamacpp, context: 512, memory: 11MiB}}
  second: {{provider: llamacpp, context: 512, memory: 11MiB}}
residency: {{patience: 1s, min_residence: 0s}}
scheduler: {{probe_interval: 500ms, probe_timeout: 500ms}}
hub: {{port: 0}}
"""


@pytest.fixture(scope="session")
def llama_server() -> Path:
    """llama.cpp's own server; the test is skipped with the remedy where there is none."""
    found = os.environ.get("OSTLER_LLAMA_SERVER") or shutil.which("llama-server")
    if not found:
        pytest.skip("no llama-server on the PATH or at OSTLER_LLAMA_SERVER: llama.cpp's own build makes it")
    return Path(found)


@pytest.fixture
async def router(engine_python: Path, llama_server: Path, tmp_path: Path) -> AsyncIterator[EndpointSpec]:
    """A router over two models, neither loaded."""
    folder = tmp_path / "models"
    folder.mkdir()
    for name, shape in SHAPES.items():
        path = await write_tiny_model(engine_python, tmp_path / name, shape)
        process = await asyncio.create_subprocess_exec(engine_python, LEGIBLE, path)
        assert await process.wait() == 0
        path.rename(folder / f"{name}.gguf")
    async with running(llama_server, folder, tmp_path / "router.log") as spec:
        yield spec


@asynccontextmanager
async def running(program: Path, models: Path, log: Path) -> AsyncIterator[EndpointSpec]:
    """The server in router mode; it is gone when the block ends."""
    port = free_port()
    argv = ["--models-dir", models, "--models-max", "0", "--no-models-autoload", "-c", CONTEXT_TOKENS, "-np", 1]
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            program, *map(str, argv), "--host", "127.0.0.1", "--port", str(port), "--no-webui",
            stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=out, env={"LLAMA_CACHE": str(log.parent)},
        )  # fmt: skip
    spec = EndpointSpec(
        name="router",
        kind=EndpointKind.OPENAI,
        url=f"http://127.0.0.1:{port}",
        provider="llamacpp",
        host="box",
        local=True,
    )
    try:
        await listening(process, port, log)
        yield spec
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def listening(process: asyncio.subprocess.Process, port: int, log: Path) -> None:
    """Wait until the server takes connections."""
    for _ in range(600):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            assert process.returncode is None, await asyncio.to_thread(tail, log)
            await asyncio.sleep(0.1)
        else:
            writer.close()
            return
    raise AssertionError("the router never listened")


def tail(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-2_000:]


@pytest.fixture
async def drivers() -> AsyncIterator[DriverSet]:
    """Real drivers."""
    made = DriverSet({}, WallClock(), SETTINGS)
    yield made
    await made.close()


async def listed(drivers: DriverSet, spec: EndpointSpec) -> Probe:
    probe = await drivers.probe(spec)
    assert probe.status is ProbeStatus.AVAILABLE, probe.message
    return probe


async def test_a_model_is_loaded_answers_and_is_unloaded(router: EndpointSpec, drivers: DriverSet) -> None:
    """Each step is in the listing when the driver says that it is done."""
    probe = await listed(drivers, router)
    assert (set(probe.models), probe.residents) == ({"first", "second"}, ())

    resident = await drivers.load(router, "first", 4096)
    assert resident is not None
    assert (resident.model, resident.context_tokens) == ("first", CONTEXT_TOKENS)
    assert (await listed(drivers, router)).residents == (resident,)
    items = [item async for item in drivers.chat(router, call("first", max_output_tokens=4))]
    assert isinstance(items[-1], Completion)
    assert items[-1].usage.output_tokens > 0

    assert await drivers.unload(router, "first") is True
    assert (await listed(drivers, router)).residents == ()
    with pytest.raises(CallError):
        [item async for item in drivers.chat(router, call("first", max_output_tokens=4))]


async def test_orders_for_what_is_so_already_are_done(router: EndpointSpec, drivers: DriverSet) -> None:
    """The server refuses them; nothing is wrong."""
    await listed(drivers, router)
    first = await drivers.load(router, "first")

    assert await drivers.load(router, "first") == first
    assert await drivers.unload(router, "second") is True
    with pytest.raises(CallError, match="no model third"):
        await drivers.load(router, "third")


async def test_the_scheduler_decides_what_is_loaded(router: EndpointSpec, tmp_path: Path) -> None:
    """Two models exclude each other; work for both ends, each on its own model, and the books know what is held."""
    folder = tmp_path / "hub"
    folder.mkdir()
    async with hub_with(PROFILE.format(url=router.url), folder) as hub:
        asked = ("first", "second", "first", "second")
        answers = await run(hub, [task(f"t{at}", model) for at, model in enumerate(asked)])

        assert [answer.task.state for answer in answers] == [TaskState.SUCCEEDED] * 4
        assert [answer.attempts[-1].model for answer in answers] == list(asked)
        assert {event.metadata["model"] for event in named(hub, "model.loaded")} == {"first", "second"}
        (box,) = (await asyncio.to_thread(hub.client.hosts, saved=False)).hosts
        assert len(box.residents) == 1
