"""The process of one run: its streams to disk and to the reader, its signs of life to the watch, its end to a verdict.

Both streams are on disk before anything is read into them; they are read from there, from the beginning also when an
earlier daemon began the run, so that its verdict rests on all that was said. Standard error is a file of its own, so
that it cannot cut a line of standard output in two.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from ostler.domain.states import FailureClass
from ostler.workers.guard import ProcessGuard
from ostler.workers.processes import ProcessGroup
from ostler.workers.rules import Launch
from ostler.workers.run import Run, StopSignal
from ostler.workers.runners.agents.contract import Adapter, AgentEvent, Text, ToolCall, Trouble, Used, Verdict
from ostler.workers.runners.agents.lines import LineCutter
from ostler.workers.runners.agents.watch import Ending, Limits, Signs, Watch, too_much
from ostler.workers.runners.agents.workspace import Workspace
from ostler.workers.supervision import Step
from ostler.workers.supervisor import BY_LIMIT
from ostler.workers.timing import cancelled

LOOK_S = 1.0
_ENTRIES_LOOKED_AT = 400
_ERRORS_READ = 64 * 1024


class Ended:
    """How the process of a run ended."""

    def __init__(self, verdict: Verdict, exit_code: int | None, limit: Ending | None, *, told_trouble: bool) -> None:
        self.verdict = verdict
        self.exit_code = exit_code
        self.limit = limit
        """What ended it, when it was one of the watch's limits."""
        self.told_trouble = told_trouble
        """Whether the program itself told of an error."""


class AgentProcess:
    """One run of an agent."""

    def __init__(
        self,
        launch: Launch,
        run: Run,
        adapter: Adapter,
        place: Workspace,
        limits: Limits,
        step: Step,
        clean: Callable[[str], str],
    ) -> None:
        self._launch = launch
        self._run = run
        self._reader = adapter.reader()
        self._place = place
        self._limits = limits
        self._step = step
        self._clean = clean
        self._cutter = LineCutter()
        self._events = 0
        self._bytes = 0
        self._output_tokens = 0
        self._tail = ""
        self._troubles = 0
        self._limit: Ending | None = None
        self._errors_then = 0
        """Length of standard error at the last event."""
        self._errors = place.logs / "stderr.log"

    async def until_end(self, guard: ProcessGuard, grace_s: float) -> Ended:
        """Start it and see it to its end. Raises `StartError`."""
        stop = StopSignal()
        group = ProcessGroup(self._launch, tags=self._run.tags, guard=guard, on_output=self._take, step=self._step)
        helpers = [
            asyncio.create_task(self._forward(stop)),
            asyncio.create_task(self._watch(group, stop)),
        ]
        try:
            code, _ = await group.until_end(stop, grace_s)
        finally:
            group.close()
            await cancelled(*helpers)
        if group.ended_by == BY_LIMIT and self._limit is None:
            self._limit = too_much(self._limits)
        for line in self._cutter.end():
            self._feed(line)
        verdict = self._reader.verdict(code, self._end_of_errors())
        told = self._troubles > 0 or (not verdict.ok and verdict.kind is not FailureClass.ENVIRONMENT)
        exit_code = 128 - code if code is not None and code < 0 else code
        return Ended(verdict, exit_code, self._limit, told_trouble=told and verdict.kind is not FailureClass.CUT)

    def _take(self, piece: bytes) -> None:
        self._bytes += len(piece)
        for line in self._cutter.feed(piece):
            self._feed(line)

    def _feed(self, line: bytes) -> None:
        for event in self._reader.feed(line):
            self._events += 1
            self._show(event)
            self._errors_then = self._errors_bytes()
        self._run.progress(self._output_tokens, lambda: self._clean(self._tail))

    def _show(self, event: AgentEvent) -> None:
        match event:
            case Text():
                self._tail = event.text
            case ToolCall():
                self._tail = f"[{event.tool}] {event.about}"
            case Used():
                self._output_tokens += event.output_tokens + event.reasoning_tokens
            case Trouble():
                self._troubles += 1
                self._tail = event.message
            case _:
                pass

    async def _forward(self, stop: StopSignal) -> None:
        """Hand a request to end on."""
        await self._run.stop.asked()
        stop.stop(self._run.stop.kind or FailureClass.CANCELLED, self._run.stop.message)
        await self._run.stop.urgent()
        stop.stop(self._run.stop.kind or FailureClass.CANCELLED, self._run.stop.message, now=True)

    async def _watch(self, process: ProcessGroup, stop: StopSignal) -> None:
        now_s = time.monotonic()
        watch = Watch(self._limits, now_s, begun_s=now_s - self._run.before_us / 1e6)
        group = await process.group()
        while self._limit is None:
            await asyncio.sleep(LOOK_S)
            signs = await asyncio.to_thread(self._signs, group or 0)
            self._limit = watch.look(signs, time.monotonic())
        stop.stop(self._limit.kind or FailureClass.CANCELLED, self._limit.message)

    def _signs(self, group: int) -> Signs:
        return Signs(
            events=self._events,
            output_bytes=self._bytes + self._errors_bytes(),
            written_ns=_newest_change(self._place.tree),
            cpu_s=_cpu_s(group),
            is_over=self._reader.is_over,
            repeats=self._reader.repeats,
            steps=self._reader.steps,
            stuck_on=self._reader.stuck_on(self._end_of_errors(self._errors_then)),
        )

    def _errors_bytes(self) -> int:
        try:
            return self._errors.stat().st_size
        except FileNotFoundError:
            return 0

    def _end_of_errors(self, begin: int = 0) -> str:
        try:
            with self._errors.open("rb") as file:
                file.seek(max(begin, self._errors_bytes() - _ERRORS_READ))
                return file.read().decode(errors="replace")
        except FileNotFoundError:
            return ""


def _newest_change(tree: Path) -> int:
    """Newest time of change among the first entries of a tree, two levels deep."""
    newest, looked_at, todo = 0, 0, [(tree, 0)]
    while todo and looked_at < _ENTRIES_LOOKED_AT:
        folder, depth = todo.pop()
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                looked_at += 1
                with contextlib.suppress(OSError):
                    newest = max(newest, entry.stat(follow_symlinks=False).st_mtime_ns)
                    if depth == 0 and entry.is_dir(follow_symlinks=False):
                        todo.append((Path(entry.path), depth + 1))
    return newest


def _cpu_s(group: int) -> float:
    """Processor time of the members of a process group that live."""
    total = 0.0
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):
            if os.getpgid(process.pid) == group:
                times = process.cpu_times()
                total += times.user + times.system
    return total
