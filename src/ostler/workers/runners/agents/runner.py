"""Runs agents: one attempt in a folder, a branch and a process group of its own, on a key of its own.

    allow -> workspace -> start -> (events, watch) -> end -> verdict -> work kept -> checks in the tree -> report

Every call of a model inside goes through the hub's gateway, because the agent is told no other address and has no other
key. What ends a run early is a `StopSignal` of its own, so that a run that only stays after its last word is not taken
for one that failed.
"""

import asyncio
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from ostler.domain.errors import NotAllowedError, OstlerError
from ostler.domain.states import FailureClass
from ostler.domain.tasks import Evidence, TaskSpec
from ostler.domain.work import Finished, ModelRoute
from ostler.wire.classify import one_line, redact
from ostler.workers.guard import ProcessGuard
from ostler.workers.processes import StartError
from ostler.workers.rules import AgentEnv, WorkerRules
from ostler.workers.run import Run
from ostler.workers.runners.agents.contract import Adapter, Job, Verdict
from ostler.workers.runners.agents.judging import Ask, Opinion, opinion_of, question
from ostler.workers.runners.agents.process import AgentProcess, Ended
from ostler.workers.runners.agents.prompting import PROMPT_BYTES_MAX, parted, prompt_of, question_of
from ostler.workers.runners.agents.shelf import adapter_named
from ostler.workers.runners.agents.versions import version_of
from ostler.workers.runners.agents.watch import Limits
from ostler.workers.runners.agents.workspace import Work, Workspace, branch_name, sweep
from ostler.workers.supervision import Step
from ostler.workers.verification import Verifier

DEFAULT_CONTEXT_TOKENS = 128_000
QUESTION_CHARACTERS = 1_000
"""Of what an agent asks a person."""
_STANDS_OUT = frozenset({FailureClass.ENVIRONMENT, FailureClass.STUCK})
"""Endings by a limit that say less than an error the program itself told."""


class AgentSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How agents run on this worker. `gateway`: address of the hub as this worker reaches it."""

    gateway: str
    work: Path
    """Folder for the folders of runs; of this worker alone."""
    environ: Mapping[str, str]
    keep_runs: bool = False
    limits: Limits = Limits()
    grace_s: float = 5.0
    ask: Ask | None = None
    """Asks a judge; `None`: there is no way to ask one."""


class AgentRunner:
    """The runner of kind `agent`. `verifier` runs a task's checks in the tree of the run."""

    def __init__(self, rules: WorkerRules, guard: ProcessGuard, settings: AgentSettings, verifier: Verifier) -> None:
        self._rules = rules
        self._guard = guard
        self._settings = settings
        self._verifier = verifier
        self._swept: asyncio.Task[list[str]] | None = None

    async def run(self, run: Run) -> Finished:
        """See the module. Raises `NotAllowedError`; nothing has run then."""
        adapter, repo, cwd = self._allowed(run.spec)
        route, key = run.assignment.route, run.assignment.key
        if route is None:
            return run.failed(FailureClass.NO_ENDPOINT, "an agent needs a model, and no endpoint is registered")
        if key is None:
            return run.failed(FailureClass.POLICY, "agents reach models through the hub's gateway, which is off")
        length = len(prompt_of(run.spec, run.assignment.notes).encode())
        if length > PROMPT_BYTES_MAX:
            what = f"the prompt has {length} bytes, and an agent takes {PROMPT_BYTES_MAX}"
            return run.failed(FailureClass.POLICY, f"{what}: put what is long into a file of the repository")
        if run.stop.is_asked:
            return run.stopped()
        await self._sweep_once()
        folder = self._settings.work / _plain(f"{run.spec.id}.{run.assignment.generation}")
        name = branch_name(run.spec.id, run.assignment.generation)
        step = run.step("agent")
        try:
            if step is not None and step.is_begun:
                place = await asyncio.to_thread(Workspace.reopen, folder)
            else:
                place = await asyncio.to_thread(
                    Workspace.make, folder, name, repo=repo, start=run.spec.branch, cwd=cwd, litter=adapter.litter
                )
                if run.folder is not None:
                    await asyncio.to_thread(place.remember, run.folder)
        except StartError as error:
            shutil.rmtree(folder, ignore_errors=True)
            return run.failed(error.kind, error.message)
        job = self._job(run.spec, run.assignment.notes, route, key, place)
        finished: Finished | None = None
        try:
            finished = await self._in_place(run, adapter, job, place)
        finally:
            if finished is None:  # cancelled or broken: nothing may be awaited any more, and what is there is kept
                place.abandon(keep=self._settings.keep_runs)
        has_work = finished.evidence is not None and finished.evidence.branch is not None
        await asyncio.to_thread(place.close, keep=self._settings.keep_runs, has_work=has_work)
        return finished

    def _allowed(self, spec: TaskSpec) -> tuple[Adapter, Path | None, str | None]:
        agents = self._rules.agents
        name = spec.runner or (agents[0] if agents else "")
        if name not in agents:
            allowed = ", ".join(agents) or "none"
            raise NotAllowedError(
                f"this worker may not run the agent '{name or 'any'}'",
                where="runner",
                remedy=f"it allows: {allowed}; add it to worker.agents in its profile",
            )
        if spec.repo is not None:
            return adapter_named(name), self._rules.repo_path(spec.repo), None
        return adapter_named(name), None, self._rules.folder(spec.cwd) if spec.cwd else None

    async def _sweep_once(self) -> None:
        if self._settings.keep_runs:
            return
        if self._swept is None:
            self._swept = asyncio.create_task(asyncio.to_thread(sweep, self._settings.work))
        await asyncio.shield(self._swept)

    def _job(self, spec: TaskSpec, notes: Sequence[str], route: ModelRoute, key: str, place: Workspace) -> Job:
        return Job(
            prompt=prompt_of(spec, notes),
            model=route.model,
            gateway=self._settings.gateway.rstrip("/"),
            key=key,
            home=str(place.home),
            tree=str(place.tree),
            context_tokens=route.context_tokens or spec.context_tokens or DEFAULT_CONTEXT_TOKENS,
            output_tokens=spec.max_output_tokens or max(route.max_output_tokens, 8_192),
            tools=spec.tools,
        )

    async def _in_place(self, run: Run, adapter: Adapter, job: Job, place: Workspace) -> Finished:
        """The run from start to checks, everything it says freed from its key."""
        start = adapter.start(job)
        step = run.step("agent")
        if step is None or not step.is_begun:
            await asyncio.to_thread(_write_files, place.home, start.files)
        own = AgentEnv(agent=adapter.name, env={**_folders(place), **start.env, **run.trace_env}, owned=adapter.owns)
        launch = self._rules.launch_agent(
            start.argv, run.spec, own, cwd=job.tree, environ=self._settings.environ, tags=run.tags
        )
        if start.stdin is not None:
            launch = replace(launch, stdin=str(place.home / start.stdin))
        # Judged before anything is paid for.
        checks = self._verifier.prepare(run, job.tree)
        limits = self._settings.limits
        if run.spec.timeout_s is not None:
            limits = replace(limits, wall_s=math.inf)  # the daemon keeps the task's own
        files = {"output": place.logs / "stdout.jsonl", "errors": place.logs / "stderr.log"}
        step = replace(step or Step(folder=place.logs / "step"), **files, limit_bytes=limits.output_bytes)
        process = AgentProcess(launch, run, adapter, place, limits, step, lambda text: redact(text, job.key))
        try:
            ended = await process.until_end(self._guard, self._settings.grace_s)
        except StartError as error:
            return await self._lost(run, adapter, place, error)
        try:
            work = await asyncio.to_thread(place.keep_work, run.spec.title or run.spec.prompt)
            diff = await asyncio.to_thread(place.diff) if run.assignment.judge and not checks else ""
        except StartError as error:
            return run.failed(error.kind, error.message)
        version = await version_of(adapter, self._settings.environ)
        partial = _report(run, adapter, ended, work, version, lambda text: redact(text, job.key))
        failed = self._failure(run, ended, partial)
        if failed is not None:
            return failed
        if checks:
            return await self._verifier.verify(checks, run, partial)
        return await self._judged(run, job, partial, diff) if run.assignment.judge else partial

    async def _lost(self, run: Run, adapter: Adapter, place: Workspace, error: StartError) -> Finished:
        """It never started, or nobody can tell how it ended; then what it did is kept all the same."""
        failed = run.failed(error.kind, error.message)
        if error.kind is not FailureClass.WORKER_LOST:
            return failed
        try:
            work = await asyncio.to_thread(place.keep_work, "Unfinished work of an agent")
        except StartError:
            return failed
        evidence = Evidence(agent=adapter.name, repo=run.spec.repo, branch=work.branch, base=work.base)
        return replace(failed, evidence=evidence)

    async def _judged(self, run: Run, job: Job, work: Finished, diff: str) -> Finished:
        """Good work with a judge's opinion, or failed by it."""
        if self._settings.ask is None or work.evidence is None:
            return work
        asked = question(run.spec, work.output, diff)
        try:
            answer = await self._settings.ask(job.key, f"tier:{run.assignment.judge}", asked)
            opinion = opinion_of(answer)
        except OstlerError as error:
            opinion = Opinion(passed=None, reason=one_line(redact(str(error), job.key), QUESTION_CHARACTERS))
        work = replace(work, evidence=replace(work.evidence, opinion=opinion.text))
        if opinion.passed is False:
            message = (
                f"in the opinion of a judge ({run.assignment.judge}) it is not done: {opinion.reason or 'no reason'}"
            )
            return run.failed(FailureClass.VERIFICATION, message, partial=work)
        return work

    def _failure(self, run: Run, ended: Ended, partial: Finished) -> Finished | None:
        verdict = ended.verdict
        if run.stop.is_asked:
            return run.stopped(partial=partial)
        limit = ended.limit
        if limit is not None and limit.kind is not None:
            told = verdict.kind if not verdict.ok and limit.kind in _STANDS_OUT and ended.told_trouble else None
            message = f"the agent was ended: {limit.message}"
            if told is not None:
                return run.failed(told, f"{message}; it had said: {verdict.message}", partial=partial)
            return run.failed(limit.kind, message, partial=partial)
        if not verdict.ok:
            kind = verdict.kind or FailureClass.ENVIRONMENT
            return run.failed(kind, verdict.message, retry_after_ms=verdict.retry_after_ms, partial=partial)
        question = question_of(verdict.text)
        if question is not None:
            words, choices = parted(question)
            asked = one_line(words, QUESTION_CHARACTERS)
            return run.failed(FailureClass.QUESTION, asked, question=choices, partial=partial)
        if run.spec.repo is not None and not verdict.tool_calls:
            message = "the agent called no tool, so it cannot have worked on the repository"
            return run.failed(FailureClass.CAPABILITY, message, partial=partial)
        return None


def _report(
    run: Run, adapter: Adapter, ended: Ended, work: Work, version: str, clean: Callable[[str], str]
) -> Finished:
    verdict = replace_texts(ended.verdict, clean)
    evidence = Evidence(
        agent=adapter.name,
        version=version,
        session=verdict.session,
        steps=verdict.steps,
        tool_calls=verdict.tool_calls,
        repo=run.spec.repo,
        branch=work.branch,
        base=work.base,
        commits=work.commits,
        files_changed=work.files_changed,
    )
    ended.verdict = verdict
    finished = run.succeeded(
        output=verdict.text,
        output_bytes=len(verdict.text.encode(errors="replace")),
        exit_code=ended.exit_code,
        usage=verdict.usage,
    )
    told = tuple(replace(one, at_ms=finished.at_ms) for one in verdict.allowances)
    return replace(finished, evidence=evidence, allowances=told)


def replace_texts(verdict: Verdict, clean: Callable[[str], str]) -> Verdict:
    """A verdict whose words went through `clean`."""
    changes: dict[str, Any] = {"text": clean(verdict.text), "message": clean(verdict.message)}
    return replace(verdict, **changes)


def _folders(place: Workspace) -> dict[str, str]:
    """Everything a program may take for its home."""
    home = place.home
    return {
        "HOME": str(home),
        "TMPDIR": str(place.folder / "tmp"),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_DATA_HOME": str(home / ".local" / "share"),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "XDG_STATE_HOME": str(home / ".local" / "state"),
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_AUTHOR_NAME": "Ostler agent",
        "GIT_AUTHOR_EMAIL": "agent@localhost",
        "GIT_COMMITTER_NAME": "Ostler agent",
        "GIT_COMMITTER_EMAIL": "agent@localhost",
        "CI": "1",
    }


def _write_files(home: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_text(text, encoding="utf-8")


def _plain(name: str) -> str:
    """A name for a folder."""
    return "".join(char if char.isascii() and (char.isalnum() or char in "._-") else "_" for char in name)[:120]
