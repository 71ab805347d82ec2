"""One attempt as a runner sees it: what to run, how it is asked to stop, how it shows progress, how it ends.

A runner never looks at timers, leases or cancellation: whatever ends an attempt early comes as the one `StopSignal`,
with the class of failure it stands for. But what it begins elsewhere (`has_right`) nobody ends as soon as that comes.
"""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from ostler.domain.clock import Clock
from ostler.domain.states import Failure, FailureClass, Question
from ostler.domain.tasks import Usage
from ostler.domain.work import Assignment, Finished, Progress, Report
from ostler.workers.supervision import Step

TAIL_CHARACTERS = 200
TRACEPARENT = "TRACEPARENT"
"""The variable that programs take their trace from."""
PROGRESS_INTERVAL_US = 200_000
"""At most five signs of life a second."""

Key = tuple[str, int]
"""Identity of an attempt: (task id, generation)."""


class StopSignal:
    """Asks a run to end early. The first reason counts; a later one can only make it more urgent."""

    def __init__(self) -> None:
        self.kind: FailureClass | None = None
        self.message = ""
        self._asked = asyncio.Event()
        self._now = asyncio.Event()

    def stop(self, kind: FailureClass, message: str, *, now: bool = False) -> None:
        """Ask. `now`: without any grace, because another worker may start the same attempt soon."""
        if self.kind is None:
            self.kind = kind
            self.message = message
            self._asked.set()
        if now:
            self._now.set()

    @property
    def is_asked(self) -> bool:
        """Whether the run should end."""
        return self.kind is not None

    async def asked(self) -> None:
        """Wait until the run should end."""
        await self._asked.wait()

    async def urgent(self) -> None:
        """Wait until it should end without grace."""
        await self._now.wait()


class Run:
    """One attempt in the hands of a runner. `tags` mark every process that it starts.

    With a folder, what it starts is found again by the next daemon, which plays the whole run anew: it takes up each
    step that was begun instead of beginning it. So a runner does the same things in the same order each time, and what
    it makes beside its steps it makes in the folder, where it may be already.
    """

    def __init__(
        self,
        assignment: Assignment,
        *,
        tags: Mapping[str, str],
        clock: Clock,
        emit: Callable[[Report], None],
        folder: Path | None = None,
        before_us: int = 0,
        has_right: Callable[[], bool] = lambda: True,
    ) -> None:
        self.assignment = assignment
        self.has_right = has_right
        """Whether its worker may still run it, asked right before something begins that cannot be taken back."""
        self.folder = folder
        self.before_us = before_us
        """How long it had run when this daemon took it up; 0: it was begun here."""
        self.due_us = 0
        """Instant of the stopwatch at which the supervisors of its commands end them, should nobody else; 0 = none."""
        self.spec = assignment.spec
        self.tags = tags
        self.trace_env = {TRACEPARENT: assignment.traceparent} if assignment.traceparent else {}
        """For what it starts, so that programs which trace themselves become part of the task's trace."""
        self.stop = StopSignal()
        self._clock = clock
        self._emit = emit
        self._shown_us: int | None = None

    @property
    def key(self) -> Key:
        """(task id, generation)."""
        return self.assignment.task_id, self.assignment.generation

    def step(self, name: str) -> Step | None:
        """Where one of its commands has its files; `None`: in a place that goes with it. A name is used once."""
        return None if self.folder is None else Step(folder=self.folder / name, due_us=self.due_us)

    def progress(self, output_tokens: int, tail: Callable[[], str]) -> None:
        """Show a sign of life; thinned out, so it may be called for every piece of output."""
        now_us = self._clock.stopwatch_us()
        if self._shown_us is not None and now_us - self._shown_us < PROGRESS_INTERVAL_US:
            return
        self._shown_us = now_us
        task_id, generation = self.key
        self._emit(
            Progress(
                task_id=task_id,
                generation=generation,
                at_ms=self._clock.now_ms(),
                output_tokens=output_tokens,
                tail=tail()[-TAIL_CHARACTERS:],
            )
        )

    def succeeded(
        self, *, output: str = "", output_bytes: int = 0, exit_code: int | None = None, usage: Usage | None = None
    ) -> Finished:
        """The end of good work, as far as the runner can tell."""
        task_id, generation = self.key
        return Finished(
            task_id=task_id,
            generation=generation,
            at_ms=self._clock.now_ms(),
            ok=True,
            output=output,
            output_bytes=output_bytes,
            exit_code=exit_code,
            usage=usage,
        )

    def failed(
        self,
        kind: FailureClass,
        message: str,
        *,
        retry_after_ms: int | None = None,
        question: Question | None = None,
        partial: Finished | None = None,
    ) -> Finished:
        """The end of work that failed; `partial` lends its output, exit code and usage."""
        task_id, generation = self.key
        at_ms = self._clock.now_ms()
        return Finished(
            task_id=task_id,
            generation=generation,
            at_ms=at_ms,
            ok=False,
            failure=Failure(kind=kind, message=message, at_ms=at_ms, retry_after_ms=retry_after_ms, question=question),
            output=partial.output if partial else "",
            output_bytes=partial.output_bytes if partial else 0,
            exit_code=partial.exit_code if partial else None,
            usage=partial.usage if partial else None,
            evidence=partial.evidence if partial else None,
            allowances=partial.allowances if partial else (),
        )

    def stopped(self, *, partial: Finished | None = None) -> Finished:
        """The end of work that was asked to stop."""
        return self.failed(self.stop.kind or FailureClass.CANCELLED, self.stop.message, partial=partial)


class Runner(Protocol):
    """Runs one kind of work."""

    async def run(self, run: Run) -> Finished:
        """Do the work and say how it ended; ends soon after `run.stop` asks for it.

        Raises `NotAllowedError` when the worker's rules forbid it (nothing has run then). When the call itself is
        cancelled, nothing it started is left behind.
        """
        ...
