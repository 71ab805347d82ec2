"""What real agent command lines printed, read again: good runs are good, each failure has its class, whatever the exit
code says. `python -m tests.agents.record` renews the recordings.
"""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ostler.domain.states import FailureClass
from ostler.workers.runners.agents.contract import (
    AgentEvent,
    Reader,
    Step,
    Text,
    ToolCall,
    ToolResult,
    Trouble,
    Used,
    Verdict,
)
from ostler.workers.runners.agents.lines import LineCutter
from ostler.workers.runners.agents.shelf import ADAPTERS

RECORDINGS = Path(__file__).parent / "recordings"
FOLDERS = sorted(path for path in RECORDINGS.iterdir() if path.is_dir())
RUNS = [(folder.name, name) for folder in FOLDERS for name in json.loads((folder / "index.json").read_text())["runs"]]
F = FailureClass

EVERY_SCENE: dict[str, FailureClass | None] = {
    "writes_a_note": None,
    "only_talks": None,
    "says_nothing": F.CAPABILITY,
    "cut_by_length": F.CAPABILITY,
    "key_refused": F.AUTH,
    "quota": F.QUOTA,
    "rate_limit": F.RATE_LIMIT,
    "server_error": F.SERVER,
    "context_too_long": F.CONTEXT_TOO_LONG,
    "refused_by_filter": F.REFUSAL,
    "connection_reset": F.NETWORK,
    "model_hangs": F.ENVIRONMENT,
}
EXPECTED: dict[str, dict[str, FailureClass | None]] = {
    "opencode": EVERY_SCENE,
    "claude": EVERY_SCENE,
    # It says a server's error in words of its own, and that a turn was begun.
    "codex": EVERY_SCENE | {"server_error": F.OVERLOADED, "model_hangs": F.CUT},
    "aider": EVERY_SCENE,
}
FINAL_WORDS = "The stable is swept and the note is written."


def output_of(folder: str, name: str) -> bytes:
    return (RECORDINGS / folder / f"{name}.jsonl").read_bytes()


def told_of(folder: str, name: str) -> dict[str, Any]:
    index = json.loads((RECORDINGS / folder / "index.json").read_text(encoding="utf-8"))
    run = index["runs"][name]
    assert isinstance(run, dict)
    return {"agent": index["agent"], **run}


def read(folder: str, name: str, output: bytes | None = None) -> tuple[list[AgentEvent], Verdict]:
    """Everything a reader makes of a recording."""
    told = told_of(folder, name)
    reader: Reader = ADAPTERS[told["agent"]].reader()
    cutter = LineCutter()
    lines = [*cutter.feed(output_of(folder, name) if output is None else output), *cutter.end()]
    events = [event for line in lines for event in reader.feed(line)]
    return events, reader.verdict(told["exit"], told["errors"])


def test_a_recording_comes_from_the_program() -> None:
    """Folders name agent and version, which its adapter knows; each agent has one, with every scene."""
    seen = set()
    for folder in FOLDERS:
        agent, _, version = folder.name.partition("-")
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        assert index["source"] == "recorded from the program"
        assert version.startswith(ADAPTERS[agent].known_versions), folder
        assert set(index["runs"]) == set(EVERY_SCENE)
        seen.add(agent)

    assert seen == set(ADAPTERS)


@pytest.mark.parametrize(("folder", "name"), RUNS)
def test_a_recorded_run_is_judged_by_what_was_said(folder: str, name: str) -> None:
    """The verdict is good exactly where the work was, and a failure has the class that decides the right move."""
    told = told_of(folder, name)

    _, verdict = read(folder, name)

    expected = EXPECTED[told["agent"]][name]
    assert verdict.kind == expected, verdict
    assert verdict.ok is (expected is None)
    assert bool(verdict.message) is not verdict.ok


def test_the_exit_code_lies_in_the_recordings() -> None:
    """There are runs that ended with 0 and did nothing good: the reason for all of this."""
    lies = [
        (folder, name) for folder, name in RUNS if told_of(folder, name)["exit"] == 0 and not read(folder, name)[1].ok
    ]

    assert len(lies) >= 3, lies


REAL = [folder.name for folder in FOLDERS]


@pytest.mark.parametrize("folder", REAL)
def test_a_good_run_tells_text_tool_result_steps_and_tokens(folder: str) -> None:
    """In words that all agents share: what was said, which tool was asked for what, what it answered, what it took."""
    events, verdict = read(folder, "writes_a_note")

    kinds = [type(event) for event in events]
    assert {Text, ToolCall, ToolResult, Step, Used} <= set(kinds)
    call = next(event for event in events if isinstance(event, ToolCall))
    answer = next(event for event in events if isinstance(event, ToolResult))
    assert call.id == answer.id
    assert call.tool.lower() in ("write", "command_execution", "edit")
    assert answer.ok
    assert "note.txt" in call.about
    assert verdict.tool_calls == 1
    assert verdict.usage is not None
    assert not verdict.usage.estimated
    used = (verdict.usage.input_tokens, verdict.usage.cached_tokens, verdict.usage.output_tokens)
    if folder.startswith("aider"):  # one answer is its whole run; it tells neither cached tokens nor its own name
        assert verdict.text.startswith("I write the note.")
        assert used == (11, 0, 7)
    else:
        assert verdict.text == FINAL_WORDS
        assert used == (22, 8, 14)
        assert verdict.session


@pytest.mark.parametrize(("folder", "name"), RUNS)
def test_a_recording_may_be_cut_anywhere(folder: str, name: str) -> None:
    """However the bytes are cut into pieces, the events are the same."""
    output = output_of(folder, name)
    whole, _ = read(folder, name)

    for size in (1, 7, 4096):
        reader, cutter = ADAPTERS[told_of(folder, name)["agent"]].reader(), LineCutter()
        events: list[AgentEvent] = []
        for begin in range(0, len(output), size):
            for line in cutter.feed(output[begin : begin + size]):
                events += reader.feed(line)
        events += [event for line in cutter.end() for event in reader.feed(line)]
        assert events == whole


@pytest.mark.parametrize(("folder", "name"), [run for run in RUNS if not run[0].startswith("aider")])
def test_what_a_reader_does_not_know_changes_nothing(folder: str, name: str) -> None:
    """New kinds of events, notices that are no JSON and broken lines between the others are passed over."""
    noise = [
        b'{"type":"from_the_future","part":{"type":"x"},"sessionID":"' + b"s" * 3 + b'"}',
        b"Sandbox: on",
        b'{"type":',
        b"[]",
    ]
    lines = output_of(folder, name).splitlines()
    noisy = b"\n".join(part for line in lines for part in (*noise, line))

    events, verdict = read(folder, name, noisy)

    plain_events, plain = read(folder, name)
    assert events == plain_events
    assert msgspec.structs.replace(verdict, session="") == msgspec.structs.replace(plain, session="")


@pytest.mark.parametrize("folder", REAL)
def test_a_good_run_that_breaks_off_is_not_good(folder: str) -> None:
    """Wherever the stream of the good run ends early, the verdict is a failure, and what was used is an estimate."""
    lines = output_of(folder, "writes_a_note").splitlines(keepends=True)

    for kept in range(len(lines)):
        _, verdict = read(folder, "writes_a_note", b"".join(lines[:kept]))
        assert not verdict.ok, f"cut after {kept} of {len(lines)} lines"


@pytest.mark.parametrize("folder", [folder.name for folder in FOLDERS])
@pytest.mark.parametrize("value", ["null", "7", '"x"', "[]", "{}", "true", "-1", "1e999"])
def test_fields_of_the_wrong_type_break_nothing(folder: str, value: str) -> None:
    """Any field of any line may be anything: the reader goes on and gives a verdict."""
    told = told_of(folder, "writes_a_note")
    for line in output_of(folder, "writes_a_note").splitlines():
        fields = json.loads(line) if line.startswith(b"{") else {}
        for name in fields:
            if name == "type":
                continue
            reader = ADAPTERS[told["agent"]].reader()
            changed = {**fields, name: "?"}
            reader.feed(json.dumps(changed).replace('"?"', value).encode())
            reader.verdict(0, "")


def test_an_error_that_opencode_gets_over_fails_nothing() -> None:
    """A step after an error means that it went on; an error after the last step means that it did not."""
    folder = next(folder.name for folder in FOLDERS if folder.name.startswith("opencode"))
    error = output_of(folder, "key_refused")
    good = output_of(folder, "writes_a_note")

    assert read(folder, "writes_a_note", error + good)[1].ok
    assert read(folder, "writes_a_note", good + error)[1].kind is FailureClass.AUTH


def test_claude_says_when_it_tries_again() -> None:
    """Each try is an error that it may get over: shown, and no failure by itself."""
    folder = next(folder.name for folder in FOLDERS if folder.name.startswith("claude"))

    events, verdict = read(folder, "rate_limit")

    tries = [event for event in events if isinstance(event, Trouble)]
    assert len(tries) == 2
    assert all(event.recovered and event.kind is FailureClass.RATE_LIMIT for event in tries)
    assert verdict.kind is FailureClass.RATE_LIMIT
