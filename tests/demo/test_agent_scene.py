"""The scene with a real agent: what is looked for, what is asked of it, what is told of its end."""

import json
from pathlib import Path
from typing import cast

import pytest
from msgspec.structs import replace

from ostler.demo import agent_scene
from ostler.demo.agent_scene import NONE_HERE, TASK, TOOLS, AgentScene, Installed, find_agent, new_repository, task_for
from ostler.demo.fleet import Fleet
from ostler.domain.errors import OstlerError
from ostler.domain.states import Failure, FailureClass, Outcome, TaskState
from ostler.domain.tasks import Evidence, Task, TaskKind, TaskSpec
from ostler.hub.views import TaskAnswer
from ostler.simulate.reply import Message, ReplyRequest, compose
from ostler.workers.runners.agents.prompting import prompt_of
from tests.agents.barn import git
from tests.web import samples

EVIDENCE = Evidence(agent="codex", version="0.171.0", steps=2, tool_calls=1, branch="ostler/a-real-agent.1", commits=1)


def program(folder: Path, name: str) -> None:
    """A program of this name."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("#!/bin/sh\n", encoding="utf-8")
    (folder / name).chmod(0o755)


class Client:
    """A hub that knows how the one task ends."""

    def __init__(self, *ends: TaskAnswer) -> None:
        self.ends = list(ends)
        self.submitted: list[TaskSpec] = []
        self.cancelled: list[str] = []

    def submit(self, specs: list[TaskSpec]) -> None:
        self.submitted += specs

    def task(self, task_id: str) -> TaskAnswer:
        assert task_id == TASK
        return self.ends.pop(0) if len(self.ends) > 1 else self.ends[0]

    def cancel(self, task_id: str, reason: str) -> None:
        self.cancelled.append(reason)


class Stage:
    """A fleet that writes down which worker it started."""

    def __init__(self, folder: Path, *ends: TaskAnswer) -> None:
        self.folder = folder
        self.client = Client(*ends)
        self.workers: list[tuple[str, Path, str]] = []
        self.told: list[str] = []
        self.processes = self

    def start_agent_worker(self, name: str, profile: Path, tools: str) -> None:
        self.workers.append((name, profile, tools))

    def check(self) -> None:
        """All processes live."""

    def play(self, agent: Installed | None) -> int:
        """Play the scene here."""
        return AgentScene(cast("Fleet", self), self.told.append).play(agent)


def answer(state: TaskState, **changes: object) -> TaskAnswer:
    """What the hub says of the task."""
    row: Task = replace(samples.task(TASK), **{"state": state, **changes})
    attempt = replace(samples.ANSWER.attempts[0], evidence=EVIDENCE)
    return replace(samples.ANSWER, task=row, attempts=(attempt,))


CODEX = Installed(name="codex", folder="/opt/codex/bin")


def test_the_first_agent_that_is_there_is_taken(tmp_path: Path) -> None:
    """The default before the others, wherever on the PATH they are; none is none."""
    program(tmp_path / "one", "codex")
    program(tmp_path / "two", "claude")

    path = f"{tmp_path / 'one'}:{tmp_path / 'two'}"
    assert find_agent(path) == Installed(name="claude", folder=str(tmp_path / "two"))
    program(tmp_path / "one", "opencode")
    assert find_agent(path) == Installed(name="opencode", folder=str(tmp_path / "one"))
    assert find_agent(str(tmp_path)) is None


@pytest.mark.parametrize("name", sorted(TOOLS))
def test_the_simulated_model_calls_the_tool_that_the_task_names(name: str) -> None:
    """By the marker in the prompt, as the agent hands it on; after the tool's answer it only talks."""
    spec = task_for(name)
    told = prompt_of(spec, ())

    request = ReplyRequest(model="m", messages=(Message("user", told),), natural_tokens=9, tools_offered=True)
    (call,) = compose(request).tool_calls

    tool, field = TOOLS[name]
    assert call.name == tool
    assert "note.txt" in call.arguments[field]
    after = replace(request, messages=(*request.messages, Message("tool", "done")))
    assert compose(after).tool_calls == ()
    assert (spec.kind, spec.runner, spec.max_attempts) == (TaskKind.AGENT, name, 1)
    assert spec.verify == (("grep", "-q", "Oats", "note.txt"),)


def test_the_repository_of_the_scene_is_a_real_one(tmp_path: Path) -> None:
    """With one commit, whoever the person's git says they are."""
    repo = new_repository(tmp_path / "stable")

    assert git(repo, "log", "--format=%an %s").strip() == "Ostler demo Begin"


def test_without_git_the_scene_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In words, with where."""
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(OstlerError, match=r"git cannot make a repository"):
        new_repository(tmp_path / "stable")


def test_without_an_agent_the_scene_says_what_is_missing(tmp_path: Path) -> None:
    """Nothing is started, nothing handed in, and the demo is no worse for it."""
    stage = Stage(tmp_path, answer(TaskState.QUEUED))

    assert stage.play(None) == 0
    assert stage.told == [NONE_HERE]
    assert (stage.workers, stage.client.submitted) == ([], [])
    assert all(name in NONE_HERE for name in TOOLS)


def test_good_work_is_told_with_what_proves_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Program, version, calls, branch, verdict; its worker may run this agent on this repository and nothing else."""
    monkeypatch.setattr(agent_scene, "POLL_S", 0)
    stage = Stage(tmp_path, answer(TaskState.RUNNING), answer(TaskState.SUCCEEDED, outcome=Outcome.VERIFIED))

    assert stage.play(CODEX) == 1
    assert stage.told[0] == "codex, a real agent command line, gets a task on a git repository"
    assert stage.told[1] == (
        "codex 0.171.0: 1 tool call, 2 answers of a simulated model, 1 commit on branch ostler/a-real-agent.1;"
        " grep has looked at it: verified"
    )
    ((_, profile, tools),) = stage.workers
    assert tools == CODEX.folder
    written = profile.read_text(encoding="utf-8")
    assert "agents: [codex]" in written
    assert json.dumps(f"stable={tmp_path / 'stable'}") in written


def test_bad_work_is_told_with_its_reason(tmp_path: Path) -> None:
    """The report then counts it as failed."""
    failure = Failure(kind=FailureClass.CAPABILITY, message="it called no tool", at_ms=1)
    stage = Stage(tmp_path, answer(TaskState.DEAD_LETTER, failure=failure))

    assert stage.play(CODEX) == 1
    assert stage.told[-1] == "the agent's task is dead_letter: it called no tool"


def test_an_agent_that_takes_too_long_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its task is cancelled, so that the demo comes to its end."""
    monkeypatch.setattr(agent_scene, "PATIENCE_S", 0.0)
    stage = Stage(tmp_path, answer(TaskState.RUNNING))

    stage.play(CODEX)

    assert stage.client.cancelled == ["the demo does not wait any longer"]
    assert stage.told[-1] == "the agent takes too long: its task is cancelled"
