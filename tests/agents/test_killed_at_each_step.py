"""Hub, worker or agent are killed with -9 while a real agent waits for its model, has worked, or is checked."""

import os
import signal
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from ostler.domain.states import Outcome, TaskState
from ostler.domain.tasks import TaskSpec
from tests.agents.barn import PROFILE, Barn, agent, environment, git, open_barn, writes_in_tree
from tests.agents.command_lines import needs_agents
from tests.agents.test_remote import attempts_running
from tests.e2e.process import HubProcess, Process, until
from tests.gateway.plays import silent

pytestmark = needs_agents

NOTE = "Oats at noon."
STEPS = ("asks", "has-worked", "is-checked")
TODO = "".join(f"- [ ] {step} Write a note #barn ~1h\n" for step in STEPS)


@dataclass
class Yard:
    """A hub and a worker as processes of their own; either may be killed and started again."""

    barn: Barn
    folder: Path
    profile: str
    stack: ExitStack
    env: dict[str, str]
    worker: Process

    @property
    def gate(self) -> Path:
        """While it is there, checks do not end."""
        return self.folder / "gate"

    @property
    def checking(self) -> Path:
        """Is there once a check has begun."""
        return self.folder / "checking"

    def spec(self, name: str) -> TaskSpec:
        """A task whose check waits at the gate."""
        wait = f"touch {self.checking}; while [ -e {self.gate} ]; do sleep 0.1; done; grep -q Oats note.txt"
        return agent(name, runner="codex", verify=(("sh", "-c", wait),))

    def reach(self, step: str) -> None:
        """A task is under way and has come so far."""
        work, upstream = writes_in_tree("note.txt", NOTE), self.barn.upstream
        upstream.forget()
        reached: Callable[[], bool]
        if step == "asks":
            upstream.script(then=silent)
            reached = lambda: len(upstream.calls) >= 1  # noqa: E731 -- named by what it is
        elif step == "has-worked":
            upstream.script(work, then=silent)
            reached = lambda: len(upstream.calls) >= 2  # noqa: E731 -- as above
        else:
            self.gate.touch()
            self.checking.unlink(missing_ok=True)
            upstream.script(then=work)
            reached = self.checking.exists
        self.barn.hub.client.submit([self.spec(step)])
        until(reached, f"the agent {step}", 60)

    def kill_agent(self, name: str) -> None:
        """All processes of its attempt, as a system out of memory does."""
        mine = attempts_running(name)
        assert mine, "nothing of the attempt runs"
        for pid in mine:
            with suppress(ProcessLookupError):  # one that it had started for a moment, or that ended with another
                os.kill(pid, signal.SIGKILL)

    def kill_worker(self, name: str) -> None:
        """The daemon alone; another one is started in its place."""
        del name
        self.worker.kill()
        self.start_worker()

    def kill_hub(self, name: str) -> None:
        """The worker goes on without one, until the next is there at the same address."""
        del name
        self.barn.hub.kill()
        hub = HubProcess(self.folder, "--no-worker", profile=self.profile, env=environment(self.barn.home))
        self.barn = replace(self.barn, hub=self.stack.enter_context(hub))

    def start_worker(self) -> None:
        """The daemon, under the same name."""
        told = ("--hub", self.barn.hub.url, "--name", "hand", "--profile", str(self.folder / "ostler.yaml"))
        self.worker = self.stack.enter_context(Process(self.folder, "worker", *told, env=self.env))

    def is_done(self, name: str) -> bool:
        """Whether a task has succeeded."""
        return self.barn.task(name).state is TaskState.SUCCEEDED

    def heal(self) -> None:
        """From now on everything goes well."""
        self.barn.upstream.forget()
        self.barn.upstream.script(then=writes_in_tree("note.txt", NOTE))
        self.gate.unlink(missing_ok=True)


def is_still(name: str) -> bool:
    """Whether no process of a task's attempts lives."""
    return attempts_running(name) == []


def lasting(name: str) -> set[int]:
    """The supervisors of a task's attempts and the programs that they run; what an agent starts for a moment, as a look
    into its repository, ends by itself.
    """
    parents = {pid: parent_of(pid) for pid in attempts_running(name)}
    supervisors = {pid for pid, parent in parents.items() if parent not in parents and parent is not None}
    return supervisors | {pid for pid, parent in parents.items() if parent in supervisors}


def parent_of(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
    except OSError:
        return None


def open_yard(folder: Path, stack: ExitStack, *, adopts: bool) -> Yard:
    """Start all of it, with a list of tasks in the repository whose lines are the claims. `adopts`: what a daemon runs
    outlives it, else the next one begins anew.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    profile = PROFILE.replace("port: 0", f"port: {port}").replace("[test, grep]", "[sh]")
    if adopts:
        profile = profile.replace("session_dead: 4s", "session_dead: 60s")
    else:
        profile = profile.replace("slots: {agent: 2}", "slots: {agent: 2}\n  adopt_within: 0s")
    barn = stack.enter_context(open_barn(folder, profile=profile, worker=False))
    (barn.repo / "TODO.md").write_text(TODO, encoding="utf-8")
    git(barn.repo, "add", "TODO.md")
    git(barn.repo, "commit", "--quiet", "-m", "Plan")
    token = barn.hub.client.make_token("workers", "worker").token
    written = (folder / "ostler.yaml").read_text(encoding="utf-8")
    env = environment(barn.home) | {
        "OSTLER_TOKEN": token,
        "OSTLER_ASSIGNEE": "hand@yard",
        "XDG_DATA_HOME": str(folder / "worker-data"),
    }
    told = ("--hub", barn.hub.url, "--name", "hand", "--profile", str(folder / "ostler.yaml"))
    worker = stack.enter_context(Process(folder, "worker", *told, env=env))
    return Yard(barn, folder, written, stack, env, worker)


@pytest.mark.parametrize("victim", ["agent", "worker", "worker alone", "hub"])
def test_whoever_is_killed_the_work_is_done_once_and_nothing_is_left(tmp_path: Path, victim: str) -> None:
    """At each step. The task ends verified, with its claim in the list of the repository; no attempt called a model
    after a later one had begun to; no process, no open key and no tree is left. Where the agent outlives its daemon,
    the next one goes on with it, in the one attempt that there is.
    """
    with ExitStack() as stack:
        yard = open_yard(tmp_path, stack, adopts=victim == "worker alone")
        kill = {"agent": yard.kill_agent, "hub": yard.kill_hub}.get(victim, yard.kill_worker)
        for step in STEPS:
            yard.reach(step)
            before = lasting(step)
            kill(step)
            if victim == "worker alone":
                assert before
                assert before <= set(attempts_running(step)), "nothing of it has ended"
            yard.heal()
            until(partial(yard.is_done, step), f"{step} is done", 90)

            done = yard.barn.hub.client.task(step)
            assert len(done.attempts) == 1 or victim != "worker alone", done
            assert done.task.outcome is Outcome.VERIFIED, done
            last = done.attempts[-1]
            assert last.evidence is not None
            assert yard.barn.git("show", f"{last.evidence.branch}:note.txt") == NOTE
            times = [[call.at_ms for call in yard.barn.calls(step, one.generation)] for one in done.attempts]
            asked = [one for one in times if one]
            assert all(max(early) <= min(late) for early, late in pairwise(asked)), times
            until(partial(is_still, step), f"nothing of {step} runs")
        barn = yard.barn
        assert (barn.repo / "TODO.md").read_text(encoding="utf-8").count("assignee:hand@yard") == len(STEPS)
        until(lambda: all(row.revoked_ms is not None for row in barn.hub.client.keys().keys), "its keys are closed")
        until(lambda: barn.git("worktree", "list").count("\n") == 1, "no tree is left")
