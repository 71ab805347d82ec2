"""Real agent command lines against a scripted upstream, with nothing of ours between: what they do by themselves."""

import json
import os

import pytest

from tests.agents.command_lines import Place, Run, by_adapter, claude, needs_agents, needs_aider, program
from tests.agents.record import DIALECT_OF
from tests.gateway.agent_script import FINAL_TEXT, writes_note
from tests.gateway.dialects import DIALECTS, MODEL, Said
from tests.gateway.plays import answers
from tests.gateway.upstream import Call, Upstream

pytestmark = needs_agents

NOTE = "Oats at noon."
KEY = "sk-simulated-run"
PROMPT = "Say \"hi\" to\nthe \\n world  007 1e3 -x --y=3 'q' $HOME -- end"


def script(place: Place, dialect: str) -> Upstream:
    return Upstream(DIALECTS[dialect], writes_note(str(place.work / "note.txt"), NOTE))


def holds_prompt(call: Call) -> bool:
    """Whether a call has the prompt in it, letter by letter."""
    return json.dumps(PROMPT)[1:-1] in json.dumps(call.json)


def offered(call: Call) -> set[str]:
    """Names of the tools a request offers."""
    return {tool.get("name") or tool["function"]["name"] for tool in call.json.get("tools") or ()}


def assert_worked(place: Place, run: Run) -> None:
    assert run.code == 0, run
    assert (place.work / "note.txt").read_text(encoding="utf-8") == NOTE, run


def test_opencode_calls_the_tool_and_finishes(place: Place) -> None:
    """A title, a call with tools, a call with the tool's result: the file is there, the last text is printed."""
    with script(place, "openai") as upstream:
        run = by_adapter(place, "opencode", upstream.url, KEY, MODEL, PROMPT)

    assert_worked(place, run)
    texts = [event["part"]["text"] for event in run.events if event["type"] == "text"]
    assert texts[-1] == FINAL_TEXT
    main = [call for call in upstream.calls if offered(call)]
    assert holds_prompt(main[0])
    assert len(main) == 2
    assert "write" in offered(main[0])
    assert all(call.json["stream"] for call in main)
    assert {call.key for call in upstream.calls} == {KEY}


def test_claude_code_calls_the_tool_and_finishes(place: Place) -> None:
    """Two calls of /v1/messages?beta=true: the file is there, the result says success with the last text."""
    with script(place, "anthropic") as upstream:
        run = claude(place, upstream.url, KEY, MODEL, "Write a note.")

    assert_worked(place, run)
    result = next(event for event in run.events if event["type"] == "result")
    assert (result["subtype"], result["is_error"], result["result"]) == ("success", False, FINAL_TEXT)
    main = [call for call in upstream.calls if offered(call)]
    assert [call.path for call in main] == ["/v1/messages?beta=true"] * 2
    assert "Write" in offered(main[0])
    assert {call.key for call in upstream.calls} == {KEY}


def test_a_run_leaves_nothing_in_the_home_of_who_runs_the_tests(place: Place) -> None:
    """What the programs write goes to the home of the run."""
    with script(place, "anthropic") as upstream:
        claude(place, upstream.url, KEY, MODEL, "Write a note.")

    assert (place.home / ".claude").is_dir()
    assert str(place.home) != os.environ.get("HOME")


def test_a_missing_program_fails_and_says_what_to_do(monkeypatch: pytest.MonkeyPatch, place: Place) -> None:
    """It is never skipped in silence."""
    monkeypatch.setattr("tests.agents.command_lines.AGENTS", place.folder)

    with pytest.raises(pytest.fail.Exception, match=r"make test.*WITHOUT_AGENTS=1"):
        program("opencode")


@pytest.mark.parametrize("name", ["claude", "codex", pytest.param("aider", marks=needs_aider)])
def test_a_prompt_reaches_the_model_as_it_stands(place: Place, name: str) -> None:
    """Quotes, numbers, spaces, what looks like an option: no program may change a letter of what was asked."""
    dialect = DIALECT_OF[name]
    with Upstream(dialect, answers(Said(text="Done."))) as upstream:
        by_adapter(place, name, upstream.url, KEY, MODEL, PROMPT)

    assert any(holds_prompt(call) for call in upstream.calls)
