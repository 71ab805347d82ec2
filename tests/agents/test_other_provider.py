"""A role that names a tier whose first model's provider is down: the tier's model of another provider does the work.

Real programs, the gateway between, and two simulated providers that speak different formats.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from ostler.domain.states import FailureClass, Outcome, TaskState
from tests.agents.barn import Barn, agent, environment, new_repo, writes_in_tree
from tests.agents.command_lines import needs_agents
from tests.e2e.process import HubProcess, until
from tests.gateway.dialects import Anthropic, Error, OpenAI
from tests.gateway.plays import AUTH, RATE_LIMIT, answers, fails
from tests.gateway.upstream import Upstream

pytestmark = needs_agents

NORTH, SOUTH = "north-horse", "south-horse"
NOTE = "Oats at noon."
PROFILE = """\
routing:
  tiers:
    standard: {aliases: [sonnet], models: [north-horse, south-horse], choose: first}
providers:
  north: {kind: anthropic, api_key_env: STABLE_KEY, local: false}
  south: {kind: openai, api_key_env: STABLE_KEY, local: false}
endpoints:
  north-field: {provider: north, url: "%(north)s", models: [north-horse], slots: 4}
  south-field: {provider: south, url: "%(south)s/v1", models: [south-horse], slots: 4}
models:
  north-horse:
    {provider: north, context: 200000, capabilities: [tools], input_usd_per_mtok: 3.0, output_usd_per_mtok: 15.0}
  south-horse:
    {provider: south, context: 200000, capabilities: [tools], input_usd_per_mtok: 1.0, output_usd_per_mtok: 2.0}
scheduler: {heartbeat: 500ms, session_dead: 4s, retry_base: 100ms}
agents: {folders: [agents]}
gateway: {require_key: always, queue: 2s}
worker:
  allow: [agent]
  agents: [claude, codex]
  commands: [grep]
  slots: {agent: 2}
  repos: ["barn=%(repo)s"]
hub: {port: 0}
"""
GROOM = """\
---
description: Keeps the notes of the stable
model: sonnet
---
You are a groom.
"""
OVERLOADED = Error(529, "overloaded", "Overloaded (simulated).")


@dataclass(frozen=True)
class Fields:
    """A barn before two providers."""

    barn: Barn
    north: Upstream
    south: Upstream
    north_goes: Callable[[], None]
    """The north listens no longer."""


@contextmanager
def two_fields(folder: Path) -> Iterator[Fields]:
    """Start all of it; both providers are up, and the first choice is the one in the north."""
    with ExitStack() as stack:
        repo, home = new_repo(folder / "barn"), folder / "person"
        home.mkdir()
        (folder / "agents").mkdir()
        (folder / "agents" / "groom.md").write_text(GROOM, encoding="utf-8")
        northern = stack.enter_context(ExitStack())
        north = northern.enter_context(Upstream(Anthropic((NORTH,)), answers()))
        south = stack.enter_context(Upstream(OpenAI((SOUTH,)), writes_in_tree("note.txt", NOTE)))
        text = PROFILE % {"north": north.url, "south": south.url, "repo": repo}
        hub = stack.enter_context(HubProcess(folder, profile=text, env=environment(home)))
        until(lambda: all(row.view.health == "up" for row in hub.client.endpoints().endpoints), "both are up")
        until(lambda: bool(hub.client.workers().workers), "the worker has joined")
        yield Fields(Barn(hub, south, repo, home), north, south, northern.close)


@pytest.mark.parametrize(
    ("runner", "down", "kinds"),
    [
        ("codex", "refused", {FailureClass.NETWORK, FailureClass.SERVER}),
        ("claude", OVERLOADED, {FailureClass.OVERLOADED}),
        ("codex", RATE_LIMIT, {FailureClass.RATE_LIMIT}),
    ],
    ids=["connection refused", "529", "429 with Retry-After"],
)
def test_the_tiers_model_of_another_provider_takes_over(
    tmp_path: Path, runner: str, down: Error | str, kinds: set[FailureClass]
) -> None:
    """The role names a tier, so its first model is only the first choice. Its provider fails the run; the attempt does
    not count; the next one runs on the other provider's model at once, in its own format. `ostler why` tells both, and
    the money is that of the one that answered.
    """
    with two_fields(tmp_path) as fields:
        barn = fields.barn
        if isinstance(down, str):
            fields.north_goes()
        else:
            fields.north.script(then=fails(down, retry_after="3600"))

        check = ("grep", "-q", "Oats", "note.txt")
        done = barn.run(agent("note", agent="groom", runner=runner, tier=None, verify=(check,)), 90)

        assert (done.task.state, done.task.outcome) == (TaskState.SUCCEEDED, Outcome.VERIFIED), done
        *lost, last = done.attempts
        assert {(one.model, one.endpoint, one.counted) for one in lost} == {(NORTH, "north-field", False)}, lost
        assert {one.failure.kind for one in lost if one.failure} <= kinds, lost
        assert (last.model, last.endpoint, last.ok) == (SOUTH, "south-field", True)
        assert done.task.tier == "standard"
        assert barn.git("show", f"ostler/note.{last.generation}:note.txt").strip() == NOTE
        until(lambda: len(barn.calls("note", last.generation)) == len(fields.south.calls), "its calls are recorded")
        paid = barn.calls("note", last.generation)
        assert {(call.endpoint, call.status, call.task, call.cost_micro_usd) for call in paid} == {
            ("south-field", 200, "note", 25)
        }
        for one in lost:
            assert sum(call.cost_micro_usd or 0 for call in barn.calls("note", one.generation)) == 0
        told = "\n".join(barn.hub.client.why("note").lines)
        assert all(words in told for words in (NORTH, SOUTH, lost[0].failure.kind.value if lost[0].failure else "")), (
            told
        )


def test_a_refused_key_is_for_a_person_and_is_not_asked_with_again(tmp_path: Path) -> None:
    """Nothing is routed around it in silence. Who answers sends the task on, to the other provider, as every later task
    is: the one whose key is refused is left alone.
    """
    with two_fields(tmp_path) as fields:
        barn = fields.barn
        fields.north.script(then=fails(AUTH))

        asked = barn.run(agent("note", agent="groom", runner="codex", tier=None), 90)

        assert asked.task.state is TaskState.NEEDS_HUMAN, asked
        assert fields.south.calls == []
        (question,) = barn.hub.client.questions().questions
        assert (question.task, question.kind) == ("note", FailureClass.AUTH)
        tried = len(fields.north.calls)
        barn.hub.client.answer("note", "go on with the other one")
        done = barn.run(agent("later", agent="groom", runner="codex", tier=None), 90)
        until(lambda: barn.task("note").state is TaskState.SUCCEEDED, "it is done", 60)

        assert {one.model for one in done.attempts} == {SOUTH}
        assert barn.hub.client.task("note").attempts[-1].model == SOUTH
        assert len(fields.north.calls) == tried
