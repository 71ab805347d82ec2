"""Real agent command lines through the gateway, before upstreams of every format: their work gets done, whoever
answers, and each of their model calls is in the hub's books under the key of the run.
"""

from collections.abc import Iterator

import pytest

from tests.agents.command_lines import Place, Run, by_adapter, claude, needs_agents, needs_aider, opencode
from tests.gateway.agent_script import FINAL_TEXT, writes_note
from tests.gateway.stable import LIMITS, Stable, lone, open_stable
from tests.gateway.upstream import Upstream, eventually

pytestmark = needs_agents

NOTE = "Oats at noon."
AGENT_LIMITS = LIMITS.replace("500ms", "10s").replace("8000ms", "60s")


@pytest.fixture(scope="module")
def stable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stable]:
    with open_stable(tmp_path_factory.mktemp("stable"), AGENT_LIMITS) as opened:
        yield opened


@pytest.fixture(params=["openai", "anthropic", "ollama"])
def upstream(request: pytest.FixtureRequest, stable: Stable, place: Place) -> Upstream:
    """The upstream of the run, which makes the agent write its note."""
    stable.fresh()
    chosen = stable.stalls[request.param].lone
    chosen.script(then=writes_note(str(place.work / "note.txt"), NOTE))
    return chosen


def assert_worked(place: Place, run: Run, stable: Stable, upstream: Upstream, key_name: str) -> None:
    """The tool ran, the run ended well, and every call of it was recorded with its key."""
    assert run.code == 0, run
    assert (place.work / "note.txt").read_text(encoding="utf-8") == NOTE, run
    assert {call.key for call in upstream.calls} == {"sk-of-the-hub"}
    eventually(lambda: len(stable.calls(key_name)) == len(upstream.calls), "all calls are recorded")
    records = stable.calls(key_name)
    assert {(record.status, record.model) for record in records} == {(200, lone(upstream.dialect.name))}
    assert all(len(record.attempts) == 1 and record.attempts[0].output_tokens > 0 for record in records)


@pytest.mark.parametrize("upstream", ["openai"], indirect=True)
def test_opencode_works_through_the_gateway(place: Place, stable: Stable, upstream: Upstream) -> None:
    """It speaks chat completions; formats of upstreams are shown with the programs that start quicker."""
    run = opencode(place, f"{stable.url}/v1", stable.key("opencode"), lone("openai"), "Write a note.")

    assert_worked(place, run, stable, upstream, "opencode")
    texts = [event["part"]["text"] for event in run.events if event["type"] == "text"]
    assert texts[-1] == FINAL_TEXT


def test_claude_code_works_through_the_gateway(place: Place, stable: Stable, upstream: Upstream) -> None:
    """It speaks the Messages API with `beta=true`; the upstream whatever it speaks."""
    name = f"claude-{upstream.dialect.name}"

    run = claude(place, stable.url, stable.key(name), lone(upstream.dialect.name), "Write a note.")

    assert_worked(place, run, stable, upstream, name)
    result = next(event for event in run.events if event["type"] == "result")
    assert (result["subtype"], result["is_error"], result["result"]) == ("success", False, FINAL_TEXT)


def test_codex_works_through_the_gateway(place: Place, stable: Stable, upstream: Upstream) -> None:
    """It speaks the Responses API, with tools in groups that upstreams do not know; the upstream whatever it speaks."""
    name = f"codex-{upstream.dialect.name}"

    run = by_adapter(place, "codex", stable.url, stable.key(name), lone(upstream.dialect.name), "Write a note.")

    assert_worked(place, run, stable, upstream, name)
    messages = [event["item"] for event in run.events if event["type"] == "item.completed"]
    assert [item["text"] for item in messages if item["type"] == "agent_message"][-1] == FINAL_TEXT
    assert run.events[-1]["type"] == "turn.completed"


@needs_aider
def test_aider_works_through_the_gateway(place: Place, stable: Stable, upstream: Upstream) -> None:
    """It speaks chat completions without streams and without tools, and writes the file itself."""
    name = f"aider-{upstream.dialect.name}"

    run = by_adapter(place, "aider", stable.url, stable.key(name), lone(upstream.dialect.name), "Write a note.")

    assert run.code == 0, run
    assert (place.work / "note.txt").read_text(encoding="utf-8").strip() == NOTE, run
    eventually(lambda: len(stable.calls(name)) == len(upstream.calls) == 1, "its one call is recorded")
    assert "Applied edit to note.txt" in run.output
