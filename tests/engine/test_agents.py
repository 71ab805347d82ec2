"""Real agent command lines through the gateway before the real llama.cpp: their prompts are large.

Tiny random weights talk noise, so nothing is said of what the agents achieve. A run has to end; each model call of it
has to be in the books under the key of the run, with its tokens; and a prompt goes only where there is room for it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from ostler.domain.live import CallRecord
from ostler.domain.ports import CallQuery
from ostler.domain.states import FailureClass
from ostler.engines.llama import LlamaServer, ServedModel, TinyShape, write_tiny_model
from ostler.hub.gateway_views import KeyWish
from tests.agents.command_lines import Place, Run, claude, needs_agents, opencode
from tests.e2e.process import HubProcess
from tests.engine.stage import LEGIBLE, hub_with, until
from tests.engine.tap import Tap, tapped
from tests.gateway.dialects import DIALECTS
from tests.gateway.plays import answers
from tests.gateway.upstream import Upstream

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="module"), needs_agents]

WINDOWS = {"roomy": 65_536, "narrow": 4_096}
"""Claude Code asks for 76 KB with room for 32,000 tokens more, opencode for 30 KB and 4,096."""
TINY = TinyShape(layers=1, width=32, context_tokens=WINDOWS["roomy"])
PROMPT = "Write a note."
KILOBYTE = 1_000

PROFILE = """\
routing:
  tiers:
    standard:
      provider: llamacpp
      models: [roomy, narrow]
endpoints:
  - name: llama
    provider: llamacpp
    url: {url}
    local: true
    slots: 1
models:
  roomy: {{provider: llamacpp, context: {roomy}, capabilities: [tools]}}
  narrow: {{provider: llamacpp, context: {narrow}, capabilities: [tools]}}
scheduler:
  probe_interval: 3s
  probe_timeout: 3s
hub:
  port: 0
"""

Agent = Callable[[Place, str, str, str], Run]
"""Runs one: its place, the hub's address, a key, a model."""


def run_opencode(place: Place, url: str, key: str, model: str) -> Run:
    return opencode(place, f"{url}/v1", key, model, PROMPT)


def run_claude(place: Place, url: str, key: str, model: str) -> Run:
    return claude(place, url, key, model, PROMPT)


AGENTS: dict[str, Agent] = {"opencode": run_opencode, "claude": run_claude}


@dataclass(frozen=True)
class Stall:
    """The engine behind its tap, and the hub in front of it."""

    tap: Tap
    hub: HubProcess

    async def run(self, agent: str, place: Place, model: str) -> tuple[Run, tuple[CallRecord, ...]]:
        """A whole run under a key of its own, and what the books say of it once all is at rest."""
        name = f"{agent}-{model}"
        key = self.hub.client.make_key(KeyWish(name=name)).key
        run = await asyncio.to_thread(AGENTS[agent], place, self.hub.url, key, model)

        def at_rest() -> bool | None:
            status = self.hub.client.status()
            return status.calls_running == status.calls_waiting == status.calls.unwritten == 0 or None

        await until(at_rest, "no call is under way", 60)
        return run, self.hub.client.calls(CallQuery(key=name)).calls


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(engine_python: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stall]:
    """One engine that serves one file under two names, with much room and with little."""
    folder = tmp_path_factory.mktemp("agents")
    path = await write_tiny_model(engine_python, folder / "tiny.gguf", TINY)
    process = await asyncio.create_subprocess_exec(engine_python, LEGIBLE, path, "--ends")
    assert await process.wait() == 0
    models = [ServedModel(alias=name, path=path, context_tokens=window) for name, window in WINDOWS.items()]
    async with (
        LlamaServer(engine_python, models, folder / "server") as server,
        tapped(server.base_url) as tap,
        hub_with(PROFILE.format(url=tap.url, **WINDOWS), folder) as hub,
    ):
        yield Stall(tap, hub)


@pytest.fixture
def stall(shared: Stall) -> Stall:
    """The same with a tap that has seen nothing yet."""
    shared.tap.reset()
    return shared


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """The place of one run. Whoever tried to reach anything but the address it was told fails the test."""
    with Upstream(DIALECTS["openai"], answers()) as trap:
        yield Place(tmp_path, trap.url)
        assert [*trap.calls, *trap.other_requests] == [], "the agent tried to reach the outside"


@pytest.mark.parametrize("agent", AGENTS)
async def test_a_run_ends_and_each_of_its_calls_is_in_the_books(stall: Stall, place: Place, agent: str) -> None:
    """As many as the engine answered, each under the key of the run, with the tokens it took; and never two at once.

    This engine refuses a system turn that is a list of texts, as Claude Code sends it: it is asked again with one text.
    """
    run, records = await stall.run(agent, place, "roomy")

    assert run.code == 0, run
    assert records
    assert stall.tap.answered() == ["roomy"] * len(records)
    assert len(stall.tap.chats()) - len(records) <= 1
    assert {(record.status, record.model, record.endpoint) for record in records} == {(200, "roomy", "llama")}
    assert {len(record.attempts) for record in records} == {1}
    assert all(record.attempts[0].input_tokens > 0 and record.attempts[0].output_tokens > 0 for record in records)
    assert stall.tap.most_at_once == 1


@pytest.mark.parametrize("agent", AGENTS)
async def test_where_there_is_no_room_the_engine_is_not_asked(stall: Stall, place: Place, agent: str) -> None:
    """The agent understands that its prompt is too long, and ends; nothing was cut to fit, nothing was sent."""
    run, records = await stall.run(agent, place, "narrow")

    assert run.code != 0, run
    assert "too long" in run.output, run
    assert stall.tap.chats() == []
    assert records
    assert {(record.status, record.failure) for record in records} == {(400, FailureClass.CONTEXT_TOO_LONG)}
    assert not any(record.attempts for record in records)
