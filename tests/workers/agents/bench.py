"""A worker, a repository and a program that behaves as badly as it is told. It stands in for opencode and prints what
opencode prints.
"""

import asyncio
import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from msgspec.structs import replace

from ostler.domain.states import FailureClass
from ostler.domain.tasks import TaskKind, TaskSpec
from ostler.domain.work import Assignment, Finished, Report
from ostler.workers.commands import CommandHost
from ostler.workers.guard import NoGuard
from ostler.workers.rules import WorkerRules
from ostler.workers.run import Run
from ostler.workers.runners.agents.judging import Ask
from ostler.workers.runners.agents.runner import AgentRunner, AgentSettings
from ostler.workers.runners.agents.watch import Limits
from ostler.workers.timing import SystemTiming
from ostler.workers.verification import Verifier
from tests.agents.barn import git, new_repo
from tests.workers.tagged import Tagged, tagged
from tests.workers.work_made import route, run_of

__all__ = ["tagged"]

KEY = "ost-secret-of-this-attempt"
PROGRAM = """\
#!{python}
import json, os, signal, subprocess, sys, time
def say(kind, **part):
    print(json.dumps({{"type": kind, "sessionID": "s1", "part": part}}), flush=True)
def work(text="Done.", reason="stop"):
    say("step_start")
    state = {{"status": "completed", "input": {{"filePath": "note.txt"}}, "output": "ok"}}
    say("tool_use", tool="write", callID="c1", state=state)
    say("text", text=text)
    say("step_finish", reason=reason, tokens={{"input": 10, "output": 5, "cache": {{"read": 2, "write": 0}}}})
if "--version" in sys.argv:
    print("1.18.99")
    sys.exit()
{body}
"""
GOOD = 'open("note.txt", "w").write("Oats.")\nwork()\n'
QUICK = Limits(first_s=1.5, silent_s=1.5, linger_s=1.0, output_bytes=200_000)


class Bench:
    """A worker's runner, a repository, and the program that it finds on its PATH."""

    def __init__(self, folder: Path, identity: str) -> None:
        self.folder = folder
        self.identity = identity
        self.repo = new_repo(folder / "barn")
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.rules = WorkerRules(
            kinds=frozenset({TaskKind.AGENT}),
            commands=("grep",),
            agents=("opencode",),
            repos={"barn": str(self.repo)},
        )
        self.traceparent = ""
        self.environ: Mapping[str, str] = {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "ANTHROPIC_API_KEY": "sk-of-the-person",
            "OPENCODE_PERMISSION": "{}",
            "SECRET": "hidden",
        }
        self.limits = QUICK
        self.ask: Ask | None = None
        self.keep = False
        self.judge = ""
        self.reports: list[Report] = []

    @property
    def work(self) -> Path:
        """Where runs happen."""
        return self.folder / "work"

    def runner(self, *, keep: bool = False) -> AgentRunner:
        settings = AgentSettings(
            gateway="http://127.0.0.1:9/",
            work=self.work,
            environ=self.environ,
            keep_runs=keep,
            limits=self.limits,
            grace_s=0.3,
            ask=self.ask,
        )
        checks = CommandHost(self.rules, NoGuard(), environ=self.environ)
        return AgentRunner(self.rules, NoGuard(), settings, Verifier(checks))

    def start(self, body: str, **spec: object) -> tuple[Run, "asyncio.Task[Finished]"]:
        """Begin a run of a program with this body."""
        path = self.bin / "opencode"
        path.write_text(PROGRAM.format(python=sys.executable, body=body), encoding="utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        task = TaskSpec(id="t1", kind=TaskKind.AGENT, prompt="Write a note.", repo="barn")
        assignment = Assignment(
            task_id="t1",
            generation=1,
            spec=replace(task, **spec),
            tier="standard",
            route=route(),
            key=KEY,
            judge=self.judge,
            traceparent=self.traceparent,
        )
        run = run_of(assignment, clock=SystemTiming(), identity=self.identity, reports=self.reports)
        return run, asyncio.create_task(self.runner(keep=self.keep).run(run))

    async def ran(self, body: str, **spec: object) -> Finished:
        """Run it to its end; nothing is left of it then."""
        _, task = self.start(body, **spec)
        finished = await asyncio.wait_for(task, 30)
        assert list(self.work.iterdir()) == []
        assert git(self.repo, "worktree", "list").count("\n") == 1
        return finished


@pytest.fixture
def bench(tmp_path: Path, tagged: Tagged) -> Bench:
    return Bench(tmp_path, tagged.identity)


def kind_of(finished: Finished) -> FailureClass | None:
    return finished.failure.kind if finished.failure else None
