"""The last scene: a real agent command line works on a repository, where one is installed.

    task -> git worktree -> the agent -> the hub's gateway -> a simulated model that calls a tool -> `grep` proves it

The program, its run, the worktree, the check and the books are real; the model behind the gateway is simulated, and
calls the one tool that the prompt tells it. Without such a program the scene says so, and what to install.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from ostler.demo.fleet import Fleet
from ostler.domain.errors import OstlerError
from ostler.domain.states import FINAL_STATES, TaskState
from ostler.domain.tasks import TaskKind, TaskSpec

TASK = "a-real-agent"
WORKER = "agent-worker"
TIER = "cloud_small"
PATIENCE_S = 90.0
POLL_S = 0.25
NOTE = "Oats at noon."
TOOLS: Mapping[str, tuple[str, str]] = {
    "opencode": ("bash", "command"),
    "claude": ("Bash", "command"),
    "codex": ("exec_command", "cmd"),
}
"""Agent command lines in the order in which one is looked for: the tool that runs a command, and its field."""
NONE_HERE = (
    f"no agent command line is installed ({', '.join(TOOLS)}): the scene with a real one is left out;"
    " `ostler agents doctor` tells more"
)
_PROFILE = """\
worker:
  allow: [agent]
  agents: [{name}]
  commands: [grep]
  repos: ["stable={repo}"]
  env: [PATH, LANG, LC_ALL, TMPDIR, DEMO_RUN]
"""


class Installed(msgspec.Struct, frozen=True, kw_only=True):
    """An agent command line of this machine."""

    name: str
    folder: str
    """Where it is."""


def find_agent(path: str | None = None) -> Installed | None:
    """The first one that is there: on the PATH, or where `make test` puts those that it runs."""
    nearby = Path(sys.prefix) / "agents" / "bin"
    places = os.environ.get("PATH", os.defpath) + os.pathsep + str(nearby) if path is None else path
    for name in TOOLS:
        found = shutil.which(name, path=places)
        if found is not None:
            return Installed(name=name, folder=str(Path(found).parent))
    return None


class AgentScene:
    """Plays the scene on a fleet that runs. `tell` takes what happens, in words."""

    def __init__(self, fleet: Fleet, tell: Callable[[str], None]) -> None:
        self._fleet = fleet
        self._tell = tell

    def play(self, agent: Installed | None) -> int:
        """Play it to its end; how many tasks were handed in. Raises `OstlerError` when the fleet breaks."""
        if agent is None:
            self._tell(NONE_HERE)
            return 0
        repo = new_repository(self._fleet.folder / "stable")
        profile = self._fleet.folder / "agent-worker.yaml"
        profile.write_text(_PROFILE.format(name=agent.name, repo=repo), encoding="utf-8")
        self._fleet.start_agent_worker(WORKER, profile, agent.folder)
        self._fleet.client.submit([task_for(agent.name)])
        self._tell(f"{agent.name}, a real agent command line, gets a task on a git repository")
        self._watch()
        return 1

    def _watch(self) -> None:
        """Until the task has ended, or for as long as the scene may take; then it is cancelled."""
        deadline_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline_s:
            answer = self._fleet.client.task(TASK)
            if answer.task.state in FINAL_STATES | {TaskState.NEEDS_HUMAN}:
                break
            self._fleet.processes.check()
            time.sleep(POLL_S)
        else:
            self._fleet.client.cancel(TASK, "the demo does not wait any longer")
            self._tell("the agent takes too long: its task is cancelled")
            return
        failure = answer.task.failure
        evidence = answer.attempts[-1].evidence if answer.attempts else None
        if answer.task.state is not TaskState.SUCCEEDED or evidence is None:
            self._tell(f"the agent's task is {answer.task.state.value}: {failure.message if failure else 'no reason'}")
            return
        outcome = answer.task.outcome.value if answer.task.outcome is not None else "done"
        made = f"{evidence.commits} commit on branch {evidence.branch}"
        called = f"{evidence.tool_calls} tool call, {evidence.steps} answers of a simulated model"
        self._tell(f"{evidence.agent} {evidence.version}: {called}, {made}; grep has looked at it: {outcome}")


def task_for(agent: str) -> TaskSpec:
    """The task: the simulated model calls the tool that stands in brackets, and says filler after it."""
    tool, field = TOOLS[agent]
    arguments = json.dumps({field: f"printf '%s' '{NOTE}' > note.txt"} | _described(agent))
    return TaskSpec(
        id=TASK,
        title="write a note",
        kind=TaskKind.AGENT,
        runner=agent,
        worker=WORKER,
        repo="stable",
        tier=TIER,
        prompt=f"Write the note. [tool:{tool} {arguments}]",
        verify=(("grep", "-q", "Oats", "note.txt"),),
        timeout_s=PATIENCE_S,
        max_attempts=1,
    )


def _described(agent: str) -> dict[str, str]:
    """Codex asks for no description of a command."""
    return {} if agent == "codex" else {"description": "Write the note"}


def new_repository(folder: Path) -> Path:
    """A git repository with one commit. Raises `OstlerError` where there is no git."""
    folder.mkdir()
    (folder / "README").write_text("A stable.\n", encoding="utf-8")
    who = ("-c", "user.name=Ostler demo", "-c", "user.email=demo@localhost", "-c", "commit.gpgSign=false")
    for arguments in (("init", "--quiet"), ("add", "README"), ("commit", "--quiet", "-m", "Begin")):
        try:
            subprocess.run(
                ["git", *who, *arguments],  # noqa: S607 -- on PATH
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=True,
                timeout=30,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise OstlerError(f"git cannot make a repository for the agent: {error}", where=str(folder)) from None
    return folder
