"""A hub with a worker inside that runs real agents on a repository, before a simulated upstream."""

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ostler.domain.live import CallRecord
from ostler.domain.ports import CallQuery
from ostler.domain.states import FINAL_STATES, TaskState
from ostler.domain.tasks import Task, TaskKind, TaskSpec
from ostler.hub.views import TaskAnswer
from ostler.workers import reaper
from tests.agents.command_lines import AGENTS
from tests.e2e.process import HubProcess, until
from tests.gateway.agent_script import delegates, writes_note
from tests.gateway.dialects import AnswerDialect, OpenAI
from tests.gateway.plays import answers
from tests.gateway.upstream import Call, Play, Step, Upstream

SMALL, LARGE = "small-horse", "large-horse"
PROFILE = """\
routing:
  repeated_error_threshold: 3
  tiers:
    standard: {models: [small-horse]}
    complex: {models: [large-horse]}
providers:
  stable: {kind: openai, api_key_env: STABLE_KEY, local: false}
endpoints:
  stall: {provider: stable, url: "%(url)s/v1", models: [small-horse, large-horse], slots: 4}
models:
  small-horse:
    {provider: stable, context: 200000, capabilities: [tools], input_usd_per_mtok: 1.0, output_usd_per_mtok: 2.0}
  large-horse: {provider: stable, context: 200000, capabilities: [tools]}
scheduler: {heartbeat: 500ms, session_dead: 4s, retry_base: 100ms}
agents: {folders: [agents], max_cost: %(max_cost)s, judge: %(judge)s}
gateway: {require_key: always, queue: 2s}
worker:
  allow: [agent]
  agents: [opencode, claude, codex, aider]
  commands: [test, grep]
  slots: {agent: 2}
  repos: ["barn=%(repo)s"]
hub: {port: 0}
"""


HAND = """\
---
description: Keeps the books of the stable
model: complex
tools: read, write
runner: claude
---
You are a stable hand.
"""


@dataclass(frozen=True)
class Barn:
    """The hub, the repository and what stands for the models."""

    hub: HubProcess
    upstream: Upstream
    repo: Path
    home: Path

    def run(self, spec: TaskSpec, limit_s: float = 60.0) -> TaskAnswer:
        """Hand a task in and wait for its end."""
        self.hub.client.submit([spec])
        ends = FINAL_STATES | {TaskState.NEEDS_HUMAN}
        until(lambda: self.task(spec.id).state in ends, f"{spec.id} ends", limit_s)
        return self.hub.client.task(spec.id)

    def task(self, task_id: str) -> Task:
        """A task as it is."""
        return self.hub.client.task(task_id).task

    def calls(self, task_id: str, generation: int = 1) -> tuple[CallRecord, ...]:
        """What an attempt called at the gateway, newest first."""
        return self.hub.client.calls(CallQuery(key=f"agent/{task_id}.{generation}")).calls

    def begin_anew(self) -> None:
        """Forget what was called, once nothing is: a call that is still under way, as of an agent that was just killed,
        would be tried again when its connection closes, and be taken for one of the next test.
        """
        until(lambda: not any(row.in_flight for row in self.hub.client.endpoints().endpoints), "no call is under way")
        self.upstream.forget()

    def told_of_calls(self) -> str:
        """For the message of a failed test: what came to the models, of whom, and what is recorded."""
        came = [(of_attempt(call), round(call.begun_s, 3), call.gave_up) for call in self.upstream.calls]
        recorded = self.hub.client.calls(CallQuery()).calls[: len(came) + 5]
        return f"all calls are recorded: {came} came; {[(call.key, call.at_ms, call.status) for call in recorded]}"

    def git(self, *arguments: str) -> str:
        """Ask the repository."""
        return git(self.repo, *arguments)

    def leftovers(self) -> list[reaper.Proc]:
        """Processes of attempts that still live."""
        mine = [proc for proc in reaper.processes() if f"OSTLER_WORKER={self.identity}" in environment_of(proc.pid)]
        return [proc for proc in mine if "OSTLER_ATTEMPT=" in environment_of(proc.pid)]

    @property
    def identity(self) -> str:
        """What marks the processes of the worker."""
        return next(path.name for path in (self.hub.data / "agents").iterdir())


def environment_of(pid: int) -> str:
    """The environment of a process; empty when it is gone or somebody else's."""
    try:
        return Path(f"/proc/{pid}/environ").read_text(encoding="utf-8", errors="replace").replace("\0", "\n")
    except OSError:
        return ""


def writes_in_tree(name: str, content: str, *, endless: bool = False) -> Play:
    """The play of an agent that leaves `content` in a file of its tree, whose path it finds in what it is sent.
    `endless`: it does so over and over.
    """

    def play(call: Call, dialect: AnswerDialect) -> Sequence[Step]:
        return writes_note(in_tree(call, name), content, endless=endless)(call, dialect)

    return play


def in_tree(call: Call, name: str) -> str:
    """Where a file of the agent's tree is, which stands somewhere in what it is sent."""
    found = re.search(rb"/[^\s\"<>\\]*/tree(?![\w.])", call.body)
    return f"{found[0].decode()}/{name}" if found else name


def delegates_in_tree(name: str, content: str) -> Play:
    """As `writes_in_tree`, by a sub-agent."""

    def play(call: Call, dialect: AnswerDialect) -> Sequence[Step]:
        return delegates(in_tree(call, name), content)(call, dialect)

    return play


def of_attempt(call: Call) -> str:
    """Whose call it is, by the tree that stands in what it is sent."""
    found = re.search(rb"/([^/\s\"<>\\]+)/tree(?![\w.])", call.body)
    return found[1].decode() if found else "somebody"


def agent(task_id: str, **changes: object) -> TaskSpec:
    """A task for an agent in the repository."""
    plain: dict[str, object] = {"kind": TaskKind.AGENT, "prompt": "Write a note.", "repo": "barn", "tier": "standard"}
    return TaskSpec(id=task_id, **(plain | changes))  # type: ignore[arg-type]


def git(folder: Path, *arguments: str) -> str:
    """Run git as a person would, without anyone's settings."""
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"}
    who = ["-c", "user.name=Test", "-c", "user.email=test@localhost"]
    done = subprocess.run(
        ["git", *who, *arguments],  # noqa: S607 -- on PATH
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return done.stdout


def new_repo(folder: Path) -> Path:
    """A repository with one commit."""
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    (folder / "README").write_text("A barn.\n", encoding="utf-8")
    git(folder, "add", "README")
    git(folder, "commit", "--quiet", "-m", "Begin")
    return folder


@contextmanager
def open_barn(
    folder: Path, *, profile: str = PROFILE, worker: bool = True, max_cost: str = "null", judge: str = "null"
) -> Iterator[Barn]:
    """Start all of it; `worker`: with one inside the hub. `max_cost`, `judge`: of runs, as a profile says them."""
    with ExitStack() as stack:
        repo, home = new_repo(folder / "barn"), folder / "person"
        home.mkdir()
        (folder / "agents").mkdir()
        (folder / "agents" / "hand.md").write_text(HAND, encoding="utf-8")
        upstream = stack.enter_context(Upstream(OpenAI((SMALL, LARGE)), answers()))
        text = profile % {"url": upstream.url, "repo": repo, "max_cost": max_cost, "judge": judge}
        hub = stack.enter_context(
            HubProcess(folder, *([] if worker else ["--no-worker"]), profile=text, env=environment(home))
        )
        until(lambda: all(row.view.health == "up" for row in hub.client.endpoints().endpoints), "the endpoint is up")
        until(lambda: bool(hub.client.workers().workers) is worker, "the worker has joined")
        yield Barn(hub, upstream, repo, home)


@contextmanager
def restarted(barn: Barn) -> Iterator[Barn]:
    """Another hub over the same folder, after the first one has ended."""
    folder = barn.hub.data.parent
    profile = (folder / "ostler.yaml").read_text(encoding="utf-8")
    with HubProcess(folder, profile=profile, env=environment(barn.home)) as hub:
        yield replace(barn, hub=hub)


def environment(home: Path) -> dict[str, str]:
    """Of a hub: a person's, with the agents on the PATH."""
    return {"STABLE_KEY": "sk-of-the-hub", "PATH": f"{AGENTS}:{os.environ['PATH']}", "HOME": str(home)}
